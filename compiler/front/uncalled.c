/* Functions and blocks that nothing calls are checked all the same, with arguments that stand for any: each dim of its own is a
 * fresh one, sizes and other values are not looked at (as in a branch that is not taken), and what has no type silences what it
 * touches.
 *
 * The leading dims `..` are the caller's own and may be named in the body, so what is right for some leading dims is right: one
 * fresh dim first, then none, then up to two of the file's. */
#include "compiler/front/elab.h"

/* Many sizes divide it, so that dims made from it exist. */
enum { ANY_SIZE = 5040 };

typedef struct {
    fe *e;
    fe_env *home;
    const mdl_ast *decl;
    int n_rest;
    const fe_dim *rest[2];
} attempt;

static bool is_called(const fe *e, const mdl_ast *decl) {
    for (int i = 0; i < e->called.n; i++)
        if (e->called.at[i] == decl) return true;
    return false;
}

static const fe_dim *any_dim(fe *e, const char *name) {
    fe_dim *dim = MDL_NEW(e->arena, fe_dim);
    *dim = (fe_dim){.name = name, .size = ANY_SIZE};
    return dim;
}

/* A tensor that fits the formal's pattern; POISON when the pattern is wrong in itself. */
static fe_value any_tensor(attempt *a, fe_env *inner, const mdl_ast *type) {
    fe *e = a->e;
    const fe_dim *dims[FE_MAX_ARGS];
    mdl_dtype dtype;
    int n = 0;
    if (!fe_type_dtype(e, type, &dtype)) return fe_poison();
    for (int i = 0; i < type->list.n && n < MDL_MAX_RANK; i++) {
        const mdl_ast *dim = type->list.at[i];
        for (int k = 0; dim->kind == MDL_AST_REST && k < a->n_rest; k++) dims[n++] = a->rest[k];
        if (dim->kind == MDL_AST_REST) continue;
        const fe_dim *inside = dim->kind == MDL_AST_BIND_DIM ? any_dim(e, dim->text) : fe_eval_dim(e, inner, dim);
        if (!inside) return fe_poison();
        dims[n++] = inside->frame == e->frame->id ? inside->outer : inside;
    }
    return fe_shape_ok(e, type->loc, n, dims) ? fe_stand_in(e, dtype, n, dims) : fe_poison();
}

static fe_value any_argument(attempt *a, fe_env *inner, const mdl_ast *formal) {
    if (formal->b) return fe_eval(a->e, inner, formal->b);
    if (!formal->a) return fe_poison();
    return formal->a->i ? any_tensor(a, inner, formal->a) : fe_any_constant(a->e, formal->a);
}

/* Elaborates the function once into the scratch region; returns whether there were errors. */
static bool fails(attempt *a) {
    fe *e = a->e;
    const mdl_ast *decl = a->decl;
    fe_frame root = {.decl = decl, .call = decl->loc, .id = ++e->frames},
             frame = {.up = &root, .decl = decl, .call = decl->loc, .id = ++e->frames, .uncalled = true};
    fe_env *inner = fe_env_new(e, a->home);
    mdl_region *saved;
    int errors = mdl_error_count(e->d);
    e->frame = &frame;
    fe_enter_dead(e, &saved);
    for (int i = 0; i < decl->list.n; i++) fe_bind_dim(e, inner, decl->list.at[i], any_dim(e, decl->list.at[i]->text));
    for (int i = 0; i < decl->more.n; i++) {
        const mdl_ast *formal = decl->more.at[i];
        fe_bind_formal(e, inner, formal, any_argument(a, inner, formal), formal->loc, decl->text);
    }
    fe_run(e, inner, decl);
    fe_leave_dead(e, saved);
    e->frame = NULL;
    return mdl_error_count(e->d) > errors;
}

static bool fails_in_silence(attempt *a) {
    mdl_diagnostics *d = a->e->d;
    a->e->d = mdl_diagnostics_new(a->e->arena);
    bool failed = fails(a);
    a->e->d = d;
    return failed;
}

static bool has_rest(const mdl_ast *decl) {
    for (int i = 0; i < decl->more.n; i++) {
        const mdl_ast *type = decl->more.at[i]->a;
        if (type && type->i && type->list.n && type->list.at[0]->kind == MDL_AST_REST) return true;
    }
    return false;
}

/* Is it right for none, one or two leading dims, each of the file's or a fresh one? */
static bool fits_some_rest(attempt *a) {
    MDL_VEC(const fe_dim *) dims = {0};
    MDL_PUSH(a->e->arena, dims, any_dim(a->e, ".."));
    for (const fe_env *env = a->home; env; env = env->parent)
        for (int i = 0; i < env->symbols.n; i++)
            if (env->symbols.at[i].value.dim) MDL_PUSH(a->e->arena, dims, env->symbols.at[i].value.dim);
    a->n_rest = 0;
    if (!fails_in_silence(a)) return true;
    for (int i = 0; i < dims.n; i++)
        for (int k = -1; k < dims.n; k++) {
            if (k == i) continue;
            a->n_rest = k < 0 ? 1 : 2;
            a->rest[0] = dims.at[i];
            a->rest[1] = k < 0 ? NULL : dims.at[k];
            if (!fails_in_silence(a)) return true;
        }
    return false;
}

static void check(fe *e, fe_env *home, const mdl_ast *decl) {
    const fe_dim *first = any_dim(e, "..");
    e->steps = 0; /* shared by all attempts: one that is too large to check ends in silence */
    attempt a = {.e = e, .home = home, .decl = decl, .n_rest = 1, .rest = {first}};
    if (!fails_in_silence(&a) || (has_rest(decl) && fits_some_rest(&a))) return;
    a.n_rest = 1;
    a.rest[0] = first;
    fails(&a);
}

void fe_check_uncalled(fe *e) {
    for (int s = 0; s < e->sources.n; s++) {
        const fe_source *source = e->sources.at[s];
        for (int i = 0; source->ast && i < source->ast->list.n; i++) {
            const mdl_ast *item = source->ast->list.at[i];
            bool function = item->kind == MDL_AST_FN || item->kind == MDL_AST_BLOCK;
            if (function && !is_called(e, item)) check(e, source->env, item);
        }
    }
}
