/* The programs of the kernels suite. */
#ifndef MDL_TESTS_COMPILER_KERNELS_H
#define MDL_TESTS_COMPILER_KERNELS_H

#include "compiler/ir/ir.h"

/* The ops of a program; $T stands for rows, $C for columns, $D for twice $C, $E for $C + 5. Values are those of draw.h. */
typedef struct {
    const char *name, *text;
} mdl_kernel_case;
extern const mdl_kernel_case mdl_kernel_cases[]; /* ends in a row of NULLs */

/* What the target does not have yet: each is refused with a message, never compiled wrongly. */
extern const mdl_kernel_case mdl_refused_cases[]; /* ends in a row of NULLs */

/* A random program over [rows, ...] tensors: elementwise ops, views, broadcasts, reductions, gathers. The same seed gives the same. */
mdl_region *mdl_random_program(mdl_arena *arena, uint64_t seed, int64_t rows, int64_t columns);

#endif
