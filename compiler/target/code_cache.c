/* A file is the code as it is, which tools read, then the hash of it. It appears under its name when it is whole, so that compilers
 * may run side by side. Its time of modification is that of its last use. */
#include "compiler/target/code_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/plan/plan.h"

enum { HASH = 32 };

mdl_code_cache mdl_code_cache_open(mdl_arena *arena) {
    const char *asked = getenv("MDL_CACHE"), *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (asked && !strcmp(asked, "off")) return (mdl_code_cache){0};
    const char *folder = NULL;
    if (caches && *caches == '/') folder = mdl_printf(arena, "%s/mdl/kernels", caches);
    if (!folder && home && *home == '/') folder = mdl_printf(arena, "%s/.cache/mdl/kernels", home);
    mdl_status status = folder ? mdl_file_make_folder(folder) : MDL_OK;
    if (status) folder = NULL;
    mdl_status_free(status);
    return (mdl_code_cache){.folder = folder};
}

static const char *path_of(mdl_arena *arena, const mdl_code_cache *cache, const char *name) {
    return mdl_printf(arena, "%s/%s", cache->folder, name);
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

bool mdl_code_cache_find(mdl_arena *arena, mdl_code_cache *cache, const char *name, mdl_text *code) {
    const char *path = cache->folder ? path_of(arena, cache, name) : NULL;
    if (!path || !read_all(arena, path, code)) return false;
    if (code->n > HASH) {
        code->n -= HASH;
        if (!memcmp(mdl_plan_hash(arena, code->at, (int64_t)code->n), code->at + code->n, HASH)) {
            utimensat(AT_FDCWD, path, NULL, 0); /* used now */
            return true;
        }
    }
    cache->damaged++;
    unlink(path);
    return false;
}

void mdl_code_cache_store(mdl_arena *arena, mdl_code_cache *cache, const char *name, const mdl_text *code) {
    if (!cache->folder) return;
    mdl_text file = {.arena = arena};
    mdl_text_append(&file, code->at, code->n);
    mdl_text_append(&file, mdl_plan_hash(arena, code->at, (int64_t)code->n), HASH);
    mdl_status_free(mdl_file_write(path_of(arena, cache, name), file.at, file.n));
    cache->grew = true;
}

void mdl_code_cache_close(mdl_arena *arena, const mdl_code_cache *cache) {
    if (cache->damaged)
        fprintf(stderr, "mdlc: note: %d damaged files in %s were thrown away and made again\n", cache->damaged, cache->folder);
    if (cache->grew) mdl_code_cache_prune(arena, cache, MDL_CODE_CACHE_BYTES);
}

/* ---- pruning ---- */
typedef struct {
    const char *path;
    int64_t bytes;
    struct timespec used;
} entry;
typedef MDL_VEC(entry) entries;

static int by_use(const void *a, const void *b) {
    const struct timespec *x = &((const entry *)a)->used, *y = &((const entry *)b)->used;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Also what a compiler that was killed has left unfinished. */
static entries list(mdl_arena *arena, const mdl_code_cache *cache) {
    entries all = {0};
    DIR *folder = opendir(cache->folder);
    for (struct dirent *at; folder && (at = readdir(folder));) {
        struct stat facts;
        const char *path = path_of(arena, cache, at->d_name);
        if (lstat(path, &facts) || !S_ISREG(facts.st_mode)) continue;
        MDL_PUSH(arena, all, ((entry){path, facts.st_size, facts.st_mtim}));
    }
    if (folder) closedir(folder);
    return all;
}

void mdl_code_cache_prune(mdl_arena *arena, const mdl_code_cache *cache, int64_t most) {
    int64_t bytes = 0;
    entries all = {0};
    if (cache->folder) all = list(arena, cache);
    for (int i = 0; i < all.n; i++) bytes += all.at[i].bytes;
    if (bytes <= most) return;
    qsort(all.at, (size_t)all.n, sizeof *all.at, by_use);
    for (int i = 0; i < all.n && bytes > most; i++)
        if (!unlink(all.at[i].path)) bytes -= all.at[i].bytes;
}
