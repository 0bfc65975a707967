/* Loop IR as C for the CPU: one thread runs a block; lanes are the vector lanes of `omp simd`. */
#include <inttypes.h>
#include <string.h>

#include "compiler/target/c_expr.h"
#include "compiler/target/cpu.h"
#include "runtime/base/status.h"

typedef struct {
    mdl_arena *arena;
    const mdl_loop_kernel *k;
    mdl_text *t;
    const char **reg; /* text by register: a name, or a constant */
    bool *scalar;     /* by array: lives in one C variable */
    bool pasted;
} printer;

static bool blocked(const printer *p) { return p->k->schedule.row_block > 1; }
static void indent(printer *p, int depth) { mdl_text_printf(p->t, "%*s", 4 * depth, ""); }

/* ---- expressions ---- */
static const char *affine_text(printer *p, const mdl_affine *a) { return mdl_c_affine(p->arena, a, -1); }

static char letter(mdl_mem_space space) { return "aocrtl"[space]; }

static const char *element(printer *p, int array, const mdl_affine *row, const mdl_affine *col) {
    const mdl_loop_array *a = &p->k->arrays.at[array];
    char c = letter(a->space);
    if (p->scalar[array]) return mdl_printf(p->arena, "%c%d", c, array);
    if (a->column_major)
        return mdl_printf(p->arena, "%c%d[(%s) * immediate[0] + %s]", c, array, affine_text(p, col), affine_text(p, row));
    if (a->space == MDL_MEM_LEAF) return mdl_printf(p->arena, "leaf[(row - first) * stride + %s]", affine_text(p, col));
    bool of_block = blocked(p) && (a->space == MDL_MEM_ROW || a->space == MDL_MEM_TILE);
    if (of_block) return mdl_printf(p->arena, "%c%d[(row - base) * %" PRId64 " + %s]", c, array, a->width, affine_text(p, col));
    mdl_affine at = *col;
    if (a->space == MDL_MEM_OPERAND || a->space == MDL_MEM_RESULT) at = mdl_affine_add(mdl_affine_scale(*row, a->row_stride), *col);
    return mdl_printf(p->arena, "%c%d[%s]", c, array, affine_text(p, &at));
}

static const char *random_text(printer *p, const mdl_loop_stmt *s) {
    return mdl_printf(p->arena, "mdl_philox_%s((uint32_t)a%d[0], (uint32_t)a%d[1], (uint32_t)%s, (uint64_t)(%s))",
                      s->normal ? "normal" : "uniform", s->array, s->array, p->reg[s->in[0]], affine_text(p, &s->col));
}

static const char *gather_text(printer *p, const mdl_loop_stmt *s) {
    const mdl_loop_array *a = &p->k->arrays.at[s->array];
    return mdl_printf(p->arena, "%s < 0 ? 0 : a%d[(int64_t)%s * %" PRId64 " + %s]", p->reg[s->in[0]], s->array, p->reg[s->in[0]],
                      a->row_stride, affine_text(p, &s->col));
}

/* What a statement that makes a register computes. */
static const char *value_text(printer *p, const mdl_loop_stmt *s) {
    switch (s->code) {
        case MDL_LOOP_INDEX: return mdl_printf(p->arena, "(int32_t)(%s)", affine_text(p, &s->col));
        case MDL_LOOP_LOAD: return element(p, s->array, &s->row, &s->col);
        case MDL_LOOP_GATHER: return gather_text(p, s);
        case MDL_LOOP_RANDOM: return random_text(p, s);
        default: return mdl_c_compute(p->arena, p->k, p->reg, s);
    }
}

/* ---- statements ---- */
static void print_list(printer *p, const mdl_loop_list *list, int depth);

static void print_clear(printer *p, const mdl_loop_stmt *s, int depth) {
    const mdl_loop_array *a = &p->k->arrays.at[s->array];
    const char *start = mdl_c_neutral(s->op, a->dtype), *type = mdl_c_types[a->dtype].reg, *offset = "";
    char c = letter(a->space);
    indent(p, depth);
    if (p->scalar[s->array]) {
        mdl_text_printf(p->t, "%s %c%d = %s;\n", type, c, s->array, start);
        return;
    }
    if (a->space == MDL_MEM_ROW && !blocked(p)) {
        mdl_text_printf(p->t, "%s %c%d[%" PRId64 "];\n", type, c, s->array, a->width);
        indent(p, depth);
    }
    if (a->space == MDL_MEM_ROW && blocked(p)) offset = mdl_printf(p->arena, "(row - base) * %" PRId64 " + ", a->width);
    mdl_text_printf(p->t, "for (int64_t k = 0; k < %" PRId64 "; k++) %c%d[%sk] = %s;\n", a->width, c, s->array, offset, start);
}

