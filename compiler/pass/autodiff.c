/* needs: primitives with loss ops. keeps: every result. breaks: loss ops go; writes of gradients appear.
 *
 * Reverse mode. Adjoints are kept as terms and summed when a value's turn comes, in the order the terms came; adjoints of
 * slices that tile an axis become one concat. The adjoint of a parameter is written where backward reaches its read. */
#include <stdlib.h>
#include <string.h>

#include "compiler/op/op.h"
#include "compiler/pass/pass.h"

typedef struct {
    mdl_value *value;
    int axis; /* -1: of the whole value */
    int64_t start;
} term;

typedef struct {
    MDL_VEC(term) terms;
    bool wanted;
} adjoint;

struct mdl_ad {
    mdl_rewrite r;
    mdl_pass_context *c;
    adjoint *of; /* by value id of the new region */
    int n_values;
};

mdl_builder *mdl_ad_builder(mdl_ad *ad) { return &ad->r.b; }
bool mdl_ad_wants(const mdl_ad *ad, const mdl_value *v) { return v->id < ad->n_values && ad->of[v->id].wanted; }

static void add_term(mdl_ad *ad, const mdl_value *of, term t) {
    if (mdl_ad_wants(ad, of)) MDL_PUSH(ad->c->arena, ad->of[of->id].terms, t);
}
void mdl_ad_add(mdl_ad *ad, const mdl_value *of, mdl_value *v) { add_term(ad, of, (term){v, -1, 0}); }
void mdl_ad_add_slice(mdl_ad *ad, const mdl_value *of, mdl_value *v, int axis, int64_t start) {
    add_term(ad, of, (term){v, axis, start});
}

/* ---- summing terms ---- */
/* Whole terms first, then by axis and start: a term that is taken in a later round never moves in front of one already passed. */
static int by_start(const void *a, const void *b) {
    const term *x = a, *y = b;
    if (x->axis != y->axis) return x->axis - y->axis;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->value && y->value ? x->value->id - y->value->id : 0;
}

static mdl_value *zeros(mdl_ad *ad, mdl_type type, int axis, int64_t size) {
    type.dim[axis] = size;
    return mdl_const_like(&ad->r.b, &type, 0);
}

/* One value from disjoint slices along an axis, zeros in the gaps. Slices that overlap those taken stay in the list. */
static mdl_value *join_slices(mdl_ad *ad, const mdl_type *type, int axis, term *t, int n) {
    MDL_VEC(mdl_value *) parts = {0};
    int64_t at = 0;
    qsort(t, (size_t)n, sizeof *t, by_start);
    for (int i = 0; i < n; i++) {
        if (t[i].axis != axis || !t[i].value || t[i].start < at) continue;
        if (t[i].start > at) MDL_PUSH(ad->c->arena, parts, zeros(ad, *type, axis, t[i].start - at));
        MDL_PUSH(ad->c->arena, parts, t[i].value);
        at = t[i].start + t[i].value->type.dim[axis];
        t[i].value = NULL;
    }
    if (at < type->dim[axis]) MDL_PUSH(ad->c->arena, parts, zeros(ad, *type, axis, type->dim[axis] - at));
    return mdl_concat(&ad->r.b, parts.n, parts.at, axis);
}

static mdl_value *plus(mdl_ad *ad, mdl_value *sum, mdl_value *v) { return sum ? mdl_binary(&ad->r.b, MDL_OP_ADD, sum, v) : v; }

/* sum may be NULL: nothing to add to. */
static mdl_value *sum_terms(mdl_ad *ad, const mdl_value *of, mdl_value *sum) {
    adjoint *a = &ad->of[of->id];
    for (int i = 0; i < a->terms.n; i++)
        if (a->terms.at[i].axis < 0) sum = plus(ad, sum, a->terms.at[i].value);
    for (int i = 0; i < a->terms.n; i++)
        while (a->terms.at[i].axis >= 0 && a->terms.at[i].value)
            sum = plus(ad, sum, join_slices(ad, &of->type, a->terms.at[i].axis, a->terms.at, a->terms.n));
    a->terms.n = 0;
    return sum;
}

