/* A walk through what a kernel would compute, as lowering does it: with loop nests and indices, but without statements. Breadth
 * first, so that what is asked for nearest to the result is found first, and a chain of any length takes no stack. */
#include "compiler/kernel/barrier.h"

#include <limits.h>

#include "compiler/kernel/nest.h"
#include "compiler/kernel/rows.h"

/* A kernel that needed more places than this would be beyond every limit of ops. */
enum { MOST_PLACES = 1 << 14 };

/* A value at an index. */
typedef struct {
    const mdl_value *value;
    const mdl_affine *idx;
    int earlier; /* place of the same value, or -1 */
} place;

typedef struct {
    mdl_arena *arena; /* of the current result */
    const mdl_fact *facts;
    bool *barrier;
    int copies;
    int *newest, *n_places; /* by value id: its latest place in this nest, or -1; how many */
    const mdl_value *top;   /* the value whose elements the nests walk */
    int level;              /* of the kernel */
    mdl_loop_vars vars;
    MDL_VEC(place) places; /* of this nest */
    bool found, again;     /* again: a value became loaded in the midst of this nest */
} walk;

static void block(walk *w, const mdl_value *v) {
    if (!mdl_find_attr(v->def, MDL_LOADED)) w->barrier[v->id] = w->found = w->again = true;
}

/* Does a kernel load operand i of op? A reshape of memory is loaded through its own index, unless it is a view of its own. */
static bool is_loaded(const walk *w, const mdl_op *op, int i) {
    const mdl_value *v = op->in[i];
    const mdl_fact *x = &w->facts[v->id];
    if (w->barrier[v->id]) return true;
    if (mdl_is(v, MDL_OP_RESHAPE)) return mdl_is_apart(v->def);
    return x->place == MDL_PLACE_MEMORY || mdl_from_memory(w->facts, op, i) || (x->stored && x->level < w->level);
}

static bool seen(const walk *w, const mdl_value *v, const mdl_affine *idx) {
    for (int i = w->newest[v->id]; i >= 0; i = w->places.at[i].earlier) {
        int k = 0;
        while (w->places.at[i].idx != idx && k < v->type.rank && mdl_affine_equal(&w->places.at[i].idx[k], &idx[k])) k++;
        if (w->places.at[i].idx == idx || k == v->type.rank) return true;
    }
    return false;
}

static void visit(walk *w, const mdl_op *user, int i, const mdl_affine *idx) {
    const mdl_value *v = user->in[i];
    if (is_loaded(w, user, i) || seen(w, v, idx) || w->places.n == MOST_PLACES) return;
    if (++w->n_places[v->id] > w->copies && w->facts[v->id].varies && v != w->top) block(w, v);
    MDL_PUSH(w->arena, w->places, ((place){v, idx, w->newest[v->id]}));
    w->newest[v->id] = w->places.n - 1;
}

/* What a place needs. Reductions have loops of their own, and a table is loaded. */
static mdl_demand expand(walk *w, place at) {
    const mdl_op *op = at.value->def;
    mdl_class class = mdl_ops[op->code].class;
    int part;
    for (int i = 0; class == MDL_POINTWISE && i < op->n_in; i++) visit(w, op, i, at.idx);
    if (op->code == MDL_OP_GATHER) visit(w, op, 1, at.idx);
    if (class != MDL_VIEW || op->code == MDL_OP_HOLD) return (mdl_demand){.kind = MDL_FINE};
    mdl_affine *in = MDL_NEW_ARRAY(w->arena, mdl_affine, MDL_MAX_RANK);
    mdl_demand d = mdl_view_index(op, w->vars.at, at.idx, in, &part);
    if (d.kind == MDL_FINE) visit(w, op, part, in);
    return d;
}

static void forget_places(walk *w) {
    for (int i = 0; i < w->places.n; i++) {
        int id = w->places.at[i].value->id;
        w->newest[id] = -1, w->n_places[id] = 0;
    }
    w->places.n = 0;
}

