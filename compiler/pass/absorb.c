/* needs: anchors with their accumulators. keeps: every value to rounding. breaks: attention stands in a fused op, with what its
 * target lets stand between memory and its tiles: bodies that make q, k, v and the incoming gradient of what lies in memory, and
 * bodies that make of its results what goes there, with the sums of that over rows.
 *
 * Before the anchor everything may be computed again wherever it is loaded; what the target does not take is memory. Behind it a
 * value made of one result, or a concat of such values, is stored in place of the result; if any result would go to two places, or
 * to none, the results are stored as they are. */
#include <string.h>

#include "compiler/kernel/levels.h"
#include "compiler/kernel/rows.h"
#include "compiler/pass/pass.h"

typedef MDL_VEC(mdl_value *) value_list;

typedef struct {
    mdl_pass_context *c;
    mdl_rewrite r;
    int *place; /* by value id: index of its op */
    /* Of the anchor in work, by value id of the old region: */
    const mdl_op *anchor;
    int at;              /* its index */
    unsigned char *made; /* bits of the results that it is made of, where the template makes it */
    bool *joined;        /* a concat of such values */
    bool *needed;        /* something outside needs it */
    value_list yields;   /* what the fused op gives: finals, then sums */
} absorption;

static bool is_anchor(const mdl_op *op) { return op->code == MDL_OP_ATTENTION || op->code == MDL_OP_ATTENTION_BWD; }
static bool is_single(unsigned bits) { return bits && !(bits & (bits - 1)); }

static bool is_constant(const mdl_value *v) {
    if (mdl_is(v, MDL_OP_CONST)) return true;
    for (int i = 0; i < v->def->n_in; i++)
        if (!is_constant(v->def->in[i])) return false;
    return v->def->n_in > 0 && (mdl_ops[v->def->code].class == MDL_POINTWISE || mdl_ops[v->def->code].class == MDL_VIEW);
}

/* Can the op be carried out for a row by itself, where the target takes it? */
static bool takes(absorption *a, const mdl_op *op, bool stores) {
    mdl_class class = mdl_ops[op->code].class;
    if (op->code == MDL_OP_CONST) return true;
    if ((class != MDL_POINTWISE && class != MDL_VIEW) || op->code == MDL_OP_HOLD || mdl_is_heavy(op)) return false;
    for (int i = 0; i < op->n_in; i++) {
        const mdl_op *from = op->in[i]->def;
        bool anywhere = from->code == MDL_OP_READ || from->code == MDL_OP_INPUT || is_constant(op->in[i]);
        if (class == MDL_VIEW && !mdl_keeps_row(op, i) && !anywhere) return false;
    }
    return a->c->target->absorbs(a->anchor, op, stores);
}

/* ---- behind the anchor ---- */
/* Does v exist before the anchor, or does it wait for nothing? */
static bool comes_before(const absorption *a, const mdl_value *v) {
    return a->place[v->id] < a->at || (mdl_is(v, MDL_OP_READ) && !v->def->n_in);
}

static bool is_sum_of_made(const absorption *a, const mdl_op *op) {
    return op->code == MDL_OP_SUM && mdl_is_column_sum(op) && a->made[op->in[0]->id] && mdl_find_attr(op, "axes")->n == 1 &&
           op->in[0]->type.rank == 2 && (op->n_in == 1 || comes_before(a, op->in[1]));
}

/* Bits of the results that op's value is made of if the template can make it; 0 if it cannot. */
static unsigned made_of(absorption *a, const mdl_op *op) {
    unsigned bits = 0;
    bool joins = op->code == MDL_OP_CONCAT && op->out[0]->type.rank == 2 && mdl_attr_int(op, "axis") == 1, single = true;
    for (int i = 0; i < op->n_in; i++) {
        unsigned of = a->made[op->in[i]->id];
        if (a->joined[op->in[i]->id] || (!of && !comes_before(a, op->in[i]) && !is_constant(op->in[i]))) return 0;
        single &= is_single(of) && !(bits & of);
        bits |= of;
    }
    if (!takes(a, op, true) || (!is_single(bits) && !(joins && single))) return 0;
    a->joined[op->out[0]->id] = !is_single(bits);
    return bits;
}

