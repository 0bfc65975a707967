/* Bodies to loop IR.
 *
 * Phase 0 reads operands only; phase p may use row reductions whose inputs are of phase p-1. In a phase, everything with the same
 * columns (stores, row reductions, column sums) shares one nest. Where a concat or a split needs it, the nest is made again with a
 * loop cut or tiled. */
#include <string.h>

#include "compiler/kernel/lowering.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "runtime/base/status.h"

static const mdl_op *yield_of(const mdl_op *kernel) { return kernel->body->ops.at[kernel->body->ops.n - 1]; }

/* ---- what there is to do ---- */
static void find_phases(mdl_lowering *l) {
    const mdl_region *body = l->kernel->body;
    for (int i = 0; i < body->ops.n; i++) {
        const mdl_op *op = body->ops.at[i];
        int latest = 0;
        for (int k = 0; k < op->n_in; k++)
            if (l->phase[op->in[k]->id] > latest) latest = l->phase[op->in[k]->id];
        for (int k = 0; k < op->n_out; k++) l->phase[op->out[k]->id] = latest + mdl_is_row_reduction(op);
    }
}

static int64_t columns(const mdl_value *v) { return mdl_span_product(&v->type, 1, v->type.rank); }

static bool is_leaf(const mdl_lowering *l, int argument) { return l->paste && l->paste->leaf && l->paste->leaf[argument]; }

static void add_operands(mdl_lowering *l, const mdl_loop_layout *layouts) {
    int slot = 0;
    for (int i = 0; i < l->kernel->n_in; i++) {
        const mdl_value *v = l->kernel->in[i];
        bool leaf = is_leaf(l, i);
        l->kept[i] = l->operand[i] = -1;
        if (mdl_is(v, MDL_OP_IMM)) continue;
        if (leaf) {
            l->operand[i] = mdl_own_array(l, MDL_MEM_LEAF, MDL_F32, columns(v) / l->paste->heads);
            continue;
        }
        mdl_loop_layout at = layouts ? layouts[i] : (mdl_loop_layout){0};
        l->operand[i] = mdl_new_array(l, (mdl_loop_array){.space = MDL_MEM_OPERAND,
                                                          .index = slot++,
                                                          .dtype = v->type.dtype,
                                                          .width = columns(v),
                                                          .row_stride = at.row_stride ? at.row_stride : columns(v),
                                                          .first = at.first,
                                                          .column_major = at.column_major});
    }
}

static void add_reductions(mdl_lowering *l) {
    const mdl_region *body = l->kernel->body;
    for (int i = 0; i < body->ops.n; i++) {
        const mdl_op *op = body->ops.at[i];
        if (!mdl_is_row_reduction(op)) continue;
        int64_t width = columns(op->out[0]);
        int array = mdl_own_array(l, MDL_MEM_ROW, mdl_accumulator(op), width);
        l->folded[op->out[0]->id] = array;
        MDL_PUSH(l->arena, l->items, ((mdl_item){MDL_ITEM_REDUCE, op->out[0], array, l->phase[op->out[0]->id] - 1}));
    }
}

static void add_yields(mdl_lowering *l, const mdl_loop_layout *layouts) {
    const mdl_op *yield = yield_of(l->kernel);
    int slot = 0;
    for (int i = 0; i < l->kernel->n_in; i++) slot += !mdl_is(l->kernel->in[i], MDL_OP_IMM) && !is_leaf(l, i);
    for (int i = 0; i < yield->n_in; i++, slot++) {
        const mdl_value *v = yield->in[i];
        if (l->paste && l->paste->yield >= 0 && l->paste->yield != i) continue;
        bool column = mdl_is_column_sum(v->def), leaf = l->paste && !l->paste->store;
        mdl_loop_layout at = layouts ? layouts[i] : (mdl_loop_layout){0};
        int array = leaf ? mdl_own_array(l, MDL_MEM_LEAF, MDL_F32, columns(v) / l->paste->heads)
                         : mdl_new_array(l, (mdl_loop_array){.space = column ? MDL_MEM_PARTIAL : MDL_MEM_RESULT,
                                                             .index = at.buffer ? at.buffer : slot,
                                                             .dtype = v->type.dtype,
                                                             .width = columns(v),
                                                             .row_stride = at.row_stride ? at.row_stride : columns(v),
                                                             .first = at.first,
                                                             .column_major = at.column_major});
        if (!column && !leaf && l->stored[v->id] < 0) l->stored[v->id] = array;
        if (column && !l->paste) /* a pasted sum adds to what its template cleared */
            MDL_PUSH(l->arena, l->out->block,
                     ((mdl_loop_stmt){.code = MDL_LOOP_CLEAR, .op = MDL_OP_SUM, .reg = -1, .array = array}));
        MDL_PUSH(l->arena, l->items, ((mdl_item){column ? MDL_ITEM_COLUMN : MDL_ITEM_STORE, v, array, l->phase[v->id]}));
    }
}

