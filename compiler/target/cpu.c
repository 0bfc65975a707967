/* Ops as kernels of the CPU: which template or printer makes each, and how it is launched. */
#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/kernel/attention.h"
#include "compiler/kernel/rows.h"
#include "compiler/kernel/template.h"
#include "compiler/op/op.h"
#include "compiler/target/cpu.h"
#include "compiler/target/describe.h"
#include "runtime/base/isa.h"
#include "runtime/base/status.h"

/* ---- row kernels ---- */
/* A block runs its rows one after the other, each through all phases: what a row needs twice is in the cache. */
static const char *row_kernel(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    static const mdl_schedule schedule = {.row_block = 1, .lanes = 1};
    const char *error;
    const mdl_loop_kernel *loops = mdl_loop_lower(arena, op, &schedule, NULL, NULL, NULL, &error);
    if (!loops) return error;
    s->text = mdl_cpu_print_row(arena, loops, MDL_KERNEL_PLACEHOLDER, &error);
    return s->text ? NULL : error;
}

/* ---- templates ---- */
static void finish(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const int64_t *cols;
    const bool *init;
    mdl_describe_finish(arena, op, s, &cols, &init);
    s->text = mdl_template_finish(arena, op->n_out, cols, init, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_finish_blocks(op->n_out, cols);
}

static void scatter_add(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    int64_t cols = mdl_describe_scatter(arena, op, s);
    s->text = mdl_template_scatter_add(arena, op->in[0]->type.dtype, cols, op->n_in == 3, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_scatter_add_blocks(cols);
}

static void transpose(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    int64_t cols = mdl_describe_transpose(arena, op, s);
    s->text = mdl_template_transpose(arena, cols, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_transpose_blocks(cols);
}

static void segment(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    int64_t cols = mdl_describe_segment(arena, op, s);
    s->text = mdl_template_segment(arena, s->label, op->in[0]->type.dtype, cols, MDL_KERNEL_PLACEHOLDER);
    s->blocks = mdl_template_segment_blocks(s->label, cols);
}

/* Every attention stands in a fused op, if only by itself. */
static const char *attention(mdl_arena *arena, const mdl_op *fused, mdl_kernel_source *s) {
    const mdl_op *anchor = mdl_fused_anchor(fused);
    bool backward = anchor->code == MDL_OP_ATTENTION_BWD;
    mdl_attention_shape shape = mdl_describe_attention(arena, fused, s);
    s->blocks = backward ? mdl_template_attention_bwd_blocks(&shape) : mdl_template_attention_blocks(&shape);
    return s->text ? NULL : mdl_cpu_fused_attention(arena, fused, &s->text);
}

/* ---- the target ---- */
static const char *refuses(mdl_arena *arena, const mdl_op *op) {
    if (op->code == MDL_OP_FUSED && mdl_fused_anchor(op)->in[0]->type.dim[2] > MDL_ATTENTION_WIDEST)
        return "attention with heads wider than 512";
    return mdl_refuses_sums(arena, op);
}

static const char *kernel(mdl_arena *arena, const mdl_op *op, const char *isa, mdl_kernel_source *s) {
    (void)isa;
    const char *wrong = refuses(arena, op), *known = s->text;
    *s = (mdl_kernel_source){.text = known, .per_block = -1, .sizes = 2};
    if (wrong) return wrong;
    switch (op->code) {
        case MDL_OP_KERNEL: mdl_describe_rows(arena, op, s, MDL_ROW_BLOCKS); return known ? NULL : row_kernel(arena, op, s);
        case MDL_OP_FINISH: finish(arena, op, s); return NULL;
        case MDL_OP_FUSED: return attention(arena, op, s);
        case MDL_OP_SCATTER_ADD: scatter_add(arena, op, s); return NULL;
        case MDL_OP_TRANSPOSE: transpose(arena, op, s); return NULL;
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
    mdl_attention_shape shape = mdl_attention_shape_of(anchor);
    int64_t tokens = anchor->in[0]->type.dim[0];
    return mdl_template_grid(mdl_template_attention_bwd_blocks(&shape), tokens, 0) / shape.kv_heads;
}

static const char *refuses_isa(mdl_arena *arena, const char *isa) {
    (void)arena;
    return mdl_isa_known(isa) ? NULL : "expected x86-64-v2, -v3, -v4 or aarch64";
}

const mdl_target mdl_target_cpu = {
    .name = "cpu",
    /* Pointers: 1 KB of a kernel's parameters. Ops and copies: a native compiler's time grows faster than a function. */
    .limits = {.args = 120, .ops = 256, .copies = 32},
    .has = mdl_has_template,
    .absorbs = absorbs,
    .partials = mdl_partials,
    .row_blocks = mdl_row_blocks,
    .fused_partials = fused_partials,
    .refuses = refuses,
    .kernel = kernel,
    .default_isa = mdl_cpu_isa,
    .refuses_isa = refuses_isa,
    .compile = mdl_cpu_compile,
};
