/* A file is <key>.cubin: the code as it is, which tools for cubins read, then a record of what it takes and the hash of all that
 * stands before the hash. It appears under its name when it is whole, so that compilers may run side by side. */
#include "compiler/target/cuda_cache.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/file.h"

enum { HASH = 32 };

typedef struct {
    mdl_plan_resources resources;
    char hash[HASH];
} tail;

mdl_cuda_cache mdl_cuda_cache_open(mdl_arena *arena) {
    const char *asked = getenv("MDL_CACHE"), *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (asked && !strcmp(asked, "off")) return (mdl_cuda_cache){0};
    const char *folder = NULL;
    if (caches && *caches == '/') folder = mdl_printf(arena, "%s/mdl/kernels", caches);
    if (!folder && home && *home == '/') folder = mdl_printf(arena, "%s/.cache/mdl/kernels", home);
    mdl_status status = folder ? mdl_file_make_folder(folder) : MDL_OK;
    if (status) folder = NULL;
    mdl_status_free(status);
    return (mdl_cuda_cache){folder, 0};
}

static const char *path_of(mdl_arena *arena, const mdl_cuda_cache *cache, const char *key) {
    return mdl_printf(arena, "%s/%s.cubin", cache->folder, key);
}

static bool read_all(mdl_arena *arena, const char *path, mdl_text *text) {
    FILE *f = fopen(path, "rbe");
    if (!f) return false;
    *text = (mdl_text){.arena = arena};
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f));) mdl_text_append(text, block, n);
    fclose(f);
    return true;
}

bool mdl_cuda_cache_find(mdl_arena *arena, mdl_cuda_cache *cache, const char *key, mdl_cuda_code *code) {
    mdl_text text;
    tail end;
    if (!cache->folder || !read_all(arena, path_of(arena, cache, key), &text)) return false;
    if (text.n > sizeof end) {
        const char *hash = mdl_plan_hash(arena, text.at, (int64_t)text.n - HASH);
        memcpy(&end, text.at + text.n - sizeof end, sizeof end);
        *code = (mdl_cuda_code){text.at, (int64_t)(text.n - sizeof end), end.resources};
        if (!memcmp(hash, end.hash, HASH)) return true;
    }
    cache->damaged++;
    unlink(path_of(arena, cache, key));
    return false;
}

void mdl_cuda_cache_store(mdl_arena *arena, const mdl_cuda_cache *cache, const char *key, const mdl_cuda_code *code) {
    if (!cache->folder) return;
    mdl_text text = {.arena = arena};
    mdl_text_append(&text, code->bytes, (size_t)code->size);
    mdl_text_append(&text, (const char *)&code->resources, sizeof code->resources);
    mdl_text_append(&text, mdl_plan_hash(arena, text.at, (int64_t)text.n), HASH);
    mdl_status_free(mdl_file_write(path_of(arena, cache, key), text.at, text.n));
}