static void print_fold(printer *p, const mdl_loop_stmt *s, int depth) {
    const char *to = element(p, s->array, &s->row, &s->col), *x = p->reg[s->in[0]];
    indent(p, depth);
    mdl_text_printf(p->t, "%s;\n", mdl_c_fold(p->arena, s->op, to, x));
}

/* Lanes may run side by side when what they fold into is a variable that the clause can name, or moves with the loop. */
static void print_lanes(printer *p, const mdl_loop_stmt *loop, int depth) {
    mdl_text clauses = {.arena = p->arena};
    if (!loop->lanes || loop->extent < 2) return;
    for (int i = 0; i < loop->body->n; i++) {
        const mdl_loop_stmt *s = &loop->body->at[i];
        if (s->code != MDL_LOOP_FOLD) continue;
        bool moves = false;
        for (int k = 0; k < s->col.n; k++) moves |= s->col.term[k].var == loop->var;
        if (moves) continue;
        if (!p->scalar[s->array]) return;
        mdl_text_printf(&clauses, " reduction(%s:%c%d)", s->op == MDL_OP_SUM ? "+" : "max", letter(p->k->arrays.at[s->array].space),
                        s->array);
    }
    (void)depth;
    mdl_text_printf(p->t, "#pragma omp simd%s\n", clauses.n ? clauses.at : "");
}

static void print_for(printer *p, const mdl_loop_stmt *s, int depth) {
    print_lanes(p, s, depth);
    indent(p, depth);
    if (s->var == MDL_VAR_ROW)
        mdl_text_printf(p->t, "for (int64_t row = base; row < base + rows; row++) {\n");
    else
        mdl_text_printf(p->t, "for (int64_t i%d = 0; i%d < %" PRId64 "; i%d++) {\n", s->var, s->var, s->extent, s->var);
    print_list(p, s->body, depth + 1);
    indent(p, depth);
    mdl_text_printf(p->t, "}\n");
}

static void print_stmt(printer *p, const mdl_loop_stmt *s, int depth) {
    switch (s->code) {
        case MDL_LOOP_CONST: p->reg[s->reg] = mdl_c_constant(p->arena, s->dtype, s->value); return;
        case MDL_LOOP_IMM: p->reg[s->reg] = mdl_printf(p->arena, "(int32_t)immediate[%d]", (int)s->value); return;
        case MDL_LOOP_CLEAR: print_clear(p, s, depth); return;
        case MDL_LOOP_FOLD: print_fold(p, s, depth); return;
        case MDL_LOOP_FOR: print_for(p, s, depth); return;
        case MDL_LOOP_STORE:
            indent(p, depth);
            mdl_text_printf(p->t, "%s = %s;\n", element(p, s->array, &s->row, &s->col), p->reg[s->in[0]]);
            return;
        default: break;
    }
    const char *value = value_text(p, s);
    p->reg[s->reg] = mdl_printf(p->arena, "v%d", s->reg);
    indent(p, depth);
    mdl_text_printf(p->t, "%s v%d = %s;\n", mdl_c_types[s->dtype].reg, s->reg, value);
}

static void print_list(printer *p, const mdl_loop_list *list, int depth) {
    for (int i = 0; i < list->n; i++) print_stmt(p, &list->at[i], depth);
}

/* ---- the function ---- */
static void print_pointer(printer *p, int i) {
    const mdl_loop_array *a = &p->k->arrays.at[i];
    const char *type = mdl_c_types[a->dtype].memory, *read = a->space == MDL_MEM_OPERAND ? "const " : "";
    mdl_text_printf(p->t, "    %s%s *%c%d = (%s%s *)buffer[%d]", read, type, letter(a->space), i, read, type, a->index);
    if (a->space == MDL_MEM_PARTIAL) mdl_text_printf(p->t, " + %s * %" PRId64, p->pasted ? "chunk" : "block", a->row_stride);
    if (a->first) mdl_text_printf(p->t, " + %" PRId64, a->first);
    mdl_text_printf(p->t, ";\n");
}

static void print_pointers(printer *p) {
    for (int i = 0; i < p->k->arrays.n; i++)
        if (p->k->arrays.at[i].space <= MDL_MEM_PARTIAL) print_pointer(p, i);
}

static void print_block_arrays(printer *p) {
    for (int i = 0; i < p->k->arrays.n; i++) {
        const mdl_loop_array *a = &p->k->arrays.at[i];
        if (p->scalar[i] || (a->space != MDL_MEM_TILE && !(a->space == MDL_MEM_ROW && blocked(p)))) continue;
        mdl_text_printf(p->t, "        %s %c%d[%" PRId64 "];\n", mdl_c_types[a->dtype].reg, letter(a->space), i,
                        a->width * p->k->schedule.row_block);
    }
}

