/* The file of choices. */
#include "runtime/device/cuda/gemm_cache.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"

typedef struct {
    const char *library, *gpu, *problem, *algorithm;
} choice;

typedef struct {
    MDL_VEC(choice) rows;
    bool damaged;
} table;

struct mdl_gemm_cache {
    mdl_arena *memory;
    const char *path, *library, *gpu;
    table pinned, known, fresh; /* a run's own; as read; as put since */
};

const char *mdl_gemm_cache_path(mdl_arena *memory) { return mdl_file_in_cache(memory, "gemm.json"); }

/* ---- reading ---- */
static bool is_hex(const char *text) {
    size_t n = strlen(text);
    return n && n % 2 == 0 && strspn(text, "0123456789abcdef") == n;
}

static bool parse(mdl_arena *memory, const char *line, choice *to) {
    const char *library, *gpu, *problem, *algorithm;
    json_t *row = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    bool ok = row && !json_unpack(row, "{s:s, s:s, s:s, s:s !}", "library", &library, "gpu", &gpu, "problem", &problem, "algorithm",
                                  &algorithm);
    ok = ok && is_hex(algorithm);
    if (ok)
        *to = (choice){mdl_strdup(memory, library), mdl_strdup(memory, gpu), mdl_strdup(memory, problem),
                       mdl_strdup(memory, algorithm)};
    json_decref(row);
    return ok;
}

/* A file that is not there is an empty one. */
static table read_table(mdl_arena *memory, const char *path) {
    table all = {0};
    char *line = NULL;
    size_t room = 0;
    choice row;
    FILE *f = path ? fopen(path, "r") : NULL;
    while (f && getline(&line, &room, f) > 0)
        if (parse(memory, line, &row))
            MDL_PUSH(memory, all.rows, row);
        else
            all.damaged = true;
    free(line);
    if (f) fclose(f);
    return all;
}

mdl_gemm_cache *mdl_gemm_cache_open(mdl_arena *memory, const char *path, const char *library, const char *gpu) {
    mdl_gemm_cache *cache = MDL_NEW(memory, mdl_gemm_cache);
    *cache = (mdl_gemm_cache){.memory = memory,
                              .path = path ? mdl_strdup(memory, path) : NULL,
                              .library = mdl_strdup(memory, library),
                              .gpu = mdl_strdup(memory, gpu),
                              .known = read_table(memory, path)};
    return cache;
}

bool mdl_gemm_cache_was_damaged(const mdl_gemm_cache *cache) { return cache->known.damaged; }

/* ---- looking up ---- */
static const choice *find(const table *in, const char *library, const char *gpu, const char *problem) {
    for (int i = 0; i < in->rows.n; i++) {
        const choice *c = &in->rows.at[i];
        if (!strcmp(c->library, library) && !strcmp(c->gpu, gpu) && !strcmp(c->problem, problem)) return c;
    }
    return NULL;
}

static unsigned digit(char c) { return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10); }

bool mdl_gemm_cache_find(const mdl_gemm_cache *cache, const char *problem, void *algorithm, size_t bytes) {
    const choice *c = find(&cache->pinned, cache->library, cache->gpu, problem);
    if (!c) c = find(&cache->fresh, cache->library, cache->gpu, problem);
    if (!c) c = find(&cache->known, cache->library, cache->gpu, problem);
    if (!c || strlen(c->algorithm) != 2 * bytes) return false;
    unsigned char *to = algorithm;
    for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)(digit(c->algorithm[2 * i]) << 4 | digit(c->algorithm[2 * i + 1]));
    return true;
}

const char *mdl_gemm_cache_hex(mdl_arena *memory, const void *algorithm, size_t bytes) {
    mdl_text hex = {.arena = memory};
    for (size_t i = 0; i < bytes; i++) mdl_text_printf(&hex, "%02x", ((const unsigned char *)algorithm)[i]);
    return hex.at;
}

static void add(mdl_gemm_cache *cache, table *to, const char *problem, const char *hex) {
    choice c = {cache->library, cache->gpu, mdl_strdup(cache->memory, problem), hex};
    MDL_PUSH(cache->memory, to->rows, c);
}

void mdl_gemm_cache_put(mdl_gemm_cache *cache, const char *problem, const void *algorithm, size_t bytes) {
    add(cache, &cache->fresh, problem, mdl_gemm_cache_hex(cache->memory, algorithm, bytes));
}

void mdl_gemm_cache_pin(mdl_gemm_cache *cache, const char *problem, const char *hex) {
    if (is_hex(hex)) add(cache, &cache->pinned, problem, mdl_strdup(cache->memory, hex));
}

/* ---- writing ---- */
static void print_row(FILE *out, const choice *c) {
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s}", "library", c->library, "gpu", c->gpu, "problem", c->problem, "algorithm", c->algorithm);
    json_dumpf(row, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(row);
}

static mdl_status make_folder_of(mdl_arena *memory, const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? mdl_file_make_folder(mdl_strndup(memory, path, (size_t)(slash - path))) : MDL_OK;
}

mdl_status mdl_gemm_cache_save(mdl_gemm_cache *cache) {
    mdl_new_file file;
    if (!cache->path || (!cache->fresh.rows.n && !cache->known.damaged)) return MDL_OK;
    table now = read_table(cache->memory, cache->path);
    mdl_status status = make_folder_of(cache->memory, cache->path);
    if (!status) status = mdl_file_create(cache->path, &file);
    if (status) return status;
    for (int i = 0; i < now.rows.n; i++) {
        const choice *c = &now.rows.at[i];
        if (!find(&cache->fresh, c->library, c->gpu, c->problem)) print_row(file.out, c);
    }
    for (int i = 0; i < cache->fresh.rows.n; i++) print_row(file.out, &cache->fresh.rows.at[i]);
    return mdl_file_commit(&file, MDL_OK);
}
