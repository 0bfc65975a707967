/* Circles of files and folders. An arrow goes from the file that uses a symbol to the one that defines it, as `nm` lists them in
 * the objects of this build: calls through macros and tables included. */
#include "tests/end_to_end/circles.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/arena.h"

/* Circles of files that stay: all their files, in order, and why. */
static const struct {
    const char *files, *why;
} circles[] = {
    {"compiler/front/call.c compiler/front/expr.c compiler/front/param.c compiler/front/stmt.c compiler/front/types.c",
     "the language's own recursion: an expression calls a block, whose body is statements, whose parts are expressions"},
};

/* Arrows between folders that go upwards: `from` is below `to`, and uses only what its own header declares. */
static const struct {
    const char *from, *to, *why;
} upwards[] = {
    {"compiler/ir/", "compiler/op/table.c", "the IR asks the table for an op's type, and the interpreter for its value"},
    {"compiler/op/", "compiler/pass/autodiff.c", "a gradient rule hands its terms to the sweep that called it"},
    {"runtime/device/backend.c", "runtime/device/cuda/cuda.c", "the one list of backends"},
    {"compiler/op/leaf.c", "compiler/kernel/philox.c", "the interpreter draws the very numbers that kernels draw"},
};
enum { N_CIRCLES = sizeof circles / sizeof *circles, N_UPWARDS = sizeof upwards / sizeof *upwards };

typedef struct {
    const char *name, *file;
} symbol;

typedef struct {
    int from, to; /* nodes */
    const char *why;
} arrow;

typedef MDL_VEC(symbol) symbols;
typedef MDL_VEC(const char *) names;

typedef struct {
    mdl_arena *memory;
    names nodes; /* files or folders */
    MDL_VEC(arrow) arrows;
} graph;

static struct {
    mdl_arena *memory;
    names objects;
} walk;

/* "…/x.dir/compiler/ir/ir.c.o": the source's path from the root, or NULL. */
static const char *source_of(mdl_arena *memory, const char *object) {
    static const char *const folders[] = {"compiler/", "grammar/", "runtime/"};
    const char *at = strstr(object, ".dir/"), *end = object + strlen(object) - 2;
    for (int i = 0; at && end > at && !strcmp(end, ".o") && i < 3; i++)
        if (!strncmp(at + 5, folders[i], strlen(folders[i]))) return mdl_strndup(memory, at + 5, (size_t)(end - at - 5));
    return NULL;
}

/* Objects whose source is gone are left over from an older build. */
static int visit(const char *path, const struct stat *facts, int type, struct FTW *at) {
    const char *source = type == FTW_F ? source_of(walk.memory, path) : NULL;
    (void)facts, (void)at;
    if (source && !access(mdl_printf(walk.memory, "%s/%s", MDL_SOURCE_DIR, source), R_OK))
        MDL_PUSH(walk.memory, walk.objects, mdl_strdup(walk.memory, path));
    return 0;
}

/* Lines of `nm -A -P -g`: "OBJECT: NAME KIND ...", kind U for what the object uses and another defines. */
static void read_symbols(mdl_test *t, mdl_arena *memory, symbols *defined, symbols *used) {
    mdl_text command = {.arena = memory};
    char line[4096], object[2048], name[1024], kind;
    walk.memory = memory;
    walk.objects = (names){0};
    nftw(MDL_BINARY_DIR "/CMakeFiles", visit, 16, FTW_PHYS);
    mdl_text_printf(&command, "nm -A -P -g");
    for (int i = 0; i < walk.objects.n; i++) mdl_text_printf(&command, " '%s'", walk.objects.at[i]);
    FILE *f = popen(command.at, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%2047[^:]: %1023s %c", object, name, &kind) != 3) continue;
        symbol s = {mdl_strdup(memory, name), source_of(memory, object)};
        if (kind == 'U')
            MDL_PUSH(memory, *used, s);
        else
            MDL_PUSH(memory, *defined, s);
    }
    CHECK(t, f && !pclose(f), "nm cannot read the objects below %s", MDL_BINARY_DIR);
}

