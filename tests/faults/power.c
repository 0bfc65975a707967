/* A file system in memory: each file and folder as programs see it, and as it is on disk.
 *
 * A log is records "KIND A-LENGTH B-LENGTH OFFSET N\n", A, B, N bytes: write (A, at OFFSET), create (A; OFFSET 1: emptied), sync
 * (A, a file or a folder), rename and exchange (A to B), mkdir, remove (A). */
#include "tests/faults/power.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    char *at;
    size_t n;
} bytes;

typedef struct node node;
typedef struct {
    const char *name;
    node *to;
} entry;
typedef MDL_VEC(entry) names;

struct node {
    bool folder;
    bytes seen, safe; /* of a file */
    names in, kept;   /* of a folder: as seen, and on disk */
};

typedef struct {
    const char *kind, *a, *b; /* paths below the run's folder */
    long offset;
    bytes data;
} call;

struct mdl_power {
    mdl_arena *memory;
    const char *dir;
    MDL_VEC(call) calls;
};

/* ---- the log ---- */
static const char *below(const mdl_power *p, const char *path) {
    size_t n = strlen(p->dir);
    if (strncmp(path, p->dir, n)) return path;
    return path[n] == '/' ? path + n + 1 : path + n;
}

static char *take(mdl_arena *memory, FILE *f, size_t n) {
    char *text = mdl_alloc(memory, n + 1);
    return fread(text, 1, n, f) == n ? text : NULL;
}

mdl_power *mdl_power_open(mdl_arena *memory, const char *path, const char *dir) {
    mdl_power *p = MDL_NEW(memory, mdl_power);
    char kind[16];
    size_t a, b;
    call c = {0};
    FILE *f = fopen(path, "r");
    *p = (mdl_power){.memory = memory, .dir = dir};
    bool good = f != NULL;
    while (good && fscanf(f, "%15s %zu %zu %ld %zu", kind, &a, &b, &c.offset, &c.data.n) == 5) {
        good = fgetc(f) == '\n' && (c.a = take(memory, f, a)) && (c.b = take(memory, f, b));
        good = good && (c.data.at = take(memory, f, c.data.n));
        if (!good) break;
        c.kind = mdl_strdup(memory, kind);
        c.a = below(p, c.a);
        c.b = below(p, c.b);
        MDL_PUSH(memory, p->calls, c);
    }
    good = good && feof(f);
    if (f) fclose(f);
    return good ? p : NULL;
}

int mdl_power_calls(const mdl_power *p) { return p->calls.n; }

const char *mdl_power_call(const mdl_power *p, int i) {
    const call *c = &p->calls.at[i];
    return mdl_printf(p->memory, "%s %s %s", c->kind, c->a, c->b);
}

/* ---- the file system ---- */
static node *new_node(mdl_arena *memory, bool folder) {
    node *n = MDL_NEW(memory, node);
    n->folder = folder;
    return n;
}

static entry *find(names *in, const char *name, size_t n) {
    for (int i = 0; i < in->n; i++)
        if (strlen(in->at[i].name) == n && !strncmp(in->at[i].name, name, n)) return &in->at[i];
    return NULL;
}

/* The folder that a path's last name is in, and that name; NULL: there is no such folder. */
static node *folder_of(node *root, const char *path, const char **name) {
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        entry *e = slash > path ? find(&root->in, path, (size_t)(slash - path)) : NULL;
        if (slash > path && !e) return NULL;
        if (e) root = e->to;
    }
    *name = path;
    return root;
}

static entry *look_up(node *root, const char *path) {
    const char *name;
    node *folder = folder_of(root, path, &name);
    return folder ? find(&folder->in, name, strlen(name)) : NULL;
}

/* Gives a name to a node; NULL takes the name away. */
static void set(mdl_arena *memory, node *root, const char *path, node *to) {
    const char *name;
    node *folder = folder_of(root, path, &name);
    entry *e = folder ? find(&folder->in, name, strlen(name)) : NULL, fresh = {name, to};
    if (e && to)
        e->to = to;
    else if (e)
        *e = folder->in.at[--folder->in.n];
    else if (folder && to)
        MDL_PUSH(memory, folder->in, fresh);
}

static void write_to(mdl_arena *memory, node *file, const call *c) {
    size_t end = (size_t)c->offset + c->data.n;
    char *grown = mdl_alloc(memory, (end > file->seen.n ? end : file->seen.n) + 1);
    if (file->seen.n) memcpy(grown, file->seen.at, file->seen.n);
    memcpy(grown + c->offset, c->data.at, c->data.n);
    file->seen = (bytes){grown, end > file->seen.n ? end : file->seen.n};
}

static void sync_node(mdl_arena *memory, node *n) {
    n->safe = n->seen;
    n->kept = (names){0};
    for (int i = 0; i < n->in.n; i++) MDL_PUSH(memory, n->kept, n->in.at[i]);
}

/* On disk too. */
static void remove_kept(node *root, const char *path) {
    const char *name;
    node *folder = folder_of(root, path, &name);
    entry *e = folder ? find(&folder->kept, name, strlen(name)) : NULL;
    if (e) *e = folder->kept.at[--folder->kept.n];
}

static void play(mdl_arena *memory, node *root, const call *c, bool removals) {
    entry *e = *c->a ? look_up(root, c->a) : NULL;
    node *a = *c->a ? (e ? e->to : NULL) : root;
    if (!strcmp(c->kind, "write") && a) write_to(memory, a, c);
    if (!strcmp(c->kind, "sync") && a) sync_node(memory, a);
    if (!strcmp(c->kind, "create") && !a) set(memory, root, c->a, new_node(memory, false));
    if (!strcmp(c->kind, "create") && a && c->offset) a->seen = (bytes){0};
    if (!strcmp(c->kind, "mkdir")) set(memory, root, c->a, new_node(memory, true));
    if (!strcmp(c->kind, "remove") && removals) remove_kept(root, c->a);
    if (!strcmp(c->kind, "remove")) set(memory, root, c->a, NULL);
    if (!strcmp(c->kind, "rename")) set(memory, root, c->a, NULL), set(memory, root, c->b, a);
    if (strcmp(c->kind, "exchange")) return;
    entry *other = look_up(root, c->b);
    node *b = other ? other->to : NULL;
    set(memory, root, c->a, b);
    set(memory, root, c->b, a);
}

static bool write_out(mdl_arena *memory, const node *n, bool by_name, const char *to) {
    const names *list = by_name ? &n->in : &n->kept;
    if (!n->folder) {
        FILE *f = fopen(to, "w");
        bool good = f && fwrite(n->safe.at, 1, n->safe.n, f) == n->safe.n;
        return f && !fclose(f) && good;
    }
    bool good = true;
    mkdir(to, 0777);
    for (int i = 0; i < list->n && good; i++)
        good = write_out(memory, list->at[i].to, by_name, mdl_printf(memory, "%s/%s", to, list->at[i].name));
    return good;
}

bool mdl_power_fail(mdl_power *p, int calls, mdl_power_names names, const char *to) {
    mdl_arena *memory = mdl_arena_new();
    node *root = new_node(memory, true);
    for (int i = 0; i < calls; i++) play(memory, root, &p->calls.at[i], names == MDL_POWER_REMOVED);
    bool good = write_out(memory, root, names == MDL_POWER_ALL, to);
    mdl_arena_free(memory);
    return good;
}
