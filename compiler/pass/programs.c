/* Makes a program from the model: its forward or part of it, with sums and counts of losses and metrics as results. Dead code is
 * left for simplify. */
#include <string.h>

#include "compiler/ir/order.h"
#include "compiler/pass/pass.h"

static void result_sum(mdl_rewrite *r, const char *prefix, const mdl_op *op, mdl_value *x) {
    int64_t axes[MDL_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) axes[i] = i;
    if (mdl_dtype_is_narrow(x->type.dtype)) x = mdl_cast(&r->b, x, MDL_F32); /* losses are f32 whatever they are made of */
    mdl_value *sum = mdl_reduce(&r->b, MDL_OP_SUM, x, x->type.rank, axes);
    mdl_result(&r->b, mdl_printf(r->b.arena, "%s.%s", prefix, mdl_attr_str(op, "name")), sum);
}

/* Losses select, never multiply: 0 * NaN is NaN. */
static void results_of(mdl_rewrite *r, const mdl_program_spec *p, const mdl_op *op) {
    mdl_value *value = mdl_mapped(op->in[0]), *mask = mdl_mapped(op->in[1]);
    if (p->sums) result_sum(r, "sum", op, mdl_select(&r->b, mask, value, mdl_const_like(&r->b, &value->type, 0)));
    if (p->counts) result_sum(r, "count", op, mdl_cast(&r->b, mask, MDL_F32));
}

static void sink(mdl_rewrite *r, const mdl_program_spec *p, const mdl_op *op) {
    r->b.span = op->span;
    if (op->code == MDL_OP_OUTPUT && p->source == MDL_FROM_OUTPUTS && !strcmp(mdl_attr_str(op, "program"), p->name))
        mdl_result(&r->b, mdl_attr_str(op, "name"), mdl_mapped(op->in[0]));
    if (op->code == MDL_OP_OUTPUT) return;
    results_of(r, p, op);
    if (op->code == MDL_OP_LOSS && p->grad != MDL_GRAD_NONE) mdl_keep(r, op);
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
