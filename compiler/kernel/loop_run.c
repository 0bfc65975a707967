/* Loop IR in f64: slow, plain, one statement at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/loop.h"
#include "compiler/kernel/philox.h"
#include "compiler/op/pointwise.h"
#include "runtime/base/status.h"

typedef struct {
    mdl_arena *arena;
    const mdl_loop_kernel *k;
    double *const *buffer;
    const int64_t *immediate;
    double *reg, **own;        /* own: ROW and TILE arrays of the row block, by array */
    int64_t *var;              /* by loop variable */
    int64_t block, base, rows; /* rows of the launch's `block` run from base */
    const mdl_loop_call *call; /* of a pasted body */
} machine;

static int64_t value_of(const machine *m, const mdl_affine *a) {
    int64_t x = a->c;
    for (int i = 0; i < a->n; i++) x += a->term[i].k * m->var[a->term[i].var];
    return x;
}

static double *element(const machine *m, int array, int64_t row, int64_t col) {
    const mdl_loop_array *a = &m->k->arrays.at[array];
    if (a->space == MDL_MEM_PARTIAL) return m->buffer[a->index] + m->block * a->row_stride + a->first + col;
    if (a->space == MDL_MEM_ROW) return m->own[array] + (m->var[MDL_VAR_ROW] - m->base) * a->width + col;
    if (a->space == MDL_MEM_TILE) return m->own[array] + (row - m->base) * a->width + col;
    if (a->space == MDL_MEM_LEAF) return m->call->leaf + (row - m->call->first) * m->call->stride + col;
    return m->buffer[a->index] + (a->column_major ? col * m->immediate[0] + row : row * a->row_stride + a->first + col);
}

static double neutral(mdl_opcode op) { return op == MDL_OP_SUM ? 0 : -INFINITY; }
static double folded(mdl_opcode op, double x, double y) { return op == MDL_OP_SUM ? x + y : x > y ? x : y; }

static double loaded(const machine *m, const mdl_loop_stmt *s) {
    return *element(m, s->array, value_of(m, &s->row), value_of(m, &s->col));
}

static double gathered(const machine *m, const mdl_loop_stmt *s) {
    double row = m->reg[s->in[0]];
    return row < 0 ? 0 : *element(m, s->array, (int64_t)row, value_of(m, &s->col));
}

static double random_number(const machine *m, const mdl_loop_stmt *s) {
    const double *seed = m->buffer[m->k->arrays.at[s->array].index];
    uint32_t k0 = (uint32_t)(int32_t)seed[0], k1 = (uint32_t)(int32_t)seed[1], stream = (uint32_t)m->reg[s->in[0]];
    uint64_t at = (uint64_t)value_of(m, &s->col);
    return s->normal ? mdl_philox_reference_normal(k0, k1, stream, at) : mdl_philox_reference_uniform(k0, k1, stream, at);
}

static double computed(const machine *m, const mdl_loop_stmt *s) {
    double in[3] = {0};
    for (int i = 0; i < mdl_ops[s->op].arity; i++) in[i] = m->reg[s->in[i]];
    double x = mdl_pointwise_eval(s->op, in[0], in[1], in[2]);
    return s->dtype == MDL_I32 ? trunc(x) : s->dtype == MDL_BOOL ? x != 0 : x;
}

static void run_list(machine *m, const mdl_loop_list *list);

static bool stays(const mdl_loop_stmt *s, int var) {
    for (int k = 0; k < s->col.n; k++)
        if (s->col.term[k].var == var) return false;
    return s->code == MDL_LOOP_FOLD;
}

/* Each lane folds its iterations for itself; then the lanes' results are folded in order. */
static void run_lanes(machine *m, const mdl_loop_stmt *s, int64_t lanes) {
    double *total = calloc((size_t)s->body->n + 1, sizeof *total);
    for (int64_t lane = 0; lane < lanes; lane++) {
        for (int i = 0; i < s->body->n; i++) {
            const mdl_loop_stmt *f = &s->body->at[i];
            if (!stays(f, s->var)) continue;
            double *at = element(m, f->array, value_of(m, &f->row), value_of(m, &f->col));
            if (!lane) total[i] = *at;
            *at = neutral(f->op);
        }
        for (m->var[s->var] = lane; m->var[s->var] < s->extent; m->var[s->var] += lanes) run_list(m, s->body);
        for (int i = 0; i < s->body->n; i++) {
            const mdl_loop_stmt *f = &s->body->at[i];
            if (!stays(f, s->var)) continue;
            double *at = element(m, f->array, value_of(m, &f->row), value_of(m, &f->col));
            total[i] = folded(f->op, total[i], *at);
            *at = total[i];
        }
    }
    free(total);
}

