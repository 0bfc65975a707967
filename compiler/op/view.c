/* Views: the same elements elsewhere. */
#include <string.h>

#include "compiler/op/rules.h"

TYPE(RESHAPE) {
    if (!hint) return "needs a type";
    *out = *hint;
    if (hint->dtype != IN(0)->dtype) return "reshape keeps the dtype";
    return mdl_type_count(hint) == mdl_type_count(IN(0))
               ? NULL
               : mdl_printf(arena, "reshape changes the number of elements of %s", mdl_type_text(arena, IN(0)));
}

TYPE(HOLD) {
    if (!op->n_in) return "nothing to hold";
    *out = *IN(0);
    return mdl_only_tokens(op, 1);
}

TYPE(PERMUTE) {
    const mdl_attr *perm = mdl_find_attr(op, "perm");
    if (!perm || perm->n != IN(0)->rank) return "needs {perm} of the operand's rank";
    *out = *IN(0);
    unsigned seen = 0;
    for (int i = 0; i < perm->n; i++) {
        if (perm->is[i] < 0 || perm->is[i] >= perm->n || seen >> perm->is[i] & 1) return "perm is not a permutation";
        seen |= 1u << perm->is[i];
        out->dim[i] = IN(0)->dim[perm->is[i]];
    }
    return NULL;
}

TYPE(SLICE) {
    int64_t axis = mdl_attr_int_or(op, "axis", -1), start = mdl_attr_int_or(op, "start", -1), size = mdl_attr_int_or(op, "size", 0);
    if (axis < 0 || axis >= IN(0)->rank) return "needs {axis} within the rank";
    if (start < 0 || size < 1 || start > IN(0)->dim[axis] - size) return "slice leaves its operand";
    *out = *IN(0);
    out->dim[axis] = size;
    return NULL;
}

TYPE(CONCAT) {
    int64_t axis = mdl_attr_int_or(op, "axis", -1);
    if (op->n_in < 1 || axis < 0 || axis >= IN(0)->rank) return "needs operands and {axis} within the rank";
    *out = *IN(0);
    for (int i = 1; i < op->n_in; i++) {
        mdl_type other = *IN(i);
        if (other.rank != out->rank) return "operands differ in rank";
        out->dim[axis] += other.dim[axis];
        other.dim[axis] = IN(0)->dim[axis];
        if (!mdl_type_equal(&other, IN(0))) return "operands differ outside the axis";
    }
    return NULL;
}

TYPE(BROADCAST) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    if (!hint || !axes || axes->n != IN(0)->rank) return "needs a type and {axes} of the operand's rank";
    *out = *hint;
    if (hint->dtype != IN(0)->dtype) return "broadcast keeps the dtype";
    for (int i = 0; i < axes->n; i++) {
        if (axes->is[i] < 0 || axes->is[i] >= hint->rank || (i && axes->is[i] <= axes->is[i - 1]))
            return "axes must ascend within the result";
        if (hint->dim[axes->is[i]] != IN(0)->dim[i]) return mdl_printf(arena, "axis %d changes its size", i);
    }
    return NULL;
}

#define B mdl_ad_builder(ad)

NO_GRADIENT(HOLD) /* made after autodiff */
GRADIENT(RESHAPE) { mdl_ad_add(ad, op->in[0], mdl_reshape(B, dout[0], IN(0)->rank, IN(0)->dim)); }

GRADIENT(PERMUTE) {
    const mdl_attr *perm = mdl_find_attr(op, "perm");
    int64_t inverse[MDL_MAX_RANK];
    for (int i = 0; i < perm->n; i++) inverse[perm->is[i]] = i;
    mdl_ad_add(ad, op->in[0], mdl_permute(B, dout[0], inverse));
}

GRADIENT(SLICE) { mdl_ad_add_slice(ad, op->in[0], dout[0], (int)mdl_attr_int(op, "axis"), mdl_attr_int(op, "start")); }

GRADIENT(CONCAT) {
    int axis = (int)mdl_attr_int(op, "axis");
    int64_t start = 0;
    for (int i = 0; i < op->n_in; start += IN(i)->dim[axis], i++)
        if (mdl_ad_wants(ad, op->in[i])) mdl_ad_add(ad, op->in[i], mdl_slice(B, dout[0], axis, start, IN(i)->dim[axis]));
}

GRADIENT(BROADCAST) {
    const mdl_attr *kept = mdl_find_attr(op, "axes");
    int64_t axes[MDL_MAX_RANK];
    int n = 0;
    for (int i = 0; i < dout[0]->type.rank; i++)
        if (!mdl_attr_has_axis(kept, i)) axes[n++] = i;
    mdl_ad_add(ad, op->in[0], mdl_reduce(B, MDL_OP_SUM, dout[0], n, axes));
}

EVALUATE(HOLD) { mdl_eval_bind(in, op->out[0], mdl_eval_in(in, op, 0)); }
EVALUATE(RESHAPE) { mdl_eval_bind(in, op->out[0], mdl_eval_in(in, op, 0)); }

/* out[index] = x[sum over result axes of index[i] * stride[i] + offset] */
static void strided(mdl_interp *in, const mdl_op *op, const int64_t *stride, int64_t offset) {
    const mdl_type *t = &op->out[0]->type;
    const double *x = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t i = 0, n = mdl_type_count(t); i < n; i++) {
        int64_t at = offset, rest = i;
        for (int a = t->rank - 1; a >= 0; rest /= t->dim[a], a--) at += rest % t->dim[a] * stride[a];
        out[i] = x[at];
    }
}

EVALUATE(PERMUTE) {
    const mdl_attr *perm = mdl_find_attr(op, "perm");
    int64_t stride[MDL_MAX_RANK];
    for (int i = 0; i < perm->n; i++) stride[i] = mdl_span_product(IN(0), (int)perm->is[i] + 1, IN(0)->rank);
    strided(in, op, stride, 0);
}

EVALUATE(SLICE) {
    int axis = (int)mdl_attr_int(op, "axis");
    int64_t stride[MDL_MAX_RANK];
    for (int i = 0; i < IN(0)->rank; i++) stride[i] = mdl_span_product(IN(0), i + 1, IN(0)->rank);
    strided(in, op, stride, mdl_attr_int(op, "start") * stride[axis]);
}

EVALUATE(BROADCAST) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    int64_t stride[MDL_MAX_RANK] = {0};
    for (int i = 0; i < axes->n; i++) stride[axes->is[i]] = mdl_span_product(IN(0), i + 1, IN(0)->rank);
    strided(in, op, stride, 0);
}

EVALUATE(CONCAT) {
    int axis = (int)mdl_attr_int(op, "axis");
    const mdl_type *t = &op->out[0]->type;
    int64_t outer = mdl_span_product(t, 0, axis), row = mdl_span_product(t, axis, t->rank), start = 0;
    double *out = mdl_eval_out(in, op, 0);
    for (int i = 0; i < op->n_in; i++) {
        int64_t part = mdl_span_product(IN(i), axis, t->rank);
        const double *x = mdl_eval_in(in, op, i);
        for (int64_t o = 0; o < outer; o++) memcpy(out + o * row + start, x + o * part, sizeof *x * (size_t)part);
        start += part;
    }
}
