/* Values of the elaborator: making them, reading them, showing them. */
#include <stdlib.h>
#include <string.h>

#include "compiler/front/elab.h"
#include "compiler/ir/state.h"

fe_value fe_poison(void) { return (fe_value){.kind = FE_POISON}; }
fe_value fe_int(int64_t i) { return (fe_value){.kind = FE_INT, .i = i}; }
fe_value fe_real(double f) { return (fe_value){.kind = FE_REAL, .f = f}; }
fe_value fe_bool(bool b) { return (fe_value){.kind = FE_BOOL, .i = b}; }
fe_value fe_str(const char *s) { return (fe_value){.kind = FE_STR, .s = s}; }

fe_value fe_of_init(fe *e, fe_init init) { return (fe_value){.kind = FE_INIT, .init = mdl_copy(e->arena, &init, sizeof init)}; }

fe_value fe_tensor(fe *e, mdl_value *tensor, int rank, const fe_dim *const *dims) {
    if (!tensor) return fe_poison();
    fe_value v = {.kind = FE_TENSOR, .tensor = tensor, .region = e->b.region};
    for (int i = 0; i < rank; i++) v.dims[i] = dims[i];
    return v;
}

fe_value fe_stand_in(fe *e, mdl_dtype dtype, int rank, const fe_dim *const *dims) {
    static const char *const nothing = "?";
    mdl_state state = mdl_state_by_name(MDL_STATE_PARAM, 1, &nothing);
    return fe_tensor(e, mdl_read(&e->b, state, fe_shape(dtype, rank, dims), 0, NULL), rank, dims);
}

bool fe_is_constant(const fe_value *v) { return v->kind == FE_INT || v->kind == FE_REAL || v->kind == FE_BOOL; }
bool fe_is_number(const fe_value *v) { return v->kind == FE_INT || v->kind == FE_REAL; }
double fe_number(const fe_value *v) { return v->kind == FE_REAL ? v->f : (double)v->i; }
int fe_rank(const fe_value *v) { return v->tensor->type.rank; }
mdl_dtype fe_dtype(const fe_value *v) { return v->tensor->type.dtype; }

int fe_axis(const fe_value *v, const fe_dim *dim) {
    for (int i = 0; i < fe_rank(v); i++)
        if (v->dims[i] == dim) return i;
    return -1;
}

const char *fe_real_text(fe *e, double f) {
    for (int digits = 1; digits <= 17; digits++) {
        const char *text = mdl_printf(e->arena, "%.*g", digits, f);
        if (strtod(text, NULL) == f) return text;
    }
    return mdl_printf(e->arena, "%.17g", f);
}

const char *fe_value_text(fe *e, const fe_value *v) {
    switch (v->kind) {
        case FE_INT: return mdl_printf(e->arena, "%lld", (long long)v->i);
        case FE_REAL: return fe_real_text(e, v->f);
        case FE_BOOL: return v->i ? "true" : "false";
        case FE_STR: return v->s;
        case FE_INIT: return v->init->text;
        default: return "?";
    }
}

const char *fe_dims_text(fe *e, int n, const fe_dim *const *dims) {
    mdl_text text = {.arena = e->arena};
    mdl_text_printf(&text, "[");
    for (int i = 0; i < n; i++) {
        mdl_text_printf(&text, i ? ", " : "");
        if (dims[i]->name) mdl_text_printf(&text, "%s = ", dims[i]->name);
        mdl_text_printf(&text, "%lld", (long long)dims[i]->size);
    }
    mdl_text_printf(&text, "]");
    return text.at;
}

const char *fe_type_text(fe *e, const fe_value *v) {
    switch (v->kind) {
        case FE_INT: return mdl_printf(e->arena, "the integer %lld", (long long)v->i);
        case FE_REAL:
            return mdl_printf(e->arena, "the number %s%s", fe_real_text(e, v->f), strpbrk(fe_real_text(e, v->f), ".e") ? "" : ".0");
        case FE_BOOL: return v->i ? "the bool true" : "the bool false";
        case FE_STR: return mdl_printf(e->arena, "the string \"%s\"", v->s);
        case FE_NULL: return "null";
        case FE_LIST: return mdl_printf(e->arena, "a list of %d", v->n);
        case FE_INIT: return mdl_printf(e->arena, "the initial value %s", v->init->text);
        case FE_TUPLE: return mdl_printf(e->arena, "%d values", v->n);
        case FE_TENSOR:
            return mdl_printf(e->arena, "%s%s", fe_dtype(v) == MDL_F32 ? "" : mdl_dtype_name(fe_dtype(v)),
                              fe_dims_text(e, fe_rank(v), v->dims));
        default: return "nothing";
    }
}

const fe_dim *fe_dim_new(fe *e, const char *name, int64_t size) {
    fe_dim *dim = MDL_NEW(e->arena, fe_dim);
    *dim = (fe_dim){.name = name, .size = size, .frame = e->frame ? e->frame->id : 0};
    return dim;
}

mdl_type fe_shape(mdl_dtype dtype, int n, const fe_dim *const *dims) {
    mdl_type type = {.dtype = dtype, .rank = n};
    for (int i = 0; i < n; i++) type.dim[i] = dims[i]->size;
    return type;
}
