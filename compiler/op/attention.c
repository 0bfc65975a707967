/* Attention within segments, forward and backward. Scores are scale * q.k, softmax over the keys of the same segment that the
 * mask allows; `left` and `right` bound how far a key may lie before and after its query (-1: no bound), both inclusive. Statistics
 * (lse, delta) are f32 whatever the operands. */
#include <math.h>
#include <string.h>

#include "compiler/op/rules.h"

static const char *check_heads(const mdl_op *op) {
    const mdl_type *q = IN(0), *k = IN(1), *v = IN(2);
    if (q->rank != 3 || k->rank != 3 || !mdl_type_equal(k, v)) return "q is [T,H,K], k and v are [T,G,K]";
    if (!mdl_dtype_is_real(q->dtype) || q->dtype != k->dtype) return "q, k and v must be real and of one dtype";
    if (q->dim[0] != k->dim[0] || q->dim[2] != k->dim[2]) return "q and k differ in T or K";
    if (q->dim[1] % k->dim[1]) return "the number of key heads must divide the number of query heads";
    if (mdl_attr_int_or(op, "left", -1) < -1 || mdl_attr_int_or(op, "right", -1) < -1)
        return "a bound of the window is a number of tokens, or -1 for none";
    return mdl_find_attr(op, "scale") ? NULL : "needs {scale}";
}

static mdl_type statistics(const mdl_op *op) {
    mdl_dtype dtype = IN(0)->dtype == MDL_F64 ? MDL_F64 : MDL_F32;
    return (mdl_type){.dtype = dtype, .rank = 2, .dim = {IN(0)->dim[0], IN(0)->dim[1]}};
}

static const char *check_segments(const mdl_op *op, int i) {
    return IN(i)->dtype == MDL_SEG && IN(i)->dim[1] == IN(0)->dim[0] ? NULL : "needs segments[S,T] of q's rows";
}

TYPE(ATTENTION) {
    const char *wrong = check_heads(op);
    if (wrong || (wrong = check_segments(op, 3))) return wrong;
    out[0] = *IN(0);
    out[1] = statistics(op);
    return mdl_accumulated(op, &out[0]);
}

TYPE(ATTENTION_BWD) {
    const char *wrong = check_heads(op);
    if (wrong || (wrong = check_segments(op, 6))) return wrong;
    mdl_type row = statistics(op);
    if (!mdl_type_equal(IN(3), IN(0)) || !mdl_type_equal(IN(4), &row) || !mdl_type_equal(IN(5), &row))
        return "do is q's type, lse and delta are f32[T,H]";
    for (int i = 0; i < 3; i++) {
        out[i] = *IN(i);
        if ((wrong = mdl_accumulated(op, &out[i]))) return wrong;
    }
    return NULL;
}

#define B mdl_ad_builder(ad)
GRADIENT(ATTENTION) {
    if (!dout[0]) return;
    int64_t last = 2;
    mdl_dtype dtype = op->out[1]->type.dtype;
    mdl_value *products = mdl_binary(B, MDL_OP_MUL, mdl_cast(B, dout[0], dtype), mdl_cast(B, op->out[0], dtype));
    mdl_value *delta = mdl_reduce(B, MDL_OP_SUM, products, 1, &last);
    mdl_value *operands[] = {op->in[0], op->in[1], op->in[2], dout[0], op->out[1], delta, op->in[3]};
    mdl_op *bwd = mdl_build(B, MDL_OP_ATTENTION_BWD, 7, operands, op->n_attr, op->attr, NULL, NULL);
    for (int i = 0; i < 3; i++) mdl_ad_add(ad, op->in[i], bwd->out[i]);
}
NO_GRADIENT(ATTENTION_BWD)

typedef struct {
    int64_t H, G, K, left, right;
    double scale, softcap;
    const double *q, *k, *v;
} heads;

