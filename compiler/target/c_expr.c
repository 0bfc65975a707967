/* See c_expr.h. */
#include "compiler/target/c_expr.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "runtime/base/status.h"

const mdl_c_type mdl_c_types[MDL_DTYPE_COUNT] = {
    [MDL_F32] = {"float", "float"},        [MDL_BF16] = {"mdl_bf16", "mdl_bf16"}, [MDL_I32] = {"int32_t", "int32_t"},
    [MDL_BOOL] = {"int32_t", "uint8_t"},   [MDL_SEG] = {"int32_t", "int32_t"},    [MDL_E4M3] = {"mdl_e4m3", "mdl_e4m3"},
    [MDL_E5M2] = {"mdl_e5m2", "mdl_e5m2"},
};

/* ---- what has no C ---- */
static const char *unsupported(const mdl_loop_list *list) {
    for (int i = 0; i < list->n; i++) {
        if (list->at[i].reg >= 0 && !mdl_c_types[list->at[i].dtype].reg) return mdl_dtype_name(list->at[i].dtype);
        const char *inner = list->at[i].body ? unsupported(list->at[i].body) : NULL;
        if (inner) return inner;
    }
    return NULL;
}

const char *mdl_c_unsupported(mdl_arena *arena, const mdl_loop_kernel *k) {
    const char *wrong = unsupported(&k->block);
    for (int i = 0; i < k->arrays.n && !wrong; i++)
        if (!mdl_c_types[k->arrays.at[i].dtype].memory) wrong = mdl_dtype_name(k->arrays.at[i].dtype);
    for (int i = 0; i < k->phases.n && !wrong; i++) wrong = unsupported(&k->phases.at[i].body);
    return wrong ? mdl_printf(arena, "values of %s in a kernel", wrong) : NULL;
}

/* ---- indices ---- */
static void print_variable(mdl_text *t, int var, int moved) {
    if (var == MDL_VAR_ROW || var == MDL_VAR_HEAD)
        mdl_text_printf(t, var == MDL_VAR_ROW ? "row" : "head");
    else
        mdl_text_printf(t, var == moved ? "(i%d + v)" : "i%d", var);
}

const char *mdl_c_affine(mdl_arena *arena, const mdl_affine *a, int moved) {
    mdl_text t = {.arena = arena};
    for (int i = 0; i < a->n; i++) {
        if (i) mdl_text_printf(&t, " + ");
        if (a->term[i].k != 1) mdl_text_printf(&t, "%" PRId64 " * ", a->term[i].k);
        print_variable(&t, a->term[i].var, moved);
    }
    if (a->c || !a->n) mdl_text_printf(&t, "%s%" PRId64, a->n ? " + " : "", a->c);
    return t.at;
}

/* ---- values ---- */
const char *mdl_c_constant(mdl_arena *arena, mdl_dtype dtype, double x) {
    if (!mdl_dtype_is_real(dtype)) return mdl_printf(arena, "%" PRId64, (int64_t)x);
    float rounded = (float)x;
    if (mdl_dtype_is_narrow(dtype))
        return mdl_printf(arena, "mdl_to_%s(%s)", mdl_dtype_name(dtype), mdl_c_constant(arena, MDL_F32, x));
    if (isnan(rounded)) return "MDL_NAN";
    if (isinf(rounded)) return rounded < 0 ? "(-MDL_INF)" : "MDL_INF";
    char digits[64];
    snprintf(digits, sizeof digits, "%.9g", (double)rounded);
    return mdl_printf(arena, x < 0 ? "(%s%sf)" : "%s%sf", digits, strpbrk(digits, ".en") ? "" : ".0");
}

static const char *converted(mdl_arena *arena, const char *x, mdl_dtype from, mdl_dtype to) {
    if (to == from) return x;
    if (mdl_dtype_is_narrow(from)) x = mdl_printf(arena, "mdl_from_%s(%s)", mdl_dtype_name(from), x);
    if (mdl_dtype_is_narrow(to)) return mdl_printf(arena, "mdl_to_%s((float)%s)", mdl_dtype_name(to), x);
    if (to == MDL_BOOL) return mdl_printf(arena, "%s != 0", x);
    return mdl_printf(arena, "(%s)%s", mdl_c_types[to].reg, x);
}

const char *mdl_c_compute(mdl_arena *arena, const mdl_loop_kernel *k, const char *const *reg, const mdl_loop_stmt *s) {
    if (s->op == MDL_OP_CAST) return converted(arena, reg[s->in[0]], k->regs.at[s->in[0]], s->dtype);
    mdl_text t = {.arena = arena};
    for (const char *c = mdl_ops[s->op].emit; *c; c++) { /* operands in place of $0 $1 $2 */
        if (*c != '$')
            mdl_text_append(&t, c, 1);
        else
            mdl_text_printf(&t, "%s", reg[s->in[*++c - '0']]);
    }
    return t.at;
}

const char *mdl_c_neutral(mdl_opcode op, mdl_dtype dtype) {
    bool real = mdl_dtype_is_real(dtype);
    if (op == MDL_OP_SUM) return real ? "0.0f" : "0";
    return real ? "(-MDL_INF)" : "(-2147483647 - 1)";
}

const char *mdl_c_fold(mdl_arena *arena, mdl_opcode op, const char *to, const char *x) {
    if (op == MDL_OP_SUM) return mdl_printf(arena, "%s += %s", to, x);
    return mdl_printf(arena, "%s = %s > %s ? %s : %s", to, x, to, x, to);
}
