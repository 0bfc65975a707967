/* Functions of the language that are not elementwise: their table, and the compile-time ones. */
#include <math.h>
#include <string.h>

#include "compiler/front/elab.h"

static fe_builtin_run run_idiv, run_roundup, run_len, run_normal, run_trunc_normal, run_uniform, run_constant, run_f32, run_i32,
    run_bool;

static const fe_builtin builtins[] = {
    {"view", FE_ARROW, 1, "x", fe_view},
    {"split", FE_ARROW, 1, "x", fe_split},
    {"concat", FE_ARROW, 1, NULL, fe_concat},
    {"stack", FE_ONE_DIM, 1, NULL, fe_stack},
    {"at", FE_EQUALS, 1, "x", fe_at_index},
    {"outer", FE_NO_DIMS, 2, "x,y", fe_outer},
    {"sum", FE_DIMS, 1, "x", fe_reduce_sum},
    {"mean", FE_DIMS, 1, "x", fe_reduce_mean},
    {"max", FE_DIMS, 1, "x", fe_reduce_max}, /* without a bracket: elementwise */
    {"argmax", FE_ONE_DIM, 1, "x", fe_argmax},
    {"iota", FE_ONE_DIM, 0, "", fe_iota},
    {"dot", FE_DIMS, 2, "x,y", fe_dot},
    {"gather", FE_ONE_DIM, 2, "table,index", fe_gather},
    {"position", FE_NO_DIMS, 1, "seq", fe_position},
    {"seglen", FE_NO_DIMS, 1, "seq", fe_seglen},
    {"first", FE_NO_DIMS, 1, "seq", fe_first},
    {"segsum", FE_NO_DIMS, 2, "x,seq", fe_segsum},
    {"spread", FE_NO_DIMS, 2, "s,seq", fe_spread},
    {"attention", FE_NO_DIMS, 4, "q,k,v,seq,causal,left,right,scale,softcap", fe_attention},
    {"xent", FE_ONE_DIM, 2, "z,labels", fe_xent},
    {"f32", FE_NO_DIMS, 1, "x", run_f32},
    {"i32", FE_NO_DIMS, 1, "x", run_i32},
    {"bool", FE_NO_DIMS, 1, "x", run_bool},
    {"idiv", FE_NO_DIMS, 2, "x,y", run_idiv},
    {"roundup", FE_NO_DIMS, 2, "x,multiple", run_roundup},
    {"len", FE_NO_DIMS, 1, "list", run_len},
    {"normal", FE_NO_DIMS, 2, "mean,deviation", run_normal},
    {"trunc_normal", FE_NO_DIMS, 3, "mean,deviation,bound", run_trunc_normal},
    {"uniform", FE_NO_DIMS, 2, "low,high", run_uniform},
    {"constant", FE_NO_DIMS, 1, "x", run_constant},
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

void fe_builtin_words(fe *e) {
    static const char *const more[] = {"value", "zeros", "ones", "pi"};
    for (int i = 0; i < N_BUILTINS; i++) MDL_PUSH(e->arena, e->words, builtins[i].name);
    for (int i = 0; i < 4; i++) MDL_PUSH(e->arena, e->words, more[i]);
    for (int i = 0; i < MDL_OP_COUNT; i++)
        if (mdl_ops[i].class == MDL_POINTWISE && i != MDL_OP_CAST) MDL_PUSH(e->arena, e->words, mdl_ops[i].name);
}

const fe_builtin *fe_builtin_find(const char *name, bool bracket) {
    if (!strcmp(name, "max") && !bracket) return NULL;
    for (int i = 0; i < N_BUILTINS; i++)
        if (!strcmp(builtins[i].name, name)) return &builtins[i];
    return NULL;
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

/* An initial value; nothing that drawing it computes, in f32, is larger than `largest`. */
static fe_value init_of(fe *e, fe_site *s, fe_init init, double largest) {
    mdl_text text = {.arena = e->arena};
    const double x[] = {init.a, init.b, init.c};
    mdl_text_printf(&text, "%s(", s->ast->text);
    for (int i = 0; i < s->n; i++) mdl_text_printf(&text, "%s%s", i ? ", " : "", fe_real_text(e, x[i]));
    mdl_text_printf(&text, ")");
    init.text = text.at;
    if (!isfinite((float)largest)) return fe_fail_value(e, s->ast->loc, "%s draws numbers beyond f32", init.text);
    return fe_of_init(e, init);
}

static bool numbers(fe *e, fe_site *s, int n, double *x) {
    for (int i = 0; i < n; i++) {
        if (!want_number(e, s, i, false)) return false;
        x[i] = fe_number(&s->v[i]);
    }
    return true;
}

/* No deviate drawn is beyond 6: Box and Muller's sqrt(-2 ln u), for u of 24 bits, ends at 5.8. */
static fe_value run_normal(fe *e, fe_site *s) {
    double x[2];
    if (!numbers(e, s, 2, x)) return fe_poison();
    if (x[1] < 0) return fe_fail_value(e, s->loc[1], "a standard deviation is not negative");
    return init_of(e, s, (fe_init){.kind = FE_INIT_NORMAL, .a = x[0], .b = x[1]}, fabs(x[0]) + 6 * x[1]);
}

static fe_value run_uniform(fe *e, fe_site *s) {
    double x[2];
    if (!numbers(e, s, 2, x)) return fe_poison();
    if (x[1] < x[0]) return fe_fail_value(e, s->ast->loc, "'uniform' needs low <= high");
    return init_of(e, s, (fe_init){.kind = FE_INIT_UNIFORM, .a = x[0], .b = x[1]}, fmax(x[1] - x[0], fmax(fabs(x[0]), fabs(x[1]))));
}

static fe_value run_trunc_normal(fe *e, fe_site *s) {
    double x[3];
    if (!numbers(e, s, 3, x)) return fe_poison();
    for (int i = 1; i < 3; i++)
        if (!(x[i] > 0)) return fe_fail_value(e, s->loc[i], "the %s of 'trunc_normal' is positive", s->arg[i]);
    double reach = fmax(x[2], x[1] * M_SQRT2); /* the bound, and the factor of what is drawn */
    return init_of(e, s, (fe_init){.kind = FE_INIT_TRUNC_NORMAL, .a = x[0], .b = x[1], .c = x[2]}, fabs(x[0]) + reach);
}

static fe_value run_constant(fe *e, fe_site *s) {
    double x;
    if (!numbers(e, s, 1, &x)) return fe_poison();
    return init_of(e, s, (fe_init){.kind = FE_INIT_CONSTANT, .a = x}, 0); /* written, not drawn: beyond f32 it is an infinity */
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
