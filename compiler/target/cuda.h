/* Inside the CUDA target. */
#ifndef MDL_TARGET_CUDA_H
#define MDL_TARGET_CUDA_H

#include "compiler/kernel/loop.h"
#include "compiler/target/target.h"

/* A row kernel. `buffers` and `integers` of the launch; *threads of a block. NULL and *error when a dtype has no C here. */
const char *mdl_cuda_print_row(mdl_arena *arena, const mdl_loop_kernel *kernel, int buffers, int integers, const char *symbol,
                               int *threads, const char **error);

/* NULL, or why plan->isa cannot be a list of arches such as this: "sm_80,sm_90a,compute_90" or "host". */
const char *mdl_cuda_refuses_arches(mdl_arena *arena, const char *arches);
/* NULL, or which of them is too old for products of 8-bit operands. */
const char *mdl_cuda_refuses_fp8(mdl_arena *arena, const char *arches);

/* Is the code for Hopper alone, or for the emulator, which does what Hopper does? Then kernels may need it. */
bool mdl_cuda_is_hopper(const char *arches);

/* Compiles each kernel for each arch of plan->isa by NVRTC, or all of them for the emulator; stores the code in the plan's files
 * and what it takes in the kernels' resources. The same plan gives the same bytes. Code that has been made before comes from a
 * folder of the user's, ${XDG_CACHE_HOME:-$HOME/.cache}/mdl/kernels; MDL_CACHE=off does without. */
mdl_status mdl_cuda_compile(mdl_plan *plan);

#endif
