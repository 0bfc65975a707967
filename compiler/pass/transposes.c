/* needs: scheduled kernels. keeps: every value. breaks: where the target's row kernels store transposed copies, a transpose of what
 * one of them makes is a result of that kernel, whose blocks then have 16 rows or a multiple: runs of 16 bytes in the copy. */
#include "compiler/pass/pass.h"

enum { ROWS = 32 }; /* of a block that has no sums over rows: measured best of 16 to 128 */

typedef struct {
    mdl_rewrite r;
    const mdl_op **of; /* by value id: the transpose of a kernel's result, or NULL */
} work;

static int64_t rows_of_block(const mdl_op *kernel) {
    int64_t rows = mdl_attr_int(kernel, "rows"), blocks = mdl_attr_int(kernel, "blocks");
    return (rows + blocks - 1) / blocks;
}

static bool sums_rows(const mdl_op *kernel) {
    for (int i = 0; i < kernel->body->ops.n; i++)
        if (kernel->body->ops.at[i]->code == MDL_OP_PARTIAL_SUM) return true;
    return false;
}

/* A kernel's result of as many rows as it has. */
static bool is_made_by_rows(const mdl_value *v) {
    const mdl_op *kernel = v->def;
    if (kernel->code != MDL_OP_KERNEL || v->type.dim[0] != mdl_attr_int(kernel, "rows")) return false;
    if (v->type.dim[0] % 16 || v->type.dim[1] % 16) return false;
    return !sums_rows(kernel) || rows_of_block(kernel) % 16 == 0;
}

/* The body, yielding transposes of results `which` too. */
static mdl_region *with_transposes(mdl_pass_context *c, const mdl_op *kernel, int n, const int *which) {
    mdl_rewrite r = mdl_rewrite_begin(c, kernel->body);
    const mdl_op *yield = kernel->body->ops.at[kernel->body->ops.n - 1];
    mdl_value **out = MDL_NEW_ARRAY(c->arena, mdl_value *, yield->n_in + n);
    for (int i = 0; i + 1 < kernel->body->ops.n; i++) mdl_keep(&r, kernel->body->ops.at[i]);
    for (int i = 0; i < yield->n_in; i++) out[i] = mdl_mapped(yield->in[i]);
    for (int i = 0; i < n; i++)
        out[yield->n_in + i] = mdl_build(&r.b, MDL_OP_TRANSPOSE, 1, &out[which[i]], 0, NULL, NULL, NULL)->out[0];
    mdl_build(&r.b, MDL_OP_YIELD, yield->n_in + n, out, 0, NULL, NULL, NULL);
    return mdl_rewrite_end(&r);
}

static void rebuild(mdl_pass_context *c, work *w, const mdl_op *kernel, int n, const int *which) {
    int64_t rows = mdl_attr_int(kernel, "rows");
    int64_t blocks = sums_rows(kernel) ? mdl_attr_int(kernel, "blocks") : (rows + ROWS - 1) / ROWS;
    mdl_attr attr[] = {mdl_int("rows", rows), mdl_int("blocks", blocks)};
    mdl_value **in = mdl_mapped_in(&w->r, kernel);
    mdl_op *fresh = mdl_build_region(&w->r.b, MDL_OP_KERNEL, kernel->n_in, in, 2, attr, with_transposes(c, kernel, n, which));
    for (int i = 0; i < kernel->n_out; i++) mdl_map(kernel->out[i], fresh->out[i]);
    for (int i = 0; i < n; i++) mdl_map(w->of[kernel->out[which[i]]->id]->out[0], fresh->out[kernel->n_out + i]);
}

static void visit(mdl_pass_context *c, work *w, const mdl_op *op) {
    int n = 0, *which = MDL_NEW_ARRAY(c->arena, int, op->n_out + 1);
    for (int i = 0; i < op->n_out; i++)
        if (w->of[op->out[i]->id]) which[n++] = i;
    if (op->code == MDL_OP_TRANSPOSE && w->of[op->in[0]->id] == op) return; /* its kernel has made it */
    if (n)
        rebuild(c, w, op, n, which);
    else
        mdl_keep(&w->r, op);
}

mdl_region *mdl_pass_transposes(mdl_pass_context *c, mdl_region *in) {
    if (!c->target->transposes) return in;
    work w = {.r = mdl_rewrite_begin(c, in), .of = MDL_NEW_ARRAY(c->arena, const mdl_op *, in->next_id + 1)};
    for (int i = 0; i < in->ops.n; i++) {
        const mdl_op *op = in->ops.at[i];
        if (op->code == MDL_OP_TRANSPOSE && is_made_by_rows(op->in[0])) w.of[op->in[0]->id] = op;
    }
    for (int i = 0; i < in->ops.n; i++) visit(c, &w, in->ops.at[i]);
    return mdl_rewrite_end(&w.r);
}
