/* Is loop IR well formed? */
#include <inttypes.h>

#include "compiler/kernel/loop.h"
#include "runtime/base/status.h"

typedef struct {
    mdl_arena *arena;
    const mdl_loop_kernel *k;
    bool *made;           /* by register: in scope */
    mdl_loop_var *extent; /* by loop variable; 0: not in scope */
    int vars;
    bool free_rows; /* outside loops over rows: nothing may depend on the row */
    const char *wrong;
} checker;

static void fail(checker *c, const char *what) {
    if (!c->wrong) c->wrong = what;
}

static void check_index(checker *c, const mdl_affine *a, const char *what, int64_t width) {
    for (int i = 0; i < a->n; i++) {
        int var = a->term[i].var;
        bool known = var == MDL_VAR_HEAD || (var == MDL_VAR_ROW && !c->free_rows) || (var < c->vars && c->extent[var].extent);
        if (!known) {
            fail(c, mdl_printf(c->arena, "i%d is used outside its loop", var));
            return;
        }
        if (width && var < MDL_VAR_FIRST) return; /* rows and heads: their number is not known here */
    }
    int64_t low, high;
    mdl_affine_range(a, c->extent, &low, &high);
    if (width && (low < 0 || high >= width))
        fail(c, mdl_printf(c->arena, "%s runs from %" PRId64 " to %" PRId64 " in an array of %" PRId64, what, low, high, width));
}

static void check_reads(checker *c, const mdl_loop_stmt *s) {
    int n = s->code == MDL_LOOP_COMPUTE ? mdl_ops[s->op].arity : 0;
    if (s->code == MDL_LOOP_GATHER || s->code == MDL_LOOP_RANDOM || s->code == MDL_LOOP_STORE || s->code == MDL_LOOP_FOLD) n = 1;
    for (int i = 0; i < n; i++)
        if (s->in[i] < 0 || s->in[i] >= c->k->regs.n || !c->made[s->in[i]])
            fail(c, mdl_printf(c->arena, "%%%d is used before it is made, or out of its loop", s->in[i]));
}

static void check_memory(checker *c, const mdl_loop_stmt *s) {
    if (s->array < 0 || s->array >= c->k->arrays.n) {
        fail(c, mdl_printf(c->arena, "there is no array %d", s->array));
        return;
    }
    const mdl_loop_array *a = &c->k->arrays.at[s->array];
    bool writes = s->code == MDL_LOOP_STORE || s->code == MDL_LOOP_FOLD || s->code == MDL_LOOP_CLEAR;
    if (writes && a->space == MDL_MEM_OPERAND) fail(c, mdl_printf(c->arena, "operand a%d is written", s->array));
    if (s->code == MDL_LOOP_CLEAR || s->code == MDL_LOOP_RANDOM) return;
    if (s->code != MDL_LOOP_GATHER) check_index(c, &s->row, "row", 0);
    check_index(c, &s->col, "column", a->width);
    if (s->code == MDL_LOOP_LOAD && a->dtype != s->dtype && !(a->dtype == MDL_SEG && s->dtype == MDL_I32))
        fail(c, mdl_printf(c->arena, "%%%d is %s, array %d is %s", s->reg, mdl_dtype_name(s->dtype), s->array,
                           mdl_dtype_name(a->dtype)));
    if (writes && !c->wrong && c->k->regs.at[s->in[0]] != a->dtype)
        fail(c, mdl_printf(c->arena, "%%%d is %s, it goes to array %d of %s", s->in[0], mdl_dtype_name(c->k->regs.at[s->in[0]]),
                           s->array, mdl_dtype_name(a->dtype)));
}

static void check_list(checker *c, const mdl_loop_list *list);

static void check_for(checker *c, const mdl_loop_stmt *s) {
    bool rows = s->var == MDL_VAR_ROW;
    if (s->extent < 1) fail(c, "a loop of no iterations");
    if (!rows && (s->var < MDL_VAR_FIRST || s->var >= c->vars || c->extent[s->var].extent)) {
        fail(c, mdl_printf(c->arena, "loop variable i%d is taken", s->var));
        return;
    }
    bool before = c->free_rows;
    if (rows) c->free_rows = false;
    c->extent[s->var].extent = s->extent;
    check_list(c, s->body);
    for (int i = 0; i < s->body->n; i++)
        if (s->body->at[i].reg >= 0) c->made[s->body->at[i].reg] = false;
    c->extent[s->var].extent = 0;
    c->free_rows = before;
}

static void check_list(checker *c, const mdl_loop_list *list) {
    for (int i = 0; i < list->n && !c->wrong; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->code == MDL_LOOP_FOR) {
            check_for(c, s);
            continue;
        }
        check_reads(c, s);
        bool memory = s->code == MDL_LOOP_LOAD || s->code == MDL_LOOP_GATHER || s->code == MDL_LOOP_RANDOM || s->reg < 0;
        if (memory) check_memory(c, s);
        if (s->code == MDL_LOOP_INDEX) check_index(c, &s->col, "index", 0);
        if (s->reg < 0 || c->wrong) continue;
        if (s->reg >= c->k->regs.n || c->k->regs.at[s->reg] != s->dtype || c->made[s->reg])
            fail(c, mdl_printf(c->arena, "%%%d is made twice, or as two dtypes", s->reg));
        else
            c->made[s->reg] = true;
    }
}

static void check_phase(checker *c, const mdl_loop_phase *p) {
    if (p->tile_var) c->extent[p->tile_var].extent = p->tiles;
    c->free_rows = false;
    check_list(c, &p->body);
    c->free_rows = true;
    check_list(c, &p->then);
    if (p->tile_var) c->extent[p->tile_var].extent = 0;
    bool lives_on = c->k->schedule.row_block == 1; /* registers of a row live in all its phases */
    for (int i = 0; i < p->body.n && !lives_on; i++)
        if (p->body.at[i].reg >= 0) c->made[p->body.at[i].reg] = false;
}

const char *mdl_loop_verify(mdl_arena *arena, const mdl_loop_kernel *k) {
    checker c = {.arena = arena, .k = k, .free_rows = true};
    if (k->schedule.row_block < 1 || k->schedule.lanes < 1) return "a schedule without rows or lanes";
    c.vars = k->vars;
    c.made = MDL_NEW_ARRAY(arena, bool, k->regs.n + 1);
    c.extent = MDL_NEW_ARRAY(arena, mdl_loop_var, c.vars + 1);
    check_list(&c, &k->block);
    for (int i = 0; i < k->phases.n && !c.wrong; i++) check_phase(&c, &k->phases.at[i]);
    return c.wrong;
}