/* The first demand of what a nest computes, and the view that asks; nothing when w->again. */
static mdl_demand walk_nest(walk *w, const mdl_nest *n, const mdl_op **asks) {
    const mdl_affine *idx = mdl_copy(w->arena, n->idx, sizeof n->idx);
    mdl_demand d = {.kind = MDL_FINE};
    MDL_PUSH(w->arena, w->places, ((place){w->top, idx, -1}));
    w->newest[w->top->id] = 0;
    w->again = false;
    for (int i = 0; i < w->places.n && d.kind == MDL_FINE && !w->again; i++) {
        *asks = w->places.at[i].value->def;
        d = expand(w, w->places.at[i]);
    }
    forget_places(w);
    return d;
}

/* The nests that all elements of w->top take, cut and tiled as it is asked for. */
static void walk_result(walk *w) {
    MDL_VEC(mdl_nest) nests = {0};
    MDL_PUSH(w->arena, nests, mdl_nest_over(w->arena, &w->vars, &w->top->type, false));
    for (int i = 0, done = 0; i < nests.n;) {
        const mdl_op *asks = w->top->def;
        mdl_nest n = nests.at[i];
        mdl_demand d = walk_nest(w, &n, &asks);
        bool own = asks->out[0] == w->top; /* which storing would not change */
        bool room = own || done + nests.n - i < w->copies;
        if (w->again) continue;
        if (d.kind == MDL_FINE) {
            i++, done++;
        } else if (d.kind == MDL_CUT_LOOP && mdl_nest_place(&n, d.var) >= 0 && room) {
            MDL_PUSH(w->arena, nests, mdl_nest_part(w->arena, &w->vars, &n, d.var, 0, d.at));
            MDL_PUSH(w->arena, nests, mdl_nest_part(w->arena, &w->vars, &n, d.var, d.at, w->vars.at[d.var].extent - d.at));
            i++;
        } else if (d.kind != MDL_TILE_LOOP || !mdl_nest_tile(w->arena, &w->vars, &nests.at[i], d.var, d.at)) {
            block(w, asks->out[0]);
            if (own) return;
        }
    }
}

/* v is the operand of a reduction, or stored. */
static void begin(walk *w, const mdl_value *v, int level) {
    w->arena = mdl_arena_new();
    w->vars.n = w->vars.cap = w->places.n = w->places.cap = 0;
    MDL_PUSH(w->arena, w->vars, ((mdl_loop_var){v->type.rank ? v->type.dim[0] : 1}));
    MDL_PUSH(w->arena, w->vars, ((mdl_loop_var){1}));
    w->top = v, w->level = level;
    walk_result(w);
    mdl_arena_free(w->arena);
}

bool mdl_find_barriers(const mdl_region *region, const mdl_fact *facts, int copies, bool *barrier) {
    mdl_arena *arena = mdl_arena_new();
    int n = region->next_id + 1;
    walk w = {.facts = facts, .barrier = barrier, .copies = copies ? copies : INT_MAX};
    w.newest = MDL_NEW_ARRAY(arena, int, n), w.n_places = MDL_NEW_ARRAY(arena, int, n);
    for (int i = 0; i < n; i++) w.newest[i] = -1;
    for (int i = region->ops.n - 1; i >= 0; i--) {
        const mdl_op *op = region->ops.at[i];
        const mdl_fact *x = op->n_out ? &facts[op->out[0]->id] : NULL;
        if (!x || x->place != MDL_PLACE_FUSABLE) continue;
        bool reduces = mdl_is_row_reduction(op) || mdl_is_column_sum(op);
        if (reduces && !is_loaded(&(walk){.facts = facts, .barrier = barrier, .level = x->level}, op, 0))
            begin(&w, op->in[0], x->level);
        if (!reduces && (x->stored || barrier[op->out[0]->id])) begin(&w, op->out[0], x->level);
    }
    mdl_arena_free(arena);
    return w.found;
}
