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
