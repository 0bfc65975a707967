/* needs: primitives, anchors with their accumulators. keeps: every value. breaks: ops gain the marks "stored" and "loaded"; no pass
 * that makes or merges ops may stand between this one and fuse.
 *
 * Chooses which values lie in memory; all else is computed where it is used. Stored is what an anchor, a sink or another kernel's
 * gather takes, and what several kernels need where a load is cheaper than computing it again (see worth_storing), what is
 * too large for one kernel, and what a kernel's loops cannot index (see barrier.h). */
#include "compiler/kernel/barrier.h"
#include "compiler/kernel/levels.h"
#include "compiler/kernel/rows.h"
#include "compiler/pass/pass.h"

typedef struct {
    bool spread;             /* used through a broadcast */
    bool view;               /* a reshape of what is stored */
    int needed[2], n_needed; /* levels of the kernels that use it; 2 means two or more */
} demand;

typedef struct {
    mdl_region *in;
    mdl_fact *facts; /* by value id */
    demand *of;      /* by value id */
    mdl_kernel_limits limits;
} choice;

static mdl_value *result(const mdl_op *op) { return op->out[0]; }
static bool is_fusable(const choice *c, const mdl_value *v) { return c->facts[v->id].place == MDL_PLACE_FUSABLE; }

static void need_at(demand *d, int level) {
    for (int i = 0; i < d->n_needed; i++)
        if (d->needed[i] == level) return;
    if (d->n_needed < 2) d->needed[d->n_needed++] = level;
}

/* Needed by several kernels: is a load cheaper than computing it again? Row statistics always; a sum of several large operands;
 * a transcendental that is used through a broadcast, where it would be computed once for each copy. */
static bool worth_storing(const choice *c, const mdl_value *v) {
    const mdl_fact *x = &c->facts[v->id];
    if (mdl_widens(v->def)) return false;
    bool often = x->heavy && c->of[v->id].spread;
    if (!x->n_big && !x->reduces) return often;
    if (mdl_type_count(&v->type) <= mdl_rows_of(v)) return x->reduces;
    return (x->n_big && x->big[0] == v->id) || often;
}

/* A reshape is never stored: what it reshapes is, and the reshape is a view of that memory. */
static void store(choice *c, const mdl_value *v) {
    if (!is_fusable(c, v)) return;
    if (mdl_is(v, MDL_OP_RESHAPE)) {
        c->facts[v->id].place = MDL_PLACE_MEMORY;
        c->of[v->id].view = true;
        store(c, v->def->in[0]);
        return;
    }
    c->facts[v->id].stored = true;
}

static void use(choice *c, const mdl_op *user, int i) {
    const mdl_value *u = user->in[i], *v = user->n_out ? result(user) : NULL;
    demand *d = &c->of[u->id];
    if (!is_fusable(c, u)) return;
    if (!v || !is_fusable(c, v) || mdl_from_memory(c->facts, user, i)) {
        store(c, u);
        return;
    }
    bool stored = c->facts[v->id].stored;
    d->spread |= user->code == MDL_OP_BROADCAST && mdl_type_count(&v->type) > mdl_type_count(&u->type);
    d->spread |= c->of[v->id].spread && !stored;
    if (stored) need_at(d, c->facts[v->id].level);
    for (int k = 0; !stored && k < c->of[v->id].n_needed; k++) need_at(d, c->of[v->id].needed[k]);
}

/* All users of v are known. */
static void decide(choice *c, const mdl_value *v) {
    mdl_fact *x = &c->facts[v->id];
    bool once_a_copy = x->heavy && c->of[v->id].spread && mdl_is_heavy(v->def) && mdl_is_large(v) && !x->reduces;
    if (mdl_is_column_sum(v->def) || once_a_copy) x->stored = true;
    if (c->of[v->id].n_needed > 1 && worth_storing(c, v)) store(c, v);
}

static void choose(choice *c) {
    for (int i = c->in->ops.n - 1; i >= 0; i--) {
        const mdl_op *op = c->in->ops.at[i];
        if (op->n_out && is_fusable(c, result(op))) decide(c, result(op));
        for (int k = 0; k < op->n_in; k++) use(c, op, k);
    }
}

