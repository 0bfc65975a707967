/* needs: simplified primitives. keeps: every value to rounding. breaks: adds of a bias or of another value to an anchor become the
 * anchor's.
 *
 * Anchors are ops with a main loop of their own: dot, scatter_add, and sums over rows. What is added to their only use costs no
 * pass over memory of its own: dot + broadcast(bias)  the dot's bias, where the broadcast is along b's own axes x + anchor the
 * anchor's start. Where nothing else needs x, a sum begins in x's memory (gradient accumulation); a dot also takes an x that lives
 * on (a residual stream), if x is in memory anyway. */
#include "compiler/op/dot.h"
#include "compiler/op/matrices.h"
#include "compiler/pass/pass.h"

/* An anchor and what is added to it; NULL where nothing is. */
typedef struct {
    mdl_op *anchor;
    mdl_value *start, *bias;
} absorption;

static bool is_column_sum(const mdl_op *op) {
    const mdl_attr *axes = op->code == MDL_OP_SUM ? mdl_find_attr(op, "axes") : NULL;
    return axes && axes->n == 1 && axes->is[0] == 0 && op->n_in == 1;
}

static bool is_plain_anchor(const mdl_value *v, const int *uses) {
    if (uses[v->id] != 1) return false;
    return ((mdl_is(v, MDL_OP_DOT) || mdl_is(v, MDL_OP_SCATTER_ADD)) && v->def->n_in == 2) || is_column_sum(v->def);
}

/* ---- bias ---- */
static bool is_leaf(const mdl_value *v) { return mdl_is(v, MDL_OP_READ) || mdl_is(v, MDL_OP_INPUT); }

/* A leaf broadcast along the last axes, which are all of b's own and one row of the product. */
static bool is_bias_of(const mdl_op *dot, const mdl_value *v) {
    mdl_matrices product;
    if (!mdl_is(v, MDL_OP_BROADCAST) || !is_leaf(v->def->in[0]) || !mdl_dot_as_matrices(dot, &product)) return false;
    const mdl_attr *axes = mdl_find_attr(v->def, "axes");
    mdl_dot_axes d;
    mdl_dot_axes_of(dot, &d);
    int own = 0;
    while (own < d.n_out && d.out[d.n_out - 1 - own] >= MDL_MAX_RANK) own++;
    if (!own || axes->n != own || mdl_type_count(&v->def->in[0]->type) != product.n) return false;
    for (int i = 0; i < own; i++)
        if (axes->is[i] != d.n_out - own + i) return false;
    return true;
}

static bool takes_bias(const mdl_op *add, const int *uses, absorption *out) {
    for (int i = 0; i < 2 && add->code == MDL_OP_ADD; i++) {
        const mdl_value *dot = add->in[i], *bias = add->in[!i];
        if (!mdl_is(dot, MDL_OP_DOT) || !is_plain_anchor(dot, uses) || !is_bias_of(dot->def, bias)) continue;
        *out = (absorption){.anchor = dot->def, .bias = bias->def->in[0]};
        return true;
    }
    return false;
}

/* ---- start ---- */
/* The anchor that v is, perhaps with its bias, and nothing else uses. */
static bool is_anchor(const mdl_value *v, const int *uses, absorption *out) {
    *out = (absorption){.anchor = v->def};
    return is_plain_anchor(v, uses) || (uses[v->id] == 1 && takes_bias(v->def, uses, out));
}

/* The sum of an anchor and something else. */
static bool joins_anchor(const mdl_value *x, const int *uses) {
    absorption ignored;
    return mdl_is(x, MDL_OP_ADD) && (is_anchor(x->def->in[0], uses, &ignored) || is_anchor(x->def->in[1], uses, &ignored));
}

/* May x be overwritten by a sum? Yes if it is used only here, and is memory of its own: an anchor's result or the gradient's state.
 */
static bool gives_way(const mdl_value *x, const int *uses) {
    if (uses[x->id] != 1) return false;
    return mdl_is(x, MDL_OP_READ) || mdl_is(x, MDL_OP_DOT) || mdl_is(x, MDL_OP_SCATTER_ADD) || joins_anchor(x, uses);
}

/* Is x in memory whatever becomes of its add? What an op with a main loop of its own makes is, and so is a sum with that, once it
 * is used again. Anything else would have to be stored for it, which costs as much as it saves. */
static bool in_memory(const mdl_value *x, const int *uses) {
    while (mdl_is(x, MDL_OP_RESHAPE)) x = x->def->in[0];
    mdl_class class = mdl_ops[x->def->code].class;
    return is_leaf(x) || class == MDL_CONTRACT || class == MDL_STRUCTURED || class == MDL_SEGMENT || joins_anchor(x, uses);
}

static bool starts(const mdl_value *x, const mdl_op *anchor, const int *uses) {
    if (is_column_sum(anchor)) return gives_way(x, uses) && mdl_is(x, MDL_OP_READ);
    return gives_way(x, uses) || (anchor->code == MDL_OP_DOT && in_memory(x, uses));
}

static bool takes_start(const mdl_op *add, const int *uses, absorption *out) {
    for (int i = 0; i < 2 && add->code == MDL_OP_ADD; i++) {
        mdl_value *x = add->in[i];
        if (!is_anchor(add->in[!i], uses, out) || !starts(x, out->anchor, uses)) continue;
        out->start = x;
        return true;
    }
    return false;
}

static bool absorbs(const mdl_op *add, const int *uses, absorption *out) {
    return takes_bias(add, uses, out) || takes_start(add, uses, out);
}

/* ---- rewriting ---- */
/* The ops that become one with `add` wait for it. */
static void mark(mdl_op *add, const absorption *x) {
    x->anchor->scratch = add;
    for (int i = 0; i < 2 && x->start; i++)
        if (add->in[i] != x->start) add->in[i]->def->scratch = add;
}

static mdl_value *build(mdl_rewrite *r, const absorption *x) {
    const mdl_op *old = x->anchor;
    mdl_value *operands[4];
    mdl_attr *attr = MDL_NEW_ARRAY(r->b.arena, mdl_attr, old->n_attr + 2);
    int n = old->n_in, n_attr = old->n_attr;
    for (int i = 0; i < n; i++) operands[i] = mdl_mapped(old->in[i]);
    for (int i = 0; i < n_attr; i++) attr[i] = old->attr[i];
    if (x->start) operands[n++] = mdl_mapped(x->start);
    if (x->bias) operands[n++] = mdl_mapped(x->bias);
    if (x->start && old->code == MDL_OP_DOT) attr[n_attr++] = mdl_int("init", 1);
    if (x->bias) attr[n_attr++] = mdl_int("bias", 1);
    r->b.span = old->span;
    return mdl_build(&r->b, old->code, n, operands, n_attr, attr, NULL, NULL)->out[0];
}

mdl_region *mdl_pass_anchor(mdl_pass_context *c, mdl_region *in) {
    const int *uses = mdl_count_uses(c->arena, in);
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    absorption x;
    for (int i = 0; i < in->ops.n; i++)
        if (absorbs(in->ops.at[i], uses, &x)) mark(in->ops.at[i], &x);
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        if (op->scratch) continue;
        if (absorbs(op, uses, &x))
            mdl_map(op->out[0], build(&r, &x));
        else
            mdl_keep(&r, op);
    }
    return mdl_rewrite_end(&r);
}