static void follow_results(absorption *a) {
    for (int i = a->at + 1; i < a->r.in->ops.n; i++) {
        const mdl_op *op = a->r.in->ops.at[i];
        bool uses = false;
        for (int k = 0; k < op->n_in; k++) uses |= a->made[op->in[k]->id] != 0;
        if (!uses || is_sum_of_made(a, op)) continue;
        unsigned bits = op->n_out == 1 ? made_of(a, op) : 0;
        if (bits)
            a->made[op->out[0]->id] = (unsigned char)bits;
        else
            for (int k = 0; k < op->n_in; k++) a->needed[op->in[k]->id] = true;
    }
}

/* Forgets all that was made of the results: they are stored as they are. */
static void give_up(absorption *a) {
    for (int i = a->at + 1; i < a->r.in->ops.n; i++)
        for (int k = 0; k < a->r.in->ops.at[i]->n_out; k++) a->made[a->r.in->ops.at[i]->out[k]->id] = 0;
    a->yields = (value_list){0};
    for (int i = 0; i < a->anchor->n_out; i++) MDL_PUSH(a->c->arena, a->yields, a->anchor->out[i]);
}

/* What forward makes is wanted as it is, by backward; and o narrow as well, by the product behind it. */
static void choose_forward(absorption *a) {
    give_up(a);
    for (int i = a->at + 1; i < a->r.in->ops.n; i++) {
        const mdl_op *op = a->r.in->ops.at[i];
        if (op->code != MDL_OP_CAST || op->in[0] != a->anchor->out[0] || !takes(a, op, true)) continue;
        a->made[op->out[0]->id] = 1;
        MDL_PUSH(a->c->arena, a->yields, op->out[0]);
    }
}

static void choose_yields(absorption *a) {
    unsigned all = (1u << a->anchor->n_out) - 1, seen = 0;
    bool twice = false;
    a->yields = (value_list){0};
    for (int i = a->at; i < a->r.in->ops.n; i++) {
        const mdl_op *op = a->r.in->ops.at[i];
        for (int k = 0; k < op->n_out; k++) {
            if (!a->needed[op->out[k]->id] || !a->made[op->out[k]->id]) continue;
            twice |= (seen & a->made[op->out[k]->id]) != 0;
            seen |= a->made[op->out[k]->id];
            MDL_PUSH(a->c->arena, a->yields, op->out[k]);
        }
    }
    if (twice || seen != all) {
        give_up(a);
        return;
    }
    for (int i = a->at + 1; i < a->r.in->ops.n; i++)
        if (is_sum_of_made(a, a->r.in->ops.at[i])) MDL_PUSH(a->c->arena, a->yields, a->r.in->ops.at[i]->out[0]);
}

/* ---- the body ---- */
typedef struct {
    absorption *a;
    mdl_builder b;
    mdl_value **made; /* by old value id, in the body */
    value_list args;  /* old values */
} body;

static mdl_value *argument(body *bb, mdl_value *old) {
    mdl_attr attr = mdl_int("index", bb->args.n);
    MDL_PUSH(bb->b.arena, bb->args, old);
    return bb->made[old->id] = mdl_build(&bb->b, MDL_OP_ARG, 0, NULL, 1, &attr, &old->type, NULL)->out[0];
}

static mdl_value *value(body *bb, mdl_value *old) {
    if (bb->made[old->id]) return bb->made[old->id];
    bool behind = bb->a->made[old->id] != 0;
    if (!behind && !takes(bb->a, old->def, false)) return argument(bb, old);
    mdl_value **in = MDL_NEW_ARRAY(bb->b.arena, mdl_value *, old->def->n_in);
    for (int i = 0; i < old->def->n_in; i++) in[i] = value(bb, old->def->in[i]);
    mdl_op *copy = mdl_clone(&bb->b, old->def, in);
    return bb->made[old->id] = copy->out[0];
}

