/* Loop IR as text, and back. */
#include <ctype.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/loop.h"
#include "runtime/base/status.h"

/* A memory space's word, and the letter before the number of its arrays. */
static const struct {
    const char *word;
    char letter;
    bool numbered; /* has an index */
} spaces[] = {[MDL_MEM_OPERAND] = {"operand", 'a', true}, [MDL_MEM_RESULT] = {"result", 'o', true},
              [MDL_MEM_PARTIAL] = {"partial", 'c', true}, [MDL_MEM_ROW] = {"row", 'r', false},
              [MDL_MEM_TILE] = {"tile", 't', false},      [MDL_MEM_LEAF] = {"leaf", 'l', false}};
enum { N_SPACES = sizeof spaces / sizeof *spaces, MAX_VARS = 1 << 20, MAX_REGS = 1 << 20 };

/* ---- printing ---- */
static void print_var(mdl_text *t, int var) {
    if (var == MDL_VAR_ROW || var == MDL_VAR_HEAD)
        mdl_text_printf(t, var == MDL_VAR_ROW ? "row" : "head");
    else
        mdl_text_printf(t, "i%d", var);
}

void mdl_loop_print_affine(mdl_text *t, const mdl_affine *a) {
    for (int i = 0; i < a->n; i++) {
        mdl_text_printf(t, i ? " + " : "");
        if (a->term[i].k != 1) mdl_text_printf(t, "%" PRId64 "*", a->term[i].k);
        print_var(t, a->term[i].var);
    }
    if (a->c || !a->n) mdl_text_printf(t, "%s%" PRId64, a->n ? " + " : "", a->c);
}

static void print_array_name(mdl_text *t, const mdl_loop_kernel *k, int array) {
    mdl_text_printf(t, "%c%d", spaces[k->arrays.at[array].space].letter, array);
}

static void print_element(mdl_text *t, const mdl_loop_kernel *k, const mdl_loop_stmt *s) {
    print_array_name(t, k, s->array);
    mdl_text_printf(t, "[");
    if (s->code == MDL_LOOP_GATHER)
        mdl_text_printf(t, "%%%d", s->in[0]);
    else
        mdl_loop_print_affine(t, &s->row);
    mdl_text_printf(t, ", ");
    mdl_loop_print_affine(t, &s->col);
    mdl_text_printf(t, "]");
}

static void print_constant(mdl_text *t, double x) {
    char digits[64];
    for (int n = 6; n <= 17; n++) {
        snprintf(digits, sizeof digits, "%.*g", n, x);
        if (strtod(digits, NULL) == x) break;
    }
    mdl_text_printf(t, "%s", digits);
}

static void print_value(mdl_text *t, const mdl_loop_kernel *k, const mdl_loop_stmt *s) {
    mdl_text_printf(t, "%%%d = ", s->reg);
    switch (s->code) {
        case MDL_LOOP_CONST: mdl_text_printf(t, "const "), print_constant(t, s->value); break;
        case MDL_LOOP_IMM: mdl_text_printf(t, "imm %d", (int)s->value); break;
        case MDL_LOOP_INDEX: mdl_text_printf(t, "index "), mdl_loop_print_affine(t, &s->col); break;
        case MDL_LOOP_LOAD: mdl_text_printf(t, "load "), print_element(t, k, s); break;
        case MDL_LOOP_GATHER: mdl_text_printf(t, "gather "), print_element(t, k, s); break;
        case MDL_LOOP_RANDOM:
            mdl_text_printf(t, "random %s ", s->normal ? "normal" : "uniform");
            print_array_name(t, k, s->array);
            mdl_text_printf(t, ", %%%d at ", s->in[0]);
            mdl_loop_print_affine(t, &s->col);
            break;
        default:
            mdl_text_printf(t, "%s", mdl_ops[s->op].name);
            for (int i = 0; i < mdl_ops[s->op].arity; i++) mdl_text_printf(t, "%s%%%d", i ? ", " : " ", s->in[i]);
    }
    mdl_text_printf(t, " : %s\n", mdl_dtype_name(s->dtype));
}

