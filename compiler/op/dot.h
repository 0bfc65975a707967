/* The axes of a dot by label, for its gradient, its evaluation and the choice of a GEMM. */
#ifndef MDL_OP_DOT_H
#define MDL_OP_DOT_H

#include "compiler/ir/ir.h"

typedef struct {
    int a[MDL_MAX_RANK], b[MDL_MAX_RANK]; /* label of each operand axis */
    int out[2 * MDL_MAX_RANK], n_out;     /* labels of the result's axes */
} mdl_dot_axes;

void mdl_dot_axes_of(const mdl_op *op, mdl_dot_axes *axes);

/* Which operand the sums start from, which is the bias (one element for each place in b's own axes, added everywhere else): the
 * attributes {init = 1, bias = 1} say that they are there, in this order behind a and b. -1: none. */
int mdl_dot_init(const mdl_op *op);
int mdl_dot_bias(const mdl_op *op);
/* The first of the two scales behind them, {scales = 1}, or -1. */
int mdl_dot_scales(const mdl_op *op);

#endif
