/* Expressions of the loop IR in C, which the printers of all targets share. Functions and types that a text needs beyond C come
 * from the target's prelude. */
#ifndef MDL_TARGET_C_EXPR_H
#define MDL_TARGET_C_EXPR_H

#include "compiler/kernel/loop.h"

typedef struct {
    const char *reg, *memory; /* C types in a register and in memory; NULL: there is none */
} mdl_c_type;
extern const mdl_c_type mdl_c_types[MDL_DTYPE_COUNT];

/* NULL, or a dtype of the kernel that has no C. */
const char *mdl_c_unsupported(mdl_arena *arena, const mdl_loop_kernel *kernel);

/* "320 * row + i2": loop variables are called i<var>; the row `row`, the head `head`. Where `moved` is a variable (else -1) it is
 * written (i<var> + v): element v of a vector that begins at i<var>. */
const char *mdl_c_affine(mdl_arena *arena, const mdl_affine *affine, int moved);
const char *mdl_c_constant(mdl_arena *arena, mdl_dtype dtype, double x);
/* What a COMPUTE statement computes of its operands' texts. */
const char *mdl_c_compute(mdl_arena *arena, const mdl_loop_kernel *kernel, const char *const *reg, const mdl_loop_stmt *s);
const char *mdl_c_neutral(mdl_opcode op, mdl_dtype dtype);
/* "to += x", or the larger of both. */
const char *mdl_c_fold(mdl_arena *arena, mdl_opcode op, const char *to, const char *x);

#endif
