/* What the type rules of several families share. */
#include "compiler/op/op.h"

int64_t mdl_span_product(const mdl_type *t, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= t->dim[i];
    return n;
}

bool mdl_attr_has_axis(const mdl_attr *axes, int64_t axis) {
    for (int i = 0; axes && i < axes->n; i++)
        if (axes->is[i] == axis) return true;
    return false;
}

const char *mdl_only_tokens(const mdl_op *op, int from) {
    for (int i = from; i < op->n_in; i++)
        if (op->in[i]->type.dtype != MDL_TOKEN) return "the other operands are tokens";
    return NULL;
}
