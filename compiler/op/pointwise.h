/* The rules that all elementwise ops share; what differs is a row of compiler/ir/ops.def. */
#ifndef MDL_OP_POINTWISE_H
#define MDL_OP_POINTWISE_H

#include "compiler/op/op.h"

mdl_type_rule mdl_pointwise_type;
mdl_gradient mdl_pointwise_gradient;
mdl_evaluation mdl_pointwise_evaluate;
double mdl_pointwise_eval(mdl_opcode code, double a, double b, double c);

#endif
