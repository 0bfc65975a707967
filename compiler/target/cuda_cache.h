/* Native code of kernels that have been compiled before, in a folder of the user's. */
#ifndef MDL_TARGET_CUDA_CACHE_H
#define MDL_TARGET_CUDA_CACHE_H

#include "compiler/target/cuda_nvrtc.h"

typedef struct {
    const char *folder; /* NULL: none */
    int damaged;        /* files that were thrown away */
} mdl_cuda_cache;

/* The user's folder, made when it is not there; none with MDL_CACHE=off or when there can be none. */
mdl_cuda_cache mdl_cuda_cache_open(mdl_arena *arena);
/* The code under this key, whole; false when there is none. A damaged file is removed. */
bool mdl_cuda_cache_find(mdl_arena *arena, mdl_cuda_cache *cache, const char *key, mdl_cuda_code *code);
/* Keeps code under a key. That it cannot be kept is no error. */
void mdl_cuda_cache_store(mdl_arena *arena, const mdl_cuda_cache *cache, const char *key, const mdl_cuda_code *code);

#endif
