/* Ops as kernels of the CPU: which template or printer makes each, and how it is launched. */
#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/kernel/attention.h"
#include "compiler/kernel/rows.h"
#include "compiler/kernel/template.h"
#include "compiler/op/op.h"
#include "compiler/target/cpu.h"
#include "runtime/base/status.h"

static void integer(mdl_arena *arena, mdl_kernel_source *s, int64_t i) { MDL_PUSH(arena, s->integers, i); }

/* ---- row kernels ---- */
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

/* A block runs its rows one after the other, each through all phases: what a row needs twice is in the cache. */
static const char *row_kernel(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    static const mdl_schedule schedule = {.row_block = 1, .lanes = 1};
    const char *error;
    const mdl_loop_kernel *loops = mdl_loop_lower(arena, op, &schedule, NULL, NULL, NULL, &error);
    if (!loops) return error;
    s->text = mdl_cpu_print_row(arena, loops, MDL_KERNEL_PLACEHOLDER, &error);
    return s->text ? NULL : error;
}

static void launch_rows(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
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
    s->most = blocks < rows ? blocks : MDL_ROW_BLOCKS;
    s->per_block = 1;
}

/* ---- templates ---- */
static void finish(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    int n = op->n_out;
    int64_t *cols = MDL_NEW_ARRAY(arena, int64_t, n);
    bool *init = MDL_NEW_ARRAY(arena, bool, n);
    for (int i = 0; i < n; i++) cols[i] = mdl_type_count(&op->out[i]->type), init[i] = mdl_finish_init(op, i) >= 0;
    for (int i = 0; i < n; i++) integer(arena, s, op->in[i]->type.dim[0]);
    s->class = "finish";
    s->label = "column sum";
    s->text = mdl_template_finish(arena, n, cols, init, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_finish_blocks(n, cols);
    s->sizes = n;
}

static void scatter_add(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const mdl_type *x = &op->in[0]->type;
    int64_t cols = mdl_span_product(x, 1, x->rank);
    integer(arena, s, x->dim[0]);
    integer(arena, s, mdl_attr_int(op, "rows"));
    s->class = "scatter";
    s->label = "scatter add";
    s->text = mdl_template_scatter_add(arena, x->dtype, cols, op->n_in == 3, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_scatter_add_blocks(cols);
}

static void tokens_and_segments(mdl_arena *arena, const mdl_value *seq, mdl_kernel_source *s) {
    integer(arena, s, seq->type.dim[1]);
    integer(arena, s, seq->type.dim[0]);
}

static void segment(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const mdl_type *x = &op->in[0]->type;
    int64_t cols = op->code == MDL_OP_SEGSUM ? mdl_span_product(x, 1, x->rank) : 1;
    tokens_and_segments(arena, op->in[op->n_in - 1], s);
    s->class = "segment";
    s->label = mdl_ops[op->code].name;
    s->text = mdl_template_segment(arena, s->label, x->dtype, cols, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_segment_blocks(s->label, cols);
}

/* Every attention stands in a fused op, if only by itself. */
static const char *attention(mdl_arena *arena, const mdl_op *fused, mdl_kernel_source *s) {
    const mdl_op *anchor = mdl_fused_anchor(fused);
    const mdl_value *seq = fused->in[mdl_attr_int(anchor->in[anchor->n_in - 1]->def, "index")];
    bool backward = anchor->code == MDL_OP_ATTENTION_BWD;
    mdl_attention_shape shape = mdl_cpu_attention_shape(anchor);
    tokens_and_segments(arena, seq, s);
    s->class = backward ? "attention_bwd" : "attention";
    s->label = backward ? "attention backward" : "attention";
    s->blocks = backward ? mdl_template_attention_bwd_blocks(&shape) : mdl_template_attention_blocks(&shape);
    s->flops = mdl_template_attention_flops(&shape, backward, seq->type.dim[1], seq->type.dim[0]);
    return s->text ? NULL : mdl_cpu_fused_attention(arena, fused, &s->text);
}

/* ---- the target ---- */
static bool has(mdl_opcode code) {
    return code != MDL_OP_XENT && code != MDL_OP_XENT_BWD && code != MDL_OP_ARGMAX && code != MDL_OP_SPREAD;
}

static bool is_sum(const mdl_op *op) {
    return op->code == MDL_OP_FINISH || op->code == MDL_OP_SCATTER_ADD || op->code == MDL_OP_SEGSUM;
}

static const char *refuses(mdl_arena *arena, const mdl_op *op) {
    if (op->code == MDL_OP_FUSED && mdl_fused_anchor(op)->in[0]->type.dim[2] > MDL_ATTENTION_WIDEST)
        return "attention with heads wider than 512";
    for (int i = 0; i < op->n_out && is_sum(op); i++) {
        if (op->out[i]->type.dtype == MDL_F32) continue;
        if (op->code == MDL_OP_SCATTER_ADD) return "a scatter of whole numbers: cast them to f32";
        return mdl_printf(arena, "a sum of whole numbers over %s: cast them to f32",
                          op->code == MDL_OP_FINISH ? "rows" : "segments");
    }
    return NULL;
}

static const char *kernel(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const char *wrong = refuses(arena, op), *known = s->text;
    *s = (mdl_kernel_source){.text = known, .per_block = -1, .sizes = 2};
    if (wrong) return wrong;
    switch (op->code) {
        case MDL_OP_KERNEL: launch_rows(arena, op, s); return known ? NULL : row_kernel(arena, op, s);
        case MDL_OP_FINISH: finish(arena, op, s); return NULL;
        case MDL_OP_FUSED: return attention(arena, op, s);
        case MDL_OP_SCATTER_ADD: scatter_add(arena, op, s); return NULL;
        case MDL_OP_SEGMENT_ID:
        case MDL_OP_POSITION:
        case MDL_OP_SEGLEN:
        case MDL_OP_FIRST:
        case MDL_OP_SEGSUM: segment(arena, op, s); return NULL;
        default: return mdl_printf(arena, "'%s'", mdl_ops[op->code].name);
    }
}

/* Tiles are filled and emptied row by row by scalar code that vectorizes: all of it. */
static bool absorbs(const mdl_op *anchor, const mdl_op *op, bool stores) {
    (void)anchor, (void)op, (void)stores;
    return true;
}

static int64_t fused_partials(const mdl_op *fused) {
    const mdl_op *anchor = mdl_fused_anchor(fused);
    mdl_attention_shape shape = mdl_cpu_attention_shape(anchor);
    int64_t tokens = anchor->in[0]->type.dim[0];
    return mdl_template_grid(mdl_template_attention_bwd_blocks(&shape), tokens, 0) / shape.kv_heads;
}

const mdl_target mdl_target_cpu = {
    .name = "cpu",
    /* Pointers: 1 KB of a kernel's parameters. Ops and copies: a native compiler's time grows faster than a function. */
    .limits = {.args = 120, .ops = 256, .copies = 32},
    .has = has,
    .absorbs = absorbs,
    .partials = mdl_partials,
    .row_blocks = mdl_row_blocks,
    .fused_partials = fused_partials,
    .refuses = refuses,
    .kernel = kernel,
    .compile = mdl_cpu_compile,
};
