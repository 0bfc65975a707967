/* needs: primitives, anchors with their accumulators. keeps: every value. breaks: ops gain the marks "stored" and "loaded"; no pass
 * that makes or merges ops may stand between this one and fuse.
 *
 * Marks which values lie in memory (kernel/stored.c chooses), cuts what is too large for a kernel, and stores what a kernel's loops
 * cannot index (kernel/barrier.h). */
#include "compiler/kernel/barrier.h"
#include "compiler/kernel/levels.h"
#include "compiler/kernel/rows.h"
#include "compiler/pass/pass.h"

typedef struct {
    mdl_region *in;
    mdl_fact *facts; /* by value id */
    mdl_kernel_limits limits;
} choice;

static mdl_value *result(const mdl_op *op) { return op->out[0]; }

/* ---- limits ---- */
static bool is_fusable(const choice *c, const mdl_value *v) { return c->facts[v->id].place == MDL_PLACE_FUSABLE; }
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
        int64_t most = mdl_size_of_op(op);
        for (int k = 0; k < op->n_in; k++) most += is_computed(c, op->in[k]) ? bound[op->in[k]->id] : 1;
        if (most >= least) {
            const mdl_value *operand = NULL;
            while (too_large(c, &size, result(op)) && (operand = largest(c, bound, op))) mdl_store(c->facts, operand);
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
    *c = (choice){in, mdl_facts_of(arena, in), context->target->limits};
    mdl_choose_stored(arena, in, c->facts);
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
        bool marked = op->n_out && (c.facts[result(op)->id].stored || c.facts[result(op)->id].view);
        if (marked && !mdl_find_attr(op, MDL_STORED)) mdl_add_attr(context->arena, kept, mdl_int(MDL_STORED, 1));
    }
    return mdl_rewrite_end(&r);
}
