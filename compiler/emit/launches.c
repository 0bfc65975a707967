/* Ops to launch records. */
#include <inttypes.h>
#include <string.h>

#include "compiler/emit/emit.h"
#include "compiler/kernel/attention.h"
#include "compiler/kernel/rows.h"
#include "compiler/kernel/template.h"
#include "compiler/op/op.h"
#include "compiler/target/cpu.h"
#include "runtime/base/status.h"

typedef struct {
    mdl_emitter *e;
    mdl_buffers buffers;
    mdl_plan_program *program;
    const mdl_op *op;
    mdl_plan_launch launch;
} launcher;

static void refuse(launcher *l, const char *what) {
    if (!l->e->error) {
        l->e->error = what;
        l->e->error_at = l->op->span;
    }
}

/* ---- arguments ---- */
static void add_buffer(launcher *l, const mdl_value *v, mdl_access access) {
    int buffer = l->buffers.buffer[v->id];
    MDL_PUSH(l->e->arena, l->launch.args, ((mdl_plan_arg){MDL_ARG_BUFFER, access, buffer}));
    l->launch.bytes += mdl_type_bytes(&v->type);
}

static void add_immediate(launcher *l, int64_t value) {
    MDL_PUSH(l->e->arena, l->launch.args, ((mdl_plan_arg){MDL_ARG_IMMEDIATE, 0, value}));
}

static void add_operands(launcher *l) {
    for (int i = 0; i < l->op->n_in; i++)
        if (!mdl_is(l->op->in[i], MDL_OP_IMM)) add_buffer(l, l->op->in[i], MDL_ACCESS_READ);
}
static void add_results(launcher *l, mdl_access access) {
    for (int i = 0; i < l->op->n_out; i++) add_buffer(l, l->op->out[i], access);
}

static void push(launcher *l) {
    l->launch.cluster = l->launch.threads = 1;
    l->launch.workspace = -1;
    l->launch.span = mdl_span_text(l->e->arena, l->op->span);
    MDL_PUSH(l->e->arena, l->program->launches, l->launch);
}

/* Sizes that differ between launches of one kernel are multiples of one of its first `sizes` immediates. per_block: the argument
 * that is the first immediate over the grid, or -1. */
static void push_kernel(launcher *l, const char *class, const char *text, int sizes, mdl_plan_grid grid, int per_block) {
    mdl_plan_kernel kernel = {.class = class, .grid = grid};
    l->launch.kind = MDL_LAUNCH_KERNEL;
    l->launch.grid = mdl_plan_blocks(&grid, &l->launch);
    mdl_plan_sign(l->e->arena, l->program, &l->launch, sizes, &kernel);
    if (per_block >= 0) kernel.args.at[per_block].times = 0;
    l->launch.kernel = mdl_intern_kernel(l->e, &kernel, text, l->op->span);
    push(l);
}

static void push_template(launcher *l, const char *class, const char *text, int sizes, mdl_template_blocks b) {
    push_kernel(l, class, text, sizes, (mdl_plan_grid){b.rows, b.per, 0, b.times}, -1);
}

