/* Shorthand for the files of op families: TYPE(id), GRADIENT(id), EVALUATE(id) define the functions that table.c expects. */
#ifndef MDL_OP_RULES_H
#define MDL_OP_RULES_H

#include "compiler/op/op.h"

#define TYPE(id)                                                                                              \
    const char *type_##id(mdl_arena *arena, const mdl_op *op, const mdl_type *hint, mdl_type *out);           \
    const char *type_##id(__attribute__((unused)) mdl_arena *arena, __attribute__((unused)) const mdl_op *op, \
                          __attribute__((unused)) const mdl_type *hint, __attribute__((unused)) mdl_type *out)
#define GRADIENT(id)                                                      \
    void grad_##id(mdl_ad *ad, const mdl_op *op, mdl_value *const *dout); \
    void grad_##id(mdl_ad *ad, const mdl_op *op, __attribute__((unused)) mdl_value *const *dout)
#define EVALUATE(id)                                  \
    void eval_##id(mdl_interp *in, const mdl_op *op); \
    void eval_##id(mdl_interp *in, const mdl_op *op)
#define NO_GRADIENT(id) \
    GRADIENT(id) { (void)ad, (void)op; }

#define IN(i) (&op->in[i]->type)

#endif