/* The value whose columns an item walks. */
static const mdl_value *walked(const mdl_item *it) { return it->kind == MDL_ITEM_STORE ? it->value : it->value->def->in[0]; }

static bool same_columns(const mdl_item *a, const mdl_item *b) {
    const mdl_type *x = &walked(a)->type, *y = &walked(b)->type;
    if (x->rank != y->rank) return false;
    for (int i = 1; i < x->rank; i++)
        if (x->dim[i] != y->dim[i]) return false;
    return true;
}

/* ---- nests ---- */
static void fold(mdl_lowering *l, mdl_loop_list *list, mdl_opcode op, int array, mdl_affine col, int reg) {
    mdl_loop_stmt s = {
        .code = MDL_LOOP_FOLD, .op = op, .reg = -1, .in = {reg}, .array = array, .row = mdl_affine_const(0), .col = col};
    MDL_PUSH(l->arena, *list, s);
}

static void lower_store(mdl_lowering *l, const mdl_nest *n, const mdl_affine *idx, const mdl_item *it) {
    bool leaf = l->out->arrays.at[it->array].space == MDL_MEM_LEAF;
    mdl_reg x = leaf ? mdl_lower_widened(l, it->value, idx, MDL_F32) : mdl_lower_value(l, it->value, idx);
    mdl_loop_stmt s = {.code = MDL_LOOP_STORE, .reg = -1, .in = {x.reg}, .array = it->array};
    mdl_address(&it->value->type, idx, &s);
    if (leaf) s.col = idx[n->rank - 1];
    MDL_PUSH(l->arena, *mdl_list_at(l, n->n_loops), s);
}

static void lower_column(mdl_lowering *l, const mdl_nest *n, const mdl_affine *idx, const mdl_item *it) {
    mdl_reg x = mdl_lower_widened(l, walked(it), idx, it->value->type.dtype);
    mdl_loop_stmt at = {0};
    mdl_address(&walked(it)->type, idx, &at);
    fold(l, mdl_list_at(l, n->n_loops), MDL_OP_SUM, it->array, at.col, x.reg);
}

/* Where in its array a reduction of rank 2 and more gathers, and whether that moves with the innermost loop. */
static mdl_affine kept_columns(const mdl_nest *n, const mdl_affine *idx, const mdl_value *v, bool *moves) {
    const mdl_attr *axes = mdl_find_attr(v->def, "axes");
    mdl_affine kept[MDL_MAX_RANK] = {{0}};
    for (int i = 1, k = 1; i < n->rank; i++)
        if (!mdl_attr_has_axis(axes, i)) kept[k++] = idx[i];
    mdl_loop_stmt at = {0};
    mdl_address(&v->type, kept, &at);
    int inner = n->n_loops ? n->loops[n->n_loops - 1] : -1;
    *moves = false;
    for (int i = 0; i < at.col.n; i++) *moves |= at.col.term[i].var == inner;
    return at.col;
}

/* Whole rows fold into one number; others into an array by their kept columns, through a number of its own for the innermost loop
 * where the place does not move with it. */
