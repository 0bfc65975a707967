/* Ties every row of ops.def to its rules. */
#include "compiler/op/pointwise.h"

#define POINTWISE(id, name, arity, rule, cost, emit)
#define OP(id, name, arity, results, class, pure) \
    mdl_type_rule type_##id;                      \
    mdl_gradient grad_##id;                       \
    mdl_evaluation eval_##id;
#include "compiler/ir/ops.def"
#undef POINTWISE
#undef OP

const mdl_op_rules mdl_rules[MDL_OP_COUNT] = {
#define POINTWISE(id, name, arity, rule, cost, emit) {mdl_pointwise_type, mdl_pointwise_gradient, mdl_pointwise_evaluate},
#define OP(id, name, arity, results, class, pure) {type_##id, grad_##id, eval_##id},
#include "compiler/ir/ops.def"
#undef POINTWISE
#undef OP
};

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
