/* Calls of functions and blocks: a frame, its formals, its body, and the way back to the caller's dims. */
#include <string.h>

#include "compiler/front/elab.h"

/* [O, ...]: each a fresh dim standing for a named one of the caller's. */
static bool bind_generics(fe *e, fe_env *outer, fe_env *inner, const mdl_ast *call, const mdl_ast *decl) {
    const mdl_ast *bracket = call->a;
    int given = bracket ? bracket->list.n : 0;
    if ((bracket && (bracket->i || bracket->text)) || given != decl->list.n) {
        mdl_loc loc = bracket ? bracket->loc : call->name;
        fe_fail(e, loc, NULL, "'%s' takes %d dim%s in brackets, got %d", decl->text, decl->list.n, decl->list.n == 1 ? "" : "s",
                given);
        return false;
    }
    bool ok = true;
    for (int i = 0; i < given; i++) {
        fe_frame *frame = e->frame;
        e->frame = frame->up; /* the caller's expression, in the caller's frame */
        const fe_dim *actual = fe_eval_dim(e, outer, bracket->list.at[i]);
        e->frame = frame;
        ok &= actual != NULL;
        if (!actual) continue;
        fe_bind_dim(e, inner, decl->list.at[i], actual);
    }
    return ok;
}

static int formal_index(const mdl_ast *decl, const char *name) {
    for (int i = 0; i < decl->more.n; i++)
        if (!strcmp(decl->more.at[i]->text, name)) return i;
    return -1;
}

static fe_value unknown_argument(fe *e, const mdl_ast *arg, const mdl_ast *decl) {
    const char **names = MDL_NEW_ARRAY(e->arena, const char *, decl->more.n + 1);
    for (int i = 0; i < decl->more.n; i++) names[i] = decl->more.at[i]->text;
    return fe_fail(e, arg->name, NULL, "'%s' has no argument named '%s'%s", decl->text, arg->text,
                   fe_suggest(e, arg->text, decl->more.n, names));
}

/* Evaluates the arguments in the caller's environment, into the slots of the formals. */
static bool eval_args(fe *e, fe_env *env, const mdl_ast *call, const mdl_ast *decl, fe_value *v, mdl_loc *locs) {
    bool ok = true;
    for (int i = 0; i < call->list.n; i++) {
        const mdl_ast *arg = call->list.at[i];
        int slot = arg->text ? formal_index(decl, arg->text) : i;
        if (slot < 0) return unknown_argument(e, arg, decl), false;
        if (slot >= decl->more.n)
            return fe_fail(e, arg->loc, NULL, "'%s' takes %d argument%s", decl->text, decl->more.n, decl->more.n == 1 ? "" : "s"),
                   false;
        if (v[slot].kind != FE_ABSENT)
            return fe_fail(e, arg->loc, NULL, "argument '%s' is given twice", decl->more.at[slot]->text), false;
        v[slot] = fe_eval(e, env, arg->a);
        locs[slot] = arg->a->loc;
        ok &= v[slot].kind != FE_POISON;
    }
    for (int i = 0; i < decl->more.n; i++)
        if (v[i].kind == FE_ABSENT && !decl->more.at[i]->b)
            return fe_fail(e, call->loc, NULL, "'%s' needs the argument '%s'", decl->text, decl->more.at[i]->text), false;
    return ok;
}

static bool bind_args(fe *e, fe_env *inner, const mdl_ast *decl, fe_value *v, const mdl_loc *locs) {
    bool ok = true, generic = decl->list.n > 0;
    for (int i = 0; i < decl->more.n; i++) {
        const mdl_ast *formal = decl->more.at[i];
        for (int k = 0; formal->a && k < formal->a->list.n; k++) generic |= formal->a->list.at[k]->kind == MDL_AST_BIND_DIM;
    }
    for (int i = 0; i < decl->more.n; i++) {
        const mdl_ast *formal = decl->more.at[i];
        mdl_loc loc = v[i].kind == FE_ABSENT ? formal->loc : locs[i];
        if (v[i].kind == FE_ABSENT) v[i] = fe_eval(e, inner, formal->b);
        if (v[i].kind == FE_TENSOR && !formal->a && generic && fe_rank(&v[i])) {
            fe_fail(e, formal->loc, NULL, "'%s' is a tensor: it needs a type, as '%s' has dims of its own", formal->text,
                    decl->text);
            v[i] = fe_poison();
        }
        ok &= fe_bind_formal(e, inner, formal, v[i], loc, decl->text);
    }
    return ok;
}

/* Back to the caller's dims; a dim made inside may not leave. */
static fe_value leave(fe *e, const fe_frame *frame, fe_value v, mdl_loc loc) {
    if (v.kind != FE_TENSOR) return v;
    for (int i = 0; i < fe_rank(&v); i++) {
        const fe_dim *dim = v.dims[i];
        if (dim->frame != frame->id) continue;
        if (!dim->outer)
            return fe_fail(e, loc, NULL, "the dim %s is local to '%s' and may not leave it",
                           dim->name ? dim->name : "without a name", frame->decl->text);
        v.dims[i] = dim->outer;
    }
    return fe_shape_ok(e, loc, fe_rank(&v), v.dims) ? v : fe_poison();
}