static void lower_reduce(mdl_lowering *l, const mdl_nest *n, const mdl_affine *idx, const mdl_item *it) {
    const mdl_value *v = it->value;
    mdl_opcode op = v->def->code;
    mdl_reg x = mdl_lower_widened(l, walked(it), idx, mdl_accumulator(v->def));
    mdl_loop_list *here = mdl_list_at(l, n->n_loops);
    bool moves;
    mdl_affine col = kept_columns(n, idx, v, &moves), zero = mdl_affine_const(0);
    if (v->type.rank == 1) {
        fold(l, here, op, it->array, zero, x.reg);
        return;
    }
    if (moves || n->n_loops < 2) {
        l->lanes &= moves;
        fold(l, here, op, it->array, col, x.reg);
        return;
    }
    int one = mdl_own_array(l, MDL_MEM_ROW, mdl_accumulator(v->def), 1);
    mdl_loop_stmt clear = {.code = MDL_LOOP_CLEAR, .op = op, .reg = -1, .array = one};
    MDL_PUSH(l->arena, *mdl_list_at(l, n->n_loops - 1), clear);
    fold(l, here, op, one, zero, x.reg);
    mdl_loop_stmt sum = {.code = MDL_LOOP_LOAD,
                         .reg = mdl_new_reg(l, mdl_accumulator(v->def)),
                         .array = one,
                         .dtype = mdl_accumulator(v->def),
                         .row = zero,
                         .col = zero};
    MDL_PUSH(l->arena, l->after, sum);
    fold(l, &l->after, op, it->array, col, sum.reg);
}

static void forget(mdl_lowering *l, int from, bool (*drop)(const mdl_memo *)) {
    for (int i = 0, n = l->memos.n; i < n; i++) l->memo_of[l->memo_owner[i]] = -1;
    int kept = 0;
    for (int i = 0; i < l->memos.n; i++) {
        if (i >= from && drop(&l->memos.at[i])) continue;
        int owner = l->memo_owner[i];
        l->memos.at[kept] = l->memos.at[i];
        l->memos.at[kept].earlier = l->memo_of[owner];
        l->memo_owner[kept] = owner;
        l->memo_of[owner] = kept++;
    }
    l->memos.n = kept;
}

static bool in_a_loop(const mdl_memo *m) { return m->at.depth > MDL_DEPTH_ROW; }
static bool in_a_row(const mdl_memo *m) { return m->at.depth >= MDL_DEPTH_ROW; }
static bool any(const mdl_memo *m) { return m != NULL; }

/* What a nest added outside its loops, so that it can be taken back. */
typedef struct {
    int block, row, memos, regs, arrays;
} mark;

static mark mark_of(const mdl_lowering *l) {
    return (mark){l->out->block.n, l->row->n, l->memos.n, l->out->regs.n, l->out->arrays.n};
}

static void take_back(mdl_lowering *l, const mark *m) {
    l->out->block.n = m->block, l->row->n = m->row, l->out->regs.n = m->regs, l->out->arrays.n = m->arrays;
    for (int i = 0; i < l->kernel->n_in; i++)
        if (l->kept[i] >= m->arrays) l->kept[i] = -1;
    forget(l, m->memos, any);
}

/* The nest's loops around what was collected for each of them. */
static void close_nest(mdl_lowering *l, const mdl_nest *n) {
    for (int i = n->n_loops - 1; i >= 0; i--) {
        bool innermost = i + 1 == n->n_loops;
        int64_t extent = l->vars.at[n->loops[i]].extent;
        mdl_loop_stmt s = {.code = MDL_LOOP_FOR, .reg = -1, .var = n->loops[i], .extent = extent, .lanes = innermost && l->lanes};
        s.body = mdl_copy(l->arena, &l->loop[i], sizeof l->loop[i]);
        mdl_loop_list *outer = i ? &l->loop[i - 1] : l->row;
        MDL_PUSH(l->arena, *outer, s);
        for (int k = 0; innermost && k < l->after.n; k++) MDL_PUSH(l->arena, *outer, l->after.at[k]);
    }
}

static void try_nest(mdl_lowering *l, const mdl_nest *n) {
    memset(l->loop, 0, sizeof l->loop);
    memset(&l->after, 0, sizeof l->after);
    l->n_loops = n->n_loops;
    memcpy(l->loops, n->loops, sizeof l->loops);
    l->lanes = true;
    for (int i = 0; i < n->points * l->n_now; i++) {
        const mdl_item *it = l->now[i / n->points];
        const mdl_affine *idx = n->idx[i % n->points];
        if (it->kind == MDL_ITEM_STORE) lower_store(l, n, idx, it);
        if (it->kind == MDL_ITEM_COLUMN) lower_column(l, n, idx, it);
        if (it->kind == MDL_ITEM_REDUCE) lower_reduce(l, n, idx, it);
    }
}

static void lower_nest(mdl_lowering *l, mdl_nest n);

