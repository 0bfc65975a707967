/* Which memory each value has. A reshape shares its operand's; an accumulator its start's, if nothing else needs that; a value
 * whose only fate is a state or a result is made there, when nothing still needs what it overwrites. Everything else is an
 * activation. */
#include <string.h>

#include "compiler/emit/emit.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/dot.h"
#include "runtime/base/status.h"

/* Operand `operand` of op `at` lies in the memory of `value`, perhaps reshaped or held. */
typedef struct {
    int at, operand;
    const mdl_value *value;
} memory_use;

typedef struct {
    int at; /* index of the op */
    mdl_range range;
} state_write;

typedef struct {
    mdl_emitter *e;
    const mdl_region *region;
    mdl_plan_program *program;
    int *parent;              /* union-find over value ids */
    int *home;                /* by class: buffer index, or -1 */
    int *first, *last;        /* by class: the op that first writes it, the last that touches it */
    MDL_VEC(memory_use) uses; /* in order */
    MDL_VEC(state_write) writes;
} assignment;

static int find(assignment *a, int id) {
    while (a->parent[id] != id) id = a->parent[id] = a->parent[a->parent[id]];
    return id;
}

int mdl_new_buffer(mdl_emitter *e, mdl_plan_program *program, const char *name, mdl_range range, mdl_type type) {
    MDL_PUSH(e->arena, program->buffers, ((mdl_plan_buffer){name, range.arena, range.offset, range.bytes, type, -1, 0, 0}));
    return program->buffers.n - 1;
}

/* ---- states ---- */
/* Where a kind of state lies; `after` bytes a tile come before it in its arena (constants() in tables.c). */
static const struct {
    mdl_arena_id arena;
    int after;
} memory[MDL_STATE_KINDS] = {
    [MDL_STATE_PARAM] = {MDL_ARENA_PARAM, 0},
    [MDL_STATE_GRAD] = {MDL_ARENA_GRAD, 0},
    [MDL_STATE_MOMENT1] = {MDL_ARENA_MOMENT1, 0},
    [MDL_STATE_MOMENT2] = {MDL_ARENA_MOMENT2, 0},
    [MDL_STATE_COMPUTE] = {MDL_ARENA_COMPUTE, 0},
    [MDL_STATE_USED] = {MDL_ARENA_CONST, 0},
    [MDL_STATE_DECAY] = {MDL_ARENA_CONST, 4},
    [MDL_STATE_COUNT] = {MDL_ARENA_TALLY, 0},
    [MDL_STATE_SUM] = {MDL_ARENA_TALLY, 0},
    [MDL_STATE_QUANTIZED] = {MDL_ARENA_QUANTIZED, 0},
    [MDL_STATE_TRANSPOSED] = {MDL_ARENA_TRANSPOSED, 0},
    [MDL_STATE_SCALE] = {MDL_ARENA_SCALING, 0},
    [MDL_STATE_INVERSE] = {MDL_ARENA_SCALING, 0},
    [MDL_STATE_HISTORY] = {MDL_ARENA_SCALING, 0},
    [MDL_STATE_AMAX] = {MDL_ARENA_AMAX, 0},
};

/* Scales, inverses, histories: one kind behind the other. */
static int64_t scaling_base(const mdl_emitter *e, mdl_state_kind kind) {
    return (kind - MDL_STATE_SCALE) * mdl_fp8_tensors(e->fp8) * MDL_FP8_PITCH * 4;
}

/* Two numbers for each loss, then for each metric. */
static mdl_range tally_range(const mdl_emitter *e, mdl_state_kind kind, const char *name) {
    const mdl_plan *plan = e->plan;
    int i = 0;
    while (i < plan->losses.n + plan->metrics.n &&
           strcmp(name, i < plan->losses.n ? plan->losses.at[i].name : plan->metrics.at[i - plan->losses.n]))
        i++;
    if (i == plan->losses.n + plan->metrics.n) mdl_bug("no loss or metric '%s'", name);
    return (mdl_range){MDL_ARENA_TALLY, 8 * i + 4 * (kind == MDL_STATE_COUNT), 4};
}

