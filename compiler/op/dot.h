/* The axes of a dot by label, for its gradient, its evaluation and the choice of a GEMM. */
#ifndef MDL_OP_DOT_H
#define MDL_OP_DOT_H

#include "compiler/ir/ir.h"

typedef struct {
    int a[MDL_MAX_RANK], b[MDL_MAX_RANK]; /* label of each operand axis */
    int out[2 * MDL_MAX_RANK], n_out;     /* labels of the result's axes */
} mdl_dot_axes;

void mdl_dot_axes_of(const mdl_op *op, mdl_dot_axes *axes);

#endif
