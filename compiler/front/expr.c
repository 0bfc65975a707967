/* Expressions, with the calls of what the language provides. */
#include <string.h>

#include "compiler/front/elab.h"

void fe_enter_dead(fe *e, mdl_region **saved) {
    *saved = e->b.region;
    e->b.region = e->scratch;
    e->dead++;
}

void fe_leave_dead(fe *e, mdl_region *saved) {
    e->b.region = saved;
    e->dead--;
}

static fe_value eval_name(fe *e, fe_env *env, const mdl_ast *ast) {
    const fe_symbol *symbol = fe_lookup(env, ast->text);
    fe_value v;
    if (!symbol && fe_builtin_constant(e, ast->text, &v)) return v;
    mdl_opcode code;
    if ((symbol && symbol->role == FE_FUNCTION) || (!symbol && fe_pointwise_name(ast->text, &code)))
        return fe_fail(e, ast->loc, NULL, "'%s' is a function: call it", ast->text);
    if (!symbol) return fe_fail(e, ast->loc, NULL, "unknown name '%s'%s", ast->text, fe_suggest_visible(e, env, ast->text));
    if (symbol->role == FE_CARRY) return fe_fail(e, ast->loc, NULL, "'%s' is a carry parameter: it is kept, not used", ast->text);
    v = symbol->value;
    if (v.kind == FE_TENSOR && v.region != e->b.region && !e->dead)
        return fe_fail(e, ast->loc, NULL, "an initial value depends on nothing but constants: '%s' is a tensor of the model",
                       ast->text);
    return v;
}

static fe_value eval_list(fe *e, fe_env *env, const mdl_ast *ast) {
    fe_value *items = MDL_NEW_ARRAY(e->arena, fe_value, ast->list.n + 1);
    for (int i = 0; i < ast->list.n; i++) {
        items[i] = fe_eval(e, env, ast->list.at[i]);
        if (items[i].kind == FE_POISON) return fe_poison();
    }
    return (fe_value){.kind = FE_LIST, .n = ast->list.n, .items = items};
}

static fe_value eval_index(fe *e, fe_env *env, const mdl_ast *ast) {
    const fe_symbol *symbol = fe_lookup(env, ast->text);
    const mdl_ast *bracket = ast->a;
    if (!symbol) return fe_fail(e, ast->name, NULL, "unknown list '%s'%s", ast->text, fe_suggest_visible(e, env, ast->text));
    if (symbol->role == FE_FUNCTION) return fe_fail(e, ast->loc, NULL, "'%s' is a function: its arguments are missing", ast->text);
    if (symbol->value.kind == FE_POISON) return fe_poison();
    if (symbol->value.kind != FE_LIST)
        return fe_fail(e, ast->name, NULL, "only lists are indexed, '%s' is %s", ast->text, fe_type_text(e, &symbol->value));
    if (bracket->i || bracket->text || bracket->list.n != 1) return fe_fail(e, bracket->loc, NULL, "a list takes one index");
    fe_value index = fe_eval(e, env, bracket->list.at[0]);
    if (index.kind == FE_POISON) return index;
    if (index.kind != FE_INT) return fe_fail(e, bracket->loc, NULL, "an index is an integer, not %s", fe_type_text(e, &index));
    if (index.i < 0 || index.i >= symbol->value.n)
        return fe_fail_value(e, bracket->loc, "index %lld is outside the list '%s' of %d", (long long)index.i, ast->text,
                             symbol->value.n);
    return symbol->value.items[index.i];
}

fe_value fe_eval_condition(fe *e, fe_env *env, const mdl_ast *ast, const char *of) {
    fe_value cond = fe_eval(e, env, ast);
    if (cond.kind == FE_POISON || cond.kind == FE_BOOL) return cond;
    const char *hint = cond.kind == FE_TENSOR ? "select chooses between tensors element by element" : NULL;
    return fe_fail(e, ast->loc, hint, "the condition of '%s' must be a bool known at compile time, not %s", of,
                   fe_type_text(e, &cond));
}

static fe_value eval_cond(fe *e, fe_env *env, const mdl_ast *ast) {
    fe_value cond = fe_eval_condition(e, env, ast->a, "?:"), result[2];
    for (int i = 0; i < 2; i++) {
        bool taken = cond.kind == FE_BOOL && (cond.i != 0) == (i == 0);
        mdl_region *saved = e->b.region;
        if (!taken) fe_enter_dead(e, &saved);
        result[i] = fe_eval(e, env, i == 0 ? ast->b : ast->c);
        if (!taken) fe_leave_dead(e, saved);
    }
    return cond.kind == FE_BOOL ? result[cond.i ? 0 : 1] : fe_poison();
}

