/* needs: the front end's forward. keeps: every value. breaks: composite ops (mean), which have no gradient rule; a state that is
 * read at several places (a tied parameter) is read once, so that it has one adjoint. */
#include <string.h>

#include "compiler/pass/pass.h"

static mdl_value *mean(mdl_rewrite *r, const mdl_op *op) {
    mdl_value *x = mdl_mapped(op->in[0]);
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    mdl_value *sum = mdl_reduce(&r->b, MDL_OP_SUM, x, axes->n, axes->is);
    double n = (double)mdl_type_count(&x->type) / (double)mdl_type_count(&sum->type);
    return mdl_binary(&r->b, MDL_OP_MUL, sum, mdl_const_like(&r->b, &sum->type, 1 / n));
}

typedef MDL_VEC(mdl_op *) op_list;

static mdl_value *earlier_read(const op_list *reads, const mdl_op *op) {
    for (int i = 0; i < reads->n; i++)
        if (!strcmp(mdl_first_param(reads->at[i]), mdl_first_param(op))) return reads->at[i]->out[0];
    return NULL;
}

mdl_region *mdl_pass_decompose(mdl_pass_context *c, mdl_region *in) {
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    op_list reads = {0};
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        mdl_value *same = op->code == MDL_OP_READ && !op->n_in ? earlier_read(&reads, op) : NULL;
        r.b.span = op->span;
        if (op->code == MDL_OP_MEAN)
            mdl_map(op->out[0], mean(&r, op));
        else if (same)
            mdl_map(op->out[0], same);
        else {
            mdl_op *kept = mdl_keep(&r, op);
            if (op->code == MDL_OP_READ && !op->n_in) MDL_PUSH(c->arena, reads, kept);
        }
    }
    return mdl_rewrite_end(&r);
}
