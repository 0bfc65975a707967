/* Elementwise functions and operators over tensors: dtypes, broadcasting by dims, constants. */
#include <string.h>

#include "compiler/front/elab.h"

bool fe_pointwise_name(const char *name, mdl_opcode *code) {
    return mdl_opcode_parse(name, code) && mdl_ops[*code].class == MDL_POINTWISE && *code != MDL_OP_CAST;
}

/* Ops that also apply to i32; all others are for reals (and, or, not: for bool). */
static bool takes_integers(mdl_opcode code) {
    switch (code) {
        case MDL_OP_ADD:
        case MDL_OP_SUB:
        case MDL_OP_MUL:
        case MDL_OP_MAX:
        case MDL_OP_MIN:
        case MDL_OP_NEG:
        case MDL_OP_ABS:
        case MDL_OP_EQ:
        case MDL_OP_NE:
        case MDL_OP_LT:
        case MDL_OP_LE:
        case MDL_OP_SELECT: return true;
        default: return false;
    }
}

static bool takes(mdl_opcode code, mdl_dtype dtype) {
    bool logic = code == MDL_OP_AND || code == MDL_OP_OR || code == MDL_OP_NOT;
    if (dtype == MDL_BOOL) return logic || code == MDL_OP_EQ || code == MDL_OP_NE || code == MDL_OP_SELECT;
    if (dtype == MDL_I32) return takes_integers(code);
    return mdl_dtype_is_real(dtype) && !logic;
}

static const char *kinds(fe *e, int n, const fe_value *v) {
    mdl_text text = {.arena = e->arena};
    for (int i = 0; i < n; i++)
        mdl_text_printf(&text, "%s%s", i == 0 ? "got " : i + 1 == n ? " and " : ", ", fe_type_text(e, &v[i]));
    return text.at;
}

/* The common element type of the operands (but a select's condition); MDL_DTYPE_COUNT after an error. */
static mdl_dtype common_dtype(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, const fe_value *v) {
    int from = code == MDL_OP_SELECT;
    mdl_dtype dtype = MDL_DTYPE_COUNT;
    for (int i = from; i < n; i++) {
        if (v[i].kind != FE_TENSOR) continue;
        if (dtype != MDL_DTYPE_COUNT && fe_dtype(&v[i]) != dtype) {
            fe_fail(e, loc, kinds(e, n, v), "'%s' mixes %s and %s: cast one of them", shown, mdl_dtype_name(dtype),
                    mdl_dtype_name(fe_dtype(&v[i])));
            return MDL_DTYPE_COUNT;
        }
        dtype = fe_dtype(&v[i]);
    }
    for (int i = from; i < n && dtype == MDL_DTYPE_COUNT; i++) {
        if (v[i].kind == FE_BOOL) dtype = MDL_BOOL;
        if (fe_is_number(&v[i])) dtype = v[from].kind == FE_REAL || v[n - 1].kind == FE_REAL ? MDL_F32 : MDL_I32;
    }
    if (dtype != MDL_DTYPE_COUNT && takes(code, dtype)) return dtype;
    fe_fail(e, loc, kinds(e, n, v), "'%s' does not apply to %s", shown, dtype == MDL_DTYPE_COUNT ? "these" : mdl_dtype_name(dtype));
    return MDL_DTYPE_COUNT;
}

/* Is a constant usable beside tensors of `dtype`? An integer is, beside i32 and reals; a real beside reals only. */
static bool fits(const fe_value *v, mdl_dtype dtype) {
    if (v->kind == FE_TENSOR) return true;
    if (v->kind == FE_BOOL) return dtype == MDL_BOOL;
    if (v->kind == FE_INT && dtype == MDL_I32) return v->i >= INT32_MIN && v->i <= INT32_MAX;
    return (v->kind == FE_INT || v->kind == FE_REAL) && mdl_dtype_is_real(dtype);
}

