/* What may share a row kernel: which ops reduce, which keep a row a row. */
#include "compiler/kernel/rows.h"

bool mdl_is_column_sum(const mdl_op *op) {
    if (op->code == MDL_OP_PARTIAL_SUM) return true;
    return op->code == MDL_OP_SUM && mdl_find_attr(op, "axes")->is[0] == 0;
}

bool mdl_is_row_reduction(const mdl_op *op) {
    if (op->code != MDL_OP_SUM && op->code != MDL_OP_REDUCE_MAX) return false;
    return mdl_find_attr(op, "axes")->is[0] != 0;
}

bool mdl_keeps_row(const mdl_op *op, int i) {
    const mdl_type *in = &op->in[i]->type, *out = &op->out[0]->type;
    switch (op->code) {
        case MDL_OP_RESHAPE: return in->rank && out->rank && in->dim[0] == out->dim[0];
        case MDL_OP_PERMUTE: return mdl_find_attr(op, "perm")->is[0] == 0;
        case MDL_OP_SLICE:
        case MDL_OP_CONCAT: return mdl_attr_int(op, "axis") != 0;
        case MDL_OP_BROADCAST: return in->rank && mdl_find_attr(op, "axes")->is[0] == 0;
        case MDL_OP_GATHER: return i == 1;
        default: return true;
    }
}

int mdl_finish_init(const mdl_op *finish, int out) {
    const mdl_op *sum = finish->body->ops.at[finish->body->ops.n - 1]->in[out]->def;
    return sum->n_in == 2 ? (int)mdl_attr_int(sum->in[1]->def, "index") : -1;
}