/* && and || of compile-time bools do not evaluate the right side when the left decides. */
static bool short_circuit(fe *e, fe_env *env, const mdl_ast *ast, const fe_value *left) {
    bool and = !strcmp(ast->text, "&&"), or = !strcmp(ast->text, "||");
    if (left->kind != FE_BOOL || !(and || or) || (left->i != 0) != or) return false;
    mdl_region *saved;
    fe_enter_dead(e, &saved);
    fe_eval(e, env, ast->b);
    fe_leave_dead(e, saved);
    return true;
}

static fe_value eval_binary(fe *e, fe_env *env, const mdl_ast *ast) {
    static const struct {
        const char *text;
        mdl_opcode code;
        bool swap;
    } ops[] = {{"+", MDL_OP_ADD, false}, {"-", MDL_OP_SUB, false}, {"*", MDL_OP_MUL, false},  {"/", MDL_OP_DIV, false},
               {"==", MDL_OP_EQ, false}, {"!=", MDL_OP_NE, false}, {"<", MDL_OP_LT, false},   {"<=", MDL_OP_LE, false},
               {">", MDL_OP_LT, true},   {">=", MDL_OP_LE, true},  {"&&", MDL_OP_AND, false}, {"||", MDL_OP_OR, false}};
    fe_value left = fe_eval(e, env, ast->a);
    if (short_circuit(e, env, ast, &left)) return left;
    fe_value right = fe_eval(e, env, ast->b);
    if (!strcmp(ast->text, "%")) return fe_fold_modulo(e, ast->name, left, right);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].text, ast->text)) continue;
        fe_value v[] = {ops[i].swap ? right : left, ops[i].swap ? left : right};
        return fe_pointwise(e, ast->name, ast->text, ops[i].code, 2, v);
    }
    return fe_poison();
}

static fe_value eval_unary(fe *e, fe_env *env, const mdl_ast *ast) {
    fe_value v = fe_eval(e, env, ast->a);
    return fe_pointwise(e, ast->name, ast->text, *ast->text == '-' ? MDL_OP_NEG : MDL_OP_NOT, 1, &v);
}

