/* needs: gradients made. keeps: every value. breaks: structured ops without a template on the target (cross-entropy, argmax,
 * spread) become primitives, in f32 whatever the logits; a sum over rows and columns becomes one over columns, then one over rows;
 * a dot whose operands no matrix product can read where they lie gets them permuted; a concat of rows becomes gathers, for a
 * kernel's loop over rows cannot be cut. */
#include "compiler/op/matrices.h"
#include "compiler/op/op.h"
#include "compiler/pass/pass.h"

static mdl_value *rows_to(mdl_rewrite *r, mdl_value *x, const mdl_type *shape) { /* [T] -> [T, V] */
    int64_t row = 0;
    return mdl_broadcast(&r->b, x, 1, &row, shape);
}

static mdl_value *iota(mdl_rewrite *r, const mdl_type *shape, int axis) {
    mdl_type type = mdl_type_make(MDL_I32, shape->rank, shape->dim);
    mdl_attr attr = mdl_int("axis", axis);
    return mdl_build(&r->b, MDL_OP_IOTA, 0, NULL, 1, &attr, &type, NULL)->out[0];
}

static mdl_value *onehot(mdl_rewrite *r, mdl_value *labels, const mdl_type *logits) {
    return mdl_binary(&r->b, MDL_OP_EQ, iota(r, logits, 1), rows_to(r, labels, logits));
}

static mdl_value *valid(mdl_rewrite *r, mdl_value *labels, int64_t V) {
    mdl_builder *b = &r->b;
    mdl_value *low = mdl_binary(b, MDL_OP_LE, mdl_const_like(b, &labels->type, 0), labels);
    return mdl_binary(b, MDL_OP_AND, low, mdl_binary(b, MDL_OP_LT, labels, mdl_const_like(b, &labels->type, (double)V)));
}

static void xent(mdl_rewrite *r, const mdl_op *op) {
    mdl_builder *b = &r->b;
    mdl_value *z = mdl_cast(b, mdl_mapped(op->in[0]), op->out[0]->type.dtype), *labels = mdl_mapped(op->in[1]);
    int64_t col = 1;
    mdl_value *top = mdl_reduce(b, MDL_OP_REDUCE_MAX, z, 1, &col);
    mdl_value *e = mdl_unary(b, MDL_OP_EXP, mdl_binary(b, MDL_OP_SUB, z, rows_to(r, top, &z->type)));
    mdl_value *lse = mdl_binary(b, MDL_OP_ADD, mdl_unary(b, MDL_OP_LN, mdl_reduce(b, MDL_OP_SUM, e, 1, &col)), top);
    mdl_value *hit = mdl_select(b, onehot(r, labels, &z->type), z, mdl_const_like(b, &z->type, 0));
    mdl_value *loss = mdl_binary(b, MDL_OP_SUB, lse, mdl_reduce(b, MDL_OP_SUM, hit, 1, &col));
    mdl_map(op->out[0], mdl_select(b, valid(r, labels, z->type.dim[1]), loss, mdl_const_like(b, &loss->type, 0)));
    mdl_map(op->out[1], lse);
}

static void xent_bwd(mdl_rewrite *r, const mdl_op *op) {
    mdl_builder *b = &r->b;
    mdl_value *labels = mdl_mapped(op->in[1]), *lse = mdl_mapped(op->in[2]), *d = mdl_mapped(op->in[3]);
    mdl_value *z = mdl_cast(b, mdl_mapped(op->in[0]), lse->type.dtype);
    mdl_value *p = mdl_unary(b, MDL_OP_EXP, mdl_binary(b, MDL_OP_SUB, z, rows_to(r, lse, &z->type)));
    mdl_value *target = mdl_cast(b, onehot(r, labels, &z->type), z->type.dtype);
    mdl_value *used = mdl_select(b, valid(r, labels, z->type.dim[1]), d, mdl_const_like(b, &d->type, 0));
    mdl_value *dz = mdl_binary(b, MDL_OP_MUL, mdl_binary(b, MDL_OP_SUB, p, target), rows_to(r, used, &z->type));
    mdl_map(op->out[0], mdl_cast(b, dz, op->out[0]->type.dtype));
}

/* The first maximum is the largest n-1-i among the maxima. */
static void argmax(mdl_rewrite *r, const mdl_op *op) {
    mdl_builder *b = &r->b;
    mdl_value *x = mdl_mapped(op->in[0]);
    int64_t axis = mdl_attr_int(op, "axis"), kept[MDL_MAX_RANK];
    for (int i = 0, n = 0; i < x->type.rank; i++)
        if (i != axis) kept[n++] = i;
    mdl_value *top = mdl_broadcast(b, mdl_reduce(b, MDL_OP_REDUCE_MAX, x, 1, &axis), x->type.rank - 1, kept, &x->type);
    mdl_value *i = iota(r, &x->type, (int)axis), *last = mdl_const_like(b, &i->type, (double)x->type.dim[axis] - 1);
    mdl_value *rank =
        mdl_select(b, mdl_binary(b, MDL_OP_EQ, x, top), mdl_binary(b, MDL_OP_SUB, last, i), mdl_const_like(b, &i->type, 0));
    mdl_value *best = mdl_reduce(b, MDL_OP_REDUCE_MAX, rank, 1, &axis);
    mdl_map(op->out[0], mdl_binary(b, MDL_OP_SUB, mdl_const_like(b, &best->type, (double)x->type.dim[axis] - 1), best));
}

