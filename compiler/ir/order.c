/* Accesses that touch the same memory, and whether one waits for the other. */
#include "compiler/ir/order.h"

#include <stdlib.h>
#include <string.h>

/* One parameter of an access, or (name NULL) a flat range. */
typedef struct {
    int at; /* index of the op */
    const char *name;
    mdl_state state;
    bool write;
} touch;
typedef MDL_VEC(touch) touches;

static int by_kind_and_name(const void *a, const void *b) {
    const touch *x = a, *y = b;
    if (x->state.kind != y->state.kind) return (int)x->state.kind - (int)y->state.kind;
    if (!x->name || !y->name) return (x->name != NULL) - (y->name != NULL);
    int names = strcmp(x->name, y->name);
    return names ? names : x->at - y->at;
}

static touches collect(mdl_arena *arena, const mdl_region *region) {
    touches all = {0};
    for (int i = 0; i < region->ops.n; i++) {
        const mdl_op *op = region->ops.at[i];
        if (!mdl_is_access(op)) continue;
        touch t = {.at = i, .state = mdl_state_of(op), .write = op->code == MDL_OP_WRITE};
        if (!t.state.n) MDL_PUSH(arena, all, t);
        for (int k = 0; k < t.state.n; k++) {
            t.name = t.state.of[k];
            MDL_PUSH(arena, all, t);
        }
    }
    if (all.n) qsort(all.at, (size_t)all.n, sizeof *all.at, by_kind_and_name);
    return all;
}

/* ---- dependence ---- */
typedef struct {
    mdl_arena *arena;
    const mdl_region *region;
    int *past;       /* by op: the op in whose past it was found last, + 1 */
    int later, from; /* the past of `later` is known back to `from` */
    const char *wrong;
} order;

static int index_of(const mdl_value *v) { return (int)(intptr_t)v->def->scratch - 1; }

/* Is `earlier` in the past of `later`? The ops between are scanned once for each `later`, from behind. */
static bool depends(order *o, int later, int earlier) {
    if (o->later != later) o->later = o->from = later;
    o->past[later] = later + 1;
    for (; o->from > earlier; o->from--) {
        const mdl_op *op = o->region->ops.at[o->from];
        for (int k = 0; o->past[o->from] == later + 1 && k < op->n_in; k++) o->past[index_of(op->in[k])] = later + 1;
    }
    return o->past[earlier] == later + 1;
}

static void check(order *o, const touch *earlier, const touch *later) {
    if (o->wrong || depends(o, later->at, earlier->at)) return;
    mdl_text text = {.arena = o->arena};
    mdl_text_printf(&text, "an access of %s does not wait for the one before it: ",
                    mdl_state_text(o->arena, later->state.kind, later->name ? later->name : earlier->name));
    mdl_print_op(&text, o->region->ops.at[later->at], 0, true);
    o->wrong = text.at;
}

/* Every two touches of the same memory of which one is a write. Flat ranges of a kind sort to its front, equal names side by side.
 */
static void check_conflicts(order *o, const mdl_layout *layout) {
    touches all = collect(o->arena, o->region);
    for (int i = 0; i < all.n; i++)
        for (int k = i + 1; k < all.n; k++) {
            const touch *a = &all.at[i], *b = &all.at[k];
            if (a->state.kind != b->state.kind || (a->name && strcmp(a->name, b->name))) break;
            if (a->at == b->at || !(a->write || b->write)) continue;
            if (!a->name && !mdl_states_overlap(layout, &a->state, &b->state)) continue;
            check(o, a->at < b->at ? a : b, a->at < b->at ? b : a);
        }
}

const char *mdl_verify_order(mdl_arena *arena, const mdl_region *region, const mdl_layout *layout) {
    order o = {.arena = arena, .region = region, .past = MDL_NEW_ARRAY(arena, int, region->ops.n + 1), .later = -1};
    mdl_region_clear_scratch((mdl_region *)region);
    for (int i = 0; i < region->ops.n; i++) region->ops.at[i]->scratch = (void *)(intptr_t)(i + 1);
    check_conflicts(&o, layout);
    mdl_region_clear_scratch((mdl_region *)region);
    return o.wrong;
}

/* ---- building in order ---- */
typedef MDL_VEC(mdl_value *) value_list;

static value_list overlapping(mdl_builder *b, const mdl_layout *layout, const mdl_state *state, mdl_opcode code) {
    value_list list = {0};
    for (int i = 0; i < b->region->ops.n; i++) {
        const mdl_op *op = b->region->ops.at[i];
        if (op->code != code) continue;
        mdl_state other = mdl_state_of(op);
        if (mdl_states_overlap(layout, state, &other)) MDL_PUSH(b->arena, list, op->out[0]);
    }
    return list;
}

mdl_value *mdl_read_in_order(mdl_builder *b, const mdl_layout *layout, mdl_state state, mdl_type type) {
    value_list writes = overlapping(b, layout, &state, MDL_OP_WRITE);
    return mdl_read(b, state, type, writes.n, writes.at);
}

mdl_value *mdl_write_in_order(mdl_builder *b, const mdl_layout *layout, mdl_state state, mdl_value *x) {
    value_list after = overlapping(b, layout, &state, MDL_OP_WRITE), reads = overlapping(b, layout, &state, MDL_OP_READ);
    if (reads.n) MDL_PUSH(b->arena, after, mdl_token(b, reads.n, reads.at));
    return mdl_write(b, state, x, after.n, after.at);
}
