/* Contraction. Axes are handled by labels: an axis of b that is contracted or batch carries the label of its partner in a. */
#include <string.h>

#include "compiler/op/dot.h"

#include "compiler/op/rules.h"
#include "runtime/base/status.h"

static int attr_index(const mdl_attr *axes, int axis) {
    for (int i = 0; axes && i < axes->n; i++)
        if (axes->is[i] == axis) return i;
    return -1;
}

void mdl_dot_axes_of(const mdl_op *op, mdl_dot_axes *d) {
    const mdl_attr *left = mdl_find_attr(op, "left"), *right = mdl_find_attr(op, "right");
    const mdl_attr *left_batch = mdl_find_attr(op, "left_batch"), *right_batch = mdl_find_attr(op, "right_batch");
    *d = (mdl_dot_axes){0};
    for (int i = 0; i < IN(0)->rank; i++) {
        d->a[i] = i;
        if (attr_index(left, i) < 0) d->out[d->n_out++] = i;
    }
    int fresh = MDL_MAX_RANK;
    for (int i = 0; i < IN(1)->rank; i++) {
        int c = attr_index(right, i), b = attr_index(right_batch, i);
        d->b[i] = c >= 0 ? (int)left->is[c] : b >= 0 ? (int)left_batch->is[b] : fresh++;
        if (c < 0 && b < 0) d->out[d->n_out++] = d->b[i];
    }
}

int mdl_dot_init(const mdl_op *op) { return mdl_attr_int_or(op, "init", 0) ? 2 : -1; }
int mdl_dot_bias(const mdl_op *op) { return mdl_attr_int_or(op, "bias", 0) ? 2 + (mdl_dot_init(op) > 0) : -1; }

int mdl_dot_scales(const mdl_op *op) {
    return mdl_attr_int_or(op, "scales", 0) ? 2 + (mdl_dot_init(op) > 0) + (mdl_dot_bias(op) > 0) : -1;
}

static const char *check_pairs(const mdl_op *op, const char *lkey, const char *rkey, bool needed) {
    const mdl_attr *l = mdl_find_attr(op, lkey), *r = mdl_find_attr(op, rkey);
    if (!l && !r) return needed ? "needs {left, right}" : NULL;
    if (!l || !r || l->n != r->n) return "left and right axes differ in number";
    for (int i = 0; i < l->n; i++) {
        if (l->is[i] < 0 || l->is[i] >= IN(0)->rank || r->is[i] < 0 || r->is[i] >= IN(1)->rank) return "axis out of range";
        if (IN(0)->dim[l->is[i]] != IN(1)->dim[r->is[i]]) return "paired axes differ in size";
    }
    return NULL;
}

/* Init, bias and scales against the result's type. */
static const char *check_added(const mdl_op *op, const mdl_dot_axes *d, const mdl_type *out) {
    int scales = mdl_dot_scales(op);
    for (int i = scales; i > 0 && i < scales + 2; i++)
        if (IN(i)->dtype != MDL_F32) return "scales must be f32";
    int init = mdl_dot_init(op), bias = mdl_dot_bias(op), own = 0;
    if (init > 0 && !mdl_type_equal(IN(init), out)) return "init must have the result's type";
    if (bias < 0) return NULL;
    while (own < d->n_out && d->out[d->n_out - 1 - own] >= MDL_MAX_RANK) own++;
    bool fits = mdl_dtype_is_real(IN(bias)->dtype) && IN(bias)->rank == own;
    for (int i = 0; i < own && fits; i++) fits = IN(bias)->dim[i] == out->dim[d->n_out - own + i];
    return fits ? NULL : "bias must have the dims of b's own axes";
}

TYPE(DOT) {
    int added = (mdl_dot_init(op) > 0) + (mdl_dot_bias(op) > 0) + 2 * (mdl_dot_scales(op) > 0);
    if (op->n_in != 2 + added)
        return "takes a, b, an init where {init = 1}, a bias where {bias = 1} and two scales where {scales = 1}";
    const char *wrong = check_pairs(op, "left", "right", true);
    if (wrong || (wrong = check_pairs(op, "left_batch", "right_batch", false))) return wrong;
    bool small = mdl_dtype_bits(IN(0)->dtype) == 8 && mdl_dtype_bits(IN(1)->dtype) == 8;
    if (!mdl_dtype_is_real(IN(0)->dtype) || !mdl_dtype_is_real(IN(1)->dtype) || (IN(0)->dtype != IN(1)->dtype && !small))
        return "operands must be real and of one dtype, or each of 8 bits";
    mdl_dot_axes d;
    mdl_dot_axes_of(op, &d);
    if (d.n_out > MDL_MAX_RANK) return "the result has too many dims";
    *out = (mdl_type){.dtype = IN(0)->dtype, .rank = d.n_out};
    for (int i = 0, k = 0; i < d.n_out; i++) {
        if (d.out[i] < MDL_MAX_RANK) out->dim[i] = IN(0)->dim[d.out[i]];
        for (k = 0; k < IN(1)->rank; k++)
            if (d.b[k] == d.out[i]) out->dim[i] = IN(1)->dim[k];
    }
    if ((wrong = mdl_accumulated(op, out))) return wrong;
    return check_added(op, &d, out);
}

static int find(int n, const int *labels, int label) {
    for (int i = 0; i < n; i++)
        if (labels[i] == label) return i;
    return -1;
}

