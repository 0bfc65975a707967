/* The verifier that runs after every pass. */
#include "compiler/op/op.h"

static const char *complain(mdl_arena *arena, const mdl_op *op, const char *what) {
    mdl_text text = {.arena = arena};
    mdl_text_printf(&text, "%s in: ", what);
    mdl_print_op(&text, op, 0, true);
    return text.at;
}

/* Tokens order accesses and holds; no other op takes one. */
static const char *check_tokens(const mdl_op *op) {
    bool ordered = op->code == MDL_OP_READ || op->code == MDL_OP_WRITE || op->code == MDL_OP_HOLD || op->code == MDL_OP_TOKEN;
    for (int i = 0; i < op->n_in; i++)
        if (!ordered && op->in[i]->type.dtype == MDL_TOKEN) return "a token where a value belongs";
    return NULL;
}

/* Once a row kernel knows its blocks, each makes a partial sum. */
static const char *check_blocks(const mdl_op *kernel) {
    int64_t blocks = mdl_attr_int_or(kernel, "blocks", 0);
    for (int i = 0; i < kernel->body->ops.n && kernel->code != MDL_OP_FUSED; i++) {
        const mdl_op *op = kernel->body->ops.at[i];
        if (op->code == MDL_OP_PARTIAL_SUM && mdl_attr_int(op, "chunks") != blocks)
            return "partial sums and blocks differ in number";
    }
    return NULL;
}

static const char *check_types(mdl_arena *arena, const mdl_op *op) {
    if (mdl_ops[op->code].class == MDL_REGION) {
        const mdl_region *body = op->body;
        if (!body || !body->ops.n || body->ops.at[body->ops.n - 1]->code != MDL_OP_YIELD) return "a body must end in yield";
        const mdl_op *yield = body->ops.at[body->ops.n - 1];
        if (yield->n_in != op->n_out) return "yield and results differ in number";
        for (int i = 0; i < op->n_out; i++)
            if (!mdl_type_equal(&yield->in[i]->type, &op->out[i]->type)) return "yield and result differ in type";
        for (int i = 0; i < body->ops.n; i++) {
            const mdl_op *arg = body->ops.at[i];
            if (arg->code != MDL_OP_ARG) continue;
            int64_t index = mdl_attr_int(arg, "index");
            if (index < 0 || index >= op->n_in) return "arg index out of range";
            if (!mdl_type_equal(&op->in[index]->type, &arg->out[0]->type)) return "arg and operand differ in type";
        }
        return check_blocks(op);
    }
    mdl_type types[4] = {{0}};
    const char *wrong = mdl_rules[op->code].type(arena, op, op->n_out ? &op->out[0]->type : NULL, types);
    if (wrong) return wrong;
    for (int i = 0; i < op->n_out; i++)
        if (!mdl_type_equal(&types[i], &op->out[i]->type))
            return mdl_printf(arena, "result %d should be %s", i, mdl_type_text(arena, &types[i]));
    return NULL;
}

/* Marks defined values by pointing scratch at the region; clears the marks before returning. */
static const char *check(mdl_arena *arena, const mdl_region *region) {
    for (int i = 0; i < region->ops.n; i++) {
        mdl_op *op = region->ops.at[i];
        const mdl_op_info *info = &mdl_ops[op->code];
        if (info->arity >= 0 && op->n_in != info->arity) return complain(arena, op, "wrong number of operands");
        if (info->results >= 0 && op->n_out != info->results) return complain(arena, op, "wrong number of results");
        for (int k = 0; k < op->n_in; k++)
            if (op->in[k]->scratch != region)
                return complain(arena, op, mdl_printf(arena, "operand %d is used before it is defined", k));
        const char *wrong = check_tokens(op);
        if (!wrong) wrong = check_types(arena, op);
        if (wrong) return complain(arena, op, wrong);
        for (int k = 0; k < op->n_out; k++) {
            if (op->out[k]->def != op || op->out[k]->index != k)
                return complain(arena, op, "a result does not point back at its op");
            op->out[k]->scratch = (void *)region;
        }
        if (op->body && (wrong = mdl_verify(arena, op->body))) return wrong;
        if (op->code == MDL_OP_YIELD && i + 1 != region->ops.n) return complain(arena, op, "yield is not last");
    }
    return NULL;
}

const char *mdl_verify(mdl_arena *arena, const mdl_region *region) {
    mdl_region_clear_scratch((mdl_region *)region);
    const char *wrong = check(arena, region);
    mdl_region_clear_scratch((mdl_region *)region);
    return wrong;
}