static mdl_range named_range(const mdl_emitter *e, mdl_state_kind kind, mdl_dtype dtype, const char *name) {
    int64_t element = mdl_dtype_bits(dtype) / 8;
    if (memory[kind].arena == MDL_ARENA_TALLY) return tally_range(e, kind, name);
    const mdl_placed_param *placed = mdl_layout_find(e->layout, name);
    if (placed) return (mdl_range){memory[kind].arena, placed->offset * element, mdl_type_count(&placed->type) * element};
    const mdl_plan_param *p = mdl_plan_find_param(e->plan, name);
    if (!p || kind != MDL_STATE_PARAM) mdl_bug("no state '%s'", mdl_state_text(e->arena, kind, name));
    return (mdl_range){p->arena, p->offset, mdl_type_bytes(&p->type)};
}

mdl_range mdl_state_range(const mdl_emitter *e, const mdl_op *op) {
    mdl_state s = mdl_state_of(op);
    const mdl_type *type = op->code == MDL_OP_READ ? &op->out[0]->type : &op->in[0]->type;
    int64_t bytes = mdl_type_bytes(type);
    mdl_arena_id arena = memory[s.kind].arena;
    int64_t base = arena == MDL_ARENA_SCALING ? scaling_base(e, s.kind) : memory[s.kind].after * e->layout->tiles;
    if (!s.n) return (mdl_range){arena, base + s.tile * (bytes / s.tiles), bytes};
    mdl_range range = named_range(e, s.kind, type->dtype, s.of[0]);
    for (int i = 1; i < s.n; i++) {
        mdl_range next = named_range(e, s.kind, type->dtype, s.of[i]);
        if (next.arena != range.arena || next.offset != range.offset + range.bytes)
            mdl_bug("'%s' and '%s' are not adjacent", s.of[i - 1], s.of[i]);
        range.bytes += next.bytes;
    }
    return range;
}

static const char *state_name(const assignment *a, const mdl_op *op) {
    const char *param = mdl_first_param(op);
    return mdl_state_text(a->e->arena, mdl_state_of(op).kind, param ? mdl_strdup(a->e->arena, param) : NULL);
}

/* ---- in place ---- */
static bool overlap(mdl_range a, mdl_range b) {
    return a.arena == b.arena && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}
static bool equal(mdl_range a, mdl_range b) { return a.arena == b.arena && a.offset == b.offset && a.bytes == b.bytes; }

/* Does the body load argument `arg` only at the element it is at, and before it stores result `out` there? So it is in a body of
 * one loop nest in which the result is computed from that element. */
static bool element_by_element(mdl_arena *arena, const mdl_region *body, int arg, int out) {
    bool *from = MDL_NEW_ARRAY(arena, bool, body->next_id + 1); /* by value id: computed from the argument's element */
    for (int i = 0; i < body->ops.n; i++) {
        const mdl_op *op = body->ops.at[i];
        mdl_class class = mdl_ops[op->code].class;
        bool any = op->code == MDL_OP_ARG && mdl_attr_int(op, "index") == arg, pointwise = class == MDL_POINTWISE;
        for (int k = 0; k < op->n_in; k++) any |= from[op->in[k]->id];
        if (op->code == MDL_OP_YIELD) return from[op->in[out]->id];
        if (mdl_is_row_reduction(op) || (class == MDL_VIEW && op->code != MDL_OP_BROADCAST)) return false;
        if (any && !pointwise && op->code != MDL_OP_ARG && op->code != MDL_OP_PARTIAL_SUM) return false;
        from[op->out[0]->id] = any && op->code != MDL_OP_PARTIAL_SUM;
    }
    return false;
}

/* May op make its result `out` where its operand i lies? */
static bool in_place(assignment *a, const mdl_op *op, int i, int out) {
    if (op->code == MDL_OP_KERNEL) return element_by_element(a->e->scratch, op->body, i, out);
    if (op->code == MDL_OP_FINISH) return i == mdl_finish_init(op, out);
    if (op->code == MDL_OP_DOT) return i == mdl_dot_init(op);
    return i == 2 && op->code == MDL_OP_SCATTER_ADD;
}