/* delta = sum over columns of do * o, made where the template loads both. */
static mdl_value *delta(body *bb, mdl_value *old) {
    const mdl_op *sum = old->def, *product = sum->code == MDL_OP_SUM ? sum->in[0]->def : NULL;
    bool of_rows =
        product && product->code == MDL_OP_MUL && mdl_find_attr(sum, "axes")->n == 1 && mdl_find_attr(sum, "axes")->is[0] == 2;
    if (!of_rows || !bb->a->c->target->absorbs(bb->a->anchor, sum, false)) return argument(bb, old);
    mdl_value *x = value(bb, sum->in[0]);
    return bb->made[old->id] = mdl_clone(&bb->b, sum, &x)->out[0];
}

static void anchor(body *bb) {
    const mdl_op *op = bb->a->anchor;
    bool backward = op->code == MDL_OP_ATTENTION_BWD;
    mdl_value *in[8];
    for (int i = 0; i < op->n_in; i++) {
        bool tile = i < (backward ? 4 : 3);
        in[i] = tile ? value(bb, op->in[i]) : backward && i == 5 ? delta(bb, op->in[i]) : argument(bb, op->in[i]);
    }
    mdl_op *copy = mdl_clone(&bb->b, op, in);
    for (int i = 0; i < op->n_out; i++) bb->made[op->out[i]->id] = copy->out[i];
}

static mdl_value *sum(body *bb, const mdl_op *op) {
    mdl_value *in[2];
    for (int i = 0; i < op->n_in; i++) in[i] = i ? argument(bb, op->in[i]) : value(bb, op->in[i]);
    return mdl_clone(&bb->b, op, in)->out[0];
}

/* dq gathers in f32 over tiles of keys; where it is stored otherwise, a result that nothing reads is its place. */
static bool wants_scratch(const absorption *a, const mdl_value *stored) {
    return a->anchor->code == MDL_OP_ATTENTION_BWD && (a->made[stored->id] & 1) && stored->type.dtype != MDL_F32;
}

static mdl_region *make_body(absorption *a, value_list *args) {
    body bb = {.a = a, .b = {.arena = a->c->arena, .region = mdl_region_new(a->c->arena, ""), .span = a->anchor->span}};
    bb.made = MDL_NEW_ARRAY(a->c->arena, mdl_value *, a->r.in->next_id + 1);
    anchor(&bb);
    value_list yields = {0};
    mdl_value *scratch = NULL;
    for (int i = 0; i < a->yields.n; i++) {
        mdl_value *v = a->yields.at[i];
        bool is_sum = !a->made[v->id];
        MDL_PUSH(bb.b.arena, yields, is_sum ? sum(&bb, v->def) : value(&bb, v));
        if (!is_sum && wants_scratch(a, v)) scratch = mdl_cast(&bb.b, bb.made[a->anchor->out[0]->id], MDL_F32);
    }
    if (scratch) MDL_PUSH(bb.b.arena, yields, scratch);
    mdl_build(&bb.b, MDL_OP_YIELD, yields.n, yields.at, 0, NULL, NULL, NULL);
    *args = bb.args;
    return bb.b.region;
}

/* ---- the new region ---- */
typedef struct {
    mdl_region *body;
    value_list args, yields;
    mdl_span span;
    bool done;
} fused;

typedef struct {
    absorption *a;
    fused **by; /* by value id: the fused op that gives it */
} assembly;

static void emit(assembly *s, mdl_op *op);

static void need(assembly *s, mdl_value *v) {
    if (!v->scratch) emit(s, v->def);
}

