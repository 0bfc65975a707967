/* needs: simplified primitives. keeps: every value to rounding. breaks: add(x, anchor) where the anchor can start from x.
 *
 * Anchors are ops with a main loop of their own: dot, scatter_add, and sums over rows. An add that is their only use becomes their
 * accumulator's start: gradient accumulation costs no pass over memory. The start must not be needed afterwards, as the target
 * overwrites it in place. */
#include "compiler/pass/pass.h"

static bool is_column_sum(const mdl_op *op) {
    const mdl_attr *axes = op->code == MDL_OP_SUM ? mdl_find_attr(op, "axes") : NULL;
    return axes && axes->n == 1 && axes->is[0] == 0 && op->n_in == 1;
}

static bool accumulates(const mdl_value *v, const int *uses) {
    if (uses[v->id] != 1) return false;
    return ((mdl_is(v, MDL_OP_DOT) || mdl_is(v, MDL_OP_SCATTER_ADD)) && v->def->n_in == 2) || is_column_sum(v->def);
}

/* May x be overwritten by a sum? Yes if it is used only here, and is memory of its own: an anchor's result or the gradient's state.
 */
static bool gives_way(const mdl_value *x, const int *uses) {
    if (uses[x->id] != 1) return false;
    return mdl_is(x, MDL_OP_READ) || mdl_is(x, MDL_OP_DOT) || mdl_is(x, MDL_OP_SCATTER_ADD) ||
           (mdl_is(x, MDL_OP_ADD) && (accumulates(x->def->in[0], uses) || accumulates(x->def->in[1], uses)));
}

static bool absorbed(const mdl_op *add, const int *uses, int *start) {
    for (int i = 0; i < 2 && add->code == MDL_OP_ADD; i++) {
        *start = i;
        const mdl_value *anchor = add->in[!i], *x = add->in[i];
        if (is_column_sum(anchor->def) && !mdl_is(x, MDL_OP_READ)) continue;
        if (accumulates(anchor, uses) && gives_way(x, uses)) return true;
    }
    return false;
}

mdl_region *mdl_pass_anchor(mdl_pass_context *c, mdl_region *in) {
    const int *uses = mdl_count_uses(c->arena, in);
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    int start;
    for (int i = 0; i < in->ops.n; i++) /* an anchor to be absorbed waits for its add */
        if (absorbed(in->ops.at[i], uses, &start)) in->ops.at[i]->in[!start]->def->scratch = in->ops.at[i];
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        if (op->scratch) continue;
        if (!absorbed(op, uses, &start)) {
            mdl_keep(&r, op);
            continue;
        }
        mdl_op *anchor = op->in[!start]->def;
        mdl_value *operands[3];
        for (int k = 0; k < anchor->n_in; k++) operands[k] = mdl_mapped(anchor->in[k]);
        operands[anchor->n_in] = mdl_mapped(op->in[start]);
        r.b.span = anchor->span;
        mdl_map(op->out[0],
                mdl_build(&r.b, anchor->code, anchor->n_in + 1, operands, anchor->n_attr, anchor->attr, NULL, NULL)->out[0]);
    }
    return mdl_rewrite_end(&r);
}