static void print_list(mdl_text *t, const mdl_loop_kernel *k, const mdl_loop_list *list, int indent) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        mdl_text_printf(t, "%*s", indent, "");
        if (s->reg >= 0) {
            print_value(t, k, s);
            continue;
        }
        if (s->code == MDL_LOOP_FOR) {
            mdl_text_printf(t, "for ");
            print_var(t, s->var);
            mdl_text_printf(t, " < %" PRId64 "%s {\n", s->extent, s->lanes ? " lanes" : "");
            print_list(t, k, s->body, indent + 2);
            mdl_text_printf(t, "%*s}\n", indent, "");
            continue;
        }
        mdl_text_printf(t, s->code == MDL_LOOP_STORE ? "store " : "%s %s ", s->code == MDL_LOOP_CLEAR ? "clear" : "fold",
                        s->op == MDL_OP_SUM ? "sum" : "max");
        if (s->code == MDL_LOOP_CLEAR)
            print_array_name(t, k, s->array);
        else
            print_element(t, k, s), mdl_text_printf(t, ", %%%d", s->in[0]);
        mdl_text_printf(t, "\n");
    }
}

static void print_array(mdl_text *t, const mdl_loop_kernel *k, int i) {
    const mdl_loop_array *a = &k->arrays.at[i];
    mdl_text_printf(t, "  ");
    print_array_name(t, k, i);
    mdl_text_printf(t, " = %s ", spaces[a->space].word);
    if (spaces[a->space].numbered) mdl_text_printf(t, "%d ", a->index);
    mdl_text_printf(t, "%s[%" PRId64 "]", mdl_dtype_name(a->dtype), a->width);
    if (a->row_stride != a->width) mdl_text_printf(t, " stride %" PRId64, a->row_stride);
    if (a->first) mdl_text_printf(t, " first %" PRId64, a->first);
    mdl_text_printf(t, "%s\n", a->column_major ? " column_major" : "");
}

static void print_phase(mdl_text *t, const mdl_loop_kernel *k, const mdl_loop_phase *p) {
    mdl_text_printf(t, "  phase ");
    if (p->tile_var) mdl_text_printf(t, "i%d < %" PRId64 " ", p->tile_var, p->tiles);
    mdl_text_printf(t, "{\n");
    print_list(t, k, &p->body, 4);
    if (p->then.n) {
        mdl_text_printf(t, "  } then {\n");
        print_list(t, k, &p->then, 4);
    }
    mdl_text_printf(t, "  }\n");
}

const char *mdl_loop_print(mdl_arena *arena, const mdl_loop_kernel *k) {
    mdl_text t = {.arena = arena};
    const mdl_schedule *s = &k->schedule;
    mdl_text_printf(&t, "kernel row_block %" PRId64 " lanes %" PRId64, s->row_block, s->lanes);
    if (s->column_tile) mdl_text_printf(&t, " column_tile %" PRId64, s->column_tile);
    mdl_text_printf(&t, "%s {\n", s->keep ? " keep" : "");
    for (int i = 0; i < k->arrays.n; i++) print_array(&t, k, i);
    if (k->block.n) {
        mdl_text_printf(&t, "  block {\n");
        print_list(&t, k, &k->block, 4);
        mdl_text_printf(&t, "  }\n");
    }
    for (int i = 0; i < k->phases.n; i++) print_phase(&t, k, &k->phases.at[i]);
    mdl_text_printf(&t, "}\n");
    return t.at;
}

/* ---- parsing ---- */
typedef struct {
    mdl_arena *arena;
    const char *at;
    int line;
    mdl_loop_kernel *k;
    const char *error;
    jmp_buf fail;
} reader;

static _Noreturn void fail(reader *r, const char *message) {
    r->error = mdl_printf(r->arena, "line %d: %s, at '%.*s'", r->line, message, (int)strcspn(r->at, "\n"), r->at);
    longjmp(r->fail, 1);
}

static void skip(reader *r) {
    for (; isspace((unsigned char)*r->at); r->at++) r->line += *r->at == '\n';
}

static bool take(reader *r, const char *token) {
    skip(r);
    size_t n = strlen(token);
    if (strncmp(r->at, token, n)) return false;
    bool word = isalpha((unsigned char)token[n - 1]);
    if (word && (isalnum((unsigned char)r->at[n]) || r->at[n] == '_')) return false;
    r->at += n;
    return true;
}

static void want(reader *r, const char *token) {
    if (!take(r, token)) fail(r, mdl_printf(r->arena, "expected '%s'", token));
}

/* Bounded so that a product of two, a stride times an extent, is no overflow, nor the sum of a few such. */
enum { MAX_INTEGER_BITS = 30 };

