/* Arithmetic at compile time: integers exactly, reals in f64, rounded once when they meet a tensor. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "compiler/front/elab.h"
#include "compiler/op/pointwise.h"

static fe_value overflow(fe *e, mdl_loc loc, const char *shown) {
    return fe_fail_value(e, loc, "'%s': the result does not fit 64 bits", shown);
}

/* The integer rules; *done says whether the op has one. */
static fe_value fold_ints(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int64_t a, int64_t b, bool *done) {
    int64_t r = 0;
    *done = true;
    switch (code) {
        case MDL_OP_ADD: return __builtin_add_overflow(a, b, &r) ? overflow(e, loc, shown) : fe_int(r);
        case MDL_OP_SUB: return __builtin_sub_overflow(a, b, &r) ? overflow(e, loc, shown) : fe_int(r);
        case MDL_OP_MUL: return __builtin_mul_overflow(a, b, &r) ? overflow(e, loc, shown) : fe_int(r);
        case MDL_OP_NEG: return __builtin_sub_overflow(0, a, &r) ? overflow(e, loc, shown) : fe_int(r);
        case MDL_OP_ABS: return a == INT64_MIN ? overflow(e, loc, shown) : fe_int(a < 0 ? -a : a);
        case MDL_OP_MAX: return fe_int(a > b ? a : b);
        case MDL_OP_MIN: return fe_int(a < b ? a : b);
        case MDL_OP_EQ: return fe_bool(a == b);
        case MDL_OP_NE: return fe_bool(a != b);
        case MDL_OP_LT: return fe_bool(a < b);
        case MDL_OP_LE: return fe_bool(a <= b);
        case MDL_OP_DIV:
            if (b == 0) return fe_fail_value(e, loc, "division by zero");
            if (b == -1) return __builtin_sub_overflow(0, a, &r) ? overflow(e, loc, shown) : fe_int(r);
            if (a % b)
                return fe_fail_value(e, loc, "%lld is not a multiple of %lld: '/' of integers is exact, idiv rounds down",
                                     (long long)a, (long long)b);
            return fe_int(a / b);
        default: *done = false; return fe_poison();
    }
}

static bool is_comparison(mdl_opcode code) {
    return code == MDL_OP_EQ || code == MDL_OP_NE || code == MDL_OP_LT || code == MDL_OP_LE;
}
static bool is_logic(mdl_opcode code) { return code == MDL_OP_AND || code == MDL_OP_OR || code == MDL_OP_NOT; }

static fe_value wrong_kinds(fe *e, mdl_loc loc, const char *shown, int n, const fe_value *v) {
    mdl_text text = {.arena = e->arena};
    for (int i = 0; i < n; i++)
        mdl_text_printf(&text, "%s%s", i == 0 ? "got " : i + 1 == n ? " and " : ", ", fe_type_text(e, &v[i]));
    return fe_fail(e, loc, text.at, "'%s' does not apply to these", shown);
}

static fe_value fold_reals(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, const fe_value *v) {
    double x[3] = {0};
    for (int i = 0; i < n && i < 3; i++) x[i] = fe_number(&v[i]);
    double r = mdl_pointwise_eval(code, x[0], x[1], x[2]);
    if (is_comparison(code)) return fe_bool(r != 0);
    if (!isfinite(r)) return fe_fail_value(e, loc, "'%s': the result is not a finite number", shown);
    return fe_real(r);
}

fe_value fe_fold(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, const fe_value *v) {
    bool ints = true, numbers = true, bools = true, strings = true, done;
    for (int i = 0; i < n; i++) {
        ints &= v[i].kind == FE_INT;
        numbers &= fe_is_number(&v[i]);
        bools &= v[i].kind == FE_BOOL;
        strings &= v[i].kind == FE_STR;
    }
    if (code == MDL_OP_SELECT && v[0].kind == FE_BOOL) return v[v[0].i ? 1 : 2];
    if (strings && n == 2 && (code == MDL_OP_EQ || code == MDL_OP_NE))
        return fe_bool(!strcmp(v[0].s, v[1].s) == (code == MDL_OP_EQ));
    if (bools && (is_logic(code) || code == MDL_OP_EQ || code == MDL_OP_NE))
        return fe_bool(mdl_pointwise_eval(code, (double)v[0].i, n > 1 ? (double)v[1].i : 0, 0) != 0);
    if (!numbers || is_logic(code)) return wrong_kinds(e, loc, shown, n, v);
    if (ints) {
        fe_value r = fold_ints(e, loc, shown, code, v[0].i, n > 1 ? v[1].i : 0, &done);
        if (done) return r;
    }
    return fold_reals(e, loc, shown, code, n, v);
}

fe_value fe_fold_modulo(fe *e, mdl_loc loc, fe_value a, fe_value b) {
    fe_value both[] = {a, b};
    if (a.kind == FE_POISON || b.kind == FE_POISON) return fe_poison();
    if (a.kind != FE_INT || b.kind != FE_INT) return wrong_kinds(e, loc, "%", 2, both);
    if (b.i <= 0) return fe_fail_value(e, loc, "'%%' needs a positive right side, not %lld", (long long)b.i);
    return fe_int((a.i % b.i + b.i) % b.i);
}

/* One {name}; returns the byte after it, or NULL after an error. */
static const char *replace(fe *e, const fe_env *env, mdl_loc loc, const char *at, mdl_text *out) {
    const char *end = at + 1;
    while (isalnum((unsigned char)*end) || *end == '_') end++;
    const char *name = mdl_strndup(e->arena, at + 1, (size_t)(end - at - 1));
    if (*end != '}' || !*name) {
        fe_fail(e, loc, NULL, "'{' in a string begins a {name}; write {{ for the character itself");
        return NULL;
    }
    const fe_symbol *symbol = fe_lookup(env, name);
    if (!symbol) {
        fe_fail(e, loc, NULL, "unknown name '%s' in a string%s", name, fe_suggest_visible(e, env, name));
        return NULL;
    }
    if (symbol->value.kind == FE_POISON) return NULL;
    if (!fe_is_constant(&symbol->value) && symbol->value.kind != FE_STR) {
        fe_fail(e, loc, NULL, "'%s' in a string is not a number, bool or string known at compile time", name);
        return NULL;
    }
    const char *text = fe_value_text(e, &symbol->value);
    mdl_text_append(out, text, strlen(text));
    return end + 1;
}

const char *fe_interpolate(fe *e, const fe_env *env, mdl_loc loc, const char *text) {
    mdl_text out = {.arena = e->arena};
    mdl_text_append(&out, "", 0);
    for (const char *c = text; *c;) {
        if (*c == '{' && c[1] != '{') {
            if (!(c = replace(e, env, loc, c, &out))) return NULL;
            continue;
        }
        if ((*c == '{' && c[1] == '{') || (*c == '}' && c[1] == '}')) c++;
        mdl_text_append(&out, c++, 1);
    }
    return out.at;
}