static int by_name(const void *a, const void *b) { return strcmp(((const symbol *)a)->name, ((const symbol *)b)->name); }

/* ---- graphs ---- */
static int node_of(graph *g, const char *name) {
    for (int i = 0; i < g->nodes.n; i++)
        if (!strcmp(g->nodes.at[i], name)) return i;
    MDL_PUSH(g->memory, g->nodes, name);
    return g->nodes.n - 1;
}

static const char *folder_of(mdl_arena *memory, const char *file) {
    return mdl_strndup(memory, file, (size_t)(strrchr(file, '/') + 1 - file));
}

static bool upwards_row(const char *from, const char *to, int row) {
    return !strncmp(from, upwards[row].from, strlen(upwards[row].from)) && !strcmp(to, upwards[row].to);
}

static bool is_justified(const char *from, const char *to) {
    for (int i = 0; i < N_UPWARDS; i++)
        if (upwards_row(from, to, i)) return true;
    return false;
}

/* Files, or folders without the arrows that are justified. */
static graph graph_of(mdl_arena *memory, const symbols *defined, const symbols *used, bool folders) {
    graph g = {.memory = memory};
    for (int i = 0; i < used->n; i++) {
        const symbol *user = &used->at[i], *home = bsearch(user, defined->at, (size_t)defined->n, sizeof *defined->at, by_name);
        if (!home || !strcmp(home->file, user->file) || (folders && is_justified(user->file, home->file))) continue;
        const char *from = folders ? folder_of(memory, user->file) : user->file,
                   *to = folders ? folder_of(memory, home->file) : home->file;
        arrow a = {.why = user->name};
        a.from = node_of(&g, from);
        a.to = node_of(&g, to);
        if (a.from != a.to) MDL_PUSH(memory, g.arrows, a);
    }
    return g;
}

static bool in_one_folder(const char *a, const char *b) {
    size_t n = (size_t)(strrchr(a, '/') - a);
    return n == (size_t)(strrchr(b, '/') - b) && !strncmp(a, b, n);
}

