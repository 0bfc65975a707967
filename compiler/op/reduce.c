/* Reductions. */
#include <math.h>
#include <string.h>

#include "compiler/op/rules.h"

static const char *reduced(const mdl_op *op, mdl_type *out) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    if (!axes || !axes->n) return "needs {axes}";
    for (int i = 0; i < axes->n; i++)
        if (axes->is[i] < 0 || axes->is[i] >= IN(0)->rank || (i && axes->is[i] <= axes->is[i - 1]))
            return "axes must ascend within the rank";
    *out = (mdl_type){.dtype = IN(0)->dtype};
    for (int i = 0; i < IN(0)->rank; i++)
        if (!mdl_attr_has_axis(axes, i)) out->dim[out->rank++] = IN(0)->dim[i];
    return NULL;
}
TYPE(SUM) {
    const char *wrong = op->n_in == 1 || op->n_in == 2 ? reduced(op, out) : "takes x and an optional init";
    if (!wrong) wrong = mdl_accumulated(op, out);
    return wrong ? wrong : op->n_in == 2 && !mdl_type_equal(IN(1), out) ? "init must have the result's type" : NULL;
}
TYPE(REDUCE_MAX) { return reduced(op, out); }
TYPE(MEAN) { return reduced(op, out); }

TYPE(ARGMAX) {
    int64_t axis = mdl_attr_int_or(op, "axis", -1);
    if (axis < 0 || axis >= IN(0)->rank) return "needs {axis} within the rank";
    *out = (mdl_type){.dtype = MDL_I32};
    for (int i = 0; i < IN(0)->rank; i++)
        if (i != axis) out->dim[out->rank++] = IN(0)->dim[i];
    return NULL;
}

TYPE(PARTIAL_SUM) {
    int64_t chunks = mdl_attr_int_or(op, "chunks", 0);
    if (chunks < 1 || !IN(0)->rank) return "needs {chunks} and a row axis";
    *out = *IN(0);
    out->dim[0] = chunks;
    return mdl_accumulated(op, out);
}

static mdl_value *spread_back(mdl_builder *b, const mdl_op *op, mdl_value *d) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    int64_t kept[MDL_MAX_RANK];
    int n = 0;
    for (int i = 0; i < IN(0)->rank; i++)
        if (!mdl_attr_has_axis(axes, i)) kept[n++] = i;
    return mdl_broadcast(b, d, n, kept, IN(0));
}
#define B mdl_ad_builder(ad)
GRADIENT(SUM) {
    mdl_ad_add(ad, op->in[0], spread_back(B, op, mdl_cast(B, dout[0], IN(0)->dtype)));
    if (op->n_in == 2) mdl_ad_add(ad, op->in[1], dout[0]);
}

GRADIENT(REDUCE_MAX) { /* every element that equals the maximum receives the whole adjoint; ties are not divided */
    mdl_value *hit = mdl_binary(B, MDL_OP_EQ, op->in[0], spread_back(B, op, op->out[0]));
    mdl_value *d = spread_back(B, op, dout[0]);
    mdl_ad_add(ad, op->in[0], mdl_select(B, hit, d, mdl_const_like(B, &d->type, 0)));
}
NO_GRADIENT(ARGMAX)
NO_GRADIENT(MEAN)        /* decomposed before autodiff */
NO_GRADIENT(PARTIAL_SUM) /* made after autodiff */

/* Index of element i of x in the reduced result. */
static int64_t target(const mdl_type *t, const mdl_attr *axes, int64_t i) {
    int64_t at = 0, stride = 1;
    for (int a = t->rank - 1; a >= 0; i /= t->dim[a], a--) {
        if (mdl_attr_has_axis(axes, a)) continue;
        at += i % t->dim[a] * stride;
        stride *= t->dim[a];
    }
    return at;
}

static void sum_into(mdl_interp *in, const mdl_op *op, double scale) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    const double *x = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    mdl_dtype acc = mdl_accumulation_of(op).acc;
    for (int64_t i = 0, n = mdl_type_count(IN(0)); i < n; i++) {
        double *at = &out[target(IN(0), axes, i)];
        *at = mdl_eval_round(in, acc, *at + x[i] * scale);
    }
}
EVALUATE(SUM) {
    double *out = mdl_eval_out(in, op, 0);
    if (op->n_in == 2) memcpy(out, mdl_eval_in(in, op, 1), sizeof *out * (size_t)mdl_type_count(IN(1)));
    sum_into(in, op, 1);
}
EVALUATE(MEAN) { sum_into(in, op, (double)mdl_type_count(&op->out[0]->type) / (double)mdl_type_count(IN(0))); }

EVALUATE(REDUCE_MAX) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    const double *x = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t i = 0, n = mdl_type_count(&op->out[0]->type); i < n; i++) out[i] = -INFINITY;
    for (int64_t i = 0, n = mdl_type_count(IN(0)); i < n; i++) {
        double *at = &out[target(IN(0), axes, i)];
        if (x[i] > *at) *at = x[i];
    }
}

EVALUATE(ARGMAX) {
    int axis = (int)mdl_attr_int(op, "axis");
    int64_t size = IN(0)->dim[axis], inner = mdl_span_product(IN(0), axis + 1, IN(0)->rank);
    const double *x = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t i = 0, n = mdl_type_count(&op->out[0]->type); i < n; i++) {
        const double *line = x + i / inner * inner * size + i % inner;
        int64_t best = 0;
        for (int64_t k = 1; k < size; k++)
            if (line[k * inner] > line[best * inner]) best = k;
        out[i] = (double)best;
    }
}

EVALUATE(PARTIAL_SUM) {
    int64_t rows = IN(0)->dim[0], chunks = mdl_attr_int(op, "chunks"), per = (rows + chunks - 1) / chunks;
    int64_t cols = mdl_span_product(IN(0), 1, IN(0)->rank);
    const double *x = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    mdl_dtype acc = mdl_accumulation_of(op).acc;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double *at = &out[r / per * cols + c];
            *at = mdl_eval_round(in, acc, *at + x[r * cols + c]);
        }
}