static void lower_parts(mdl_lowering *l, const mdl_nest *n, const mdl_demand *d) {
    lower_nest(l, mdl_nest_part(l->arena, &l->vars, n, d->var, 0, d->at));
    lower_nest(l, mdl_nest_part(l->arena, &l->vars, n, d->var, d->at, l->vars.at[d->var].extent - d->at));
}

/* A cut at the middle may be one nest that does both halves in an iteration, which keeps the order of every sum but those of whole
 * rows. */
static bool has_halves(const mdl_lowering *l, const mdl_nest *n, const mdl_demand *d) {
    bool rows = false;
    for (int i = 0; i < l->n_now; i++) rows |= l->now[i]->kind == MDL_ITEM_REDUCE;
    return !rows && n->points == 1 && 2 * d->at == l->vars.at[d->var].extent;
}

/* Halves that share what they load and compute, as those of a rotation do, go together; else one after the other. */
static void lower_cut(mdl_lowering *l, const mdl_nest *n, const mdl_demand *d) {
    mark m = mark_of(l);
    lower_parts(l, n, d);
    if (l->error || !has_halves(l, n, d)) return;
    int apart = l->out->regs.n;
    take_back(l, &m);
    lower_nest(l, mdl_nest_halves(l->arena, &l->vars, n, d->var));
    if (!l->error && l->out->regs.n < apart) return;
    l->error = NULL;
    take_back(l, &m);
    lower_parts(l, n, d);
}

static void lower_nest(mdl_lowering *l, mdl_nest n) {
    mark m = mark_of(l);
    try_nest(l, &n);
    mdl_demand d = l->demand;
    l->demand.kind = MDL_FINE;
    if (l->error) return;
    if (d.kind == MDL_FINE) {
        close_nest(l, &n);
        forget(l, m.memos, in_a_loop);
        return;
    }
    take_back(l, &m);
    bool cut = d.kind == MDL_CUT_LOOP && mdl_nest_place(&n, d.var) >= 0;
    if (cut) {
        lower_cut(l, &n, &d);
    } else if (d.kind == MDL_TILE_LOOP && mdl_nest_tile(l->arena, &l->vars, &n, d.var, d.at)) {
        lower_nest(l, n);
    } else {
        mdl_refuse_loop(l, "a view whose index is not affine in the loops of its kernel");
    }
}

static void lower_domain(mdl_lowering *l, const mdl_item *const *items, int n) {
    l->now = items, l->n_now = n;
    lower_nest(l, mdl_nest_over(l->arena, &l->vars, &walked(items[0])->type, l->paste));
}

/* One nest for all, or one for each where their views ask for loops that do not go together. */
static void lower_items(mdl_lowering *l, const mdl_item *const *items, int n) {
    mark m = mark_of(l);
    lower_domain(l, items, n);
    if (!l->error || n == 1) return;
    l->error = NULL;
    take_back(l, &m);
    for (int i = 0; i < n; i++) lower_domain(l, &items[i], 1);
}

/* ---- phases ---- */
static void clear_reductions(mdl_lowering *l, const mdl_item *const *items, int n) {
    for (int i = 0; i < n; i++) {
        if (items[i]->kind != MDL_ITEM_REDUCE) continue;
        mdl_loop_stmt s = {.code = MDL_LOOP_CLEAR, .op = items[i]->value->def->code, .reg = -1, .array = items[i]->array};
        MDL_PUSH(l->arena, *l->row, s);
    }
}

/* The largest width of column tiles that divides the columns; 0 when these items are not to be staged. */
static int64_t staged_width(const mdl_lowering *l, const mdl_item *const *items, int n) {
    const mdl_type *t = &walked(items[0])->type;
    bool transposed = false;
    for (int i = 0; i < n; i++) transposed |= l->out->arrays.at[items[i]->array].column_major;
    if (!transposed || !l->out->schedule.column_tile || l->out->schedule.row_block < 2 || t->rank != 2) return 0;
    int64_t width = l->out->schedule.column_tile < t->dim[1] ? l->out->schedule.column_tile : t->dim[1];
    while (t->dim[1] % width) width--;
    return width;
}

static mdl_loop_phase *new_phase(mdl_lowering *l) {
    MDL_PUSH(l->arena, l->out->phases, ((mdl_loop_phase){0}));
    mdl_loop_phase *p = &l->out->phases.at[l->out->phases.n - 1];
    l->row = &p->body;
    l->tile_var = 0;
    if (l->out->schedule.row_block > 1) forget(l, 0, in_a_row);
    return p;
}

