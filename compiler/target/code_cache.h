/* Native code that has been compiled before, in a folder of the user's. */
#ifndef MDL_TARGET_CODE_CACHE_H
#define MDL_TARGET_CODE_CACHE_H

#include <stdbool.h>

#include "runtime/base/arena.h"

typedef struct {
    const char *folder; /* NULL: none */
    int damaged;        /* files that were thrown away */
    bool grew;          /* files were added, also by a process that this one has started */
} mdl_code_cache;

/* What the folder may hold before what was not used for longest goes. */
#define MDL_CODE_CACHE_BYTES (INT64_C(1) << 30)

/* The user's folder, made when it is not there; none with MDL_CACHE=off or when there can be none. */
mdl_code_cache mdl_code_cache_open(mdl_arena *arena);
/* What was kept under this name of a file, "<hash of all that it depends on>.cubin", whole; false when there is none. A damaged
 * file is removed. */
bool mdl_code_cache_find(mdl_arena *arena, mdl_code_cache *cache, const char *name, mdl_text *code);
/* Keeps code under a name. That it cannot be kept is no error. */
void mdl_code_cache_store(mdl_arena *arena, mdl_code_cache *cache, const char *name, const mdl_text *code);
/* Says on stderr what was thrown away; prunes a folder that grew. */
void mdl_code_cache_close(mdl_arena *arena, const mdl_code_cache *cache);
/* Removes files, the least recently used first, until those that are left have at most so many bytes. */
void mdl_code_cache_prune(mdl_arena *arena, const mdl_code_cache *cache, int64_t most);

#endif
