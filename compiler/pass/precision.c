/* needs: simplified primitives in f32; explicit casts are the model's own and stay. keeps: every result to the rounding of the
 * precision. breaks: below f32, values have their dtypes from here on; trained parameters are read from their compute copies.
 *
 * The recipe, for ops whose scope does not ask for f32. In bf16:
 *   - operands and results of products, operands of attention; rows that are gathered, scattered or summed by segment;
 *   - values that several kernels need: the residual stream and its gradient. So large values lie in memory in bf16.
 * In f32:
 *   - all arithmetic between a load and a store, and every accumulation;
 *   - statistics, softmax, lse, delta and the o that it is made of, losses;
 *   - what is written to a state (gradients, parameters, moments) or read by the host.
 *
 * A value has up to two versions, wide (f32, or the dtype it had) and narrow. One is made where the value was, the other is derived
 * where it is first asked for: a view of narrow operands, a compute copy, or a cast. */
#include <string.h>

#include "compiler/ir/order.h"
#include "compiler/kernel/levels.h"
#include "compiler/op/dot.h"
#include "compiler/op/op.h"
#include "compiler/pass/pass.h"
#include "runtime/base/status.h"

enum { WIDE, NARROW };

typedef struct {
    mdl_value *version[2];
    int source;      /* the version that the other is derived from */
    bool to_states;  /* used for nothing but what is written to states */
    bool statistic;  /* one number for a row, or for a head of it */
    bool from_arena; /* made from a whole arena: optimizer arithmetic */
    bool kept;       /* several kernels need it, and will load it */
} fact;

typedef struct {
    mdl_pass_context *c;
    mdl_rewrite r;
    fact *of; /* by value id of the old region */
    const int *uses;
} precision;

static fact *fact_of(precision *p, const mdl_value *v) { return &p->of[v->id]; }
static bool is_view(const mdl_op *op) { return mdl_ops[op->code].class == MDL_VIEW; }
static bool stays_wide(const mdl_op *op) { return !strcmp(mdl_scope_precision(&op->span), "f32"); }

/* ---- what is known of a value ---- */
/* Forward. */
static void describe(precision *p, const mdl_fact *places, const mdl_op *op) {
    fact v = {.statistic = mdl_ops[op->code].class == MDL_REDUCE};
    for (int i = 0; i < op->n_in; i++) {
        const fact *u = fact_of(p, op->in[i]);
        bool grows = op->code == MDL_OP_BROADCAST && mdl_type_count(&op->out[0]->type) > mdl_type_count(&op->in[i]->type);
        v.from_arena |= u->from_arena;
        v.statistic |= u->statistic && !grows;
    }
    if (op->n_out && places[op->out[0]->id].place == MDL_PLACE_MEMORY) v = (fact){0};
    if (op->code == MDL_OP_READ) v.from_arena = !mdl_state_of(op).n;
    for (int i = 0; i < op->n_out; i++) *fact_of(p, op->out[i]) = v;
    if (op->code == MDL_OP_ATTENTION) fact_of(p, op->out[1])->statistic = true;
}

/* Backward: gradients, new parameters and moments are to_states, up to the products and sums that make them. */
static void mark_states(precision *p, const mdl_op *op) {
    bool passes = mdl_ops[op->code].class == MDL_POINTWISE || is_view(op);
    bool written = op->code == MDL_OP_WRITE || (passes && fact_of(p, op->out[0])->to_states);
    for (int k = 0; k < op->n_in && !written; k++) fact_of(p, op->in[k])->to_states = false;
}

static bool may_narrow(precision *p, const mdl_op *op) {
    const fact *v = fact_of(p, op->out[0]);
    bool wide = v->statistic || v->to_states || v->from_arena || stays_wide(op);
    return op->out[0]->type.dtype == MDL_F32 && mdl_is_large(op->out[0]) && !wide;
}

/* Do several kernels need the value, the one that stores it among them? Not what is stored for its cost alone: tables of sines. */
static bool is_shared(int id, const mdl_fact *place, const mdl_need *demand) {
    bool joins = place->stored && place->n_big && place->big[0] == id;
    if (!demand->taken && !joins) return false;
    return demand->n_needed > 1 || (demand->n_needed && demand->needed[0] != place->level);
}

