/* Functions of the language that are not elementwise: their table, their arguments, and the compile-time ones. */
#include <math.h>
#include <string.h>

#include "compiler/front/elab.h"

/* What stands in the bracket after the name. */
typedef enum { NO_DIMS, DIMS, ONE_DIM, ARROW, EQUALS } bracket_kind;

static fe_builtin_run run_idiv, run_roundup, run_len, run_normal, run_trunc_normal, run_uniform, run_constant, run_f32, run_i32,
    run_bool;

static const struct {
    const char *name;
    bracket_kind bracket;
    int required;
    const char *args; /* names separated by commas; NULL: any number of tensors */
    fe_builtin_run *run;
} builtins[] = {
    {"view", ARROW, 1, "x", fe_view},
    {"split", ARROW, 1, "x", fe_split},
    {"concat", ARROW, 1, NULL, fe_concat},
    {"stack", ONE_DIM, 1, NULL, fe_stack},
    {"at", EQUALS, 1, "x", fe_at_index},
    {"outer", NO_DIMS, 2, "x,y", fe_outer},
    {"sum", DIMS, 1, "x", fe_reduce_sum},
    {"mean", DIMS, 1, "x", fe_reduce_mean},
    {"max", DIMS, 1, "x", fe_reduce_max}, /* without a bracket: elementwise */
    {"argmax", ONE_DIM, 1, "x", fe_argmax},
    {"iota", ONE_DIM, 0, "", fe_iota},
    {"dot", DIMS, 2, "x,y", fe_dot},
    {"gather", ONE_DIM, 2, "table,index", fe_gather},
    {"position", NO_DIMS, 1, "seq", fe_position},
    {"seglen", NO_DIMS, 1, "seq", fe_seglen},
    {"first", NO_DIMS, 1, "seq", fe_first},
    {"segsum", NO_DIMS, 2, "x,seq", fe_segsum},
    {"spread", NO_DIMS, 2, "s,seq", fe_spread},
    {"attention", NO_DIMS, 4, "q,k,v,seq,causal,left,right,scale,softcap", fe_attention},
    {"xent", ONE_DIM, 2, "z,labels", fe_xent},
    {"f32", NO_DIMS, 1, "x", run_f32},
    {"i32", NO_DIMS, 1, "x", run_i32},
    {"bool", NO_DIMS, 1, "x", run_bool},
    {"idiv", NO_DIMS, 2, "x,y", run_idiv},
    {"roundup", NO_DIMS, 2, "x,multiple", run_roundup},
    {"len", NO_DIMS, 1, "list", run_len},
    {"normal", NO_DIMS, 2, "mean,deviation", run_normal},
    {"trunc_normal", NO_DIMS, 3, "mean,deviation,bound", run_trunc_normal},
    {"uniform", NO_DIMS, 2, "low,high", run_uniform},
    {"constant", NO_DIMS, 1, "x", run_constant},
};
enum { N_BUILTINS = sizeof builtins / sizeof *builtins };

/* Functions and arguments that people look for and that the language does not have, with what it offers. */
static const struct {
    const char *name, *instead;
} left_out[] = {
    {"softmax", "exp(log_softmax[X](x)), with use \"std/nn.mdl\""},
    {"dropout", "nothing is dropped at random; masked tokens come from the data"},
    {"mask", "what a query sees is given by the segments, 'causal', 'left' and 'right'"},
    {"attn_mask", "what a query sees is given by the segments, 'causal', 'left' and 'right'"},
    {"bias", "scores have no bias: positions enter by rope(q, a), or by rows added to x: gather[P](Q, position(seq))"},
    {"alibi", "scores have no bias: positions enter by rope(q, a), or by rows added to x: gather[P](Q, position(seq))"},
    {"attention_map", "attention maps are never in memory: give q and k as outputs, and make the maps of them elsewhere"},
    {"cross_attention", "attention is within sequences: pack both sides into one"},
    {"moe", "all tokens pass through all parameters"},
    {"scan", "nothing runs along the sequence but attention, segsum and spread"},
    {"kv_cache", "whole sequences are computed at once"},
};
enum { N_LEFT_OUT = sizeof left_out / sizeof *left_out };

const char *fe_instead_of(const char *name) {
    for (int i = 0; i < N_LEFT_OUT; i++)
        if (!strcmp(left_out[i].name, name)) return left_out[i].instead;
    return NULL;
}

int fe_builtin_names(const char **names, int cap) {
    static const char *const more[] = {"value", "zeros", "ones", "pi"};
    int n = 0;
    for (int i = 0; i < N_BUILTINS && n < cap; i++) names[n++] = builtins[i].name;
    for (int i = 0; i < 4 && n < cap; i++) names[n++] = more[i];
    for (int i = 0; i < MDL_OP_COUNT && n < cap; i++)
        if (mdl_ops[i].class == MDL_POINTWISE && i != MDL_OP_CAST) names[n++] = mdl_ops[i].name;
    return n;
}