static int new_var(mdl_lowering *l, int64_t extent) {
    MDL_PUSH(l->arena, l->vars, ((mdl_loop_var){extent}));
    return l->vars.n - 1;
}

/* Column-major results of a staged phase: rows fill a tile, then the tile is stored column by column. */
static void store_transposed(mdl_lowering *l, mdl_loop_phase *phase, mdl_item *it, int64_t width) {
    int result = it->array, row = MDL_VAR_ROW, column = new_var(l, width);
    mdl_dtype dtype = l->out->arrays.at[result].dtype;
    it->array = mdl_own_array(l, MDL_MEM_TILE, dtype, width);
    mdl_affine from = mdl_affine_var(column), to = mdl_affine_add(mdl_affine_scale(mdl_affine_var(l->tile_var), width), from);
    mdl_loop_list *inner = MDL_NEW(l->arena, mdl_loop_list), *outer = MDL_NEW(l->arena, mdl_loop_list);
    mdl_loop_stmt load = {.code = MDL_LOOP_LOAD,
                          .reg = mdl_new_reg(l, dtype),
                          .array = it->array,
                          .dtype = dtype,
                          .row = mdl_affine_var(row),
                          .col = from};
    mdl_loop_stmt store = {
        .code = MDL_LOOP_STORE, .reg = -1, .in = {load.reg}, .array = result, .row = mdl_affine_var(row), .col = to};
    MDL_PUSH(l->arena, *inner, load);
    MDL_PUSH(l->arena, *inner, store);
    mdl_loop_stmt rows = {
        .code = MDL_LOOP_FOR, .reg = -1, .var = row, .extent = l->out->schedule.row_block, .lanes = true, .body = inner};
    MDL_PUSH(l->arena, *outer, rows);
    mdl_loop_stmt all = {.code = MDL_LOOP_FOR, .reg = -1, .var = column, .extent = width, .body = outer};
    MDL_PUSH(l->arena, phase->then, all);
}

/* A phase of its own: the columns in tiles of `width`, all rows of the block inside. */
static void lower_staged(mdl_lowering *l, mdl_item **items, int n, int64_t width) {
    int64_t all = walked(items[0])->type.dim[1];
    mdl_loop_phase *phase = new_phase(l);
    phase->tile_var = l->tile_var = new_var(l, all / width);
    phase->tiles = all / width;
    mdl_nest whole = {.rank = 2, .points = 1, .n_loops = 1, .loops = {new_var(l, width)}};
    l->now = (const mdl_item *const *)items, l->n_now = n;
    whole.idx[0][0] = mdl_affine_var(MDL_VAR_ROW);
    whole.idx[0][1] = mdl_affine_add(mdl_affine_scale(mdl_affine_var(l->tile_var), width), mdl_affine_var(whole.loops[0]));
    MDL_VEC(int) staged = {0}; /* items whose stores go through a tile of their own: column within the tile */
    for (int i = 0; i < n; i++) {
        if (items[i]->kind != MDL_ITEM_STORE || !l->out->arrays.at[items[i]->array].column_major) continue;
        store_transposed(l, phase, items[i], width);
        MDL_PUSH(l->arena, staged, items[i]->array);
    }
    clear_reductions(l, (const mdl_item *const *)items, n);
    lower_nest(l, whole);
    mdl_affine inner = mdl_affine_var(whole.loops[0]);
    for (int i = 0; i < phase->body.n; i++) /* the nest's stores to tiles are addressed within the tile */
        for (int k = 0; phase->body.at[i].body && k < phase->body.at[i].body->n; k++)
            for (int s = 0; s < staged.n; s++)
                if (phase->body.at[i].body->at[k].code == MDL_LOOP_STORE && phase->body.at[i].body->at[k].array == staged.at[s])
                    phase->body.at[i].body->at[k].col = inner;
}