static bool check_operands(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, const fe_value *v, mdl_dtype dtype) {
    if (code == MDL_OP_SELECT && !(v[0].kind == FE_BOOL || (v[0].kind == FE_TENSOR && fe_dtype(&v[0]) == MDL_BOOL))) {
        fe_fail(e, loc, kinds(e, n, v), "the condition of 'select' must be bool");
        return false;
    }
    for (int i = code == MDL_OP_SELECT; i < n; i++) {
        if (fits(&v[i], dtype)) continue;
        if (fe_is_constant(&v[i]))
            fe_fail(e, loc, NULL, "'%s' mixes %s and %s", shown, mdl_dtype_name(dtype), fe_type_text(e, &v[i]));
        else
            fe_fail(e, loc, kinds(e, n, v), "'%s' does not apply to these", shown);
        return false;
    }
    return true;
}

bool fe_broadcast(fe *e, mdl_loc loc, const char *shown, fe_value *v, const fe_value *like) {
    int64_t axes[MDL_MAX_RANK];
    int rank = fe_rank(like), n = 0;
    for (int i = 0; i < rank && n < fe_rank(v); i++)
        if (v->dims[n] == like->dims[i]) axes[n++] = i;
    if (n < fe_rank(v)) {
        const char *a = fe_type_text(e, like), *b = fe_type_text(e, v);
        const char *hint = !strcmp(a, b) ? "; dims of one name here are different dims" : "";
        fe_fail(e, loc, mdl_printf(e->arena, "expected %s or some of its dims in that order, got %s%s", a, b, hint),
                "'%s': dims differ", shown);
        return false;
    }
    fe_at(e, loc);
    *v = fe_tensor(e, mdl_broadcast(&e->b, v->tensor, n, axes, &like->tensor->type), rank, like->dims);
    return true;
}

/* x + 0, x - 0, x * 1 and x / 1 are x. */
static bool is_identity(mdl_opcode code, const fe_value *v, int *kept) {
    bool add = code == MDL_OP_ADD || code == MDL_OP_SUB, mul = code == MDL_OP_MUL || code == MDL_OP_DIV;
    bool commutes = code == MDL_OP_ADD || code == MDL_OP_MUL;
    for (int i = 0; i < 2 && (add || mul); i++) {
        if (!fe_is_number(&v[i]) || (i == 0 && !commutes)) continue;
        *kept = 1 - i;
        if (fe_number(&v[i]) == (add ? 0 : 1)) return true;
    }
    return false;
}

static fe_value apply(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, fe_value *v, mdl_dtype dtype) {
    const fe_value *like = NULL;
    for (int i = 0; i < n; i++)
        if (v[i].kind == FE_TENSOR && (!like || fe_rank(&v[i]) > fe_rank(like))) like = &v[i];
    fe_value shape = *like;
    mdl_value *in[3];
    for (int i = 0; i < n; i++) {
        mdl_type type = shape.tensor->type;
        type.dtype = code == MDL_OP_SELECT && i == 0 ? MDL_BOOL : dtype;
        fe_at(e, loc);
        if (v[i].kind != FE_TENSOR)
            in[i] = mdl_const_like(&e->b, &type, fe_number(&v[i]));
        else if (fe_broadcast(e, loc, shown, &v[i], &shape))
            in[i] = v[i].tensor;
        else
            return fe_poison();
    }
    return fe_tensor(e, fe_build(e, loc, code, n, in, 0, NULL, NULL), fe_rank(&shape), shape.dims);
}

fe_value fe_pointwise(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, fe_value *v) {
    bool tensors = false;
    int kept;
    for (int i = 0; i < n; i++) {
        if (v[i].kind == FE_POISON) return fe_poison();
        tensors |= v[i].kind == FE_TENSOR;
    }
    if (!tensors) return fe_fold(e, loc, shown, code, n, v);
    mdl_dtype dtype = common_dtype(e, loc, shown, code, n, v);
    if (dtype == MDL_DTYPE_COUNT || !check_operands(e, loc, shown, code, n, v, dtype)) return fe_poison();
    if (n == 2 && is_identity(code, v, &kept)) return v[kept];
    return apply(e, loc, shown, code, n, v, dtype);
}
