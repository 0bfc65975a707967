/* needs: the gradients of all trained parameters in their states. keeps: everything. breaks: nothing; appends the update, behind
 * all writes of gradients and all that reads parameters.
 *
 * AdamW with decoupled weight decay and a clip by the global norm, on whole arenas as [tiles, MDL_TILE]. The formulas are
 * torch.optim.AdamW's and torch.nn.utils.clip_grad_norm_'s, in their order of operations. Everything that changes from step to
 * step is an input. Gaps between parameters count as gradients of 0 and so never reach the norm; what the other arenas hold there
 * stays there. Below f32 the parameters' compute copies are written in the same stroke. */
#include "compiler/ir/order.h"
#include "compiler/pass/pass.h"

typedef struct {
    mdl_builder *b;
    const mdl_layout *layout;
    mdl_type arena;
    mdl_dtype compute; /* dtype of the compute copies; f32: there are none */
} update;

static mdl_state whole(const update *u, mdl_state_kind kind) {
    mdl_state flat = mdl_state_flat(kind, 0);
    flat.tiles = u->arena.dim[0];
    return flat;
}

static mdl_value *read(update *u, mdl_state_kind kind, mdl_type type) {
    return mdl_read_in_order(u->b, u->layout, whole(u, kind), type);
}

static void write(update *u, mdl_state_kind kind, mdl_value *x) { mdl_write_in_order(u->b, u->layout, whole(u, kind), x); }

static mdl_value *binary(update *u, mdl_opcode code, mdl_value *x, mdl_value *y) { return mdl_binary(u->b, code, x, y); }
static mdl_value *scalar(update *u, const char *name) { return mdl_input(u->b, name, (mdl_type){.dtype = MDL_F32}); }
static mdl_value *wide(update *u, mdl_value *x) { return mdl_broadcast_scalar(u->b, x, &u->arena); }

/* min(1, max_norm / (norm + 1e-6)), or 1 when max_norm is 0: no clipping */
static mdl_value *clip_factor(update *u, mdl_value *norm) {
    mdl_value *limit = scalar(u, "max_grad_norm"), *zero = mdl_const(u->b, MDL_F32, 0), *one = mdl_const(u->b, MDL_F32, 1);
    mdl_value *ratio = binary(u, MDL_OP_DIV, limit, binary(u, MDL_OP_ADD, norm, mdl_const(u->b, MDL_F32, 1e-6)));
    return mdl_select(u->b, binary(u, MDL_OP_LT, zero, limit), binary(u, MDL_OP_MIN, one, ratio), one);
}

static mdl_value *global_norm(update *u, mdl_value *g) {
    int64_t axes[] = {0, 1};
    return mdl_unary(u->b, MDL_OP_SQRT, mdl_reduce(u->b, MDL_OP_SUM, binary(u, MDL_OP_MUL, g, g), 2, axes));
}

/* The gradients, 0 in the gaps. */
static mdl_value *gradients(update *u) {
    int64_t row = 0;
    mdl_type index = u->arena, per_tile = {.dtype = MDL_I32, .rank = 1, .dim = {u->arena.dim[0]}};
    mdl_attr axis = mdl_int("axis", 1);
    index.dtype = MDL_I32;
    mdl_value *column = mdl_build(u->b, MDL_OP_IOTA, 0, NULL, 1, &axis, &index, NULL)->out[0];
    mdl_value *used = mdl_broadcast(u->b, read(u, MDL_STATE_USED, per_tile), 1, &row, &index);
    return mdl_select(u->b, binary(u, MDL_OP_LT, column, used), read(u, MDL_STATE_GRAD, u->arena),
                      mdl_const_like(u->b, &u->arena, 0));
}

/* 1 - lr * weight_decay * decay[tile] */
static mdl_value *shrink(update *u, mdl_value *lr) {
    int64_t row = 0;
    mdl_type per_tile = {.dtype = MDL_BOOL, .rank = 1, .dim = {u->arena.dim[0]}};
    mdl_value *rate = wide(u, binary(u, MDL_OP_MUL, lr, scalar(u, "weight_decay")));
    mdl_value *mask = mdl_cast(u->b, read(u, MDL_STATE_DECAY, per_tile), MDL_F32);
    mdl_value *decay = mdl_broadcast(u->b, mask, 1, &row, &u->arena);
    return binary(u, MDL_OP_SUB, mdl_const_like(u->b, &u->arena, 1), binary(u, MDL_OP_MUL, rate, decay));
}

static void adamw(update *u) {
    mdl_value *g = gradients(u), *norm = global_norm(u, g);
    mdl_result(u->b, "grad_norm", norm);
    g = binary(u, MDL_OP_MUL, g, wide(u, clip_factor(u, norm)));
    mdl_value *m = read(u, MDL_STATE_MOMENT1, u->arena), *v = read(u, MDL_STATE_MOMENT2, u->arena);
    m = binary(u, MDL_OP_ADD, m, binary(u, MDL_OP_MUL, binary(u, MDL_OP_SUB, g, m), wide(u, scalar(u, "one_minus_beta1"))));
    v = binary(u, MDL_OP_ADD, binary(u, MDL_OP_MUL, v, wide(u, scalar(u, "beta2"))),
               binary(u, MDL_OP_MUL, binary(u, MDL_OP_MUL, g, g), wide(u, scalar(u, "one_minus_beta2"))));
    mdl_value *lr = scalar(u, "lr"), *step = wide(u, binary(u, MDL_OP_DIV, lr, scalar(u, "bias_correction1")));
    mdl_value *root = binary(u, MDL_OP_DIV, mdl_unary(u->b, MDL_OP_SQRT, v), wide(u, scalar(u, "sqrt_bias_correction2")));
    mdl_value *denominator = binary(u, MDL_OP_ADD, root, wide(u, scalar(u, "eps")));
    mdl_value *p = binary(u, MDL_OP_MUL, read(u, MDL_STATE_PARAM, u->arena), shrink(u, lr));
    p = binary(u, MDL_OP_SUB, p, binary(u, MDL_OP_MUL, step, binary(u, MDL_OP_DIV, m, denominator)));
    write(u, MDL_STATE_PARAM, p);
    if (u->compute != MDL_F32) write(u, MDL_STATE_COMPUTE, mdl_cast(u->b, p, u->compute));
    write(u, MDL_STATE_MOMENT1, m);
    write(u, MDL_STATE_MOMENT2, v);
}

mdl_region *mdl_pass_optimizer(mdl_pass_context *c, mdl_region *in) {
    if (!c->program->optimizer) return in;
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    for (int i = 0; i < in->ops.n; i++) mdl_keep(&r, in->ops.at[i]);
    r.b.span = (mdl_span){0};
    adamw(&(update){&r.b, c->layout, {.dtype = MDL_F32, .rank = 2, .dim = {c->layout->tiles, MDL_TILE}}, c->precision});
    return mdl_rewrite_end(&r);
}
