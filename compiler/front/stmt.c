/* Statements of functions, blocks and models. */
#include <string.h>

#include "compiler/front/elab.h"

static void exec(fe *e, fe_env *env, const mdl_ast *stmt);

void fe_exec_body(fe *e, fe_env *env, const mdl_ast *body) {
    for (int i = 0; i < body->list.n && !e->frame->returned; i++) exec(e, env, body->list.at[i]);
}

static void define(fe *e, fe_env *env, const mdl_ast *name, fe_role role, fe_value value) {
    fe_define(e, env, (fe_symbol){.name = name->text, .loc = name->name, .role = role, .value = value}, false);
}

static void exec_let(fe *e, fe_env *env, const mdl_ast *stmt) {
    fe_value v = fe_eval(e, env, stmt->a);
    int n = stmt->list.n, got = v.kind == FE_TUPLE ? v.n : 1;
    bool maps = stmt->a->kind == MDL_AST_CALL && !strcmp(stmt->a->text, "attention");
    if (v.kind != FE_POISON && got != n)
        v = fe_fail(e, stmt->a->loc, maps ? fe_instead_of("attention_map") : NULL, "%d name%s for %d value%s", n, n == 1 ? "" : "s",
                    got, got == 1 ? "" : "s");
    for (int i = 0; i < n; i++) define(e, env, stmt->list.at[i], FE_LET, v.kind == FE_TUPLE ? v.items[i] : v);
}

static void exec_assign(fe *e, fe_env *env, const mdl_ast *stmt) {
    fe_value v = fe_eval(e, env, stmt->a);
    fe_symbol *symbol = fe_lookup(env, stmt->text);
    if (!symbol) {
        fe_fail(e, stmt->name, NULL, "'%s' is not declared: write let %s = ...%s", stmt->text, stmt->text,
                fe_suggest_visible(e, env, stmt->text));
        return;
    }
    if (symbol->role != FE_LET && symbol->role != FE_FORMAL) {
        fe_fail(e, stmt->name, NULL, "'%s' cannot be assigned: it was not declared by let", stmt->text);
        return;
    }
    if (v.kind == FE_POISON || symbol->value.kind == FE_POISON) return;
    bool same = v.kind == symbol->value.kind;
    if (same && v.kind == FE_TENSOR) {
        same = mdl_type_equal(&v.tensor->type, &symbol->value.tensor->type);
        for (int i = 0; same && i < fe_rank(&v); i++) same = v.dims[i] == symbol->value.dims[i];
    }
    if (!same)
        fe_fail(e, stmt->a->loc, mdl_printf(e->arena, "expected %s, got %s", fe_type_text(e, &symbol->value), fe_type_text(e, &v)),
                "an assignment keeps the type and dims of '%s'", stmt->text);
    else if (!e->dead)
        symbol->value = v;
}

void fe_enter_scope(fe *e, const char *name, const char *precision) {
    mdl_scope *scope = MDL_NEW(e->arena, mdl_scope);
    const char *path = mdl_scope_path(&e->b.span);
    scope->path = !name ? path : *path ? mdl_printf(e->arena, "%s.%s", path, name) : name;
    scope->precision = precision ? precision : mdl_scope_precision(&e->b.span);
    e->b.span.scope = scope;
}

/* "auto", or the precision of the reals in a scope, on which passes act; NULL after an error. */
static const char *precision_of(fe *e, fe_env *env, const mdl_ast *ast) {
    static const char *const known[] = {"auto", "f32", "bf16", "fp8"};
    fe_value v = fe_eval(e, env, ast);
    if (v.kind == FE_POISON) return NULL;
    for (int i = 0; i < 4 && v.kind == FE_STR; i++)
        if (!strcmp(known[i], v.s)) return known[i];
    if (v.kind == FE_STR && e->dead) return NULL;
    const char *near = v.kind == FE_STR ? fe_suggest(e, v.s, 4, known) : "";
    fe_fail(e, ast->loc, "it is one of \"auto\", \"f32\", \"bf16\", \"fp8\"", "unknown precision: %s%s", fe_type_text(e, &v), near);
    return NULL;
}