static void print_phase(printer *p, const mdl_loop_phase *phase) {
    int depth = 2;
    if (phase->tile_var) {
        indent(p, depth++);
        mdl_text_printf(p->t, "for (int64_t i%d = 0; i%d < %" PRId64 "; i%d++) {\n", phase->tile_var, phase->tile_var, phase->tiles,
                        phase->tile_var);
    }
    indent(p, depth);
    mdl_text_printf(p->t, "for (int64_t row = base; row < base + rows; row++) {\n");
    print_list(p, &phase->body, depth + 1);
    indent(p, depth);
    mdl_text_printf(p->t, "}\n");
    print_list(p, &phase->then, depth);
    if (phase->tile_var) mdl_text_printf(p->t, "        }\n");
}

static void print_rows(printer *p) {
    if (blocked(p)) {
        int64_t rows = p->k->schedule.row_block;
        mdl_text_printf(p->t, "    for (int64_t base = first; base < last; base += %" PRId64 ") {\n", rows);
        mdl_text_printf(p->t, "        const int64_t rows = last - base < %" PRId64 " ? last - base : %" PRId64 ";\n", rows, rows);
        print_block_arrays(p);
        for (int i = 0; i < p->k->phases.n; i++) print_phase(p, &p->k->phases.at[i]);
    } else {
        mdl_text_printf(p->t, "    for (int64_t row = first; row < last; row++) {\n");
        print_block_arrays(p);
        for (int i = 0; i < p->k->phases.n; i++) print_list(p, &p->k->phases.at[i].body, 2);
    }
    mdl_text_printf(p->t, "    }\n");
}

/* Which arrays are one C variable: a row's number when rows do not share arrays, and one that lives inside a loop. */
static void note_scalars(printer *p, const mdl_loop_list *list, bool in_loop) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        const mdl_loop_array *a = &p->k->arrays.at[s->array];
        if (s->code == MDL_LOOP_CLEAR && a->space == MDL_MEM_ROW && a->width == 1 && (in_loop || !blocked(p)))
            p->scalar[s->array] = true;
        if (s->body) note_scalars(p, s->body, true);
    }
}

static printer begin(mdl_arena *arena, const mdl_loop_kernel *k, mdl_text *t, bool pasted) {
    printer p = {arena, k, t, MDL_NEW_ARRAY(arena, const char *, k->regs.n + 1), MDL_NEW_ARRAY(arena, bool, k->arrays.n + 1),
                 pasted};
    for (int i = 0; i < k->phases.n; i++) note_scalars(&p, &k->phases.at[i].body, false);
    return p;
}

const char *mdl_cpu_print_row(mdl_arena *arena, const mdl_loop_kernel *k, const char *symbol, const char **error) {
    if ((*error = mdl_c_unsupported(arena, k))) return NULL;
    mdl_text t = {.arena = arena};
    printer p = begin(arena, k, &t, false);
    mdl_text_printf(&t, "void %s(void *const *buffer, const int64_t *immediate, int64_t block) {\n", symbol);
    print_pointers(&p);
    mdl_text_printf(&t, "    const int64_t first = block * immediate[1], end = first + immediate[1];\n");
    mdl_text_printf(&t, "    const int64_t last = end < immediate[0] ? end : immediate[0];\n");
    print_list(&p, &k->block, 1);
    print_rows(&p);
    mdl_text_printf(&t, "}\n");
    return t.at;
}

const char *mdl_cpu_print_pasted(mdl_arena *arena, const mdl_loop_kernel *k, const char *symbol, bool store, const char **error) {
    if ((*error = mdl_c_unsupported(arena, k))) return NULL;
    mdl_text t = {.arena = arena};
    printer p = begin(arena, k, &t, true);
    mdl_text_printf(&t,
                    "MDL_FN void %s(void *const *buffer, const int64_t *immediate, int64_t first, int64_t rows, int64_t head, "
                    "%sfloat *leaf, int64_t stride%s) {\n",
                    symbol, store ? "const " : "", store ? ", int64_t chunk" : "");
    mdl_text_printf(&t, "    (void)buffer, (void)immediate, (void)head, (void)leaf, (void)stride%s;\n",
                    store ? ", (void)chunk" : "");
    mdl_text_printf(&t, "    const int64_t last = first + rows;\n");
    print_pointers(&p);
    print_list(&p, &k->block, 1);
    print_rows(&p);
    mdl_text_printf(&t, "}\n");
    return t.at;
}