/* Marks all that `from` reaches in one step or more; of files, by arrows within a folder. */
static void reach(const graph *g, bool folders, int from, bool *seen) {
    for (int i = 0; i < g->arrows.n; i++) {
        const arrow *a = &g->arrows.at[i];
        bool counts = a->from == from && !seen[a->to] && (folders || in_one_folder(g->nodes.at[a->from], g->nodes.at[a->to]));
        if (!counts) continue;
        seen[a->to] = true;
        reach(g, folders, a->to, seen);
    }
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Each circle as the names of its nodes, sorted, with blanks between. */
static names circles_of(const graph *g, bool folders) {
    int n = g->nodes.n;
    names found = {0};
    bool **reached = MDL_NEW_ARRAY(g->memory, bool *, n + 1);
    for (int i = 0; i < n; i++) reach(g, folders, i, reached[i] = MDL_NEW_ARRAY(g->memory, bool, n));
    for (int i = 0; i < n; i++) {
        names members = {0};
        bool first = true;
        for (int k = 0; k < n; k++) {
            if (!reached[i][k] || !reached[k][i]) continue;
            first &= k >= i;
            MDL_PUSH(g->memory, members, g->nodes.at[k]);
        }
        if (!members.n || !first) continue;
        mdl_text text = {.arena = g->memory};
        qsort(members.at, (size_t)members.n, sizeof *members.at, by_text);
        for (int k = 0; k < members.n; k++) mdl_text_printf(&text, "%s%s", k ? " " : "", members.at[k]);
        MDL_PUSH(g->memory, found, text.at);
    }
    return found;
}

/* ---- rules ---- */
static bool is_known(const char *circle) {
    for (int i = 0; i < N_CIRCLES; i++)
        if (!strcmp(circles[i].files, circle)) return true;
    return false;
}

static bool found_in(const names *found, const char *circle) {
    for (int i = 0; i < found->n; i++)
        if (!strcmp(found->at[i], circle)) return true;
    return false;
}

static void check_files(mdl_test *t, const graph *g) {
    names found = circles_of(g, false);
    for (int i = 0; i < found.n; i++) CHECK(t, is_known(found.at[i]), "these files use each other: %s", found.at[i]);
    for (int i = 0; i < N_CIRCLES; i++) CHECK(t, found_in(&found, circles[i].files), "no longer a circle: %s", circles[i].files);
}

static void check_folders(mdl_test *t, const graph *g) {
    names found = circles_of(g, true);
    for (int i = 0; i < found.n; i++) CHECK(t, false, "these folders use each other: %s", found.at[i]);
}

static int check_arrows(mdl_test *t, const graph *files, mdl_may_use *may_use) {
    int offences = 0;
    bool used[N_UPWARDS] = {false};
    for (int i = 0; i < files->arrows.n; i++) {
        const arrow *a = &files->arrows.at[i];
        const char *from = files->nodes.at[a->from], *to = files->nodes.at[a->to];
        for (int k = 0; k < N_UPWARDS; k++) used[k] |= upwards_row(from, to, k);
        bool fine = may_use(from, to) || is_justified(from, to);
        offences += !fine;
        if (t) CHECK(t, fine, "%s may not use %s of %s", from, a->why, to);
    }
    for (int k = 0; t && k < N_UPWARDS; k++) CHECK(t, used[k], "no longer used: %s -> %s", upwards[k].from, upwards[k].to);
    return offences;
}

static graph plant(mdl_arena *memory, const symbols *defined, symbols used, const char *file, const char *name, bool folders) {
    MDL_PUSH(memory, used, ((symbol){name, file}));
    return graph_of(memory, defined, &used, folders);
}

/* `used` is a copy in each: what one plants the next does not see. */
static void check_planted(mdl_test *t, mdl_arena *memory, const symbols *defined, const symbols *used, mdl_may_use *may_use) {
    graph g = plant(memory, defined, *used, "compiler/front/value.c", "fe_fail", false);
    names found = circles_of(&g, false);
    CHECK(t, found_in(&found, "compiler/front/env.c compiler/front/value.c"), "a circle of two files");
    g = plant(memory, defined, *used, "compiler/front/env.c", "fe_eval", false);
    found = circles_of(&g, false);
    CHECK(t, found.n && !is_known(found.at[0]), "a known circle that grows");
    g = plant(memory, defined, *used, "runtime/base/file.c", "mdl_session_open", true);
    CHECK(t, circles_of(&g, true).n == 1, "a circle of folders");
    g = plant(memory, defined, *used, "runtime/base/file.c", "mdl_session_open", false);
    CHECK(t, check_arrows(NULL, &g, may_use) == 1, "an arrow upwards");
}

void mdl_test_circles(mdl_test *t, mdl_may_use *may_use) {
    mdl_arena *memory = mdl_arena_new();
    symbols defined = {0}, used = {0};
    read_symbols(t, memory, &defined, &used);
    qsort(defined.at, (size_t)defined.n, sizeof *defined.at, by_name);
    graph files = graph_of(memory, &defined, &used, false), folders = graph_of(memory, &defined, &used, true);
    if (mdl_case(t, "layers: the rules of symbols catch planted offences")) check_planted(t, memory, &defined, &used, may_use);
    if (mdl_case(t, "layers: symbols are used downwards, but for a table")) {
        CHECK(t, files.arrows.n > 1500, "only %d arrows were seen", files.arrows.n);
        check_arrows(t, &files, may_use);
    }
    if (mdl_case(t, "layers: no circles of folders")) check_folders(t, &folders);
    if (mdl_case(t, "layers: no circles of files in one folder, but for a table")) check_files(t, &files);
    mdl_arena_free(memory);
}