static void lower_phase(mdl_lowering *l, int phase) {
    char *done = MDL_NEW_ARRAY(l->arena, char, l->items.n + 1);
    l->current = phase;
    new_phase(l);
    for (int i = 0; i < l->items.n && !l->error; i++) {
        if (done[i] || l->items.at[i].phase != phase) continue;
        mdl_item **together = MDL_NEW_ARRAY(l->arena, mdl_item *, l->items.n);
        int n = 0;
        for (int k = i; k < l->items.n; k++) {
            if (done[k] || l->items.at[k].phase != phase || !same_columns(&l->items.at[i], &l->items.at[k])) continue;
            together[n++] = &l->items.at[k];
            done[k] = 1;
        }
        int64_t width = staged_width(l, (const mdl_item *const *)together, n);
        if (width) {
            lower_staged(l, together, n, width);
            new_phase(l);
            continue;
        }
        clear_reductions(l, (const mdl_item *const *)together, n);
        lower_items(l, (const mdl_item *const *)together, n);
    }
}

/* ---- tidying: tiles that nothing reads, phases with nothing in them ---- */
static void note_loads(const mdl_loop_list *list, bool *loaded) {
    for (int i = 0; i < list->n; i++) {
        if (list->at[i].code == MDL_LOOP_LOAD) loaded[list->at[i].array] = true;
        if (list->at[i].body) note_loads(list->at[i].body, loaded);
    }
}

static void drop_stores(const mdl_loop_kernel *k, mdl_loop_list *list, const bool *loaded) {
    int kept = 0;
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->body) drop_stores(k, s->body, loaded);
        if (s->code == MDL_LOOP_STORE && k->arrays.at[s->array].space == MDL_MEM_TILE && !loaded[s->array]) continue;
        list->at[kept++] = *s;
    }
    list->n = kept;
}

static void tidy(mdl_arena *arena, mdl_loop_kernel *k) {
    bool *loaded = MDL_NEW_ARRAY(arena, bool, k->arrays.n + 1);
    int kept = 0;
    for (int i = 0; i < k->phases.n; i++) {
        note_loads(&k->phases.at[i].body, loaded);
        note_loads(&k->phases.at[i].then, loaded);
    }
    for (int i = 0; i < k->phases.n; i++) {
        drop_stores(k, &k->phases.at[i].body, loaded);
        if (k->phases.at[i].body.n) k->phases.at[kept++] = k->phases.at[i];
    }
    k->phases.n = kept;
}

/* ---- the whole ---- */
static mdl_lowering *begin(mdl_arena *arena, const mdl_op *kernel, const mdl_schedule *schedule, const mdl_loop_paste *paste) {
    mdl_lowering *l = MDL_NEW(arena, mdl_lowering);
    int n = kernel->body->next_id + 1;
    *l = (mdl_lowering){.arena = arena, .kernel = kernel, .paste = paste, .out = MDL_NEW(arena, mdl_loop_kernel)};
    l->out->schedule = *schedule;
    MDL_PUSH(arena, l->vars, ((mdl_loop_var){mdl_attr_int(kernel, "rows")}));
    MDL_PUSH(arena, l->vars, ((mdl_loop_var){paste ? paste->heads : 1}));
    l->memo_of = MDL_NEW_ARRAY(arena, int, n);
    l->phase = MDL_NEW_ARRAY(arena, int, n);
    l->stored = MDL_NEW_ARRAY(arena, int, n);
    l->folded = MDL_NEW_ARRAY(arena, int, n);
    l->operand = MDL_NEW_ARRAY(arena, int, kernel->n_in + 1);
    l->kept = MDL_NEW_ARRAY(arena, int, kernel->n_in + 1);
    l->kept_in = MDL_NEW_ARRAY(arena, int, kernel->n_in + 1);
    for (int i = 0; i < n; i++) l->memo_of[i] = l->stored[i] = -1;
    return l;
}

const mdl_loop_kernel *mdl_loop_lower(mdl_arena *arena, const mdl_op *kernel, const mdl_schedule *schedule,
                                      const mdl_loop_layout *operands, const mdl_loop_layout *results, const mdl_loop_paste *paste,
                                      const char **error) {
    mdl_lowering *l = begin(arena, kernel, schedule, paste);
    int last = 0;
    find_phases(l);
    add_operands(l, operands);
    if (!paste) add_reductions(l);
    add_yields(l, results);
    for (int i = 0; i < l->items.n; i++)
        if (l->items.at[i].phase > last) last = l->items.at[i].phase;
    if (paste && last) mdl_refuse_loop(l, "a row reduction in a pasted body");
    for (int p = 0; p <= last && !l->error; p++) lower_phase(l, p);
    tidy(arena, l->out);
    l->out->vars = l->vars.n;
    *error = l->error;
    return l->error ? NULL : l->out;
}
