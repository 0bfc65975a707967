/* In which dtype an op adds up, and what its result is rounded to. */
#include "compiler/op/rules.h"

static mdl_accumulation by_default(mdl_dtype dtype) {
    return (mdl_accumulation){mdl_dtype_is_real(dtype) && dtype != MDL_F64 ? MDL_F32 : dtype, dtype};
}

mdl_accumulation mdl_accumulation_of(const mdl_op *op) {
    mdl_accumulation a = by_default(IN(0)->dtype);
    const mdl_attr *acc = mdl_find_attr(op, "acc"), *to = mdl_find_attr(op, "to");
    if (acc) mdl_dtype_parse(acc->s, &a.acc);
    if (to) mdl_dtype_parse(to->s, &a.to);
    return a;
}

int mdl_accumulation_attrs(mdl_accumulation a, mdl_dtype dtype, mdl_attr attr[2]) {
    mdl_accumulation usual = by_default(dtype);
    int n = 0;
    if (a.acc != usual.acc) attr[n++] = mdl_str("acc", mdl_dtype_name(a.acc));
    if (a.to != usual.to) attr[n++] = mdl_str("to", mdl_dtype_name(a.to));
    return n;
}

mdl_value *mdl_sum(mdl_builder *b, mdl_value *x, int n_axes, const int64_t *axes, mdl_accumulation a) {
    mdl_attr attr[3] = {mdl_ints(b->arena, "axes", n_axes, axes)};
    int n = 1 + mdl_accumulation_attrs(a, x->type.dtype, attr + 1);
    return mdl_build(b, MDL_OP_SUM, 1, &x, n, attr, NULL, NULL)->out[0];
}

static bool names_dtype(const mdl_attr *attr) {
    mdl_dtype dtype;
    return !attr || (attr->kind == MDL_ATTR_STR && mdl_dtype_parse(attr->s, &dtype));
}

const char *mdl_accumulated(const mdl_op *op, mdl_type *out) {
    const mdl_attr *acc = mdl_find_attr(op, "acc"), *to = mdl_find_attr(op, "to");
    if (!names_dtype(acc) || !names_dtype(to)) return "acc and to are dtypes";
    mdl_accumulation a = mdl_accumulation_of(op);
    if ((acc || to) && !mdl_dtype_is_real(IN(0)->dtype)) return "only reals have acc and to";
    if (acc && a.acc != MDL_F32 && a.acc != MDL_F64) return "acc is f32 or f64";
    if (!mdl_dtype_holds(a.acc, IN(0)->dtype)) return "acc is narrower than the operands";
    if (!mdl_dtype_holds(a.acc, a.to) || mdl_dtype_is_real(a.to) != mdl_dtype_is_real(a.acc)) return "to is wider than acc";
    out->dtype = a.to;
    return NULL;
}
