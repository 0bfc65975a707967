/* What an op family provides: for each op of compiler/ir/ops.def a type rule, a gradient and an evaluation. */
#ifndef MDL_OP_H
#define MDL_OP_H

#include "compiler/ir/ir.h"

/* ---- type rules ---- */
/* Sets out[0 .. results-1] from the operands, the attributes and (where the table says so) the hint. Returns NULL, or what is
 * wrong. */
typedef const char *mdl_type_rule(mdl_arena *arena, const mdl_op *op, const mdl_type *hint, mdl_type *out);

/* ---- gradients ---- */
/* Reverse mode: a rule receives the adjoints of its results (NULL where nothing flows) and adds to those of its operands. */
typedef struct mdl_ad mdl_ad;
typedef void mdl_gradient(mdl_ad *ad, const mdl_op *op, mdl_value *const *dout);
mdl_builder *mdl_ad_builder(mdl_ad *ad);
bool mdl_ad_wants(const mdl_ad *ad, const mdl_value *v); /* does v depend on a trained parameter? */
void mdl_ad_add(mdl_ad *ad, const mdl_value *of, mdl_value *term);
/* term is the adjoint of `of` restricted to start .. start+size-1 of an axis; slices that tile it become one concat. */
void mdl_ad_add_slice(mdl_ad *ad, const mdl_value *of, mdl_value *term, int axis, int64_t start);

/* ---- evaluation: the scalar f64 interpreter ---- */
typedef struct mdl_interp mdl_interp;
typedef void mdl_evaluation(mdl_interp *in, const mdl_op *op);
double *mdl_eval_in(mdl_interp *in, const mdl_op *op, int i);  /* operand i, row-major */
double *mdl_eval_out(mdl_interp *in, const mdl_op *op, int i); /* result i, zeroed */
void mdl_eval_bind(mdl_interp *in, const mdl_value *v, double *at);
void mdl_eval_body(mdl_interp *in, const mdl_op *op); /* of a region op: binds args, runs, binds results */
void mdl_eval_yield(mdl_interp *in, const mdl_op *op);
void mdl_eval_read(mdl_interp *in, const mdl_op *op); /* of the current states */
void mdl_eval_write(mdl_interp *in, const mdl_op *op);
double *mdl_eval_input(mdl_interp *in, const char *name);
void mdl_eval_result(mdl_interp *in, const char *name, const mdl_type *type, const double *at);
double *mdl_eval_arg(mdl_interp *in, int64_t index); /* of the innermost region op */
mdl_arena *mdl_eval_arena(mdl_interp *in);
double mdl_eval_round(mdl_interp *in, mdl_dtype dtype, double x); /* as interp.h says */

/* ---- accumulation: dot, sum, partial_sum, segsum, scatter_add ---- */
/* What it adds up in, and what its result is rounded to: attributes {acc, to}. Without them f64 accumulates in f64, other reals in
 * f32, and the result has the operands' dtype. Integers and bools take no attributes. */
typedef struct {
    mdl_dtype acc, to;
} mdl_accumulation;
mdl_accumulation mdl_accumulation_of(const mdl_op *op);
/* The attributes that say so, {acc, to}, less those that are the defaults for operands of `dtype`: their number. */
int mdl_accumulation_attrs(mdl_accumulation a, mdl_dtype dtype, mdl_attr attr[2]);
mdl_value *mdl_sum(mdl_builder *b, mdl_value *x, int n_axes, const int64_t *axes, mdl_accumulation a);
/* Part of those type rules: checks the attributes and sets out->dtype. */
const char *mdl_accumulated(const mdl_op *op, mdl_type *out);

/* Table rows: one per opcode, in compiler/op/table.c. */
typedef struct {
    mdl_type_rule *type;
    mdl_gradient *gradient;
    mdl_evaluation *evaluate;
} mdl_op_rules;
extern const mdl_op_rules mdl_rules[MDL_OP_COUNT];

/* ---- shared.c: of several families ---- */
/* NULL if all operands from `from` on are tokens. */
const char *mdl_only_tokens(const mdl_op *op, int from);
int64_t mdl_span_product(const mdl_type *t, int from, int to); /* product of dims from .. to-1 */
bool mdl_attr_has_axis(const mdl_attr *axes, int64_t axis);

#endif