static mdl_range home_of(assignment *a, const mdl_value *v) {
    int home = a->home[find(a, v->id)];
    if (home < 0) return (mdl_range){MDL_ARENA_ACTIVATION, 0, 0};
    const mdl_plan_buffer *b = &a->program->buffers.at[home];
    return (mdl_range){b->arena, b->offset, b->bytes};
}

/* Does `use` still need what lies in `range` when v is made there? */
static bool in_the_way(assignment *a, const memory_use *use, const mdl_value *v, mdl_range range) {
    mdl_range old = home_of(a, use->value);
    if (!overlap(old, range)) return false;
    const mdl_op *op = a->region->ops.at[use->at];
    for (int o = 0; o < op->n_out; o++)
        if (find(a, op->out[o]->id) == find(a, v->id)) return !equal(old, range) || !in_place(a, op, use->operand, o);
    return true;
}

/* May v be made in `range`, where op `at` would write it, from the op on that first writes it? Only if what lies there is not
 * needed any more, nothing else is written there until then, and v itself is not needed behind a later write. */
static bool free_to_overwrite(assignment *a, const mdl_value *v, mdl_range range, int at) {
    int class = find(a, v->id), first = a->first[class];
    for (int i = 0; i < a->writes.n; i++) {
        const state_write *w = &a->writes.at[i];
        if (w->at == at || !overlap(w->range, range)) continue;
        if (w->at < at ? w->at >= first : w->at < a->last[class]) return false;
    }
    for (int i = 0; i < a->uses.n; i++) {
        const memory_use *use = &a->uses.at[i];
        int of = find(a, use->value->id);
        if (use->at < first || of == class || a->first[of] > at) continue; /* a read behind the write wants the new value */
        if (in_the_way(a, use, v, range)) return false;
    }
    return true;
}

/* A reshape, a hold and a token touch no memory. */
static void note_uses(assignment *a) {
    for (int i = 0; i < a->region->ops.n; i++) {
        const mdl_op *op = a->region->ops.at[i];
        if (op->code == MDL_OP_WRITE) MDL_PUSH(a->e->scratch, a->writes, ((state_write){i, mdl_state_range(a->e, op)}));
        if (mdl_is_memory_view(op) || op->code == MDL_OP_TOKEN) continue;
        for (int k = 0; k < op->n_in; k++) {
            const mdl_value *v = mdl_memory_of(op->in[k]);
            a->last[find(a, v->id)] = i;
            if (v->type.dtype != MDL_TOKEN) MDL_PUSH(a->e->scratch, a->uses, ((memory_use){i, k, v}));
        }
    }
}

/* ---- classes ---- */
static bool is_sum(const mdl_value *v) { return mdl_is(v, MDL_OP_DOT) || mdl_is(v, MDL_OP_SCATTER_ADD); }

/* The operand whose memory an op's result takes over, or -1. An accumulator goes on in its start's memory if that is a sum that
 * nothing else needs. (A residual stream has other readers: the product reads it where it is. A state is shared by the rules for
 * sinks.) Scatters have no start but their own memory. */
