/* Elementwise ops: one gradient and one evaluation each. d is the adjoint of the result y. */
#include <math.h>
#include <string.h>

#include "compiler/op/pointwise.h"

/* ---- evaluation ---- */
/* The inverse of erf: an elementary estimate (S. Winitzki, 2008), then Halley's iteration; near 1 on erfc, where erf cancels. */
static double erfinv(double x) {
    double a = fabs(x), left = 1 - a;
    if (!(left > 0)) return left == 0 ? copysign(INFINITY, x) : NAN;
    double l = log(left * (1 + a)), t = 2 / (M_PI * 0.147) + l / 2, y = sqrt(fmax(sqrt(t * t - l / 0.147) - t, 0));
    for (int i = 0; i < 4; i++) {
        double u = (a < 0.5 ? erf(y) - a : left - erfc(y)) / (M_2_SQRTPI * exp(-y * y));
        y -= u / (1 + y * u);
    }
    return copysign(y, x);
}

#define EVAL(id, expr)                                      \
    static double eval_##id(double a, double b, double c) { \
        (void)a, (void)b, (void)c;                          \
        return expr;                                        \
    }
EVAL(ADD, a + b)
EVAL(SUB, a - b)
EVAL(MUL, a *b)
EVAL(DIV, a / b)
EVAL(MAX, a > b ? a : b)
EVAL(MIN, a < b ? a : b)
EVAL(NEG, -a)
EVAL(ABS, fabs(a))
EVAL(EXP, exp(a))
EVAL(LN, log(a))
EVAL(SQRT, sqrt(a))
EVAL(RSQRT, 1 / sqrt(a))
EVAL(SIN, sin(a))
EVAL(COS, cos(a))
EVAL(ERF, erf(a))
EVAL(ERFINV, erfinv(a))
EVAL(TANH, tanh(a))
EVAL(SIGMOID, 1 / (1 + exp(-a)))
EVAL(EQ, a == b)
EVAL(NE, a != b)
EVAL(LT, a < b)
EVAL(LE, a <= b)
EVAL(AND, a != 0 && b != 0)
EVAL(OR, a != 0 || b != 0)
EVAL(NOT, a == 0)
EVAL(SELECT, a != 0 ? b : c)
EVAL(CAST, a) /* the interpreter rounds every result to its dtype */

/* ---- gradients ---- */
#define GRAD(id) static void grad_##id(mdl_ad *ad, const mdl_op *op, mdl_value *const *dout)
#define B mdl_ad_builder(ad)
#define D (dout[0])
#define X0 (op->in[0])
#define X1 (op->in[1])
#define Y (op->out[0])
#define ADD_TO(i, expr)                                                     \
    do {                                                                    \
        if (mdl_ad_wants(ad, op->in[i])) mdl_ad_add(ad, op->in[i], (expr)); \
    } while (0)

static mdl_value *like(mdl_ad *ad, const mdl_value *v, double c) { return mdl_const_like(B, &v->type, c); }
static mdl_value *mul(mdl_ad *ad, mdl_value *x, mdl_value *y) { return mdl_binary(B, MDL_OP_MUL, x, y); }
static mdl_value *scale(mdl_ad *ad, mdl_value *x, double c) { return mul(ad, x, like(ad, x, c)); }
static mdl_value *neg(mdl_ad *ad, mdl_value *x) { return mdl_unary(B, MDL_OP_NEG, x); }
static mdl_value *where(mdl_ad *ad, mdl_value *cond, mdl_value *d) { return mdl_select(B, cond, d, like(ad, d, 0)); }