static int64_t integer(reader *r) {
    skip(r);
    char *end;
    int64_t i = strtoll(r->at, &end, 10), limit = (int64_t)1 << MAX_INTEGER_BITS;
    if (end == r->at) fail(r, "expected an integer");
    if (i > limit || i < -limit) fail(r, mdl_printf(r->arena, "%.*s is beyond 2^%d", (int)(end - r->at), r->at, MAX_INTEGER_BITS));
    r->at = end;
    return i;
}

static bool at_number(reader *r) {
    skip(r);
    return isdigit((unsigned char)*r->at) || *r->at == '-';
}

static int variable(reader *r) {
    if (take(r, "row")) return MDL_VAR_ROW;
    if (take(r, "head")) return MDL_VAR_HEAD;
    skip(r);
    if (*r->at != 'i' || !isdigit((unsigned char)r->at[1])) fail(r, "expected row, head or a loop's variable");
    r->at++;
    int64_t var = integer(r);
    if (var < MDL_VAR_FIRST || var > MAX_VARS) fail(r, "loop variables are i2 and up");
    if (var >= r->k->vars) r->k->vars = (int)var + 1;
    return (int)var;
}

static mdl_affine affine(reader *r) {
    mdl_affine a = mdl_affine_const(0);
    do {
        int64_t k = 1;
        if (at_number(r)) {
            k = integer(r);
            if (!take(r, "*")) {
                a.c += k;
                continue;
            }
        }
        if (a.n == MDL_TERMS) fail(r, "an index has more terms than loops can give it");
        a = mdl_affine_add(a, mdl_affine_scale(mdl_affine_var(variable(r)), k));
    } while (take(r, "+"));
    return a;
}

static mdl_dtype dtype(reader *r) {
    skip(r);
    size_t n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz0123456789");
    mdl_dtype d;
    if (!mdl_dtype_parse(mdl_strndup(r->arena, r->at, n), &d)) fail(r, "expected a dtype");
    r->at += n;
    return d;
}

static int array_name(reader *r) {
    skip(r);
    char c = *r->at++;
    int64_t i = integer(r);
    if (i < 0 || i >= r->k->arrays.n || spaces[r->k->arrays.at[i].space].letter != c) fail(r, "no such array");
    return (int)i;
}

static int reg(reader *r) {
    want(r, "%");
    int64_t i = integer(r);
    if (i < 0 || i > MAX_REGS) fail(r, "no such register");
    return (int)i;
}

static void element(reader *r, mdl_loop_stmt *s) {
    s->array = array_name(r);
    want(r, "[");
    if (s->code == MDL_LOOP_GATHER)
        s->in[0] = reg(r);
    else
        s->row = affine(r);
    want(r, ",");
    s->col = affine(r);
    want(r, "]");
}

static mdl_opcode folded(reader *r) {
    if (take(r, "sum")) return MDL_OP_SUM;
    want(r, "max");
    return MDL_OP_REDUCE_MAX;
}

static void random_operands(reader *r, mdl_loop_stmt *s) {
    s->code = MDL_LOOP_RANDOM;
    s->normal = take(r, "normal");
    if (!s->normal) want(r, "uniform");
    s->array = array_name(r);
    want(r, ",");
    s->in[0] = reg(r);
    want(r, "at");
    s->col = affine(r);
}

static void computed(reader *r, mdl_loop_stmt *s) {
    s->code = MDL_LOOP_COMPUTE;
    size_t n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz_0123456789");
    const char *name = mdl_strndup(r->arena, r->at, n);
    if (!mdl_opcode_parse(name, &s->op) || mdl_ops[s->op].class != MDL_POINTWISE) fail(r, "expected a statement");
    r->at += n;
    for (int i = 0; i < mdl_ops[s->op].arity; i++) {
        if (i) want(r, ",");
        s->in[i] = reg(r);
    }
}

