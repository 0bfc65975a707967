/* The random programs of the kernels suite. */
#ifndef MDL_TESTS_COMPILER_KERNELS_H
#define MDL_TESTS_COMPILER_KERNELS_H

#include "compiler/ir/ir.h"

/* A random program over [rows, ...] tensors: elementwise ops, views, broadcasts, reductions, gathers. The same seed gives the same.
 */
mdl_region *mdl_random_program(mdl_arena *arena, uint64_t seed, int64_t rows, int64_t columns);

#endif
