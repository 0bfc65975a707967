/* The house rules, checked over the sources: who may include and use whom, no model's name in C, and files and functions of a
 * readable size. Each rule is first shown to catch a planted offence. */
#include <ctype.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "tests/check.h"
#include "tests/end_to_end/circles.h"

enum { MAX_ALLOWED = 16, LINES = 600, FUNCTION_LINES = 40, MEDIAN_LINES = 15 };

/* Every folder's arrows: a file may include, and use, its own folder's files and those below `allowed`. */
typedef struct {
    const char *folder, *allowed[MAX_ALLOWED];
} rule;
static const rule rules[] = {
    {"runtime/base/", {0}},
    {"runtime/plan/", {"runtime/base/"}},
    {"runtime/device/", {"runtime/base/", "runtime/plan/"}},
    {"runtime/device/cuda/", {"runtime/base/", "runtime/plan/", "runtime/device/"}},
    {"runtime/data/", {"runtime/base/", "runtime/plan/"}},
    {"runtime/report/", {"runtime/base/"}},
    {"runtime/weights/", {"runtime/base/", "runtime/plan/"}},
    {"runtime/checkpoint/", {"runtime/base/", "runtime/plan/", "runtime/device/device.h"}},
    {"runtime/train/",
     {"runtime/base/", "runtime/plan/", "runtime/device/", "runtime/data/", "runtime/report/", "runtime/weights/",
      "runtime/checkpoint/"}},
    {"runtime/profile/",
     {"runtime/base/", "runtime/plan/", "runtime/device/", "runtime/data/", "runtime/report/", "runtime/train/"}},
    {"runtime/diff/", {"runtime/base/", "runtime/plan/", "runtime/device/", "runtime/train/"}},
    {"runtime/command/",
     {"runtime/base/", "runtime/plan/", "runtime/device/", "runtime/report/", "runtime/data/", "runtime/train/", "runtime/profile/",
      "runtime/weights/", "runtime/diff/"}},
    {"runtime/", {"runtime/base/", "runtime/command/", "runtime/device/cuda/"}},
    {"grammar/", {"runtime/base/", "mdl_parser.h", "mdl_lexer.h"}},
    {"compiler/ir/", {"compiler/op/", "runtime/base/"}},
    {"compiler/op/", {"compiler/ir/", "compiler/kernel/", "runtime/base/"}},
    {"compiler/kernel/", {"compiler/ir/", "compiler/op/", "runtime/base/"}},
    {"compiler/kernel/cpu/", {0}},
    {"compiler/kernel/cuda/", {0}},
    {"compiler/target/", {"compiler/ir/", "compiler/op/", "compiler/kernel/", "runtime/base/", "runtime/plan/"}},
    {"compiler/front/", {"compiler/ir/", "compiler/op/", "grammar/", "runtime/base/"}},
    {"compiler/pass/",
     {"compiler/ir/", "compiler/op/", "compiler/kernel/", "compiler/target/target.h", "compiler/passes.def", "runtime/base/",
      "runtime/plan/"}},
    {"compiler/emit/",
     {"compiler/ir/", "compiler/op/", "compiler/kernel/", "compiler/pass/", "compiler/target/", "runtime/base/", "runtime/plan/"}},
    {"compiler/", {"compiler/", "grammar/", "runtime/base/", "runtime/plan/"}},
};

static const char *const model_names[] = {"esm", "amplify", "llama", "uniref", "bert"};

typedef MDL_VEC(const char *) paths;
static struct {
    mdl_arena *memory;
    size_t root; /* letters of the source folder's path, and the slash */
    paths found;
} walk;

static bool starts(const char *text, const char *prefix) { return !strncmp(text, prefix, strlen(prefix)); }