bool fe_builtin_constant(fe *e, const char *name, fe_value *value) {
    if (!strcmp(name, "pi"))
        *value = fe_real(M_PI);
    else if (!strcmp(name, "zeros"))
        *value = fe_of_init(e, (fe_init){.kind = FE_INIT_CONSTANT, .a = 0, .text = "zeros"});
    else if (!strcmp(name, "ones"))
        *value = fe_of_init(e, (fe_init){.kind = FE_INIT_CONSTANT, .a = 1, .text = "ones"});
    else
        return false;
    return true;
}

/* ---- arguments ---- */
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

static const char *bracket_form(bracket_kind kind) {
    static const char *const forms[] = {"", "[X, ...]", "[X]", "[X -> Y]", "[X = index]"};
    return forms[kind];
}

static bool bind_bracket(fe *e, fe_env *env, const mdl_ast *call, bracket_kind kind, fe_site *s) {
    const mdl_ast *b = call->a;
    bool fits = b && (kind == EQUALS ? b->text != NULL : kind == ARROW ? b->i : !b->text && !b->i);
    if (kind == ONE_DIM && fits) fits = b->list.n == 1;
    if (kind == NO_DIMS) {
        if (b) fe_fail(e, b->loc, NULL, "'%s' takes no dims", call->text);
        return !b;
    }
    if (!fits)
        return fe_fail(e, b ? b->loc : call->name, NULL, "'%s' is written %s%s(...)", call->text, call->text, bracket_form(kind)),
               false;
    if (kind == EQUALS) {
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

bool fe_builtin_call(fe *e, fe_env *env, const mdl_ast *call, fe_value *result) {
    *result = fe_poison();
    if (call_value(e, env, call, result)) return true;
    for (int i = 0; i < N_BUILTINS; i++) {
        if (strcmp(builtins[i].name, call->text) || (!strcmp(call->text, "max") && !call->a)) continue;
        fe_site *s = MDL_NEW(e->arena, fe_site);
        s->env = env;
        s->ast = call;
        if (call->b) fe_fail(e, call->b->loc, NULL, "'as' names the parameters of a block; '%s' has none", call->text);
        bool args = bind_args(e, env, call, builtins[i].args, builtins[i].required, s);
        if (bind_bracket(e, env, call, builtins[i].bracket, s) && args) *result = builtins[i].run(e, s);
        return true;
    }
    const char *instead = fe_instead_of(call->text);
    if (instead) fe_fail(e, call->name, instead, "'%s' is left out of the language on purpose", call->text);
    return instead != NULL;
}

bool fe_want_tensor(fe *e, fe_site *s, int i, mdl_dtype dtype) {
    const fe_value *v = &s->v[i];
    bool ok = v->kind == FE_TENSOR && (dtype == MDL_DTYPE_COUNT ? fe_dtype(v) != MDL_SEG : fe_dtype(v) == dtype);
    const char *what = dtype == MDL_DTYPE_COUNT ? "a tensor"
                       : dtype == MDL_F32       ? "a tensor of reals"
                       : dtype == MDL_I32       ? "an i32 tensor"
                       : dtype == MDL_BOOL      ? "a bool tensor"
                                                : "a segments input";
    if (!ok)
        fe_fail(e, s->loc[i], NULL, "argument '%s' of '%s' must be %s, not %s", s->arg[i], s->ast->text, what, fe_type_text(e, v));
    return ok;
}

mdl_value *fe_build(fe *e, mdl_loc loc, mdl_opcode code, int n, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                    const mdl_type *hint) {
    const char *error = NULL;
    fe_at(e, loc);
    mdl_op *op = mdl_build(&e->b, code, n, in, n_attr, attr, hint, &error);
    if (op) return op->n_out ? op->out[0] : NULL;
    if (e->dead) return NULL; /* dims fit by name: what is left are sizes */
    fe_fail(e, loc, NULL, "%s: %s", mdl_ops[code].name, error);
    return NULL;
}

/* ---- compile-time functions ---- */
static bool want_number(fe *e, fe_site *s, int i, bool integer) {
    bool ok = integer ? s->v[i].kind == FE_INT : fe_is_number(&s->v[i]);
    if (!ok)
        fe_fail(e, s->loc[i], NULL, "argument '%s' of '%s' must be %s known at compile time, not %s", s->arg[i], s->ast->text,
                integer ? "an integer" : "a number", fe_type_text(e, &s->v[i]));
    return ok;
}

static fe_value run_idiv(fe *e, fe_site *s) {
    if (!want_number(e, s, 0, true) || !want_number(e, s, 1, true)) return fe_poison();
    if (s->v[1].i <= 0) return fe_fail_value(e, s->loc[1], "'idiv' needs a positive divisor, not %lld", (long long)s->v[1].i);
    int64_t q = s->v[0].i / s->v[1].i;
    return fe_int(q - (s->v[0].i % s->v[1].i < 0));
}

static fe_value run_roundup(fe *e, fe_site *s) {
    if (!want_number(e, s, 0, true) || !want_number(e, s, 1, true)) return fe_poison();
    int64_t x = s->v[0].i, multiple = s->v[1].i, up;
    if (x < 0 || multiple <= 0) return fe_fail_value(e, s->ast->loc, "'roundup' needs x >= 0 and a positive multiple");
    if (__builtin_add_overflow(x, multiple - 1, &up))
        return fe_fail_value(e, s->ast->loc, "'roundup': the result does not fit 64 bits");
    return fe_int(up / multiple * multiple);
}

static fe_value run_len(fe *e, fe_site *s) {
    if (s->v[0].kind != FE_LIST) return fe_fail(e, s->loc[0], NULL, "'len' takes a list, not %s", fe_type_text(e, &s->v[0]));
    return fe_int(s->v[0].n);
}

static fe_value distribution(fe *e, fe_site *s, int kind) {
    if (!want_number(e, s, 0, false) || !want_number(e, s, 1, false)) return fe_poison();
    double a = fe_number(&s->v[0]), b = fe_number(&s->v[1]);
    if (kind == FE_INIT_NORMAL && b < 0) return fe_fail_value(e, s->loc[1], "a standard deviation is not negative");
    if (kind == FE_INIT_UNIFORM && b < a) return fe_fail_value(e, s->ast->loc, "'uniform' needs low <= high");
    const char *text = mdl_printf(e->arena, "%s(%s, %s)", s->ast->text, fe_real_text(e, a), fe_real_text(e, b));
    fe_init init = {.a = a, .b = b, .text = text};
    init.kind = kind;
    return fe_of_init(e, init);
}
static fe_value run_normal(fe *e, fe_site *s) { return distribution(e, s, FE_INIT_NORMAL); }
static fe_value run_uniform(fe *e, fe_site *s) { return distribution(e, s, FE_INIT_UNIFORM); }

static fe_value run_trunc_normal(fe *e, fe_site *s) {
    double x[3];
    for (int i = 0; i < 3; i++) {
        if (!want_number(e, s, i, false)) return fe_poison();
        x[i] = fe_number(&s->v[i]);
        if (i && !(x[i] > 0)) return fe_fail_value(e, s->loc[i], "the %s of 'trunc_normal' is positive", s->arg[i]);
    }
    const char *text =
        mdl_printf(e->arena, "trunc_normal(%s, %s, %s)", fe_real_text(e, x[0]), fe_real_text(e, x[1]), fe_real_text(e, x[2]));
    return fe_of_init(e, (fe_init){.kind = FE_INIT_TRUNC_NORMAL, .a = x[0], .b = x[1], .c = x[2], .text = text});
}

static fe_value run_constant(fe *e, fe_site *s) {
    if (!want_number(e, s, 0, false)) return fe_poison();
    double a = fe_number(&s->v[0]);
    return fe_of_init(
        e, (fe_init){.kind = FE_INIT_CONSTANT, .a = a, .text = mdl_printf(e->arena, "constant(%s)", fe_real_text(e, a))});
}

/* Casts: of compile-time values and of tensors. */
static fe_value cast(fe *e, fe_site *s, mdl_dtype to) {
    fe_value *v = &s->v[0];
    if (fe_is_constant(v)) {
        double f = fe_number(v);
        if (to == MDL_F32) return fe_real(f);
        if (to == MDL_BOOL) return fe_bool(f != 0);
        if (!(f > -9.2e18 && f < 9.2e18)) return fe_fail_value(e, s->loc[0], "%s does not fit an integer", fe_real_text(e, f));
        return v->kind == FE_REAL ? fe_int((int64_t)f) : fe_int(v->i);
    }
    if (!fe_want_tensor(e, s, 0, MDL_DTYPE_COUNT)) return fe_poison();
    fe_at(e, s->ast->loc);
    return fe_tensor(e, mdl_cast(&e->b, v->tensor, to), fe_rank(v), v->dims);
}
static fe_value run_f32(fe *e, fe_site *s) { return cast(e, s, MDL_F32); }
static fe_value run_i32(fe *e, fe_site *s) { return cast(e, s, MDL_I32); }
static fe_value run_bool(fe *e, fe_site *s) { return cast(e, s, MDL_BOOL); }