/* Runs a body under its header: the scope's name, the precision. */
static void exec_scoped(fe *e, fe_env *env, const mdl_ast *header, const mdl_ast *body) {
    const mdl_scope *around = e->b.span.scope;
    const char *name = header->a ? fe_interpolate(e, env, header->a->loc, header->a->text) : NULL;
    const char *precision = header->b ? precision_of(e, env, header->b) : NULL;
    if (name || precision) fe_enter_scope(e, name, precision);
    fe_exec_body(e, env, body);
    e->b.span.scope = around;
}

static bool range(fe *e, fe_env *env, const mdl_ast *stmt, int64_t *low, int64_t *high) {
    fe_value a = fe_eval(e, env, stmt->a), b = fe_eval(e, env, stmt->b);
    if (a.kind == FE_POISON || b.kind == FE_POISON) return false;
    if (a.kind != FE_INT || b.kind != FE_INT) {
        fe_fail(e, a.kind != FE_INT ? stmt->a->loc : stmt->b->loc, NULL,
                "the range of a loop is of integers known at compile time, not %s", fe_type_text(e, a.kind != FE_INT ? &a : &b));
        return false;
    }
    *low = a.i;
    *high = b.i;
    return true;
}

enum { STEPS_OF_ITERATION = 10 }; /* its names take memory as ten expressions do */

static void exec_for(fe *e, fe_env *env, const mdl_ast *stmt) {
    int64_t low, high;
    if (!range(e, env, stmt, &low, &high)) return;
    int errors = mdl_error_count(e->d);
    if (e->dead) high = low < INT64_MAX ? low + 1 : low; /* once, whatever the range */
    for (int64_t i = low; i < high && !e->frame->returned && mdl_error_count(e->d) == errors; i++) {
        if (!fe_steps(e, stmt->loc, STEPS_OF_ITERATION)) return;
        fe_env *inner = fe_env_new(e, env);
        fe_symbol variable = {.name = stmt->text, .loc = stmt->name, .role = FE_LOOP, .value = fe_int(i)};
        fe_define(e, inner, variable, false);
        MDL_PUSH(e->arena, e->frame->loops, variable);
        exec_scoped(e, inner, stmt->c, stmt->d);
        e->frame->loops.n--;
    }
}

static void exec_branch(fe *e, fe_env *env, const mdl_ast *branch, bool taken) {
    bool returned = e->frame->returned;
    mdl_region *saved = e->b.region;
    if (!branch) return;
    if (!taken) fe_enter_dead(e, &saved);
    fe_env *inner = fe_env_new(e, env);
    if (branch->kind == MDL_AST_IF)
        exec(e, inner, branch);
    else
        fe_exec_body(e, inner, branch);
    if (taken) return;
    fe_leave_dead(e, saved);
    e->frame->returned = returned;
}

static void exec_if(fe *e, fe_env *env, const mdl_ast *stmt) {
    fe_value cond = fe_eval_condition(e, env, stmt->a, "if");
    bool yes = cond.kind == FE_BOOL && cond.i, no = cond.kind == FE_BOOL && !cond.i;
    /* The branch not taken first: what it checks cannot depend on what the other one does. */
    exec_branch(e, env, yes ? stmt->c : stmt->b, false);
    if (cond.kind == FE_POISON) exec_branch(e, env, stmt->c, false);
    if (yes || no) exec_branch(e, env, yes ? stmt->b : stmt->c, true);
}

static void exec_return(fe *e, fe_env *env, const mdl_ast *stmt) {
    int n = stmt->list.n;
    if (!e->frame->up) {
        fe_fail(e, stmt->loc, NULL, "a model returns nothing: it has losses, metrics and outputs");
        return;
    }
    fe_value *items = MDL_NEW_ARRAY(e->arena, fe_value, n), result = {.kind = FE_TUPLE, .n = n, .items = items};
    for (int i = 0; i < n; i++) {
        items[i] = fe_eval(e, env, stmt->list.at[i]);
        if (items[i].kind == FE_POISON) result = fe_poison();
    }
    e->frame->result = n == 1 ? items[0] : result;
    e->frame->result_loc = n == 1 ? stmt->list.at[0]->loc : stmt->loc;
    e->frame->returned = true;
}

