/* Signatures: declared types, binding of formals to arguments, checking of results. */
#include <string.h>

#include "compiler/front/elab.h"

static bool is_tensor_type(const mdl_ast *type) { return type->i; }

bool fe_type_dtype(fe *e, const mdl_ast *type, mdl_dtype *dtype) {
    static const struct {
        const char *name;
        mdl_dtype dtype;
    } known[] = {{"f32", MDL_F32}, {"i32", MDL_I32}, {"bool", MDL_BOOL}, {"segments", MDL_SEG}};
    static const char *const names[] = {"f32", "i32", "bool", "segments"};
    *dtype = MDL_F32;
    if (!type->text) return true;
    for (int i = 0; i < 4; i++) {
        if (strcmp(known[i].name, type->text)) continue;
        *dtype = known[i].dtype;
        return true;
    }
    fe_fail(e, type->loc, "tensors hold f32 (also written [..]), i32, bool or segments", "unknown element type '%s'%s", type->text,
            fe_suggest(e, type->text, 4, names));
    return false;
}

/* An unnamed dim of a parameter, such as 1 or L*H. */
static const fe_dim *unnamed_dim(fe *e, const mdl_ast *ast, const fe_value *v) {
    if (v->kind == FE_POISON) return NULL;
    if (v->kind == FE_INT && v->i > 0) return fe_dim_new(e, NULL, v->i);
    if (v->kind == FE_INT)
        fe_fail_value(e, ast->loc, "a dim is positive, not %lld", (long long)v->i);
    else
        fe_fail(e, ast->loc, NULL, "a dim is an integer, not %s", fe_type_text(e, v));
    return NULL;
}

int fe_type_dims(fe *e, fe_env *env, const mdl_ast *type, bool unnamed, const fe_dim **dims) {
    const fe_dim *all[FE_MAX_ARGS] = {NULL};
    int n = 0;
    for (int i = 0; i < type->list.n; i++) {
        const mdl_ast *ast = type->list.at[i];
        if (n >= FE_MAX_ARGS - MDL_MAX_RANK) return fe_fail(e, ast->loc, NULL, "the most is %d dims", MDL_MAX_RANK), -1;
        if (ast->kind == MDL_AST_REST && e->frame && e->frame->has_rest && i == 0) {
            for (int k = 0; k < e->frame->n_rest; k++) all[n++] = e->frame->rest[k];
            continue;
        }
        if (unnamed && ast->kind != MDL_AST_REST && ast->kind != MDL_AST_BIND_DIM) {
            fe_value v = fe_eval(e, env, ast);
            all[n] = v.kind == FE_INT && v.dim ? v.dim : unnamed_dim(e, ast, &v);
        } else {
            all[n] = fe_eval_dim(e, env, ast);
        }
        if (!all[n++]) return -1;
    }
    if (!fe_shape_ok(e, type->loc, n, all)) return -1;
    for (int i = 0; i < n; i++) dims[i] = all[i];
    return n;
}

/* ---- formals ---- */
static bool mismatch(fe *e, mdl_loc loc, const mdl_ast *formal, const char *callee, const fe_value *v) {
    mdl_text text = {.arena = e->arena};
    const mdl_ast *type = formal->a;
    mdl_text_printf(&text, "expected %s", type->text ? type->text : "");
    for (int i = 0; type->i && i < type->list.n; i++) {
        const mdl_ast *dim = type->list.at[i];
        const char *q = dim->kind == MDL_AST_BIND_DIM ? "?" : "";
        mdl_text_printf(&text, "%s%s%s", i ? ", " : "[", q, dim->kind == MDL_AST_REST ? ".." : dim->text ? dim->text : "...");
    }
    mdl_text_printf(&text, "%s, got %s", type->i ? type->list.n ? "]" : "[]" : "", fe_type_text(e, v));
    fe_fail(e, loc, text.at, "argument '%s' of '%s' does not fit", formal->text, callee);
    return false;
}

static bool bind_rest(fe *e, const fe_value *v, int n) {
    fe_frame *f = e->frame;
    bool same = !f->has_rest || f->n_rest == n;
    for (int i = 0; i < n && same; i++) {
        if (f->has_rest) same = f->rest[i] == v->dims[i];
        f->rest[i] = v->dims[i];
    }
    if (!f->has_rest) f->n_rest = n;
    f->has_rest = true;
    return same;
}

const fe_dim *fe_bind_dim(fe *e, fe_env *inner, const mdl_ast *name, const fe_dim *actual) {
    fe_dim *dim = MDL_NEW(e->arena, fe_dim);
    *dim = (fe_dim){.name = name->text, .size = actual->size, .outer = actual, .frame = e->frame->id, .batch = actual->batch};
    fe_value v = fe_int(actual->size);
    v.dim = dim;
    fe_define(e, inner, (fe_symbol){.name = name->text, .loc = name->loc, .role = FE_FORMAL, .value = v}, true);
    return dim;
}

