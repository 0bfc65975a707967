/* needs: kernels. keeps: every value to rounding. breaks: kernels and fused anchors no longer yield sums over rows; they yield one
 * partial sum for each chunk of rows, and one finish op after the kernel adds the chunks in order, onto an initial value where
 * there is one. */
#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "compiler/pass/pass.h"

typedef MDL_VEC(mdl_value *) value_list;

/* The body with partial sums for column sums. */
static mdl_region *split_body(mdl_pass_context *c, const mdl_op *kernel, int64_t chunks) {
    mdl_rewrite r = mdl_rewrite_begin(c, kernel->body);
    for (int i = 0; i < kernel->body->ops.n; i++) {
        mdl_op *op = kernel->body->ops.at[i];
        if (!mdl_is_column_sum(op)) {
            mdl_keep(&r, op);
            continue;
        }
        mdl_value *x = mdl_mapped(op->in[0]);
        mdl_attr attr[3] = {mdl_int("chunks", chunks)};
        mdl_dtype acc = mdl_accumulation_of(op).acc;
        int n = 1 + mdl_accumulation_attrs((mdl_accumulation){acc, acc}, x->type.dtype, attr + 1);
        r.b.span = op->span;
        mdl_op *partial = mdl_build(&r.b, MDL_OP_PARTIAL_SUM, 1, &x, n, attr, NULL, NULL);
        mdl_map(op->out[0], partial->out[0]);
        partial->out[0]->stable = 0; /* it is not the sum yet: finish makes that */
    }
    return mdl_rewrite_end(&r);
}

static mdl_value *arg(mdl_builder *b, int64_t index, mdl_value *operand) {
    mdl_attr attr = mdl_int("index", index);
    return mdl_build(b, MDL_OP_ARG, 0, NULL, 1, &attr, &operand->type, NULL)->out[0];
}

/* operands: the partials, then (with_init) as many initial values; sums: the column sums they were */
static mdl_op *finish(mdl_rewrite *r, int n, mdl_value *const *operands, const mdl_op *const *sums, bool with_init) {
    mdl_builder b = {r->b.arena, mdl_region_new(r->b.arena, ""), r->b.span};
    value_list yields = {0};
    mdl_attr attr[3] = {mdl_ints(r->b.arena, "axes", 1, &(int64_t){0})};
    for (int i = 0; i < n; i++) {
        int n_attr = 1 + mdl_accumulation_attrs(mdl_accumulation_of(sums[i]), operands[i]->type.dtype, attr + 1);
        mdl_value *in[] = {arg(&b, i, operands[i]), with_init ? arg(&b, n + i, operands[n + i]) : NULL};
        MDL_PUSH(b.arena, yields, mdl_build(&b, MDL_OP_SUM, 1 + with_init, in, n_attr, attr, NULL, NULL)->out[0]);
    }
    mdl_build(&b, MDL_OP_YIELD, yields.n, yields.at, 0, NULL, NULL, NULL);
    mdl_attr init = mdl_int("init", with_init);
    return mdl_build_region(&r->b, MDL_OP_FINISH, with_init ? 2 * n : n, operands, 1, &init, b.region);
}

/* The operands that the kernel body still uses, and the kernel op over them. Args that only fed an init disappear. */
static mdl_op *rebuild(mdl_rewrite *r, const mdl_op *kernel, mdl_region *body, int64_t chunks) {
    value_list in = {0};
    int *uses = mdl_count_uses(r->b.arena, body);
    int kept = 0;
    for (int i = 0; i < body->ops.n; i++) {
        mdl_op *op = body->ops.at[i];
        if (op->code == MDL_OP_ARG) {
            if (!uses[op->out[0]->id]) continue;
            int64_t index = mdl_attr_int(op, "index");
            op->attr = mdl_copy(r->b.arena, &(mdl_attr){.key = "index", .kind = MDL_ATTR_INT, .i = in.n}, sizeof *op->attr);
            MDL_PUSH(r->b.arena, in, mdl_mapped(kernel->in[index]));
        }
        body->ops.at[kept++] = op;
    }
    body->ops.n = kept;
    mdl_region_renumber(body);
    if (kernel->code == MDL_OP_FUSED) return mdl_build_region(&r->b, MDL_OP_FUSED, in.n, in.at, 0, NULL, body);
    mdl_attr attr[] = {mdl_int("rows", mdl_attr_int(kernel, "rows")), mdl_int("chunks", chunks)};
    return mdl_build_region(&r->b, MDL_OP_KERNEL, in.n, in.at, 2, attr, body);
}

/* One finish, or as many as the target's limit of arguments asks for. */
static void finish_sums(mdl_pass_context *c, mdl_rewrite *r, const mdl_op *kernel, mdl_op *fresh, bool with_init) {
    const mdl_op *yield = kernel->body->ops.at[kernel->body->ops.n - 1];
    value_list partials = {0}, inits = {0};
    MDL_VEC(int) which = {0};
    MDL_VEC(const mdl_op *) sums = {0};
    for (int i = 0; i < yield->n_in; i++) {
        const mdl_op *sum = yield->in[i]->def;
        if (!mdl_is_column_sum(sum) || (sum->n_in == 2) != with_init) continue;
        MDL_PUSH(r->b.arena, partials, fresh->out[i]);
        MDL_PUSH(r->b.arena, which, i);
        MDL_PUSH(r->b.arena, sums, sum);
        if (with_init) MDL_PUSH(r->b.arena, inits, mdl_mapped(kernel->in[mdl_attr_int(sum->in[1]->def, "index")]));
    }
    int per = 2 + with_init, most = c->target->limits.args ? c->target->limits.args / per : which.n;
    for (int from = 0; from < which.n; from += most) {
        int n = which.n - from < most ? which.n - from : most;
        value_list in = {0};
        for (int i = 0; i < n; i++) MDL_PUSH(c->arena, in, partials.at[from + i]);
        for (int i = 0; with_init && i < n; i++) MDL_PUSH(c->arena, in, inits.at[from + i]);
        mdl_op *op = finish(r, n, in.at, sums.at + from, with_init);
        for (int i = 0; i < n; i++) mdl_map(kernel->out[which.at[from + i]], op->out[i]);
    }
}

static void schedule(mdl_pass_context *c, mdl_rewrite *r, mdl_op *kernel) {
    bool fused = kernel->code == MDL_OP_FUSED;
    int64_t chunks = fused ? c->target->fused_partials(kernel) : c->target->partials(mdl_attr_int(kernel, "rows"));
    r->b.span = kernel->span;
    mdl_op *fresh = rebuild(r, kernel, split_body(c, kernel, chunks), chunks);
    const mdl_op *yield = kernel->body->ops.at[kernel->body->ops.n - 1];
    for (int i = 0; i < kernel->n_out; i++)
        if (!mdl_is_column_sum(yield->in[i]->def)) mdl_map(kernel->out[i], fresh->out[i]);
    finish_sums(c, r, kernel, fresh, false);
    finish_sums(c, r, kernel, fresh, true);
}

mdl_region *mdl_pass_schedule(mdl_pass_context *c, mdl_region *in) {
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    for (int i = 0; i < in->ops.n; i++) {
        if (in->ops.at[i]->code == MDL_OP_KERNEL || in->ops.at[i]->code == MDL_OP_FUSED)
            schedule(c, &r, in->ops.at[i]);
        else
            mdl_keep(&r, in->ops.at[i]);
    }
    return mdl_rewrite_end(&r);
}