/* ---- row kernels ---- */
/* What a body does, in a few words: its costly ops and its reductions. */
static const char *describe_body(launcher *l) {
    static const mdl_opcode telling[] = {MDL_OP_GATHER, MDL_OP_RANDOM,     MDL_OP_ERF, MDL_OP_EXP,        MDL_OP_LN,
                                         MDL_OP_TANH,   MDL_OP_SIN,        MDL_OP_COS, MDL_OP_RSQRT,      MDL_OP_SQRT,
                                         MDL_OP_CONCAT, MDL_OP_REDUCE_MAX, MDL_OP_SUM, MDL_OP_PARTIAL_SUM};
    mdl_text t = {.arena = l->e->arena};
    for (size_t k = 0; k < sizeof telling / sizeof *telling; k++)
        for (int i = 0; i < l->op->body->ops.n; i++) {
            if (l->op->body->ops.at[i]->code != telling[k]) continue;
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

/* A body that was seen before is not printed again. NULL after a refusal. */
static const char *row_text(launcher *l) {
    static const mdl_schedule schedule = {.row_block = 1, .lanes = 1};
    const char **known = mdl_text_of_body(l->e, l->op), *error, *text = NULL;
    if (*known) return *known;
    const mdl_loop_kernel *loops = mdl_loop_lower(l->e->scratch, l->op, &schedule, NULL, NULL, NULL, &error);
    if (loops) text = mdl_cpu_print_row(l->e->scratch, loops, MDL_KERNEL_PLACEHOLDER, &error);
    if (!text) return refuse(l, mdl_strdup(l->e->arena, error)), NULL;
    return *known = mdl_strdup(l->e->arena, text);
}

static void row_kernel(launcher *l) {
    const char *text = row_text(l);
    int64_t rows = mdl_attr_int(l->op, "rows"), blocks = mdl_attr_int(l->op, "blocks");
    if (!text) return;
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    add_immediate(l, rows);
    int per_block = l->launch.args.n;
    add_immediate(l, (rows + blocks - 1) / blocks);
    for (int i = 0; i < l->op->n_in; i++)
        if (mdl_is(l->op->in[i], MDL_OP_IMM)) add_immediate(l, mdl_attr_int(l->op->in[i]->def, "value"));
    l->launch.label = describe_body(l);
    l->launch.flops = pointwise_flops(l->op->body);
    push_kernel(l, class_of(l->op), text, 1, (mdl_plan_grid){0, 1, blocks < rows ? blocks : MDL_ROW_BLOCKS, 1}, per_block);
    MDL_ASSERT(l->launch.grid == blocks);
}

/* The templates' sums are f32; false when one is not, which is then refused. */
static bool only_f32(launcher *l, const char *what) {
    for (int i = 0; i < l->op->n_out; i++)
        if (l->op->out[i]->type.dtype != MDL_F32) return refuse(l, what), false;
    return true;
}

static void finish(launcher *l) {
    if (!only_f32(l, "a sum of whole numbers over rows: cast them to f32")) return;
    int n = l->op->n_out;
    int64_t *cols = MDL_NEW_ARRAY(l->e->arena, int64_t, n);
    bool *init = MDL_NEW_ARRAY(l->e->arena, bool, n);
    for (int i = 0; i < n; i++) cols[i] = mdl_type_count(&l->op->out[i]->type), init[i] = mdl_finish_init(l->op, i) >= 0;
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    for (int i = 0; i < n; i++) add_immediate(l, l->op->in[i]->type.dim[0]);
    l->launch.label = "column sum";
    push_template(l, "finish", mdl_template_finish(l->e->scratch, n, cols, init, MDL_KERNEL_PLACEHOLDER), n,
                  mdl_template_finish_blocks(n, cols));
}

/* ---- templates ---- */
static void attention(launcher *l, bool backward) {
    const mdl_op *op = l->op;
    const mdl_attr *cap = mdl_find_attr(op, "softcap");
    const mdl_type *q = &op->in[0]->type, *seq = &op->in[op->n_in - 1]->type;
    if (q->dim[2] > MDL_ATTENTION_WIDEST) {
        refuse(l, "attention with heads wider than 512");
        return;
    }
    bool causal = mdl_attr_int_or(op, "causal", 0);
    mdl_attention_shape shape = {
        .heads = q->dim[1],
        .kv_heads = op->in[1]->type.dim[1],
        .head_dim = q->dim[2],
        .mask = {mdl_attr_int_or(op, "left", -1), causal ? 0 : mdl_attr_int_or(op, "right", -1)},
        .scale = mdl_attr_real(op, "scale"),
        .softcap = cap ? cap->f : 0,
    };
    mdl_attention_memory memory = mdl_attention_dense(&shape, backward);
    int64_t T = seq->dim[1], S = seq->dim[0];
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    add_immediate(l, T);
    add_immediate(l, S);
    l->launch.label = backward ? "attention backward" : "attention";
    l->launch.flops = mdl_template_attention_flops(&shape, backward, T, S);
    if (backward)
        push_template(l, "attention_bwd", mdl_template_attention_bwd(l->e->scratch, &shape, &memory, MDL_KERNEL_PLACEHOLDER), 2,
                      mdl_template_attention_bwd_blocks(&shape));
    else
        push_template(l, "attention", mdl_template_attention(l->e->scratch, &shape, &memory, MDL_KERNEL_PLACEHOLDER), 2,
                      mdl_template_attention_blocks(&shape));
}

static void scatter_add(launcher *l) {
    const mdl_type *x = &l->op->in[0]->type;
    int64_t cols = mdl_span_product(x, 1, x->rank);
    if (!only_f32(l, "a scatter of whole numbers: cast them to f32")) return;
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    add_immediate(l, x->dim[0]);
    add_immediate(l, mdl_attr_int(l->op, "rows"));
    l->launch.label = "scatter add";
    push_template(l, "scatter", mdl_template_scatter_add(l->e->scratch, x->dtype, cols, l->op->n_in == 3, MDL_KERNEL_PLACEHOLDER),
                  2, mdl_template_scatter_add_blocks(cols));
}

static void segment(launcher *l) {
    const char *name = mdl_ops[l->op->code].name;
    const mdl_type *seq = &l->op->in[l->op->n_in - 1]->type, *x = &l->op->in[0]->type;
    int64_t cols = l->op->code == MDL_OP_SEGSUM ? mdl_span_product(x, 1, x->rank) : 1;
    if (l->op->code == MDL_OP_SEGSUM && !only_f32(l, "a sum of whole numbers over segments: cast them to f32")) return;
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    add_immediate(l, seq->dim[1]);
    add_immediate(l, seq->dim[0]);
    l->launch.label = name;
    push_template(l, "segment", mdl_template_segment(l->e->scratch, name, x->dtype, cols, MDL_KERNEL_PLACEHOLDER), 2,
                  mdl_template_segment_blocks(name, cols));
}

/* ---- GEMM ---- */
static void gemm(launcher *l) {
    mdl_gemm *g = &l->launch.gemm;
    const char *wrong = mdl_emit_gemm(l->op, g);
    if (wrong) {
        refuse(l, wrong);
        return;
    }
    l->launch.kind = MDL_LAUNCH_GEMM;
    l->launch.grid = 1;
    l->launch.label = "gemm";
    l->launch.flops = 2 * g->batch * g->m * g->n * g->k;
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    push(l);
}

/* A sink whose value was made elsewhere; a read of a state that is overwritten while the value is still needed. */
static void copy(launcher *l, int from, int to) {
    if (to == from) return;
    l->launch.kind = MDL_LAUNCH_COPY;
    l->launch.grid = 1;
    l->launch.label = "copy";
    l->launch.bytes = 2 * l->program->buffers.at[to].bytes;
    MDL_PUSH(l->e->arena, l->launch.args, ((mdl_plan_arg){MDL_ARG_BUFFER, MDL_ACCESS_READ, from}));
    MDL_PUSH(l->e->arena, l->launch.args, ((mdl_plan_arg){MDL_ARG_BUFFER, MDL_ACCESS_WRITE, to}));
    push(l);
}

/* The buffer that buffers.c left with the op, or -1. */
static int left_with(const mdl_op *op) { return (int)(intptr_t)op->scratch - 1; }

static void launch(launcher *l) {
    switch (l->op->code) {
        case MDL_OP_KERNEL: row_kernel(l); break;
        case MDL_OP_FINISH: finish(l); break;
        case MDL_OP_DOT: gemm(l); break;
        case MDL_OP_ATTENTION: attention(l, false); break;
        case MDL_OP_ATTENTION_BWD: attention(l, true); break;
        case MDL_OP_SCATTER_ADD: scatter_add(l); break;
        case MDL_OP_SEGMENT_ID:
        case MDL_OP_POSITION:
        case MDL_OP_SEGLEN:
        case MDL_OP_FIRST:
        case MDL_OP_SEGSUM: segment(l); break;
        case MDL_OP_WRITE:
        case MDL_OP_RESULT: copy(l, l->buffers.buffer[l->op->in[0]->id], left_with(l->op)); break;
        case MDL_OP_READ:
            if (left_with(l->op) >= 0) copy(l, left_with(l->op), l->buffers.buffer[l->op->out[0]->id]);
            break;
        case MDL_OP_INPUT:
        case MDL_OP_IMM:
        case MDL_OP_TOKEN:
        case MDL_OP_HOLD:
        case MDL_OP_RESHAPE: break;
        default: refuse(l, mdl_printf(l->e->arena, "'%s'", mdl_ops[l->op->code].name));
    }
}

void mdl_emit_program(mdl_emitter *e, const mdl_region *region) {
    mdl_plan_program program = {.name = region->name};
    launcher l = {.e = e, .program = &program};
    e->scratch = mdl_arena_new();
    l.buffers = mdl_assign_buffers(e, region, &program);
    for (int i = 0; i < region->ops.n && !e->error; i++) {
        l.op = region->ops.at[i];
        l.launch = (mdl_plan_launch){0};
        launch(&l);
    }
    mdl_place_buffers(&program);
    if (program.activation_bytes > e->plan->arena_bytes[MDL_ARENA_ACTIVATION])
        e->plan->arena_bytes[MDL_ARENA_ACTIVATION] = program.activation_bytes;
    MDL_PUSH(e->arena, e->plan->programs, program);
    mdl_arena_free(e->scratch);
}