/* ---- calls of what the language provides ---- */
static int slot_of(const char *const *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

static int split_names(fe *e, const char *text, const char **names) {
    int n = 0;
    while (*text) {
        size_t length = strcspn(text, ",");
        names[n++] = mdl_strndup(e->arena, text, length);
        text += length + (text[length] == ',');
    }
    return n;
}

static bool too_many(fe *e, const mdl_ast *call, mdl_loc loc, int most) {
    fe_fail(e, loc, NULL, "'%s' takes at most %d argument%s", call->text, most, most == 1 ? "" : "s");
    return false;
}

/* Evaluates the arguments into their slots. */
static bool bind_args(fe *e, fe_env *env, const mdl_ast *call, const char *arg_names, int required, fe_site *s) {
    bool ok = true;
    int most = arg_names ? split_names(e, arg_names, s->arg) : FE_MAX_ARGS;
    for (int i = 0; i < FE_MAX_ARGS; i++) s->v[i].kind = FE_ABSENT;
    for (int i = 0; i < call->list.n; i++) {
        const mdl_ast *arg = call->list.at[i];
        int slot = arg->text ? (arg_names ? slot_of(s->arg, most, arg->text) : -1) : i;
        if (slot < 0) {
            const char *near = arg_names ? fe_suggest(e, arg->text, most, s->arg) : "";
            const char *instead = strcmp(call->text, "attention") ? NULL : fe_instead_of(arg->text);
            fe_fail(e, arg->name, instead, "'%s' has no argument named '%s'%s", call->text, arg->text, instead ? "" : near);
            return false;
        }
        if (slot >= most) return too_many(e, call, arg->loc, most);
        if (s->v[slot].kind != FE_ABSENT) return fe_fail(e, arg->loc, NULL, "argument '%s' is given twice", s->arg[slot]), false;
        if (!arg_names) s->arg[slot] = mdl_printf(e->arena, "%d", slot + 1);
        s->v[slot] = fe_eval(e, env, arg->a);
        s->loc[slot] = arg->a->loc;
        ok &= s->v[slot].kind != FE_POISON;
        if (slot + 1 > s->n) s->n = slot + 1;
    }
    for (int i = 0; i < required && ok; i++)
        if (s->v[i].kind == FE_ABSENT)
            return fe_fail(e, call->loc, NULL, arg_names ? "'%s' needs the argument '%s'" : "'%s' needs arguments%.0s", call->text,
                           s->arg[i]),
                   false;
    return ok;
}

static const char *bracket_form(fe_bracket kind) {
    static const char *const forms[] = {"", "[X, ...]", "[X]", "[X -> Y]", "[X = index]"};
    return forms[kind];
}

static bool bind_bracket(fe *e, fe_env *env, const mdl_ast *call, fe_bracket kind, fe_site *s) {
    const mdl_ast *b = call->a;
    bool fits = b && (kind == FE_EQUALS ? b->text != NULL : kind == FE_ARROW ? b->i : !b->text && !b->i);
    if (kind == FE_ONE_DIM && fits) fits = b->list.n == 1;
    if (kind == FE_NO_DIMS) {
        if (b) fe_fail(e, b->loc, NULL, "'%s' takes no dims", call->text);
        return !b;
    }
    if (!fits)
        return fe_fail(e, b ? b->loc : call->name, NULL, "'%s' is written %s%s(...)", call->text, call->text, bracket_form(kind)),
               false;
    if (kind == FE_EQUALS) {
        mdl_ast name = {.kind = MDL_AST_NAME, .loc = b->name, .name = b->name, .text = b->text};
        fe_value index = fe_eval(e, env, b->a);
        s->left[0] = fe_eval_dim(e, env, &name);
        if (index.kind == FE_POISON || !s->left[0]) return false;
        if (index.kind != FE_INT)
            return fe_fail(e, b->a->loc, NULL, "an index is an integer, not %s", fe_type_text(e, &index)), false;
        s->n_left = 1;
        s->at = index.i;
        return true;
    }
    s->n_left = fe_eval_dims(e, env, &b->list, s->left);
    s->n_right = fe_eval_dims(e, env, &b->more, s->right);
    return s->n_left >= 0 && s->n_right >= 0;
}

static bool call_value(fe *e, fe_env *env, const mdl_ast *call, fe_value *result) {
    if (strcmp(call->text, "value")) return false;
    *result = call->list.n == 1 && !call->list.at[0]->text && !call->a && !call->b
                  ? fe_of_init(e, (fe_init){.kind = FE_INIT_VALUE, .expr = call->list.at[0]->a, .env = env, .text = "value"})
                  : fe_fail(e, call->loc, NULL, "'value' takes one expression");
    return true;
}

static bool builtin_call(fe *e, fe_env *env, const mdl_ast *call, fe_value *result) {
    *result = fe_poison();
    if (call_value(e, env, call, result)) return true;
    const fe_builtin *builtin = fe_builtin_find(call->text, call->a != NULL);
    if (builtin) {
        fe_site *s = MDL_NEW(e->arena, fe_site);
        s->env = env;
        s->ast = call;
        if (call->b) fe_fail(e, call->b->loc, NULL, "'as' names the parameters of a block; '%s' has none", call->text);
        bool args = bind_args(e, env, call, builtin->args, builtin->required, s);
        if (bind_bracket(e, env, call, builtin->bracket, s) && args) *result = builtin->run(e, s);
        return true;
    }
    const char *instead = fe_instead_of(call->text);
    if (instead) fe_fail(e, call->name, instead, "'%s' is left out of the language on purpose", call->text);
    return instead != NULL;
}

static fe_value eval_pointwise_call(fe *e, fe_env *env, const mdl_ast *ast, mdl_opcode code) {
    fe_value v[3] = {{0}};
    int arity = mdl_ops[code].arity;
    if (ast->a) return fe_fail(e, ast->a->loc, NULL, "'%s' takes no dims", ast->text);
    if (ast->b) return fe_fail(e, ast->b->loc, NULL, "'as' names the parameters of a block; '%s' has none", ast->text);
    for (int i = 0; i < ast->list.n; i++)
        if (ast->list.at[i]->text)
            return fe_fail(e, ast->list.at[i]->loc, NULL, "'%s' has no argument named '%s'", ast->text, ast->list.at[i]->text);
    if (ast->list.n != arity || arity > 3)
        return fe_fail(e, ast->loc, NULL, "'%s' takes %d argument%s, not %d", ast->text, arity, arity == 1 ? "" : "s", ast->list.n);
    for (int i = 0; i < arity; i++) v[i] = fe_eval(e, env, ast->list.at[i]->a);
    return fe_pointwise(e, ast->loc, ast->text, code, arity, v);
}

static fe_value eval_call(fe *e, fe_env *env, const mdl_ast *ast) {
    const fe_symbol *symbol = fe_lookup(env, ast->text);
    fe_value result;
    mdl_opcode code;
    if (symbol && symbol->role == FE_FUNCTION) return fe_call(e, env, ast, symbol);
    if (symbol) return fe_fail(e, ast->name, NULL, "'%s' is not a function", ast->text);
    if (builtin_call(e, env, ast, &result)) return result;
    if (fe_pointwise_name(ast->text, &code)) return eval_pointwise_call(e, env, ast, code);
    return fe_fail(e, ast->name, NULL, "unknown function '%s'%s", ast->text, fe_suggest_visible(e, env, ast->text));
}

static fe_value eval_string(fe *e, fe_env *env, const mdl_ast *ast) {
    const char *text = fe_interpolate(e, env, ast->loc, ast->text);
    return text ? fe_str(text) : fe_poison();
}

static fe_value eval(fe *e, fe_env *env, const mdl_ast *ast) {
    switch (ast->kind) {
        case MDL_AST_INT: return fe_int(ast->i);
        case MDL_AST_REAL: return fe_real(ast->f);
        case MDL_AST_BOOL: return fe_bool(ast->i);
        case MDL_AST_NULL: return (fe_value){.kind = FE_NULL};
        case MDL_AST_STR: return eval_string(e, env, ast);
        case MDL_AST_NAME: return eval_name(e, env, ast);
        case MDL_AST_LIST: return eval_list(e, env, ast);
        case MDL_AST_INDEX: return eval_index(e, env, ast);
        case MDL_AST_COND: return eval_cond(e, env, ast);
        case MDL_AST_UNARY: return eval_unary(e, env, ast);
        case MDL_AST_BINARY: return eval_binary(e, env, ast);
        case MDL_AST_CALL: return eval_call(e, env, ast);
        case MDL_AST_OBJECT: return fe_fail(e, ast->loc, NULL, "an object '{ ... }' belongs in export or vocab");
        default: return fe_fail(e, ast->loc, NULL, "an expression is expected here");
    }
}

bool fe_steps(fe *e, mdl_loc loc, int n) {
    if (e->steps > FE_MAX_STEPS) return false;
    e->steps += n;
    if (e->steps > FE_MAX_STEPS) fe_fail(e, loc, NULL, "the model is too large: elaboration stopped here");
    return e->steps <= FE_MAX_STEPS;
}

fe_value fe_eval(fe *e, fe_env *env, const mdl_ast *ast) {
    if (e->nesting >= FE_MAX_NESTING) return fe_fail(e, ast->loc, NULL, "this expression is nested too deeply");
    if (!fe_steps(e, ast->loc, 1)) return fe_poison();
    e->nesting++;
    fe_value v = eval(e, env, ast);
    e->nesting--;
    return v;
}

const fe_dim *fe_eval_dim(fe *e, fe_env *env, const mdl_ast *ast) {
    if (ast->kind == MDL_AST_REST || ast->kind == MDL_AST_BIND_DIM) {
        fe_fail(e, ast->loc, NULL, "'..' and '?' belong in the parameters of a block");
        return NULL;
    }
    fe_value v = fe_eval(e, env, ast);
    if (v.kind == FE_POISON) return NULL;
    if (v.kind == FE_INT && v.dim) return v.dim;
    const char *hint = v.kind == FE_INT ? "name it: dim X = ...;" : NULL;
    fe_fail(e, ast->loc, hint, "expected the name of a dim, got %s", fe_type_text(e, &v));
    return NULL;
}

int fe_eval_dims(fe *e, fe_env *env, const mdl_asts *list, const fe_dim **dims) {
    if (list->n > FE_MAX_ARGS) {
        fe_fail(e, list->at[FE_MAX_ARGS]->loc, NULL, "more than %d dims", FE_MAX_ARGS);
        return -1;
    }
    bool ok = true;
    for (int i = 0; i < list->n; i++) ok &= (dims[i] = fe_eval_dim(e, env, list->at[i])) != NULL;
    return ok ? list->n : -1;
}
