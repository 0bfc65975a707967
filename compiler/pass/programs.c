/* Makes a program from the model: its forward or part of it; counts and sums of what its losses and metrics select, over the batch
 * or over the micro-batches of a step; 1/N for the gradients. Dead code is left for simplify. */
#include <string.h>

#include "compiler/ir/order.h"
#include "compiler/pass/pass.h"

/* Losses are f32 whatever they are made of. */
static mdl_value *sum_of(mdl_builder *b, mdl_value *x) {
    int64_t axes[MDL_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) axes[i] = i;
    if (mdl_dtype_is_narrow(x->type.dtype)) x = mdl_cast(b, x, MDL_F32);
    return mdl_reduce(b, MDL_OP_SUM, x, x->type.rank, axes);
}

/* A batch's number as the step has it: kept in a state of the loss or metric `name`, which begins with the first micro-batch. */
static mdl_value *tally(mdl_builder *b, mdl_tally mode, mdl_state_kind kind, const char *name, mdl_value *batch) {
    const char **of = MDL_NEW(b->arena, const char *);
    *of = name;
    mdl_state state = mdl_state_by_name(kind, 1, of);
    if (mode == MDL_TALLY_BATCH) return batch;
    mdl_value *before = mode == MDL_TALLY_FIRST ? NULL : mdl_read(b, state, batch->type, 0, NULL);
    if (mode == MDL_TALLY_KEPT) return before;
    mdl_value *total = before ? mdl_binary(b, MDL_OP_ADD, before, batch) : batch;
    mdl_write(b, state, total, 0, NULL); /* of a value that depends on the read */
    return total;
}

static void result(mdl_builder *b, const char *prefix, const char *name, mdl_value *x) {
    mdl_result(b, mdl_printf(b->arena, "%s.%s", prefix, name), x);
}

/* 1/N, or 0 where nothing is selected: the step is then none. */
static mdl_value *inverse(mdl_builder *b, mdl_value *count) {
    mdl_value *zero = mdl_const_like(b, &count->type, 0), *one = mdl_const_like(b, &count->type, 1);
    return mdl_select(b, mdl_binary(b, MDL_OP_LT, zero, count), mdl_binary(b, MDL_OP_DIV, one, count), zero);
}

/* A loss or metric. Losses select, never multiply: 0 * NaN is NaN. */
static void measure(mdl_rewrite *r, const mdl_program_spec *p, const mdl_op *op) {
    mdl_builder *b = &r->b;
    const char *name = mdl_attr_str(op, "name");
    mdl_value *in[] = {mdl_mapped(op->in[0]), mdl_mapped(op->in[1]), NULL}, *count = NULL, *sum = NULL;
    if (p->counts) count = tally(b, p->counts, MDL_STATE_COUNT, name, sum_of(b, mdl_cast(b, in[1], MDL_F32)));
    if (p->sums)
        sum = tally(b, p->sums, MDL_STATE_SUM, name,
                    sum_of(b, mdl_select(b, in[1], in[0], mdl_const_like(b, &in[0]->type, 0))));
    if (op->code == MDL_OP_LOSS && p->grad != MDL_GRAD_NONE) {
        in[2] = inverse(b, count);
        mdl_build(b, MDL_OP_LOSS, 3, in, op->n_attr, op->attr, NULL, NULL);
    }
    if (!p->results) return; /* the interpreter gives a loss's own sum under the same name: the result comes after it */
    result(b, "sum", name, sum);
    result(b, "count", name, count);
}

static void sink(mdl_rewrite *r, const mdl_program_spec *p, const mdl_op *op) {
    r->b.span = op->span;
    if (op->code != MDL_OP_OUTPUT)
        measure(r, p, op);
    else if (p->source == MDL_FROM_OUTPUTS && !strcmp(mdl_attr_str(op, "program"), p->name))
        mdl_result(&r->b, mdl_attr_str(op, "name"), mdl_mapped(op->in[0]));
}

/* After all that the program writes: the copies follow from the parameters. */
static void refresh(mdl_pass_context *c, mdl_builder *b) {
    mdl_type arena = {.dtype = MDL_F32, .rank = 2, .dim = {c->layout->tiles, MDL_TILE}};
    b->span = (mdl_span){0};
    mdl_state from = mdl_state_flat(MDL_STATE_PARAM, 0), to = mdl_state_flat(MDL_STATE_COMPUTE, 0);
    from.tiles = to.tiles = c->layout->tiles;
    mdl_write_in_order(b, c->layout, to, mdl_cast(b, mdl_read_in_order(b, c->layout, from, arena), c->precision));
}

mdl_region *mdl_make_program(mdl_pass_context *c) {
    const mdl_program_spec *p = c->program;
    mdl_region *from = p->source == MDL_FROM_INIT ? c->module->init : c->module->forward;
    mdl_rewrite r = mdl_rewrite_begin(c, from);
    r.b.region->name = p->name;
    for (int i = 0; i < from->ops.n && p->source < MDL_FROM_NOTHING; i++) {
        mdl_op *op = from->ops.at[i];
        if (op->code == MDL_OP_LOSS || op->code == MDL_OP_METRIC || op->code == MDL_OP_OUTPUT)
            sink(&r, p, op);
        else
            mdl_keep(&r, op);
    }
    if (c->precision != MDL_F32 && (p->source == MDL_FROM_INIT || p->source == MDL_FROM_PARAMS)) refresh(c, &r.b);
    return mdl_rewrite_end(&r);
}