void fe_exec_consts(fe *e, fe_env *env, const mdl_ast *consts) {
    for (int i = 0; i < consts->list.n; i++) {
        const mdl_ast *bind = consts->list.at[i];
        fe_value v = fe_eval(e, env, bind->a);
        if (v.kind == FE_TENSOR || v.kind == FE_TUPLE)
            v = fe_fail(e, bind->a->loc, NULL, "a const is known at compile time; '%s' is %s", bind->text, fe_type_text(e, &v));
        v.dim = NULL;
        define(e, env, bind, FE_FIXED, v);
    }
}

/* A bare name is an alias of that dim; anything else is a new one. */
void fe_exec_dims(fe *e, fe_env *env, const mdl_ast *dims) {
    for (int i = 0; i < dims->list.n; i++) {
        const mdl_ast *bind = dims->list.at[i];
        fe_value v = fe_eval(e, env, bind->a);
        if (v.kind != FE_POISON && v.kind != FE_INT)
            v = fe_fail(e, bind->a->loc, NULL, "a dim is an integer, not %s", fe_type_text(e, &v));
        if (v.kind == FE_INT && v.i <= 0)
            v = fe_fail_value(e, bind->a->loc, "a dim is positive: %s = %lld", bind->text, (long long)v.i);
        if (v.kind == FE_INT && !(bind->a->kind == MDL_AST_NAME && v.dim)) v.dim = fe_dim_new(e, bind->text, v.i);
        define(e, env, bind, FE_FIXED, v);
    }
}

void fe_exec_check(fe *e, fe_env *env, const mdl_ast *check) {
    fe_value v = fe_eval(e, env, check->a);
    const char *text = fe_interpolate(e, env, check->b->loc, check->b->text);
    if (v.kind == FE_POISON || !text) return;
    if (v.kind != FE_BOOL)
        fe_fail(e, check->a->loc, NULL, "'check' needs a bool known at compile time, not %s", fe_type_text(e, &v));
    else if (!v.i)
        fe_fail_value(e, check->a->loc, "check failed: %s", text);
}

static bool only_in_model(fe *e, const mdl_ast *stmt) {
    bool ok = e->frame->decl->kind == MDL_AST_MODEL;
    if (!ok) fe_fail(e, stmt->loc, NULL, "'%s' belongs in a model", mdl_ast_kind_name(stmt->kind));
    return ok;
}

static void exec(fe *e, fe_env *env, const mdl_ast *stmt) {
    if (e->nesting >= FE_MAX_NESTING) {
        fe_fail(e, stmt->loc, NULL, "these statements are nested too deeply");
        return;
    }
    e->nesting++;
    switch (stmt->kind) {
        case MDL_AST_LET: exec_let(e, env, stmt); break;
        case MDL_AST_ASSIGN: exec_assign(e, env, stmt); break;
        case MDL_AST_CONST: fe_exec_consts(e, env, stmt); break;
        case MDL_AST_DIM: fe_exec_dims(e, env, stmt); break;
        case MDL_AST_CHECK: fe_exec_check(e, env, stmt); break;
        case MDL_AST_PARAM: fe_exec_param(e, env, stmt); break;
        case MDL_AST_FOR: exec_for(e, env, stmt); break;
        case MDL_AST_SCOPE: exec_scoped(e, fe_env_new(e, env), stmt->c, stmt->d); break;
        case MDL_AST_IF: exec_if(e, env, stmt); break;
        case MDL_AST_RETURN: exec_return(e, env, stmt); break;
        case MDL_AST_LOSS:
        case MDL_AST_METRIC:
        case MDL_AST_OUTPUT:
            if (only_in_model(e, stmt)) fe_exec_sink(e, env, stmt);
            break;
        default: fe_fail(e, stmt->loc, NULL, "'%s' does not belong here", mdl_ast_kind_name(stmt->kind));
    }
    e->nesting--;
}