static void emit_fused(assembly *s, fused *f) {
    mdl_rewrite *r = &s->a->r;
    f->done = true;
    for (int i = 0; i < f->args.n; i++) need(s, f->args.at[i]);
    mdl_value **in = MDL_NEW_ARRAY(r->b.arena, mdl_value *, f->args.n);
    for (int i = 0; i < f->args.n; i++) in[i] = mdl_mapped(f->args.at[i]);
    r->b.span = f->span;
    mdl_op *op = mdl_build_region(&r->b, MDL_OP_FUSED, f->args.n, in, 0, NULL, f->body);
    for (int i = 0; i < f->yields.n; i++) mdl_map(f->yields.at[i], op->out[i]);
}

static void emit(assembly *s, mdl_op *op) {
    fused *f = op->n_out ? s->by[op->out[0]->id] : NULL;
    if (f && !f->done) emit_fused(s, f);
    if (f) return;
    for (int i = 0; i < op->n_in; i++) need(s, op->in[i]);
    mdl_keep(&s->a->r, op);
}

/* Which ops still stand for themselves: sinks, and what they and the fused ops need. */
static bool *find_used(absorption *a, fused *const *by) {
    const mdl_region *in = a->r.in;
    bool *used = MDL_NEW_ARRAY(a->c->arena, bool, in->next_id + 1);
    for (int i = in->ops.n - 1; i >= 0; i--) {
        const mdl_op *op = in->ops.at[i];
        bool lives = !op->n_out || !mdl_ops[op->code].pure;
        for (int k = 0; k < op->n_out; k++) lives |= used[op->out[k]->id];
        if (!lives) continue;
        const fused *f = op->n_out ? by[op->out[0]->id] : NULL;
        for (int k = 0; f && k < f->args.n; k++) used[f->args.at[k]->id] = true;
        for (int k = 0; !f && k < op->n_in; k++) used[op->in[k]->id] = true;
    }
    return used;
}

static void absorb(absorption *a, fused **by) {
    int n = a->r.in->next_id + 1;
    memset(a->made, 0, (size_t)n), memset(a->joined, 0, (size_t)n * sizeof *a->joined),
        memset(a->needed, 0, (size_t)n * sizeof *a->needed);
    for (int i = 0; i < a->anchor->n_out; i++) a->made[a->anchor->out[i]->id] = (unsigned char)(1u << i);
    if (a->anchor->code == MDL_OP_ATTENTION_BWD) {
        follow_results(a);
        choose_yields(a);
    } else {
        choose_forward(a);
    }
    fused *f = MDL_NEW(a->c->arena, fused);
    f->span = a->anchor->span;
    f->body = make_body(a, &f->args);
    f->yields = a->yields;
    for (int i = 0; i < f->yields.n; i++) by[f->yields.at[i]->id] = f;
}

mdl_region *mdl_pass_absorb(mdl_pass_context *c, mdl_region *in) {
    int n = in->next_id + 1;
    absorption a = {.c = c, .r = mdl_rewrite_begin(c, in), .place = MDL_NEW_ARRAY(c->arena, int, n)};
    a.made = MDL_NEW_ARRAY(c->arena, unsigned char, n);
    a.joined = MDL_NEW_ARRAY(c->arena, bool, n);
    a.needed = MDL_NEW_ARRAY(c->arena, bool, n);
    fused **by = MDL_NEW_ARRAY(c->arena, fused *, n);
    for (int i = 0; i < in->ops.n; i++)
        for (int k = 0; k < in->ops.at[i]->n_out; k++) a.place[in->ops.at[i]->out[k]->id] = i;
    for (a.at = 0; a.at < in->ops.n; a.at++) {
        a.anchor = in->ops.at[a.at];
        if (is_anchor(a.anchor)) absorb(&a, by);
    }
    const bool *used = find_used(&a, by);
    assembly s = {&a, by};
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        bool lives = !op->n_out || !mdl_ops[op->code].pure;
        for (int k = 0; k < op->n_out; k++) lives |= used[op->out[k]->id];
        if (lives && (!op->n_out || !op->out[0]->scratch)) emit(&s, op);
    }
    return mdl_rewrite_end(&a.r);
}
