/* A dot as a batch of matrix products over the memory of its operands: which targets have, and which axes allow it. */
#ifndef MDL_OP_MATRICES_H
#define MDL_OP_MATRICES_H

#include "compiler/ir/ir.h"

/* For each of `batch`, row-major: D[m,n] = op(A)[m,k] . op(B)[k,n]. With trans_a, A is stored [k,m]; ld*: from a row of the stored
 * matrix to the next; stride_*: from a matrix of the batch to the next; in elements. The operands and the result lie in memory
 * row-major and whole. */
typedef struct {
    int64_t m, n, k, batch;
    int64_t lda, ldb, ldd;
    int64_t stride_a, stride_b, stride_d;
    bool trans_a, trans_b;
} mdl_matrices;

/* False: no strides express this dot. Axes that are kept but lie apart (x[T,2,C] summed over the middle) become the batch. */
bool mdl_dot_as_matrices(const mdl_op *dot, mdl_matrices *out);
/* The same dot by way of operands permuted to [batch, kept, summed] and [batch, summed, kept]: always expressible. `a` and `b` stand
 * for the operands; the dot has no others. Returns its value. */
mdl_value *mdl_dot_permuted(mdl_builder *b, const mdl_op *dot, mdl_value *x, mdl_value *y);

#endif