/* Does `actual` match one dim of the pattern? Sets what it is called inside. */
static bool match_dim(fe *e, fe_env *inner, const mdl_ast *pattern, const fe_dim *actual, const fe_dim **inside, bool *silent) {
    if (pattern->kind == MDL_AST_BIND_DIM) {
        *inside = fe_bind_dim(e, inner, pattern, actual);
        return true;
    }
    *inside = fe_eval_dim(e, inner, pattern);
    *silent = !*inside;
    return *inside && ((*inside)->frame == e->frame->id ? (*inside)->outer : *inside) == actual;
}

static bool match_tensor(fe *e, fe_env *inner, const mdl_ast *formal, fe_value *v, mdl_loc loc, const char *callee) {
    const mdl_ast *type = formal->a;
    mdl_dtype dtype;
    int n = type->list.n, from = n && type->list.at[0]->kind == MDL_AST_REST;
    if (!fe_type_dtype(e, type, &dtype)) return false;
    for (int i = 1; i < n; i++)
        if (type->list.at[i]->kind == MDL_AST_REST) return fe_fail(e, type->list.at[i]->loc, NULL, "'..' comes first"), false;
    if (v->kind != FE_TENSOR || fe_dtype(v) != dtype) return mismatch(e, loc, formal, callee, v);
    int rest = fe_rank(v) - (n - from);
    fe_value given = *v;
    if (rest < 0 || (rest > 0 && !from)) return mismatch(e, loc, formal, callee, v);
    if (from && !bind_rest(e, v, rest)) return mismatch(e, loc, formal, callee, v);
    for (int i = 0; i < n - from; i++) {
        bool silent = false;
        if (!match_dim(e, inner, type->list.at[from + i], given.dims[rest + i], &v->dims[rest + i], &silent))
            return silent ? false : mismatch(e, loc, formal, callee, &given);
    }
    return true;
}

static const struct {
    const char *name;
    unsigned kinds;
    fe_kind typical;
} types[] = {{"num", 1u << FE_INT | 1u << FE_REAL, FE_INT},
             {"int", 1u << FE_INT, FE_INT},
             {"bool", 1u << FE_BOOL, FE_BOOL},
             {"str", 1u << FE_STR, FE_STR},
             {"init", 1u << FE_INIT, FE_INIT},
             {"list", 1u << FE_LIST, FE_LIST}};

/* An integer is a number of any kind; of an unknown type the integer is told so when it is bound. */
fe_value fe_any_constant(fe *e, const mdl_ast *type) {
    fe_value v = fe_of_init(e, (fe_init){.kind = FE_INIT_CONSTANT, .text = "zeros"});
    v.kind = FE_INT;
    v.i = 1;
    v.s = "";
    for (int i = 0; i < 6; i++)
        if (!strcmp(types[i].name, type->text)) v.kind = types[i].typical;
    return v;
}

static bool match_constant(fe *e, const mdl_ast *formal, const fe_value *v, mdl_loc loc, const char *callee) {
    static const char *const names[] = {"num", "int", "bool", "str", "init", "list"};
    const char *name = formal->a->text;
    for (int i = 0; i < 6; i++)
        if (!strcmp(types[i].name, name)) return types[i].kinds >> v->kind & 1 ? true : mismatch(e, loc, formal, callee, v);
    fe_fail(e, formal->a->loc, "compile-time types are num, int, bool, str, init and list; tensors have brackets: f32[T], [T, D]",
            "unknown type '%s'%s", name, fe_suggest(e, name, 6, names));
    return false;
}

bool fe_bind_formal(fe *e, fe_env *inner, const mdl_ast *formal, fe_value actual, mdl_loc loc, const char *callee) {
    bool ok = actual.kind != FE_POISON;
    if (ok && formal->a)
        ok = is_tensor_type(formal->a) ? match_tensor(e, inner, formal, &actual, loc, callee)
                                       : match_constant(e, formal, &actual, loc, callee);
    if (ok && actual.kind == FE_TUPLE)
        ok = (fe_fail(e, loc, NULL, "an argument is one value, not %s", fe_type_text(e, &actual)), false);
    if (!ok) actual = fe_poison();
    fe_define(e, inner, (fe_symbol){.name = formal->text, .loc = formal->name, .role = FE_FORMAL, .value = actual}, true);
    return ok;
}

/* ---- results ---- */
bool fe_check_return(fe *e, fe_env *inner, const mdl_ast *type, const fe_value *v, mdl_loc loc, const char *callee) {
    const fe_dim *dims[FE_MAX_ARGS];
    mdl_dtype dtype;
    if (!is_tensor_type(type)) {
        mdl_ast formal = {.a = (mdl_ast *)type, .text = "result"};
        return match_constant(e, &formal, v, loc, callee);
    }
    if (!fe_type_dtype(e, type, &dtype)) return false;
    int n = fe_type_dims(e, inner, type, false, dims);
    if (n < 0) return false;
    bool same = v->kind == FE_TENSOR && fe_dtype(v) == dtype && fe_rank(v) == n;
    for (int i = 0; i < n && same; i++) same = v->dims[i] == dims[i];
    if (same) return true;
    const char *expected =
        mdl_printf(e->arena, "expected %s%s, got %s", type->text ? type->text : "", fe_dims_text(e, n, dims), fe_type_text(e, v));
    fe_fail(e, loc, expected, "the result of '%s' does not have its declared type", callee);
    return false;
}
