/* Which memory each value has. A reshape shares its operand's; an accumulator its start's, if nothing else needs that; a value
 * whose only fate is a state or a result is made there, when nothing still needs what it overwrites. Everything else is an
 * activation. */
#include <string.h>

#include "compiler/emit/emit.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/dot.h"
#include "runtime/base/status.h"

/* Operand `operand` of op `at` is the state that `read` reads, perhaps reshaped. */
typedef struct {
    int at, operand;
    const mdl_value *read;
} state_use;

typedef struct {
    mdl_emitter *e;
    const mdl_region *region;
    mdl_plan_program *program;
    int *parent;             /* union-find over value ids */
    int *home;               /* by class: buffer index, or -1 */
    int *first;              /* by class: the op that first writes it */
    MDL_VEC(state_use) uses; /* in order */
} assignment;

static int find(assignment *a, int id) {
    while (a->parent[id] != id) id = a->parent[id] = a->parent[a->parent[id]];
    return id;
}

int mdl_new_buffer(mdl_emitter *e, mdl_plan_program *program, const char *name, mdl_range range, mdl_type type) {
    MDL_PUSH(e->arena, program->buffers, ((mdl_plan_buffer){name, range.arena, range.offset, range.bytes, type}));
    return program->buffers.n - 1;
}

/* ---- states ---- */
static mdl_range param_range(const mdl_emitter *e, const char *name) {
    bool gradient = !strncmp(name, "grad/", 5);
    const mdl_placed_param *placed = mdl_layout_find(e->layout, gradient ? name + 5 : name);
    if (placed) return (mdl_range){gradient ? MDL_ARENA_GRAD : MDL_ARENA_PARAM, placed->offset * 4, mdl_type_bytes(&placed->type)};
    const mdl_plan_param *p = mdl_plan_find_param(e->plan, name);
    if (!p) mdl_bug("no parameter '%s'", name);
    return (mdl_range){p->arena, p->offset, mdl_type_bytes(&p->type)};
}

static mdl_range arena_range(const mdl_emitter *e, const char *name) {
    static const struct {
        const char *name;
        mdl_arena_id id;
    } arenas[] = {{MDL_STATE_PARAM, MDL_ARENA_PARAM},
                  {MDL_STATE_GRAD, MDL_ARENA_GRAD},
                  {MDL_STATE_MOMENT1, MDL_ARENA_MOMENT1},
                  {MDL_STATE_MOMENT2, MDL_ARENA_MOMENT2},
                  {MDL_STATE_DECAY, MDL_ARENA_CONST}};
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++)
        if (!strcmp(arenas[i].name, name)) return (mdl_range){arenas[i].id, 0, e->plan->arena_bytes[arenas[i].id]};
    mdl_bug("no state '%s'", name);
}

mdl_range mdl_state_range(const mdl_emitter *e, const mdl_op *op) {
    const mdl_attr *names = mdl_find_attr(op, "state");
    if (names->ss[0][0] == '@') return arena_range(e, names->ss[0]);
    mdl_range range = param_range(e, names->ss[0]);
    for (int i = 1; i < names->n; i++) {
        mdl_range next = param_range(e, names->ss[i]);
        if (next.arena != range.arena || next.offset != range.offset + range.bytes)
            mdl_bug("'%s' and '%s' are not adjacent", names->ss[i - 1], names->ss[i]);
        range.bytes += next.bytes;
    }
    return range;
}

static const char *state_name(const mdl_op *op) { return mdl_find_attr(op, "state")->ss[0]; }