static void spread(mdl_rewrite *r, const mdl_op *op) {
    mdl_value *seq = mdl_mapped(op->in[1]);
    mdl_value *in[] = {mdl_mapped(op->in[0]), mdl_build(&r->b, MDL_OP_SEGMENT_ID, 1, &seq, 0, NULL, NULL, NULL)->out[0]};
    mdl_map(op->out[0], mdl_build(&r->b, MDL_OP_GATHER, 2, in, 0, NULL, NULL, NULL)->out[0]);
}

static bool split_sum(mdl_rewrite *r, const mdl_op *op) {
    const mdl_attr *axes = mdl_find_attr(op, "axes");
    if (axes->n < 2 || axes->is[0] != 0) return false;
    int64_t row = 0;
    mdl_accumulation a = mdl_accumulation_of(op);
    mdl_value *x = mdl_mapped(op->in[0]);
    mdl_value *columns = mdl_sum(&r->b, x, axes->n - 1, axes->is + 1, (mdl_accumulation){a.acc, a.acc});
    mdl_map(op->out[0], mdl_sum(&r->b, columns, 1, &row, a));
    return true;
}

static bool permute_dot(mdl_rewrite *r, const mdl_op *op) {
    mdl_matrices ignored;
    if (op->n_in != 2 || mdl_dot_as_matrices(op, &ignored)) return false;
    mdl_map(op->out[0], mdl_dot_permuted(&r->b, op, mdl_mapped(op->in[0]), mdl_mapped(op->in[1])));
    return true;
}

/* The rows of a part in the place that a concat gives them, from `start` on; 0 in other rows. A constant is itself in all rows. */
static mdl_value *placed_rows(mdl_rewrite *r, mdl_value *part, mdl_value *row, int64_t start, const mdl_type *whole) {
    mdl_builder *b = &r->b;
    double value;
    if (mdl_is_const(part, &value)) return mdl_const_like(b, whole, value);
    mdl_value *own = mdl_binary(b, MDL_OP_SUB, row, mdl_const_like(b, &row->type, (double)start));
    mdl_value *outside = mdl_const_like(b, &row->type, -1);
    mdl_value *in[] = {part, mdl_select(b, valid(r, own, part->type.dim[0]), own, outside)};
    return mdl_build(b, MDL_OP_GATHER, 2, in, 0, NULL, NULL, NULL)->out[0];
}

static bool concat_rows(mdl_rewrite *r, const mdl_op *op) {
    if (mdl_attr_int(op, "axis") != 0) return false;
    const mdl_type *whole = &op->out[0]->type;
    mdl_value *row = iota(r, &(mdl_type){.rank = 1, .dim = {whole->dim[0]}}, 0), *all = NULL;
    int64_t end = whole->dim[0];
    for (int i = op->n_in - 1; i >= 0; i--) {
        mdl_value *part = mdl_mapped(op->in[i]);
        int64_t start = end - part->type.dim[0];
        mdl_value *placed = op->n_in > 1 ? placed_rows(r, part, row, start, whole) : part;
        mdl_value *before = mdl_binary(&r->b, MDL_OP_LT, row, mdl_const_like(&r->b, &row->type, (double)end));
        all = all ? mdl_select(&r->b, rows_to(r, before, whole), placed, all) : placed;
        end = start;
    }
    mdl_map(op->out[0], all);
    return true;
}

mdl_region *mdl_pass_lower(mdl_pass_context *c, mdl_region *in) {
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        r.b.span = op->span;
        switch (c->target->has(op->code) ? MDL_OP_COUNT : op->code) {
            case MDL_OP_XENT: xent(&r, op); break;
            case MDL_OP_XENT_BWD: xent_bwd(&r, op); break;
            case MDL_OP_ARGMAX: argmax(&r, op); break;
            case MDL_OP_SPREAD: spread(&r, op); break;
            default:
                if (op->code == MDL_OP_SUM && split_sum(&r, op)) break;
                if (op->code == MDL_OP_CONCAT && concat_rows(&r, op)) break;
                if (op->code == MDL_OP_DOT && permute_dot(&r, op)) break;
                mdl_keep(&r, op);
        }
    }
    return mdl_rewrite_end(&r);
}
