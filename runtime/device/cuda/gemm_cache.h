/* The choices of algorithms for products, kept in a file, so that two runs compute with the same ones and give the same bits. A
 * line of JSON for each: {"library": ..., "gpu": ..., "problem": ..., "algorithm": hex digits}. */
#ifndef MDL_DEVICE_CUDA_GEMM_CACHE_H
#define MDL_DEVICE_CUDA_GEMM_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

typedef struct mdl_gemm_cache mdl_gemm_cache;

/* $XDG_CACHE_HOME/mdl/gemm.json, by default ~/.cache/mdl/gemm.json; NULL: there is no home. */
const char *mdl_gemm_cache_path(mdl_arena *memory);
/* Reads the lines about this library and GPU; what is not as described is left out, and the file written anew when it is saved.
 * path may be NULL: then nothing is kept. Lives in `memory`. */
mdl_gemm_cache *mdl_gemm_cache_open(mdl_arena *memory, const char *path, const char *library, const char *gpu);
bool mdl_gemm_cache_was_damaged(const mdl_gemm_cache *cache);
/* False: there is no choice for this problem, of exactly `bytes` bytes. */
bool mdl_gemm_cache_find(const mdl_gemm_cache *cache, const char *problem, void *algorithm, size_t bytes);
/* A choice that goes before those of the file, and is not written to it. hex: as mdl_gemm_cache_hex gives it. */
void mdl_gemm_cache_pin(mdl_gemm_cache *cache, const char *problem, const char *hex);
const char *mdl_gemm_cache_hex(mdl_arena *memory, const void *algorithm, size_t bytes);
void mdl_gemm_cache_put(mdl_gemm_cache *cache, const char *problem, const void *algorithm, size_t bytes);
/* Writes the file, when there is something new, in one piece. Lines that others have added meanwhile stay. */
mdl_status mdl_gemm_cache_save(mdl_gemm_cache *cache);

#endif