/* Precision follows what would be stored of the f32 program. */
static void analyse(precision *p, const mdl_region *in) {
    mdl_fact *places = mdl_facts_of(p->c->arena, in);
    for (int i = 0; i < in->ops.n; i++) describe(p, places, in->ops.at[i]);
    for (int i = 0; i < in->next_id; i++) p->of[i].to_states = p->uses[i] > 0;
    for (int i = in->ops.n - 1; i >= 0; i--) mark_states(p, in->ops.at[i]);
    const mdl_need *demands = mdl_choose_stored(p->c->arena, in, places);
    for (int i = 0; i < in->ops.n; i++) {
        const mdl_op *op = in->ops.at[i];
        if (!op->n_out) continue;
        int id = op->out[0]->id;
        p->of[id].kept = is_shared(id, &places[id], &demands[id]) && may_narrow(p, op);
    }
}

/* ---- versions ---- */
static bool is_parameter(precision *p, const mdl_op *read) {
    const char *name = mdl_first_param(read);
    if (!name || !mdl_is_state(read, MDL_STATE_PARAM)) return false;
    return p->c->module ? mdl_layout_find(p->c->layout, name) != NULL : strncmp(name, "frozen.", 7) != 0;
}

static mdl_value *read_copy(precision *p, const mdl_op *read) {
    mdl_state state = mdl_state_of(read);
    mdl_type type = read->out[0]->type;
    state.kind = MDL_STATE_COMPUTE;
    type.dtype = p->c->precision;
    return mdl_read_in_order(&p->r.b, p->c->layout, state, type);
}

static mdl_value *version_of(precision *p, const mdl_value *v, int which);

/* The op over operands of these versions, with an attribute more where `to` is not NULL. Results take their dtypes from there. */
static mdl_op *rebuild(precision *p, const mdl_op *op, const int *which, const mdl_attr *to) {
    mdl_value **in = MDL_NEW_ARRAY(p->c->arena, mdl_value *, op->n_in);
    mdl_attr *attr = MDL_NEW_ARRAY(p->c->arena, mdl_attr, op->n_attr + 1);
    mdl_type hint = op->n_out ? op->out[0]->type : (mdl_type){0};
    for (int i = 0; i < op->n_in; i++) in[i] = version_of(p, op->in[i], which[i]);
    for (int i = 0; i < op->n_attr; i++) attr[i] = op->attr[i];
    if (to) attr[op->n_attr] = *to;
    if (op->n_in && is_view(op)) hint.dtype = in[0]->type.dtype;
    p->r.b.span = op->span;
    return mdl_build(&p->r.b, op->code, op->n_in, in, op->n_attr + (to != NULL), attr, &hint, NULL);
}

static int *all(precision *p, const mdl_op *op, int which) {
    int *of = MDL_NEW_ARRAY(p->c->arena, int, op->n_in);
    for (int i = 0; i < op->n_in; i++) of[i] = which;
    return of;
}

static mdl_value *derive(precision *p, const mdl_value *v, int which) {
    const fact *x = fact_of(p, v);
    if (is_view(v->def) && (which == NARROW || x->source == WIDE)) return rebuild(p, v->def, all(p, v->def, which), NULL)->out[0];
    if (which == NARROW && mdl_is(v, MDL_OP_READ) && is_parameter(p, v->def)) return read_copy(p, v->def);
    return mdl_cast(&p->r.b, version_of(p, v, !which), which == NARROW ? p->c->precision : v->type.dtype);
}

static mdl_value *version_of(precision *p, const mdl_value *v, int which) {
    if (v->type.dtype != MDL_F32) which = WIDE; /* it has the dtype it was given */
    mdl_value **made = &fact_of(p, v)->version[which];
    if (*made) return *made;
    *made = derive(p, v, which);
    if (which == fact_of(p, v)->source) (*made)->stable = v->stable;
    return *made;
}

/* The stable id goes with the version that the other is derived from. */
static void set(precision *p, const mdl_value *old, mdl_value *fresh) {
    int which = fresh->type.dtype == old->type.dtype ? WIDE : NARROW;
    if (which == NARROW && fact_of(p, old)->version[WIDE]) fact_of(p, old)->version[WIDE]->stable = 0;
    fresh->stable = old->stable;
    fact_of(p, old)->version[which] = fresh;
    fact_of(p, old)->version[!which] = NULL;
    fact_of(p, old)->source = which;
}

static void set_all(precision *p, const mdl_op *old, const mdl_op *fresh) {
    for (int i = 0; i < old->n_out; i++) set(p, old->out[i], fresh->out[i]);
}

/* ---- the recipe ---- */
/* What every product, gather and sum by index reads is narrow where it is large: not counts, masks, or one number for a row. */
static int operand(const mdl_value *v) { return mdl_is_large(v) ? NARROW : WIDE; }