/* ---- limits ---- */
static bool is_computed(const choice *c, const mdl_value *v) { return is_fusable(c, v) && !c->facts[v->id].stored; }

/* Measures the kernel that v would take. */
static bool too_large(const choice *c, mdl_kernel_size *size, const mdl_value *v) {
    size->args = size->ops = 0;
    size->stamp++;
    mdl_add_to_kernel(size, v);
    return size->args + 1 > c->limits.args || size->ops > c->limits.ops;
}

/* The operand of which most is computed, or NULL when all are in memory. */
static const mdl_value *largest(const choice *c, const int *bound, const mdl_op *op) {
    const mdl_value *most = NULL;
    for (int i = 0; i < op->n_in; i++)
        if (is_computed(c, op->in[i]) && (!most || bound[op->in[i]->id] > bound[most->id])) most = op->in[i];
    return most;
}

/* Values whose computation is too large for a kernel get operands from memory. Forward: the operands themselves are within the
 * limits. `bound` is what a value takes at most, counted without regard to what is shared. Returns an op that no kernel can hold,
 * or NULL. */
static const mdl_op *cut(choice *c, mdl_arena *arena) {
    int least = c->limits.args < c->limits.ops ? c->limits.args : c->limits.ops, n = c->in->next_id + 1;
    int *bound = MDL_NEW_ARRAY(arena, int, n);
    mdl_kernel_size size = {.facts = c->facts, .mark = MDL_NEW_ARRAY(arena, int, n)};
    for (int i = 0; i < c->in->ops.n; i++) {
        const mdl_op *op = c->in->ops.at[i];
        if (!op->n_out || !is_fusable(c, result(op))) continue;
        int64_t most = 1;
        for (int k = 0; k < op->n_in; k++) most += is_computed(c, op->in[k]) ? bound[op->in[k]->id] : 1;
        if (most >= least) {
            const mdl_value *operand = NULL;
            while (too_large(c, &size, result(op)) && (operand = largest(c, bound, op))) store(c, operand);
            if (size.args + 1 > c->limits.args) return op;
            most = size.args > size.ops ? size.args : size.ops;
        }
        bound[result(op)->id] = (int)most;
    }
    return NULL;
}

/* Stores the loaded values too, which changes levels, and with them who needs what. */
static mdl_region *with_marks(mdl_pass_context *c, mdl_region *in, const bool *loaded) {
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    for (int i = 0; i < in->ops.n; i++) {
        const mdl_op *op = in->ops.at[i];
        mdl_op *kept = mdl_keep(&r, op);
        if (op->n_out && loaded[result(op)->id]) mdl_add_attr(c->arena, kept, mdl_int(MDL_LOADED, 1));
    }
    return mdl_rewrite_end(&r);
}

/* Returns an op that no kernel can hold, or NULL. */
static const mdl_op *make_choice(choice *c, mdl_pass_context *context, mdl_region *in) {
    mdl_arena *arena = context->arena;
    *c = (choice){in, mdl_facts_of(arena, in), MDL_NEW_ARRAY(arena, demand, in->next_id + 1), context->limits};
    choose(c);
    return c->limits.args ? cut(c, arena) : NULL;
}

mdl_region *mdl_pass_store(mdl_pass_context *context, mdl_region *in) {
    choice c;
    const mdl_op *large;
    for (bool *loaded; !(large = make_choice(&c, context, in)); in = with_marks(context, in, loaded)) {
        loaded = MDL_NEW_ARRAY(context->arena, bool, in->next_id + 1);
        if (!mdl_find_barriers(in, c.facts, c.limits.copies, loaded)) break;
    }
    if (large) {
        context->not_implemented = "an op of so many operands";
        context->not_implemented_at = large->span;
        return in;
    }
    mdl_rewrite r = mdl_rewrite_begin(context, in);
    for (int i = 0; i < in->ops.n; i++) {
        const mdl_op *op = in->ops.at[i];
        mdl_op *kept = mdl_keep(&r, op);
        bool marked = op->n_out && (c.facts[result(op)->id].stored || c.of[result(op)->id].view);
        if (marked && !mdl_find_attr(op, MDL_STORED)) mdl_add_attr(context->arena, kept, mdl_int(MDL_STORED, 1));
    }
    return mdl_rewrite_end(&r);
}
