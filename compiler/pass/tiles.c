/* needs: fused anchors, scheduled. keeps: every value. breaks: an anchor whose kernel takes its tiles from a list gets this as its
 * last operand, which its body does not use. One list serves all anchors with the same segments and rows of a tile. */
#include "compiler/pass/pass.h"

typedef struct {
    const mdl_value *seq; /* of the old region */
    int64_t rows;
    mdl_value *tiles;
} list;

typedef struct {
    mdl_rewrite r;
    MDL_VEC(list) lists;
} work;

static const mdl_value *segments_of(const mdl_op *op) {
    for (int i = 0; i < op->n_in; i++)
        if (op->in[i]->type.dtype == MDL_SEG) return op->in[i];
    return NULL;
}

static mdl_value *tiles_of(work *w, const mdl_value *seq, int64_t rows) {
    for (int i = 0; i < w->lists.n; i++)
        if (w->lists.at[i].seq == seq && w->lists.at[i].rows == rows) return w->lists.at[i].tiles;
    mdl_attr attr = mdl_int("rows", rows);
    mdl_value *in = mdl_mapped(seq), *tiles = mdl_build(&w->r.b, MDL_OP_TILES, 1, &in, 1, &attr, NULL, NULL)->out[0];
    MDL_PUSH(w->r.b.arena, w->lists, ((list){seq, rows, tiles}));
    return tiles;
}

static void append_operand(mdl_arena *arena, mdl_op *op, mdl_value *v) {
    mdl_value **in = MDL_NEW_ARRAY(arena, mdl_value *, op->n_in + 1);
    for (int i = 0; i < op->n_in; i++) in[i] = op->in[i];
    in[op->n_in++] = v;
    op->in = in;
}

mdl_region *mdl_pass_tiles(mdl_pass_context *c, mdl_region *in) {
    if (!c->target->tile_rows) return in;
    work w = {.r = mdl_rewrite_begin(c, in)};
    for (int i = 0; i < in->ops.n; i++) {
        const mdl_op *op = in->ops.at[i];
        int64_t rows = op->code == MDL_OP_FUSED ? c->target->tile_rows(op, c->isa) : 0;
        w.r.b.span = op->span;
        mdl_value *tiles = rows ? tiles_of(&w, segments_of(op), rows) : NULL;
        mdl_op *fresh = mdl_keep(&w.r, op);
        if (tiles) append_operand(c->arena, fresh, tiles);
    }
    return mdl_rewrite_end(&w.r);
}