static void product(precision *p, const mdl_op *op) {
    mdl_attr to = mdl_str("to", mdl_dtype_name(MDL_F32));
    bool wide = fact_of(p, op->out[0])->to_states;
    int *which = all(p, op, WIDE), init = mdl_dot_init(op);
    which[0] = which[1] = NARROW;
    if (init > 0 && !wide) which[init] = NARROW;
    if (mdl_dot_bias(op) > 0 && !wide && p->c->target->narrow) which[mdl_dot_bias(op)] = NARROW;
    set_all(p, op, rebuild(p, op, which, wide ? &to : NULL));
}

/* scatter_add and segsum: rows in, f32 out */
static void sum_by_index(precision *p, const mdl_op *op) {
    int which[] = {operand(op->in[0]), WIDE, WIDE};
    mdl_attr to = mdl_str("to", mdl_dtype_name(MDL_F32));
    set_all(p, op, rebuild(p, op, which, which[0] == NARROW ? &to : NULL));
}

static void gather(precision *p, const mdl_op *op) {
    int which[] = {operand(op->in[0]), WIDE};
    set_all(p, op, rebuild(p, op, which, NULL));
}

/* Row arithmetic and sinks, in f32. */
static void arithmetic(precision *p, const mdl_op *op) {
    set_all(p, op, rebuild(p, op, all(p, op, WIDE), NULL));
    if (op->n_out && fact_of(p, op->out[0])->kept)
        set(p, op->out[0], mdl_cast(&p->r.b, fact_of(p, op->out[0])->version[WIDE], p->c->precision));
}

/* Made where it is asked for. Narrow if all that it shows is, or if it is kept. */
static void view(precision *p, const mdl_op *op) {
    fact *v = fact_of(p, op->out[0]);
    v->source = NARROW;
    for (int i = 0; i < op->n_in; i++) v->source &= fact_of(p, op->in[i])->source;
    if (v->kept) v->source = NARROW;
}

/* Attention gives f32, narrowed where a product reads it: sums over rows of dq, dk and dv follow, and delta = sum of do * o must be
 * that of the o which the probabilities make, else the gradients of scores do not add up to 0. Where memory counts for more, the
 * target wants its results narrow. */
static void structured(precision *p, const mdl_op *op) {
    static const int attention[] = {NARROW, NARROW, NARROW, WIDE}, backward[] = {NARROW, NARROW, NARROW, NARROW, WIDE, WIDE, WIDE},
                     xent[] = {NARROW, WIDE, WIDE, WIDE};
    const int *which = op->code == MDL_OP_ATTENTION ? attention : op->code == MDL_OP_ATTENTION_BWD ? backward : xent;
    mdl_attr to = mdl_str("to", mdl_dtype_name(MDL_F32));
    bool rounds = p->c->target->narrow || op->code == MDL_OP_XENT_BWD || op->code == MDL_OP_XENT;
    set_all(p, op, rebuild(p, op, which, rounds ? NULL : &to));
}

static bool takes_f32(const mdl_op *op) {
    for (int i = 0; i < op->n_in; i++)
        if (op->in[i]->type.dtype == MDL_F32) return true;
    return false;
}

/* The copies are written behind all that reads them; the reads were of the parameters when this write was ordered. */
static void write_copies(precision *p, const mdl_op *op) {
    mdl_value *x = version_of(p, op->in[0], WIDE);
    set(p, op->out[0], mdl_write_in_order(&p->r.b, p->c->layout, mdl_state_of(op), x));
}

static void visit(precision *p, const mdl_op *op) {
    if (mdl_is_state(op, MDL_STATE_COMPUTE))
        write_copies(p, op);
    else if (op->n_out && is_view(op) && op->out[0]->type.dtype == MDL_F32)
        view(p, op);
    else if (!takes_f32(op) || stays_wide(op))
        set_all(p, op, rebuild(p, op, all(p, op, WIDE), NULL));
    else if (op->code == MDL_OP_DOT)
        product(p, op);
    else if (op->code == MDL_OP_SCATTER_ADD || op->code == MDL_OP_SEGSUM)
        sum_by_index(p, op);
    else if (op->code == MDL_OP_GATHER)
        gather(p, op);
    else if (mdl_ops[op->code].class == MDL_STRUCTURED)
        structured(p, op);
    else
        arithmetic(p, op);
}

mdl_region *mdl_pass_precision(mdl_pass_context *c, mdl_region *in) {
    if (c->precision == MDL_F32) return in;
    precision p = {c, mdl_rewrite_begin(c, in), MDL_NEW_ARRAY(c->arena, fact, in->next_id + 1), mdl_count_uses(c->arena, in)};
    analyse(&p, in);
    for (int i = 0; i < in->ops.n; i++) visit(&p, in->ops.at[i]);
    return mdl_pass_simplify(c, mdl_rewrite_end(&p.r));
}
