/* Softmax cross-entropy over the last axis. A label outside 0 .. V-1 gives loss 0 and gradient 0. Loss and lse are f32 whatever the
 * logits. */
#include <math.h>

#include "compiler/op/rules.h"

static const char *check(const mdl_op *op) {
    if (IN(0)->rank != 2 || !mdl_dtype_is_real(IN(0)->dtype)) return "the logits are a real [T,V]";
    return IN(1)->dtype == MDL_I32 && IN(1)->rank == 1 && IN(1)->dim[0] == IN(0)->dim[0] ? NULL : "the labels are i32[T]";
}
static mdl_type per_row(const mdl_op *op) {
    mdl_dtype dtype = IN(0)->dtype == MDL_F64 ? MDL_F64 : MDL_F32;
    return (mdl_type){.dtype = dtype, .rank = 1, .dim = {IN(0)->dim[0]}};
}
TYPE(XENT) {
    out[0] = out[1] = per_row(op);
    return check(op);
}
TYPE(XENT_BWD) {
    mdl_type row = per_row(op);
    *out = *IN(0);
    return mdl_type_equal(IN(2), &row) && mdl_type_equal(IN(3), &row) ? check(op) : "lse and dloss are f32[T]";
}

GRADIENT(XENT) {
    if (!dout[0]) return;
    mdl_value *operands[] = {op->in[0], op->in[1], op->out[1], dout[0]};
    mdl_ad_add(ad, op->in[0], mdl_build(mdl_ad_builder(ad), MDL_OP_XENT_BWD, 4, operands, 0, NULL, NULL, NULL)->out[0]);
}
NO_GRADIENT(XENT_BWD)

EVALUATE(XENT) {
    int64_t V = IN(0)->dim[1];
    const double *z = mdl_eval_in(in, op, 0), *label = mdl_eval_in(in, op, 1);
    double *loss = mdl_eval_out(in, op, 0), *lse = mdl_eval_out(in, op, 1);
    for (int64_t t = 0; t < IN(0)->dim[0]; t++, z += V) {
        double top = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++) top = fmax(top, z[v]);
        for (int64_t v = 0; v < V; v++) sum += exp(z[v] - top);
        lse[t] = top + log(sum);
        loss[t] = label[t] >= 0 && label[t] < V ? lse[t] - z[(int64_t)label[t]] : 0;
    }
}

EVALUATE(XENT_BWD) {
    int64_t V = IN(0)->dim[1];
    const double *z = mdl_eval_in(in, op, 0), *label = mdl_eval_in(in, op, 1), *lse = mdl_eval_in(in, op, 2),
                 *d = mdl_eval_in(in, op, 3);
    double *dz = mdl_eval_out(in, op, 0);
    for (int64_t t = 0; t < IN(0)->dim[0]; t++)
        for (int64_t v = 0; v < V; v++)
            if (label[t] >= 0 && label[t] < V) dz[t * V + v] = (exp(z[t * V + v] - lse[t]) - (label[t] == (double)v)) * d[t];
}
