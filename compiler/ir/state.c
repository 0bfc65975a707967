/* States as attributes: the one place that reads and writes them. */
#include "compiler/ir/state.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/status.h"

static const char *const names[] = {
#define STATE(id, name) name,
    MDL_STATES(STATE)
#undef STATE
};

const char *mdl_state_name(mdl_state_kind kind) { return names[kind]; }

static int kind_by_name(const char *name) {
    int kind = 0;
    while (kind < MDL_STATE_KINDS && strcmp(names[kind], name)) kind++;
    return kind;
}

/* ---- where parameters lie ---- */
static int by_name(const void *a, const void *b) {
    return strcmp((*(const mdl_placed_param *const *)a)->name, (*(const mdl_placed_param *const *)b)->name);
}

const mdl_placed_param *mdl_layout_find(const mdl_layout *l, const char *name) {
    const mdl_placed_param wanted = {.name = name}, *key = &wanted, **found;
    if (!l->by_name) return NULL;
    found = bsearch(&key, l->by_name, (size_t)l->trained.n, sizeof *l->by_name, by_name);
    return found ? *found : NULL;
}

/* ---- reading ---- */
bool mdl_is_access(const mdl_op *op) { return op->code == MDL_OP_READ || op->code == MDL_OP_WRITE; }

mdl_state mdl_state_of(const mdl_op *op) {
    const mdl_attr *of = mdl_find_attr(op, "of");
    mdl_state s = {.kind = (mdl_state_kind)kind_by_name(mdl_attr_str(op, "state"))};
    if (of) return s.n = of->n, s.of = of->ss, s;
    const mdl_type *type = op->code == MDL_OP_READ ? &op->out[0]->type : &op->in[0]->type;
    s.tile = mdl_attr_int_or(op, "tile", 0);
    s.tiles = type->dim[0];
    return s;
}

bool mdl_is_state(const mdl_op *op, mdl_state_kind kind) {
    return mdl_is_access(op) && !strcmp(mdl_attr_str(op, "state"), names[kind]);
}

const char *mdl_first_param(const mdl_op *op) {
    const mdl_attr *of = mdl_find_attr(op, "of");
    return of ? of->ss[0] : NULL;
}

const char *mdl_state_wrong(const mdl_op *op) {
    const mdl_attr *kind = mdl_find_attr(op, "state"), *of = mdl_find_attr(op, "of"), *tile = mdl_find_attr(op, "tile");
    if (!kind || kind->kind != MDL_ATTR_STR || kind_by_name(kind->s) == MDL_STATE_KINDS)
        return "needs {state}: param, grad, moment1, moment2, decay, used, compute, count, sum, quantized, transposed, scale, "
               "inverse, "
               "amax or history";
    if (of && (of->kind != MDL_ATTR_STRS || !of->n)) return "{of} is a list of parameters";
    if (tile && (of || tile->kind != MDL_ATTR_INT || tile->i < 0)) return "{tile} is where a flat range begins";
    return NULL;
}

static bool share_a_name(const mdl_state *a, const mdl_state *b) {
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++)
            if (!strcmp(a->of[i], b->of[k])) return true;
    return false;
}

static bool lies_in(const mdl_layout *layout, const char *name, const mdl_state *flat) {
    if (!layout || !layout->by_name) return true;
    const mdl_placed_param *p = mdl_layout_find(layout, name);
    int64_t from = flat->tile * MDL_TILE, to = from + flat->tiles * MDL_TILE;
    return p && p->offset < to && from < p->offset + mdl_type_count(&p->type);
}

bool mdl_states_overlap(const mdl_layout *layout, const mdl_state *a, const mdl_state *b) {
    if (a->kind != b->kind) return false;
    if (a->n && b->n) return share_a_name(a, b);
    if (!a->n && !b->n) return a->tile < b->tile + b->tiles && b->tile < a->tile + a->tiles;
    const mdl_state *named = a->n ? a : b, *flat = a->n ? b : a;
    for (int i = 0; i < named->n; i++)
        if (lies_in(layout, named->of[i], flat)) return true;
    return false;
}

const char *mdl_state_text(mdl_arena *arena, mdl_state_kind kind, const char *name) {
    if (!name) return names[kind];
    return kind == MDL_STATE_PARAM ? name : mdl_printf(arena, "%s of %s", names[kind], name);
}

bool mdl_is_memory_view(const mdl_op *op) { return op->code == MDL_OP_RESHAPE || op->code == MDL_OP_HOLD; }

const mdl_value *mdl_memory_of(const mdl_value *v) {
    while (mdl_is_memory_view(v->def)) v = v->def->in[0];
    return v;
}

/* ---- building ---- */
mdl_state mdl_state_by_name(mdl_state_kind kind, int n, const char *const *of) {
    return (mdl_state){.kind = kind, .n = n, .of = of};
}
mdl_state mdl_state_flat(mdl_state_kind kind, int64_t tile) { return (mdl_state){.kind = kind, .tile = tile}; }

int mdl_state_attrs(mdl_arena *arena, const mdl_state *s, mdl_attr attr[2]) {
    attr[0] = mdl_str("state", names[s->kind]);
    if (s->n)
        attr[1] = mdl_strs(arena, "of", s->n, s->of);
    else if (s->tile)
        attr[1] = mdl_int("tile", s->tile);
    return 1 + (s->n || s->tile);
}

mdl_value *mdl_read(mdl_builder *b, mdl_state state, mdl_type type, int n_after, mdl_value *const *after) {
    mdl_attr attr[2];
    int n = mdl_state_attrs(b->arena, &state, attr);
    return mdl_build(b, MDL_OP_READ, n_after, after, n, attr, &type, NULL)->out[0];
}

/* x, then what it comes after. */
static mdl_value **with_tokens(mdl_builder *b, mdl_value *x, int n, mdl_value *const *after) {
    mdl_value **in = MDL_NEW_ARRAY(b->arena, mdl_value *, 1 + n);
    in[0] = x;
    for (int i = 0; i < n; i++) in[1 + i] = after[i];
    return in;
}

mdl_value *mdl_write(mdl_builder *b, mdl_state state, mdl_value *x, int n_after, mdl_value *const *after) {
    mdl_attr attr[2];
    int n = mdl_state_attrs(b->arena, &state, attr);
    return mdl_build(b, MDL_OP_WRITE, 1 + n_after, with_tokens(b, x, n_after, after), n, attr, NULL, NULL)->out[0];
}

mdl_value *mdl_token(mdl_builder *b, int n, mdl_value *const *x) {
    return mdl_build(b, MDL_OP_TOKEN, n, x, 0, NULL, NULL, NULL)->out[0];
}

mdl_value *mdl_hold(mdl_builder *b, mdl_value *x, int n_after, mdl_value *const *after) {
    return mdl_build(b, MDL_OP_HOLD, 1 + n_after, with_tokens(b, x, n_after, after), 0, NULL, NULL, NULL)->out[0];
}