static fe_value finish(fe *e, fe_env *inner, const mdl_ast *decl, fe_value v, mdl_loc loc) {
    const mdl_ast *types = decl->a;
    fe_value *items = MDL_NEW_ARRAY(e->arena, fe_value, v.kind == FE_TUPLE ? v.n : 1);
    int n = v.kind == FE_TUPLE ? v.n : 1;
    if (types && types->list.n != n)
        return fe_fail(e, loc, NULL, "'%s' returns %d value%s, its type declares %d", decl->text, n, n == 1 ? "" : "s",
                       types->list.n);
    for (int i = 0; i < n; i++) {
        items[i] = v.kind == FE_TUPLE ? v.items[i] : v;
        if (types && !fe_check_return(e, inner, types->list.at[i], &items[i], loc, decl->text)) return fe_poison();
        items[i] = leave(e, e->frame, items[i], loc);
        if (items[i].kind == FE_POISON) return fe_poison();
    }
    return n == 1 ? items[0] : (fe_value){.kind = FE_TUPLE, .n = n, .items = items};
}

static void note_called(fe *e, const mdl_ast *decl) {
    for (int i = 0; i < e->called.n; i++)
        if (e->called.at[i] == decl) return;
    MDL_PUSH(e->arena, e->called, decl);
}

fe_value fe_run(fe *e, fe_env *inner, const mdl_ast *decl) {
    int errors = mdl_error_count(e->d);
    note_called(e, decl);
    if (decl->kind == MDL_AST_BLOCK && !decl->a)
        return fe_fail(e, decl->name, NULL, "block '%s' must declare what it returns: -> [...]", decl->text);
    if (decl->b->kind != MDL_AST_BODY) {
        fe_value v = fe_eval(e, inner, decl->b);
        return v.kind == FE_POISON ? v : finish(e, inner, decl, v, decl->b->loc);
    }
    fe_exec_body(e, inner, decl->b);
    if (!e->frame->returned)
        return mdl_error_count(e->d) > errors ? fe_poison() : fe_fail(e, decl->name, NULL, "'%s' returns nothing", decl->text);
    fe_value v = e->frame->result;
    return v.kind == FE_POISON ? v : finish(e, inner, decl, v, e->frame->result_loc);
}

/* Is this function already being elaborated? A branch that is not taken does not follow a recursion, and after one without end
 * nothing does: each of its calls would only report it again. */
static bool is_active(const fe *e, const mdl_ast *decl) {
    for (const fe_frame *f = e->frame; f; f = f->up)
        if (f->decl == decl) return true;
    return false;
}

static bool may_call(fe *e, const mdl_ast *call, const mdl_ast *decl) {
    if ((e->dead || e->endless) && is_active(e, decl)) return false;
    if (e->depth >= FE_MAX_DEPTH) {
        e->endless = true;
        return fe_fail(e, call->loc, NULL, "'%s' calls itself without end", decl->text), false;
    }
    if (call->b && decl->kind != MDL_AST_BLOCK)
        return fe_fail(e, call->b->loc, NULL, "'as' names the parameters of a block; '%s' is a fn", decl->text), false;
    return true;
}

fe_value fe_call(fe *e, fe_env *env, const mdl_ast *call, const fe_symbol *function) {
    const mdl_ast *decl = function->decl;
    fe_env *home = function->home;
    if (!may_call(e, call, decl)) return fe_poison();
    fe_value *v = MDL_NEW_ARRAY(e->arena, fe_value, decl->more.n + 1);
    mdl_loc *locs = MDL_NEW_ARRAY(e->arena, mdl_loc, decl->more.n + 1);
    for (int i = 0; i < decl->more.n; i++) v[i].kind = FE_ABSENT;
    bool ok = eval_args(e, env, call, decl, v, locs);
    const char *as = call->b ? fe_interpolate(e, env, call->b->loc, call->b->text) : NULL;
    fe_env *inner = fe_env_new(e, home);
    fe_frame frame = {.up = e->frame, .decl = decl, .call = call->loc, .id = ++e->frames};
    fe_value result = fe_poison();
    int nesting = e->nesting;
    e->frame = &frame;
    e->depth++;
    ok = bind_generics(e, env, inner, call, decl) && ok;
    if (ok && bind_args(e, inner, decl, v, locs)) {
        const mdl_scope *around = e->b.span.scope;
        if (as) fe_enter_scope(e, as, NULL);
        result = fe_run(e, inner, decl);
        e->b.span.scope = around;
    }
    e->depth--;
    e->nesting = nesting;
    e->frame = frame.up;
    return result;
}
