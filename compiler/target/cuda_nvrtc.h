/* NVRTC, CUDA's compiler as a library: loaded when it is needed, so that the compiler builds and runs without it. */
#ifndef MDL_TARGET_CUDA_NVRTC_H
#define MDL_TARGET_CUDA_NVRTC_H

#include "runtime/plan/plan.h"

typedef struct mdl_nvrtc mdl_nvrtc;

/* The library, which stays loaded; says what was tried when there is none. */
mdl_status mdl_nvrtc_open(mdl_arena *arena, const mdl_nvrtc **nvrtc);

const char *mdl_nvrtc_version(mdl_arena *arena, const mdl_nvrtc *nvrtc); /* "13.0" */

/* Everything beside the text that code depends on: options and the library's version. */
const char *mdl_nvrtc_recipe(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *arch);

typedef struct {
    const char *bytes; /* cubin; PTX when the arch is compute_* */
    int64_t size;
    mdl_plan_resources resources; /* of PTX: 0 */
} mdl_cuda_code;

/* Compiles one text with one kernel. On failure the status holds the first lines of the compiler's messages; `symbol` is what they
 * call the file. */
mdl_status mdl_nvrtc_compile(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *symbol, const char *text, const char *arch,
                             mdl_cuda_code *code);

bool mdl_cuda_is_ptx(const char *arch); /* compute_90 */

#endif