/* ---- in place ---- */
static bool overlap(mdl_range a, mdl_range b) {
    return a.arena == b.arena && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

static bool reduces_rows(const mdl_region *body) {
    for (int i = 0; i < body->ops.n; i++)
        if (mdl_is_row_reduction(body->ops.at[i]) || mdl_ops[body->ops.at[i]->code].class == MDL_VIEW) {
            if (body->ops.at[i]->code != MDL_OP_BROADCAST) return true;
        }
    return false;
}

/* May op write over its operand i? A kernel that works element by element may; an accumulator's start is in place by its nature. */
static bool in_place(const mdl_op *op, int i) {
    if (op->code == MDL_OP_KERNEL) return !reduces_rows(op->body);
    if (op->code == MDL_OP_FINISH) return i >= op->n_out;
    if (op->code == MDL_OP_DOT) return i == mdl_dot_init(op);
    return i == 2 && op->code == MDL_OP_SCATTER_ADD;
}

/* May the class of v be made in `range`, from the op that first writes it on? Only if no later op needs what was there: a read that
 * comes before op `write`, used after. (A read behind the write wants the new value.) */
static bool free_to_overwrite(assignment *a, const mdl_value *v, mdl_range range, int write) {
    int first = a->first[find(a, v->id)];
    for (int i = 0; i < a->uses.n; i++) {
        const state_use *use = &a->uses.at[i];
        const mdl_op *op = a->region->ops.at[use->at];
        const mdl_plan_buffer *old = &a->program->buffers.at[a->home[find(a, use->read->id)]];
        if (use->at < first || a->first[find(a, use->read->id)] > write) continue;
        if (!overlap((mdl_range){old->arena, old->offset, old->bytes}, range)) continue;
        bool produces = false;
        for (int o = 0; o < op->n_out; o++) produces |= find(a, op->out[o]->id) == find(a, v->id);
        if (!produces || !in_place(op, use->operand)) return false;
    }
    return true;
}

static void note_uses(assignment *a) {
    for (int i = 0; i < a->region->ops.n; i++)
        for (int k = 0; k < a->region->ops.at[i]->n_in; k++) {
            const mdl_value *u = a->region->ops.at[i]->in[k];
            while (mdl_is(u, MDL_OP_RESHAPE)) u = u->def->in[0];
            if (mdl_is(u, MDL_OP_READ)) MDL_PUSH(a->e->arena, a->uses, ((state_use){i, k, u}));
        }
}

/* ---- classes ---- */
static bool is_sum(const mdl_value *v) { return mdl_is(v, MDL_OP_DOT) || mdl_is(v, MDL_OP_SCATTER_ADD); }

/* The operand whose memory an op's result takes over, or -1. An accumulator goes on in its start's memory if that is a sum that
 * nothing else needs. (A residual stream has other readers: the product reads it where it is. A state is shared by the rules for
 * sinks.) Scatters have no start but their own memory. */
static int taken_over(const mdl_op *op, const int *uses) {
    if (op->code == MDL_OP_RESHAPE) return 0;
    if (op->code == MDL_OP_SCATTER_ADD && op->n_in == 3) return mdl_is(op->in[2], MDL_OP_READ) ? -1 : 2;
    int start = op->code == MDL_OP_DOT ? mdl_dot_init(op) : -1;
    return start > 0 && is_sum(op->in[start]) && uses[op->in[start]->id] == 1 ? start : -1;
}

static void join_in_place(assignment *a) {
    const int *uses = mdl_count_uses(a->e->arena, a->region);
    for (int i = 0; i < a->region->ops.n; i++) {
        const mdl_op *op = a->region->ops.at[i];
        int from = taken_over(op, uses);
        if (from >= 0) a->parent[find(a, op->out[0]->id)] = find(a, op->in[from]->id);
    }
}

static void note_first(assignment *a) {
    for (int i = a->region->ops.n - 1; i >= 0; i--)
        for (int k = 0; k < a->region->ops.at[i]->n_out; k++) a->first[find(a, a->region->ops.at[i]->out[k]->id)] = i;
}

static void place_leaf(assignment *a, const mdl_op *op) {
    const mdl_value *v = op->out[0];
    mdl_range range;
    const char *name;
    if (op->code == MDL_OP_READ) {
        range = mdl_state_range(a->e, op);
        name = state_name(op);
    } else {
        name = mdl_attr_str(op, "name");
        const mdl_plan_input *in = mdl_plan_find_input(a->e->plan, name);
        if (!in) mdl_bug("no input '%s'", name);
        range = (mdl_range){MDL_ARENA_INPUT, in->offset, mdl_type_bytes(&v->type)};
    }
    a->home[find(a, v->id)] = mdl_new_buffer(a->e, a->program, name, range, v->type);
}

static mdl_range new_result(assignment *a, const mdl_type *type) {
    mdl_plan *plan = a->e->plan;
    mdl_range range = {MDL_ARENA_RESULT, 0, mdl_type_bytes(type)};
    for (int i = 0; i < a->program->results.n; i++) {
        const mdl_plan_buffer *b = &a->program->buffers.at[a->program->results.at[i].buffer];
        int64_t end = (b->offset + b->bytes + MDL_PLAN_ALIGN - 1) / MDL_PLAN_ALIGN * MDL_PLAN_ALIGN;
        if (end > range.offset) range.offset = end;
    }
    if (range.offset + range.bytes > plan->arena_bytes[MDL_ARENA_RESULT])
        plan->arena_bytes[MDL_ARENA_RESULT] = range.offset + range.bytes;
    return range;
}

/* Sinks claim the memory of what they are given, where they can; otherwise their op becomes a copy (see launches.c). */
static void place_sink(assignment *a, mdl_op *op, int at) {
    const mdl_value *v = op->in[0];
    mdl_range range = op->code == MDL_OP_WRITE ? mdl_state_range(a->e, op) : new_result(a, &v->type);
    const char *name = op->code == MDL_OP_WRITE ? state_name(op) : mdl_attr_str(op, "name");
    int to = mdl_new_buffer(a->e, a->program, name, range, v->type);
    if (op->code == MDL_OP_RESULT) MDL_PUSH(a->e->arena, a->program->results, ((mdl_plan_result){name, to}));
    int *home = &a->home[find(a, v->id)];
    if (*home < 0 && free_to_overwrite(a, v, range, at)) *home = to;
    op->scratch = (void *)(intptr_t)(to + 1); /* for launches.c, should the value live elsewhere */
}

static const char *describe(mdl_emitter *e, const mdl_value *v) {
    if (!v->def->span.file) return mdl_printf(e->arena, "%s.%d", mdl_ops[v->def->code].name, v->id);
    return mdl_printf(e->arena, "%s.%d@%d", mdl_ops[v->def->code].name, v->id, v->def->span.line);
}

mdl_buffers mdl_assign_buffers(mdl_emitter *e, const mdl_region *region, mdl_plan_program *program) {
    int n = region->next_id + 1;
    assignment a = {.e = e, .region = region, .program = program};
    a.parent = MDL_NEW_ARRAY(e->arena, int, n);
    a.home = MDL_NEW_ARRAY(e->arena, int, n);
    a.first = MDL_NEW_ARRAY(e->arena, int, n);
    mdl_buffers b = {MDL_NEW_ARRAY(e->arena, int, n), program};
    for (int i = 0; i < n; i++) a.parent[i] = i, a.home[i] = -1;
    mdl_region_clear_scratch((mdl_region *)region);
    join_in_place(&a);
    note_first(&a);
    note_uses(&a);
    for (int i = 0; i < region->ops.n; i++)
        if (region->ops.at[i]->code == MDL_OP_READ || region->ops.at[i]->code == MDL_OP_INPUT) place_leaf(&a, region->ops.at[i]);
    for (int i = 0; i < region->ops.n; i++)
        if (region->ops.at[i]->code == MDL_OP_WRITE || region->ops.at[i]->code == MDL_OP_RESULT)
            place_sink(&a, region->ops.at[i], i);
    for (int i = 0; i < region->ops.n; i++)
        for (int k = 0; k < region->ops.at[i]->n_out; k++) {
            const mdl_value *v = region->ops.at[i]->out[k];
            int *home = &a.home[find(&a, v->id)];
            if (*home < 0 && !mdl_is(v, MDL_OP_IMM))
                *home = mdl_new_buffer(e, program, describe(e, v), (mdl_range){MDL_ARENA_ACTIVATION, 0, mdl_type_bytes(&v->type)},
                                       v->type);
            b.buffer[v->id] = *home;
        }
    return b;
}