static heads heads_of(mdl_interp *in, const mdl_op *op) {
    bool causal = mdl_attr_int_or(op, "causal", 0);
    const mdl_attr *cap = mdl_find_attr(op, "softcap");
    return (heads){.H = IN(0)->dim[1],
                   .G = IN(1)->dim[1],
                   .K = IN(0)->dim[2],
                   .left = mdl_attr_int_or(op, "left", -1),
                   .right = causal ? 0 : mdl_attr_int_or(op, "right", -1),
                   .scale = mdl_attr_real(op, "scale"),
                   .softcap = cap ? cap->f : 0,
                   .q = mdl_eval_in(in, op, 0),
                   .k = mdl_eval_in(in, op, 1),
                   .v = mdl_eval_in(in, op, 2)};
}

static bool sees(const heads *a, int64_t i, int64_t j) {
    return (a->left < 0 || i - j <= a->left) && (a->right < 0 || j - i <= a->right);
}

/* Offsets of row t: query head h, and the key head it shares. */
static int64_t at_q(const heads *a, int64_t t, int64_t h) { return (t * a->H + h) * a->K; }
static int64_t at_k(const heads *a, int64_t t, int64_t h) { return (t * a->G + h / (a->H / a->G)) * a->K; }

static double inner(const double *x, const double *y, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i] * y[i];
    return s;
}

/* The score, and its derivative with respect to q.k. */
static double score(const heads *a, int64_t i, int64_t j, int64_t h, double *slope) {
    double s = a->scale * inner(a->q + at_q(a, i, h), a->k + at_k(a, j, h), a->K);
    *slope = a->scale;
    if (a->softcap <= 0) return s;
    double t = tanh(s / a->softcap);
    *slope *= 1 - t * t;
    return a->softcap * t;
}

static void forward_row(const heads *a, int64_t i, int64_t h, int64_t from, int64_t to, double *o, double *lse) {
    double top = -INFINITY, sum = 0, slope;
    for (int64_t j = from; j < to; j++)
        if (sees(a, i, j)) top = fmax(top, score(a, i, j, h, &slope));
    for (int64_t j = from; j < to; j++) {
        if (!sees(a, i, j)) continue;
        double p = exp(score(a, i, j, h, &slope) - top);
        sum += p;
        for (int64_t c = 0; c < a->K; c++) o[c] += p * a->v[at_k(a, j, h) + c];
    }
    for (int64_t c = 0; c < a->K; c++) o[c] /= sum;
    *lse = top + log(sum);
}

EVALUATE(ATTENTION) {
    heads a = heads_of(in, op);
    const double *seq = mdl_eval_in(in, op, 3);
    double *o = mdl_eval_out(in, op, 0), *lse = mdl_eval_out(in, op, 1);
    for (int64_t s = 0; s < IN(3)->dim[0]; s++)
        for (int64_t i = (int64_t)seq[s]; i < (int64_t)seq[s + 1]; i++)
            for (int64_t h = 0; h < a.H; h++)
                forward_row(&a, i, h, (int64_t)seq[s], (int64_t)seq[s + 1], o + at_q(&a, i, h), lse + i * a.H + h);
}

EVALUATE(ATTENTION_BWD) {
    heads a = heads_of(in, op);
    const double *dout = mdl_eval_in(in, op, 3), *lse = mdl_eval_in(in, op, 4), *delta = mdl_eval_in(in, op, 5);
    const double *seq = mdl_eval_in(in, op, 6);
    double *dq = mdl_eval_out(in, op, 0), *dk = mdl_eval_out(in, op, 1), *dv = mdl_eval_out(in, op, 2);
    for (int64_t s = 0; s < IN(6)->dim[0]; s++)
        for (int64_t i = (int64_t)seq[s]; i < (int64_t)seq[s + 1]; i++)
            for (int64_t h = 0; h < a.H; h++)
                for (int64_t j = (int64_t)seq[s]; j < (int64_t)seq[s + 1]; j++) {
                    if (!sees(&a, i, j)) continue;
                    int64_t qi = at_q(&a, i, h), kj = at_k(&a, j, h), row = i * a.H + h;
                    double slope, p = exp(score(&a, i, j, h, &slope) - lse[row]);
                    double ds = p * (inner(dout + qi, a.v + kj, a.K) - delta[row]) * slope;
                    for (int64_t c = 0; c < a.K; c++) {
                        dv[kj + c] += p * dout[qi + c];
                        dq[qi + c] += ds * a.k[kj + c];
                        dk[kj + c] += ds * a.q[qi + c];
                    }
                }
}