static int taken_over(const mdl_op *op, const int *uses) {
    if (op->code == MDL_OP_RESHAPE || op->code == MDL_OP_HOLD) return 0;
    if (op->code == MDL_OP_SCATTER_ADD && op->n_in == 3) return mdl_is(mdl_memory_of(op->in[2]), MDL_OP_READ) ? -1 : 2;
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

/* A read is the state's memory, unless it is needed behind a write of that memory: then it is a copy (see launches.c). */
static void place_read(assignment *a, mdl_op *op, int at) {
    const mdl_value *v = op->out[0];
    mdl_range range = mdl_state_range(a->e, op);
    int state = mdl_new_buffer(a->e, a->program, state_name(a, op), range, v->type), class = find(a, v->id);
    bool copied = false;
    for (int i = 0; i < a->writes.n; i++) {
        const state_write *w = &a->writes.at[i];
        copied |= w->at > at && w->at < a->last[class] && overlap(w->range, range);
    }
    if (copied)
        op->scratch = (void *)(intptr_t)(state + 1);
    else
        a->home[class] = state;
}

static void place_input(assignment *a, const mdl_op *op) {
    const mdl_value *v = op->out[0];
    const char *name = mdl_strdup(a->e->arena, mdl_attr_str(op, "name"));
    const mdl_plan_input *in = mdl_plan_find_input(a->e->plan, name);
    if (!in) mdl_bug("no input '%s'", name);
    mdl_range range = {MDL_ARENA_INPUT, in->offset, mdl_type_bytes(&v->type)};
    a->home[find(a, v->id)] = mdl_new_buffer(a->e, a->program, name, range, v->type);
}

/* Each result of each program has a place of its own: none is lost when another program runs before it is read. */
static mdl_range new_result(assignment *a, const mdl_type *type) {
    int64_t *end = &a->e->plan->arena_bytes[MDL_ARENA_RESULT];
    mdl_range range = {MDL_ARENA_RESULT, (*end + MDL_PLAN_ALIGN - 1) / MDL_PLAN_ALIGN * MDL_PLAN_ALIGN, mdl_type_bytes(type)};
    *end = range.offset + range.bytes;
    return range;
}

/* Sinks claim the memory of what they are given, where they can; otherwise their op becomes a copy (see launches.c). */
static void place_sink(assignment *a, mdl_op *op, int at) {
    const mdl_value *v = op->in[0];
    mdl_range range = op->code == MDL_OP_WRITE ? mdl_state_range(a->e, op) : new_result(a, &v->type);
    const char *name = op->code == MDL_OP_WRITE ? state_name(a, op) : mdl_strdup(a->e->arena, mdl_attr_str(op, "name"));
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

static void place_states_and_inputs(assignment *a) {
    for (int i = 0; i < a->region->ops.n; i++) {
        mdl_op *op = a->region->ops.at[i];
        if (op->code == MDL_OP_READ) place_read(a, op, i);
        if (op->code == MDL_OP_INPUT) place_input(a, op);
    }
    for (int i = 0; i < a->region->ops.n; i++) {
        mdl_op *op = a->region->ops.at[i];
        if (op->code == MDL_OP_WRITE || op->code == MDL_OP_RESULT) place_sink(a, op, i);
    }
}

/* Ops come in the order in which they run, so that the last to write stays. A view does not write. */
static void note_value(mdl_plan_buffer *home, const mdl_value *v) {
    if (v->stable || !mdl_is_memory_view(v->def)) home->value = v->stable;
}

static void place_activations(assignment *a, int *buffer) {
    for (int i = 0; i < a->region->ops.n; i++)
        for (int k = 0; k < a->region->ops.at[i]->n_out; k++) {
            const mdl_value *v = a->region->ops.at[i]->out[k];
            int *home = &a->home[find(a, v->id)];
            mdl_range range = {MDL_ARENA_ACTIVATION, 0, mdl_type_bytes(&v->type)};
            if (*home < 0 && !mdl_is(v, MDL_OP_IMM) && v->type.dtype != MDL_TOKEN)
                *home = mdl_new_buffer(a->e, a->program, describe(a->e, v), range, v->type);
            buffer[v->id] = *home;
            if (*home >= 0) note_value(&a->program->buffers.at[*home], v);
        }
}

mdl_buffers mdl_assign_buffers(mdl_emitter *e, const mdl_region *region, mdl_plan_program *program) {
    int n = region->next_id + 1;
    assignment a = {.e = e, .region = region, .program = program};
    int **arrays[] = {&a.parent, &a.home, &a.first, &a.last};
    for (int i = 0; i < 4; i++) *arrays[i] = MDL_NEW_ARRAY(e->scratch, int, n);
    mdl_buffers b = {MDL_NEW_ARRAY(e->scratch, int, n), program};
    for (int i = 0; i < n; i++) a.parent[i] = i, a.home[i] = -1;
    mdl_region_clear_scratch((mdl_region *)region);
    join_in_place(&a);
    note_first(&a);
    note_uses(&a);
    place_states_and_inputs(&a);
    place_activations(&a, b.buffer);
    return b;
}