/* The product of x and y whose result axes carry the labels `want`, in that order. */
static mdl_value *by_labels(mdl_builder *b, mdl_value *x, const int *lx, mdl_value *y, const int *ly, int n, const int *want) {
    int64_t l[MDL_MAX_RANK], r[MDL_MAX_RANK], lb[MDL_MAX_RANK], rb[MDL_MAX_RANK], perm[MDL_MAX_RANK];
    int contracted = 0, batch = 0, n_got = 0, got[2 * MDL_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) {
        int k = find(y->type.rank, ly, lx[i]), kept = find(n, want, lx[i]) >= 0;
        if (k >= 0 && !kept) l[contracted] = i, r[contracted++] = k;
        if (k >= 0 && kept) lb[batch] = i, rb[batch++] = k;
        if (k < 0 || kept) got[n_got++] = lx[i];
    }
    for (int k = 0; k < y->type.rank; k++)
        if (find(x->type.rank, lx, ly[k]) < 0) got[n_got++] = ly[k];
    mdl_value *in[] = {x, y};
    mdl_attr attr[] = {mdl_ints(b->arena, "left", contracted, l), mdl_ints(b->arena, "right", contracted, r),
                       mdl_ints(b->arena, "left_batch", batch, lb), mdl_ints(b->arena, "right_batch", batch, rb)};
    mdl_value *z = mdl_build(b, MDL_OP_DOT, 2, in, batch ? 4 : 2, attr, NULL, NULL)->out[0];
    bool same = true;
    for (int i = 0; i < n; i++) {
        perm[i] = find(n_got, got, want[i]);
        same &= perm[i] == i;
    }
    return same ? z : mdl_permute(b, z, perm);
}

#define B mdl_ad_builder(ad)
GRADIENT(DOT) {
    mdl_dot_axes d;
    mdl_dot_axes_of(op, &d);
    mdl_value *a = op->in[0], *b = op->in[1], *dc = mdl_cast(B, dout[0], a->type.dtype);
    if (mdl_ad_wants(ad, a)) mdl_ad_add(ad, a, by_labels(B, dc, d.out, b, d.b, a->type.rank, d.a));
    if (mdl_ad_wants(ad, b)) { /* the order of operands that gives b's axes without a transpose */
        bool contracted_first = b->type.rank && find(d.n_out, d.out, d.b[0]) < 0;
        mdl_ad_add(ad, b,
                   contracted_first ? by_labels(B, a, d.a, dc, d.out, b->type.rank, d.b)
                                    : by_labels(B, dc, d.out, a, d.a, b->type.rank, d.b));
    }
    int init = mdl_dot_init(op), bias = mdl_dot_bias(op);
    if (init > 0 && mdl_ad_wants(ad, op->in[init])) mdl_ad_add(ad, op->in[init], dout[0]);
    if (bias > 0 && mdl_ad_wants(ad, op->in[bias])) {
        int64_t axes[MDL_MAX_RANK];
        int n = 0;
        for (; n < dout[0]->type.rank - IN(bias)->rank; n++) axes[n] = n;
        mdl_ad_add(ad, op->in[bias], n ? mdl_reduce(B, MDL_OP_SUM, dout[0], n, axes) : dout[0]);
    }
}

/* Walks every combination of result and contracted indices. */
EVALUATE(DOT) {
    mdl_dot_axes d;
    mdl_dot_axes_of(op, &d);
    const mdl_type *t = &op->out[0]->type;
    int64_t size[2 * MDL_MAX_RANK], sa[2 * MDL_MAX_RANK] = {0}, sb[2 * MDL_MAX_RANK] = {0}, outer = mdl_type_count(t), inner = 1;
    int n = 0, label[2 * MDL_MAX_RANK];
    for (int i = 0; i < d.n_out; i++) size[n] = t->dim[i], label[n++] = d.out[i];
    for (int i = 0; i < IN(0)->rank; i++)
        if (find(d.n_out, d.out, d.a[i]) < 0) inner *= size[n] = IN(0)->dim[i], label[n++] = d.a[i];
    for (int i = 0; i < n; i++) {
        int ia = find(IN(0)->rank, d.a, label[i]), ib = find(IN(1)->rank, d.b, label[i]);
        if (ia >= 0) sa[i] = mdl_span_product(IN(0), ia + 1, IN(0)->rank);
        if (ib >= 0) sb[i] = mdl_span_product(IN(1), ib + 1, IN(1)->rank);
    }
    const double *x = mdl_eval_in(in, op, 0), *y = mdl_eval_in(in, op, 1);
    double *out = mdl_eval_out(in, op, 0);
    mdl_dtype acc = mdl_accumulation_of(op).acc;
    int scales = mdl_dot_scales(op);
    double scale = scales > 0 ? *mdl_eval_in(in, op, scales) * *mdl_eval_in(in, op, scales + 1) : 1;
    if (mdl_dot_init(op) > 0) memcpy(out, mdl_eval_in(in, op, mdl_dot_init(op)), sizeof *out * (size_t)outer);
    for (int64_t o = 0; o < outer; o++) {
        int64_t at_a = 0, at_b = 0, rest = o;
        for (int i = d.n_out - 1; i >= 0; rest /= size[i], i--) at_a += rest % size[i] * sa[i], at_b += rest % size[i] * sb[i];
        for (int64_t k = 0; k < inner; k++) {
            int64_t ka = at_a, kb = at_b, left = k;
            for (int i = n - 1; i >= d.n_out; left /= size[i], i--) ka += left % size[i] * sa[i], kb += left % size[i] * sb[i];
            out[o] = mdl_eval_round(in, acc, out[o] + scale * (x[ka] * y[kb]));
        }
    }
    if (mdl_dot_bias(op) < 0) return;
    const double *bias = mdl_eval_in(in, op, mdl_dot_bias(op));
    for (int64_t o = 0, own = mdl_type_count(IN(mdl_dot_bias(op))); o < outer; o++) out[o] += bias[o % own];
}
