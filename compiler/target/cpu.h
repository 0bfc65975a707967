/* Inside the CPU target. */
#ifndef MDL_TARGET_CPU_H
#define MDL_TARGET_CPU_H

#include "compiler/kernel/attention.h"
#include "compiler/kernel/loop.h"
#include "compiler/target/target.h"

/* A row kernel as a C function of runtime/device/kernel_abi.h. Immediates: 0 rows, 1 rows of a chunk, then the body's integers.
 * NULL and *error when a dtype has no C here. */
const char *mdl_cpu_print_row(mdl_arena *arena, const mdl_loop_kernel *kernel, const char *symbol, const char **error);

/* A pasted body as a function that a template calls for `rows` rows from `first` of one head: it fills the tile
 * leaf[row - first][column], or with `store` takes it from there. */
const char *mdl_cpu_print_pasted(mdl_arena *arena, const mdl_loop_kernel *kernel, const char *symbol, bool store,
                                 const char **error);

/* The text of a fused attention; NULL, or why there is none. */
const char *mdl_cpu_fused_attention(mdl_arena *arena, const mdl_op *fused, const char **text);

/* Compiles the kernels' source for the plan's instruction set; stores kernels/cpu.c and kernels/cpu.so in the plan. */
mdl_status mdl_cpu_compile(mdl_plan *plan);

#endif