static mdl_loop_stmt value(reader *r) {
    mdl_loop_stmt s = {.reg = reg(r)};
    want(r, "=");
    if (take(r, "const")) {
        char *end;
        skip(r);
        s.code = MDL_LOOP_CONST, s.value = strtod(r->at, &end), r->at = end;
    } else if (take(r, "imm")) {
        s.code = MDL_LOOP_IMM, s.value = (double)integer(r);
    } else if (take(r, "index")) {
        s.code = MDL_LOOP_INDEX, s.col = affine(r);
    } else if (take(r, "load")) {
        s.code = MDL_LOOP_LOAD, element(r, &s);
    } else if (take(r, "gather")) {
        s.code = MDL_LOOP_GATHER, element(r, &s);
    } else if (take(r, "random")) {
        random_operands(r, &s);
    } else {
        skip(r);
        computed(r, &s);
    }
    want(r, ":");
    s.dtype = dtype(r);
    while (r->k->regs.n <= s.reg) MDL_PUSH(r->arena, r->k->regs, MDL_F32);
    r->k->regs.at[s.reg] = s.dtype;
    return s;
}

static void list(reader *r, mdl_loop_list *into);

static mdl_loop_stmt loop(reader *r) {
    mdl_loop_stmt s = {.code = MDL_LOOP_FOR, .reg = -1, .var = variable(r)};
    want(r, "<");
    s.extent = integer(r);
    s.lanes = take(r, "lanes");
    want(r, "{");
    s.body = MDL_NEW(r->arena, mdl_loop_list);
    list(r, s.body);
    return s;
}

static mdl_loop_stmt statement(reader *r) {
    if (take(r, "for")) return loop(r);
    mdl_loop_stmt s = {.reg = -1};
    if (take(r, "clear")) {
        s.code = MDL_LOOP_CLEAR, s.op = folded(r), s.array = array_name(r);
        return s;
    }
    if (take(r, "store"))
        s.code = MDL_LOOP_STORE;
    else if (take(r, "fold"))
        s.code = MDL_LOOP_FOLD, s.op = folded(r);
    else
        return value(r);
    element(r, &s);
    want(r, ",");
    s.in[0] = reg(r);
    return s;
}

/* Up to and with the closing brace. */
static void list(reader *r, mdl_loop_list *into) {
    while (!take(r, "}")) MDL_PUSH(r->arena, *into, statement(r));
}

static bool array(reader *r) {
    skip(r);
    if (!isalpha((unsigned char)*r->at) || !isdigit((unsigned char)r->at[1])) return false;
    char letter = *r->at++;
    if (integer(r) != r->k->arrays.n) fail(r, "arrays are numbered in order");
    want(r, "=");
    mdl_loop_array a = {0};
    int space = 0;
    while (space < N_SPACES && !(spaces[space].letter == letter && take(r, spaces[space].word))) space++;
    if (space == N_SPACES) fail(r, "expected a memory space that fits the array's letter");
    a.space = (mdl_mem_space)space;
    if (spaces[space].numbered) a.index = (int)integer(r);
    a.dtype = dtype(r);
    want(r, "[");
    a.width = a.row_stride = integer(r);
    want(r, "]");
    if (take(r, "stride")) a.row_stride = integer(r);
    if (take(r, "first")) a.first = integer(r);
    a.column_major = take(r, "column_major");
    MDL_PUSH(r->arena, r->k->arrays, a);
    return true;
}

static void phase(reader *r) {
    mdl_loop_phase p = {0};
    if (!take(r, "{")) {
        p.tile_var = variable(r);
        want(r, "<");
        p.tiles = integer(r);
        want(r, "{");
    }
    list(r, &p.body);
    if (take(r, "then")) {
        want(r, "{");
        list(r, &p.then);
    }
    MDL_PUSH(r->arena, r->k->phases, p);
}

static void kernel(reader *r) {
    mdl_schedule *s = &r->k->schedule;
    want(r, "kernel");
    want(r, "row_block");
    s->row_block = integer(r);
    want(r, "lanes");
    s->lanes = integer(r);
    if (take(r, "column_tile")) s->column_tile = integer(r);
    s->keep = take(r, "keep");
    want(r, "{");
    while (array(r)) continue;
    if (take(r, "block")) {
        want(r, "{");
        list(r, &r->k->block);
    }
    while (take(r, "phase")) phase(r);
    want(r, "}");
    skip(r);
    if (*r->at) fail(r, "text after the kernel");
}

const mdl_loop_kernel *mdl_loop_parse(mdl_arena *arena, const char *text, const char **error) {
    reader r = {.arena = arena, .at = text, .line = 1, .k = MDL_NEW(arena, mdl_loop_kernel)};
    r.k->vars = MDL_VAR_FIRST;
    *error = NULL;
    if (!setjmp(r.fail)) {
        kernel(&r);
        return r.k;
    }
    *error = r.error;
    return NULL;
}