/* ---- the sweep ---- */
/* Without a module (a pass run alone on text) every state is trained but those called frozen.*. */
static bool is_trained_read(mdl_ad *ad, const mdl_op *op) {
    if (op->code != MDL_OP_READ) return false;
    const char *name = mdl_is_state(op, MDL_STATE_PARAM) ? mdl_first_param(op) : NULL;
    if (!name) return false;
    return ad->c->module ? mdl_layout_find(ad->c->layout, name) != NULL : strncmp(name, "frozen.", 7) != 0;
}

static void mark_wanted(mdl_ad *ad, const mdl_op *op) {
    bool wanted = is_trained_read(ad, op);
    for (int i = 0; i < op->n_in; i++) wanted |= mdl_ad_wants(ad, op->in[i]);
    for (int i = 0; i < op->n_out; i++) ad->of[op->out[i]->id].wanted = wanted && mdl_dtype_is_real(op->out[i]->type.dtype);
}

/* d value = weight * scale where the mask selects, else 0 */
static void seed(mdl_ad *ad, const mdl_op *loss) {
    mdl_builder *b = &ad->r.b;
    const mdl_type *t = &loss->in[0]->type;
    mdl_dtype dtype = t->dtype == MDL_F64 ? MDL_F64 : MDL_F32;
    mdl_value *d = mdl_const(b, dtype, mdl_attr_real(loss, "weight"));
    if (loss->n_in == 3) d = mdl_binary(b, MDL_OP_MUL, loss->in[2], d);
    mdl_ad_add(ad, loss->in[0],
               mdl_select(b, loss->in[1], mdl_broadcast_scalar(b, mdl_cast(b, d, t->dtype), t), mdl_const_like(b, t, 0)));
}

/* The old gradient is read just before the new one is made of it: the write depends on the read. */
static void write_gradient(mdl_ad *ad, const mdl_op *read) {
    mdl_builder *b = &ad->r.b;
    mdl_state state = mdl_state_of(read);
    const mdl_type *type = &read->out[0]->type;
    state.kind = MDL_STATE_GRAD;
    mdl_value *old = ad->c->program->grad == MDL_GRAD_ACCUMULATE ? mdl_read(b, state, *type, 0, NULL) : NULL;
    mdl_value *sum = sum_terms(ad, read->out[0], old);
    mdl_write(b, state, sum ? sum : mdl_const_like(b, type, 0), 0, NULL);
}

static void visit(mdl_ad *ad, const mdl_op *op) {
    ad->r.b.span = op->span;
    if (is_trained_read(ad, op)) {
        write_gradient(ad, op);
        return;
    }
    mdl_value *dout[4] = {0};
    bool any = false;
    for (int i = 0; i < op->n_out; i++) {
        if (mdl_ad_wants(ad, op->out[i])) dout[i] = sum_terms(ad, op->out[i], NULL);
        any |= dout[i] != NULL;
    }
    if (any) mdl_rules[op->code].gradient(ad, op, dout);
}

mdl_region *mdl_pass_autodiff(mdl_pass_context *c, mdl_region *in) {
    if (c->program->grad == MDL_GRAD_NONE) return in;
    mdl_ad ad = {.c = c, .r = mdl_rewrite_begin(c, in)};
    MDL_VEC(const mdl_op *) losses = {0};
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        if (op->code != MDL_OP_LOSS)
            mdl_keep(&ad.r, op);
        else
            MDL_PUSH(c->arena, losses,
                     mdl_clone(&(mdl_builder){c->arena, mdl_region_new(c->arena, ""), op->span}, op, mdl_mapped_in(&ad.r, op)));
    }
    ad.n_values = ad.r.b.region->next_id;
    ad.of = MDL_NEW_ARRAY(c->arena, adjoint, ad.n_values);
    int forward = ad.r.b.region->ops.n;
    for (int i = 0; i < forward; i++) mark_wanted(&ad, ad.r.b.region->ops.at[i]);
    for (int i = 0; i < losses.n; i++) {
        ad.r.b.span = losses.at[i]->span;
        seed(&ad, losses.at[i]);
    }
    for (int i = forward - 1; i >= 0; i--) visit(&ad, ad.r.b.region->ops.at[i]);
    return mdl_rewrite_end(&ad.r);
}
