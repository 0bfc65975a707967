/* See describe.h. */
#include "compiler/target/describe.h"

#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "runtime/base/status.h"

static void integer(mdl_arena *arena, mdl_kernel_source *s, int64_t i) { MDL_PUSH(arena, s->integers, i); }

/* What a body does, in a few words: its costly ops and its reductions. */
static const char *describe_body(mdl_arena *arena, const mdl_op *kernel) {
    static const mdl_opcode telling[] = {MDL_OP_GATHER, MDL_OP_RANDOM,     MDL_OP_ERF, MDL_OP_EXP,        MDL_OP_LN,
                                         MDL_OP_TANH,   MDL_OP_SIN,        MDL_OP_COS, MDL_OP_RSQRT,      MDL_OP_SQRT,
                                         MDL_OP_CONCAT, MDL_OP_REDUCE_MAX, MDL_OP_SUM, MDL_OP_PARTIAL_SUM};
    mdl_text t = {.arena = arena};
    for (size_t k = 0; k < sizeof telling / sizeof *telling; k++)
        for (int i = 0; i < kernel->body->ops.n; i++) {
            if (kernel->body->ops.at[i]->code != telling[k]) continue;
            mdl_text_printf(&t, "%s%s", t.n ? " " : "", mdl_ops[telling[k]].name);
            break;
        }
    return t.n ? t.at : "pointwise";
}

static int64_t pointwise_flops(const mdl_region *body) {
    int64_t flops = 0;
    for (int i = 0; i < body->ops.n; i++) {
        const mdl_op *op = body->ops.at[i];
        mdl_class class = mdl_ops[op->code].class;
        if (class == MDL_POINTWISE) flops += mdl_type_count(&op->out[0]->type);
        if (class == MDL_REDUCE) flops += mdl_type_count(&op->in[0]->type);
    }
    return flops;
}

static const char *class_of(const mdl_op *kernel) {
    for (int i = 0; i < kernel->n_in; i++)
        if (mdl_is_state(kernel->in[i]->def, MDL_STATE_GRAD) && !mdl_first_param(kernel->in[i]->def)) return "optimizer";
    for (int i = 0; i < kernel->body->ops.n; i++)
        if (kernel->body->ops.at[i]->code == MDL_OP_RANDOM) return "random";
    return "row";
}

void mdl_describe_rows(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s, int64_t most) {
    int64_t rows = mdl_attr_int(op, "rows"), blocks = mdl_attr_int(op, "blocks");
    s->class = class_of(op);
    s->label = describe_body(arena, op);
    s->flops = pointwise_flops(op->body);
    integer(arena, s, rows);
    integer(arena, s, (rows + blocks - 1) / blocks);
    for (int i = 0; i < op->n_in; i++)
        if (mdl_is(op->in[i], MDL_OP_IMM)) integer(arena, s, mdl_attr_int(op->in[i]->def, "value"));
    s->sizes = 1;
    s->blocks = (mdl_template_blocks){0, 1, 1};
    s->most = blocks < rows ? blocks : most;
    s->per_block = 1;
}

/* ---- templates ---- */
void mdl_describe_finish(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s, const int64_t **cols, const bool **init) {
    int64_t *widths = MDL_NEW_ARRAY(arena, int64_t, op->n_out);
    bool *starts = MDL_NEW_ARRAY(arena, bool, op->n_out);
    for (int i = 0; i < op->n_out; i++) {
        widths[i] = mdl_type_count(&op->out[i]->type), starts[i] = mdl_finish_init(op, i) >= 0;
        integer(arena, s, op->in[i]->type.dim[0]);
    }
    s->class = "finish";
    s->label = "column sum";
    s->sizes = op->n_out;
    *cols = widths, *init = starts;
}

int64_t mdl_describe_scatter(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const mdl_type *x = &op->in[0]->type;
    integer(arena, s, x->dim[0]);
    integer(arena, s, mdl_attr_int(op, "rows"));
    s->class = "scatter";
    s->label = "scatter add";
    return mdl_span_product(x, 1, x->rank);
}

int64_t mdl_describe_transpose(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    integer(arena, s, op->in[0]->type.dim[0]);
    s->class = "transpose";
    s->label = "transpose";
    s->sizes = 1;
    return op->in[0]->type.dim[1];
}

static void tokens_and_segments(mdl_arena *arena, const mdl_value *seq, mdl_kernel_source *s) {
    integer(arena, s, seq->type.dim[1]);
    integer(arena, s, seq->type.dim[0]);
}

int64_t mdl_describe_segment(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const mdl_type *x = &op->in[0]->type;
    tokens_and_segments(arena, op->in[op->n_in - 1], s);
    s->class = "segment";
    s->label = mdl_ops[op->code].name;
    return op->code == MDL_OP_SEGSUM ? mdl_span_product(x, 1, x->rank) : 1;
}

mdl_attention_shape mdl_attention_shape_of(const mdl_op *op) {
    const mdl_attr *cap = mdl_find_attr(op, "softcap");
    const mdl_type *q = &op->in[0]->type;
    bool causal = mdl_attr_int_or(op, "causal", 0);
    return (mdl_attention_shape){
        .heads = q->dim[1],
        .kv_heads = op->in[1]->type.dim[1],
        .head_dim = q->dim[2],
        .mask = {mdl_attr_int_or(op, "left", -1), causal ? 0 : mdl_attr_int_or(op, "right", -1)},
        .scale = mdl_attr_real(op, "scale"),
        .softcap = cap ? cap->f : 0,
    };
}

const mdl_op *mdl_fused_anchor(const mdl_op *fused) {
    for (int i = 0; i < fused->body->ops.n; i++)
        if (mdl_ops[fused->body->ops.at[i]->code].class == MDL_STRUCTURED) return fused->body->ops.at[i];
    mdl_bug("a fused op without an anchor");
}

mdl_attention_shape mdl_describe_attention(mdl_arena *arena, const mdl_op *fused, mdl_kernel_source *s) {
    const mdl_op *anchor = mdl_fused_anchor(fused);
    const mdl_value *seq = fused->in[mdl_attr_int(anchor->in[anchor->n_in - 1]->def, "index")];
    bool backward = anchor->code == MDL_OP_ATTENTION_BWD;
    mdl_attention_shape shape = mdl_attention_shape_of(anchor);
    tokens_and_segments(arena, seq, s);
    s->class = backward ? "attention_bwd" : "attention";
    s->label = backward ? "attention backward" : "attention";
    s->flops = mdl_template_attention_flops(&shape, backward, seq->type.dim[1], seq->type.dim[0]);
    return shape;
}

/* ---- what there is ---- */
bool mdl_has_template(mdl_opcode code) {
    return code != MDL_OP_XENT && code != MDL_OP_XENT_BWD && code != MDL_OP_ARGMAX && code != MDL_OP_SPREAD;
}

static bool is_sum(const mdl_op *op) {
    return op->code == MDL_OP_FINISH || op->code == MDL_OP_SCATTER_ADD || op->code == MDL_OP_SEGSUM;
}

const char *mdl_refuses_sums(mdl_arena *arena, const mdl_op *op) {
    for (int i = 0; i < op->n_out && is_sum(op); i++) {
        if (op->out[i]->type.dtype == MDL_F32) continue;
        if (op->code == MDL_OP_SCATTER_ADD) return "a scatter of whole numbers: cast them to f32";
        return mdl_printf(arena, "a sum of whole numbers over %s: cast them to f32",
                          op->code == MDL_OP_FINISH ? "rows" : "segments");
    }
    return NULL;
}