static bool ends(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static int visit(const char *path, const struct stat *facts, int type, struct FTW *at) {
    static const char *const kinds[] = {".c", ".h", ".l", ".y", ".def", ".in"};
    (void)facts, (void)at;
    for (size_t i = 0; type == FTW_F && i < sizeof kinds / sizeof *kinds; i++)
        if (ends(path, kinds[i])) MDL_PUSH(walk.memory, walk.found, mdl_strdup(walk.memory, path + walk.root));
    return 0;
}

/* Sources below the folders, from the root. */
static paths sources(mdl_test *t, mdl_arena *memory, int n, const char *const *folders) {
    walk.memory = memory;
    walk.root = strlen(mdl_test_source(t)) + 1;
    walk.found = (paths){0};
    for (int i = 0; i < n; i++) nftw(mdl_printf(memory, "%s/%s", mdl_test_source(t), folders[i]), visit, 16, FTW_PHYS);
    return walk.found;
}

static char *read_source(mdl_test *t, mdl_arena *memory, const char *path) {
    mdl_text text = {.arena = memory};
    char block[4096];
    FILE *f = fopen(mdl_printf(memory, "%s/%s", mdl_test_source(t), path), "r");
    CHECK(t, f, "cannot read %s", path);
    mdl_text_append(&text, "", 0);
    for (size_t n; f && (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    if (f) fclose(f);
    return text.at;
}

/* The row of a file's folder, or NULL. */
static const rule *rule_of(const char *file) {
    size_t n = (size_t)(strrchr(file, '/') - file + 1);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strlen(rules[i].folder) == n && starts(file, rules[i].folder)) return &rules[i];
    return NULL;
}

/* Whether `file` may hold #include "included", or use what it defines. */
static bool may_include(const char *file, const char *included) {
    const rule *row = rule_of(file);
    if (!row) return false;
    size_t n = strlen(row->folder);
    if (starts(included, row->folder) && !strchr(included + n, '/')) return true;
    for (int k = 0; k < MAX_ALLOWED && row->allowed[k]; k++)
        if (starts(included, row->allowed[k])) return true;
    return false;
}

/* The next #include "..." at or after *at, copied out; NULL at the end. */
static const char *next_include(mdl_arena *memory, const char **at) {
    static const char word[] = "#include \"";
    const char *found = strstr(*at, word);
    if (!found) return NULL;
    found += strlen(word);
    *at = found + strcspn(found, "\"\n");
    return mdl_strndup(memory, found, (size_t)(*at - found));
}

static void check_includes(mdl_test *t, mdl_arena *memory, const paths *files) {
    int seen = 0;
    for (int i = 0; i < files->n; i++) {
        const char *at = read_source(t, memory, files->at[i]);
        CHECK(t, rule_of(files->at[i]), "the folder of %s has no row of arrows", files->at[i]);
        for (const char *name; (name = next_include(memory, &at)); seen++)
            CHECK(t, may_include(files->at[i], name), "%s may not include %s", files->at[i], name);
    }
    CHECK(t, seen > 200, "only %d includes were seen", seen);
}

static void check_include_rule(mdl_test *t) {
    CHECK(t, may_include("runtime/train/step.c", "runtime/data/loader.h"), "downwards");
    CHECK(t, may_include("compiler/emit/place.c", "compiler/emit/emit.h"), "its own folder");
    CHECK(t, !may_include("runtime/train/step.c", "compiler/ir/ir.h"), "the runtime may not use the compiler");
    CHECK(t, !may_include("compiler/emit/place.c", "runtime/device/device.h"), "the compiler may not use the device");
    CHECK(t, !may_include("runtime/data/pack.c", "runtime/train/run.h"), "upwards");
    CHECK(t, !may_include("runtime/plan/read.c", "grammar/ast.h"), "the plan may not use the grammar");
    CHECK(t, !may_include("grammar/parse.c", "compiler/ir/ir.h"), "the grammar may not use the compiler");
    CHECK(t, !may_include("compiler/ir/ir.c", "compiler/pass/pass.h"), "the IR may not use the passes");
    CHECK(t, !may_include("compiler/new/new.c", "runtime/base/arena.h"), "a folder without a row");
}

/* ---- cycles ---- */

typedef struct {
    mdl_test *t;
    mdl_arena *memory;
    const paths *files;
    const char **text; /* of each */
    char *state;       /* 0 not seen, 1 being visited, 2 done */
} graph;

static int find(const graph *g, const char *name) {
    for (int i = 0; i < g->files->n; i++)
        if (!strcmp(g->files->at[i], name)) return i;
    return -1;
}

static bool has_cycle(graph *g, int i) {
    if (g->state[i]) return g->state[i] == 1;
    const char *at = g->text[i];
    bool cycle = false;
    g->state[i] = 1;
    for (const char *name; !cycle && (name = next_include(g->memory, &at));) {
        int to = find(g, name);
        cycle = to >= 0 && has_cycle(g, to);
    }
    g->state[i] = 2;
    return cycle;
}

static graph make_graph(mdl_test *t, mdl_arena *memory, const paths *files) {
    graph g = {t, memory, files, MDL_NEW_ARRAY(memory, const char *, files->n), MDL_NEW_ARRAY(memory, char, files->n)};
    for (int i = 0; i < files->n; i++) g.text[i] = ends(files->at[i], ".def") ? "" : read_source(t, memory, files->at[i]);
    return g;
}

static void check_cycles(mdl_test *t, mdl_arena *memory, const paths *files) {
    graph g = make_graph(t, memory, files);
    for (int i = 0; i < files->n; i++) CHECK(t, !has_cycle(&g, i), "%s includes itself through others", files->at[i]);
    int ir = find(&g, "runtime/base/arena.h"), user = find(&g, "runtime/base/safetensors.h");
    CHECK(t, ir >= 0 && user >= 0, "headers have moved: the planted cycle needs others");
    if (ir < 0 || user < 0) return;
    g.text[ir] = "#include \"runtime/base/safetensors.h\"\n";
    memset(g.state, 0, (size_t)files->n);
    CHECK(t, has_cycle(&g, user), "a planted cycle is not seen");
}

/* A pass knows the pipeline's contract and helpers shared by passes, but no other pass. */
static void check_passes(mdl_test *t, mdl_arena *memory, const paths *files) {
    for (int i = 0; i < files->n; i++) {
        if (!starts(files->at[i], "compiler/pass/") || !ends(files->at[i], ".c")) continue;
        const char *at = read_source(t, memory, files->at[i]);
        for (const char *name; (name = next_include(memory, &at));)
            CHECK(t, !starts(name, "compiler/pass/") || !strcmp(name, "compiler/pass/pass.h"), "%s includes %s", files->at[i],
                  name);
    }
}

/* ---- names and sizes ---- */

static const char *model_name_in(const char *text) {
    for (const char *at = text; *at; at++)
        for (size_t i = 0; i < sizeof model_names / sizeof *model_names; i++)
            if ((at == text || !isalpha((unsigned char)at[-1])) && !strncasecmp(at, model_names[i], strlen(model_names[i])))
                return at;
    return NULL;
}

static void check_names(mdl_test *t, mdl_arena *memory, const paths *files) {
    CHECK(t, model_name_in("if (!strcmp(model, \"ESM2\"))") && !model_name_in("a lesmore resmoothed x"), "the search itself");
    for (int i = 0; i < files->n; i++) {
        const char *found = model_name_in(read_source(t, memory, files->at[i]));
        /* data/uniref_sample is the default value of a training option: data, and no model. */
        if (found && starts(found, "uniref_sample.fasta.gz") && starts(files->at[i], "runtime/train/config.def")) continue;
        CHECK(t, !found, "%s names a model: %.40s", files->at[i], found);
    }
}

static int count_lines(const char *text) {
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static void check_lines(mdl_test *t, mdl_arena *memory, const paths *files) {
    for (int i = 0; i < files->n; i++) {
        char *text = read_source(t, memory, files->at[i]);
        CHECK(t, count_lines(text) < LINES, "%s has %d lines", files->at[i], count_lines(text));
        CHECK(t, starts(text, "/*") || starts(text, "# "), "%s does not open with a comment", files->at[i]);
    }
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

typedef MDL_VEC(int) numbers;

/* Functions as the style writes them: a line at the margin that ends with ") {", up to a line that is "}". */
static void measure(mdl_test *t, mdl_arena *memory, const char *path, numbers *lengths) {
    int line = 0, start = 0;
    bool flat_switch = false;
    char *text = read_source(t, memory, path);
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = 0;
        line++;
        if (isalpha((unsigned char)*at) && ends(at, ") {")) start = line, flat_switch = false;
        if (starts(at, "    switch (")) flat_switch = true;
        if (strcmp(at, "}") || !start) continue;
        int length = line - start + 1;
        CHECK(t, length <= FUNCTION_LINES || flat_switch, "%s:%d: a function of %d lines", path, start, length);
        MDL_PUSH(memory, *lengths, length);
        start = 0;
    }
}

static void check_functions(mdl_test *t, mdl_arena *memory, const paths *files) {
    numbers lengths = {0};
    for (int i = 0; i < files->n; i++)
        if (ends(files->at[i], ".c")) measure(t, memory, files->at[i], &lengths);
    CHECK(t, lengths.n > 500, "only %d functions were seen", lengths.n);
    if (!lengths.n) return;
    qsort(lengths.at, (size_t)lengths.n, sizeof(int), ascending);
    CHECK(t, lengths.at[lengths.n / 2] <= MEDIAN_LINES, "half of the functions have more than %d lines", lengths.at[lengths.n / 2]);
}

void suite_layers(mdl_test *t) {
    static const char *const code[] = {"compiler", "grammar", "runtime", "tests"};
    mdl_arena *memory = mdl_arena_new();
    paths all = sources(t, memory, 4, code), product = sources(t, memory, 3, code);
    if (mdl_case(t, "layers: the include rule catches planted offences")) check_include_rule(t);
    if (mdl_case(t, "layers: includes go downwards")) check_includes(t, memory, &product);
    if (mdl_case(t, "layers: no cycles of includes")) check_cycles(t, memory, &all);
    if (mdl_case(t, "layers: no pass includes another")) check_passes(t, memory, &product);
    if (mdl_case(t, "layers: no model's name in compiler, grammar or runtime")) check_names(t, memory, &product);
    if (mdl_case(t, "layers: files under 600 lines that open with a comment")) check_lines(t, memory, &all);
    if (mdl_case(t, "layers: functions of at most 40 lines, half of them of at most 15")) check_functions(t, memory, &product);
    mdl_test_circles(t, may_include);
    mdl_arena_free(memory);
}