GRAD(ADD) {
    ADD_TO(0, D);
    ADD_TO(1, D);
}
GRAD(SUB) {
    ADD_TO(0, D);
    ADD_TO(1, neg(ad, D));
}
GRAD(MUL) {
    ADD_TO(0, mul(ad, D, X1));
    ADD_TO(1, mul(ad, D, X0));
}
GRAD(DIV) { /* d/b, -d y/b */
    ADD_TO(0, mdl_binary(B, MDL_OP_DIV, D, X1));
    ADD_TO(1, neg(ad, mdl_binary(B, MDL_OP_DIV, mul(ad, D, Y), X1)));
}
GRAD(MAX) { /* a tie goes to the second operand */
    ADD_TO(0, where(ad, mdl_binary(B, MDL_OP_LT, X1, X0), D));
    ADD_TO(1, where(ad, mdl_binary(B, MDL_OP_LE, X0, X1), D));
}
GRAD(MIN) {
    ADD_TO(0, where(ad, mdl_binary(B, MDL_OP_LT, X0, X1), D));
    ADD_TO(1, where(ad, mdl_binary(B, MDL_OP_LE, X1, X0), D));
}
GRAD(NEG) { ADD_TO(0, neg(ad, D)); }
GRAD(ABS) { /* 0 at 0 goes the positive way */
    ADD_TO(0, mdl_select(B, mdl_binary(B, MDL_OP_LT, X0, like(ad, X0, 0)), neg(ad, D), D));
}
GRAD(EXP) { ADD_TO(0, mul(ad, D, Y)); }
GRAD(LN) { ADD_TO(0, mdl_binary(B, MDL_OP_DIV, D, X0)); }
GRAD(SQRT) { ADD_TO(0, mdl_binary(B, MDL_OP_DIV, scale(ad, D, 0.5), Y)); }
GRAD(RSQRT) { /* -y^3/2 */
    ADD_TO(0, mul(ad, scale(ad, D, -0.5), mul(ad, mul(ad, Y, Y), Y)));
}
GRAD(SIN) { ADD_TO(0, mul(ad, D, mdl_unary(B, MDL_OP_COS, X0))); }
GRAD(COS) { ADD_TO(0, neg(ad, mul(ad, D, mdl_unary(B, MDL_OP_SIN, X0)))); }
GRAD(ERF) { /* 2/sqrt(pi) exp(-x^2) */
    mdl_value *e = mdl_unary(B, MDL_OP_EXP, neg(ad, mul(ad, X0, X0)));
    ADD_TO(0, mul(ad, D, scale(ad, e, M_2_SQRTPI)));
}
GRAD(ERFINV) { /* sqrt(pi)/2 exp(y^2) */
    ADD_TO(0, mul(ad, D, scale(ad, mdl_unary(B, MDL_OP_EXP, mul(ad, Y, Y)), 1 / M_2_SQRTPI)));
}
GRAD(TANH) { ADD_TO(0, mul(ad, D, mdl_binary(B, MDL_OP_SUB, like(ad, Y, 1), mul(ad, Y, Y)))); }
GRAD(SIGMOID) { /* y (1 - y) */
    ADD_TO(0, mul(ad, D, mul(ad, Y, mdl_binary(B, MDL_OP_SUB, like(ad, Y, 1), Y))));
}
GRAD(SELECT) {
    ADD_TO(1, where(ad, X0, D));
    ADD_TO(2, mdl_select(B, X0, like(ad, D, 0), D));
}
GRAD(CAST) { ADD_TO(0, mdl_cast(B, D, X0->type.dtype)); }

#define NO_GRADIENT(id) \
    GRAD(id) { (void)ad, (void)op, (void)dout; }
NO_GRADIENT(EQ)
NO_GRADIENT(NE)
NO_GRADIENT(LT)
NO_GRADIENT(LE)
NO_GRADIENT(AND)
NO_GRADIENT(OR)
NO_GRADIENT(NOT)

/* ---- the table, and the rules all rows share ---- */
enum { SAME, BOOL, CAST };
static const struct {
    double (*eval)(double, double, double);
    mdl_gradient *gradient;
    int rule;
} rows[] = {
#define POINTWISE(id, name, arity, rule, cost, emit) {eval_##id, grad_##id, rule},
#define OP(id, name, arity, results, class, pure)
#include "compiler/ir/ops.def"
#undef POINTWISE
#undef OP
};

double mdl_pointwise_eval(mdl_opcode code, double a, double b, double c) { return rows[code].eval(a, b, c); }

static const char *same_dtypes(mdl_arena *arena, const mdl_op *op, int from) {
    for (int i = from + 1; i < op->n_in; i++)
        if (op->in[i]->type.dtype != op->in[from]->type.dtype)
            return mdl_printf(arena, "operands have dtypes %s and %s", mdl_dtype_name(op->in[from]->type.dtype),
                              mdl_dtype_name(op->in[i]->type.dtype));
    return NULL;
}

const char *mdl_pointwise_type(mdl_arena *arena, const mdl_op *op, const mdl_type *hint, mdl_type *out) {
    (void)hint;
    for (int i = 1; i < op->n_in; i++) {
        mdl_type other = op->in[i]->type;
        other.dtype = op->in[0]->type.dtype;
        if (!mdl_type_equal(&other, &op->in[0]->type))
            return mdl_printf(arena, "operands have shapes %s and %s", mdl_type_text(arena, &op->in[0]->type),
                              mdl_type_text(arena, &op->in[i]->type));
    }
    *out = op->in[op->n_in - 1]->type;
    if (rows[op->code].rule == CAST) {
        const mdl_attr *to = mdl_find_attr(op, "to");
        return to && mdl_dtype_parse(to->s, &out->dtype) && out->dtype != MDL_SEG ? NULL : "cast needs a dtype {to=...}";
    }
    if (op->code == MDL_OP_SELECT && op->in[0]->type.dtype != MDL_BOOL) return "the condition must be bool";
    if ((op->code == MDL_OP_AND || op->code == MDL_OP_OR || op->code == MDL_OP_NOT) && out->dtype != MDL_BOOL)
        return "operands must be bool";
    const char *wrong = same_dtypes(arena, op, op->code == MDL_OP_SELECT);
    if (rows[op->code].rule == BOOL) out->dtype = MDL_BOOL;
    return wrong;
}

void mdl_pointwise_gradient(mdl_ad *ad, const mdl_op *op, mdl_value *const *dout) { rows[op->code].gradient(ad, op, dout); }

void mdl_pointwise_evaluate(mdl_interp *in, const mdl_op *op) {
    double *out = mdl_eval_out(in, op, 0), *x[3] = {out, out, out};
    for (int i = 0; i < op->n_in; i++) x[i] = mdl_eval_in(in, op, i);
    int64_t n = mdl_type_count(&op->out[0]->type);
    for (int64_t i = 0; i < n; i++) out[i] = rows[op->code].eval(x[0][i], x[1][i], x[2][i]);
}