static void run_for(machine *m, const mdl_loop_stmt *s) {
    int64_t lanes = s->lanes ? m->k->schedule.lanes : 1;
    if (s->var == MDL_VAR_ROW) {
        for (m->var[MDL_VAR_ROW] = m->base; m->var[MDL_VAR_ROW] < m->base + m->rows; m->var[MDL_VAR_ROW]++) run_list(m, s->body);
    } else if (lanes > 1) {
        run_lanes(m, s, lanes);
    } else {
        for (m->var[s->var] = 0; m->var[s->var] < s->extent; m->var[s->var]++) run_list(m, s->body);
    }
}

static void clear(machine *m, const mdl_loop_stmt *s) {
    for (int64_t i = 0; i < m->k->arrays.at[s->array].width; i++) *element(m, s->array, 0, i) = neutral(s->op);
}

static void run_stmt(machine *m, const mdl_loop_stmt *s) {
    switch (s->code) {
        case MDL_LOOP_CONST: m->reg[s->reg] = s->value; break;
        case MDL_LOOP_IMM: m->reg[s->reg] = (double)m->immediate[(int)s->value]; break;
        case MDL_LOOP_INDEX: m->reg[s->reg] = (double)value_of(m, &s->col); break;
        case MDL_LOOP_LOAD: m->reg[s->reg] = loaded(m, s); break;
        case MDL_LOOP_GATHER: m->reg[s->reg] = gathered(m, s); break;
        case MDL_LOOP_RANDOM: m->reg[s->reg] = random_number(m, s); break;
        case MDL_LOOP_COMPUTE: m->reg[s->reg] = computed(m, s); break;
        case MDL_LOOP_CLEAR: clear(m, s); break;
        case MDL_LOOP_FOR: run_for(m, s); break;
        case MDL_LOOP_STORE: *element(m, s->array, value_of(m, &s->row), value_of(m, &s->col)) = m->reg[s->in[0]]; break;
        case MDL_LOOP_FOLD: {
            double *at = element(m, s->array, value_of(m, &s->row), value_of(m, &s->col));
            *at = folded(s->op, *at, m->reg[s->in[0]]);
            break;
        }
    }
}

static void run_list(machine *m, const mdl_loop_list *list) {
    for (int i = 0; i < list->n; i++) run_stmt(m, &list->at[i]);
}

/* The phases over the rows from base: with row blocks of one row, a row runs through all of them. */
static void run_row_block(machine *m) {
    for (int p = 0; p < m->k->phases.n; p++) {
        const mdl_loop_phase *phase = &m->k->phases.at[p];
        for (int64_t tile = 0; tile < (phase->tile_var ? phase->tiles : 1); tile++) {
            m->var[phase->tile_var] = tile;
            for (int64_t row = m->base; row < m->base + m->rows; row++) {
                m->var[MDL_VAR_ROW] = row;
                run_list(m, &phase->body);
            }
            run_list(m, &phase->then);
        }
    }
}

static void run_rows(machine *m, int64_t first, int64_t end) {
    int64_t step = m->k->schedule.row_block;
    run_list(m, &m->k->block);
    for (m->base = first; m->base < end; m->base += step) {
        m->rows = end - m->base < step ? end - m->base : step;
        run_row_block(m);
    }
}

static machine start(const mdl_loop_kernel *k, double *const *buffer, const int64_t *immediate) {
    machine m = {.arena = mdl_arena_new(), .k = k, .buffer = buffer, .immediate = immediate};
    m.reg = MDL_NEW_ARRAY(m.arena, double, k->regs.n + 1);
    m.var = MDL_NEW_ARRAY(m.arena, int64_t, k->vars + 1);
    m.own = MDL_NEW_ARRAY(m.arena, double *, k->arrays.n + 1);
    for (int i = 0; i < k->arrays.n; i++) m.own[i] = MDL_NEW_ARRAY(m.arena, double, k->arrays.at[i].width * k->schedule.row_block);
    return m;
}

void mdl_loop_run(const mdl_loop_kernel *k, double *const *buffer, const int64_t *immediate, int64_t blocks) {
    machine m = start(k, buffer, immediate);
    int64_t all = immediate[0], chunk = immediate[1];
    for (m.block = 0; m.block < blocks; m.block++)
        run_rows(&m, m.block * chunk, (m.block + 1) * chunk < all ? (m.block + 1) * chunk : all);
    mdl_arena_free(m.arena);
}

void mdl_loop_run_pasted(const mdl_loop_kernel *k, double *const *buffer, const int64_t *immediate, const mdl_loop_call *call) {
    machine m = start(k, buffer, immediate);
    m.call = call;
    m.block = call->chunk;
    m.var[MDL_VAR_HEAD] = call->head;
    run_rows(&m, call->first, call->first + call->rows);
    mdl_arena_free(m.arena);
}
