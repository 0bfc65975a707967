/* Ops to launch records. */
#include <inttypes.h>
#include <string.h>

#include "compiler/emit/emit.h"
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
    l->launch.cluster = 1;
    if (!l->launch.threads) l->launch.threads = 1;
    l->launch.workspace = -1;
    l->launch.span = mdl_span_text(l->e->arena, l->op->span);
    MDL_PUSH(l->e->arena, l->program->launches, l->launch);
}

/* ---- kernels ---- */
static mdl_plan_map map_of(const mdl_template_map *m) {
    return (mdl_plan_map){m->buffer, m->first, m->heads, m->cols, m->row, m->head};
}

/* The op's kernel, as the target makes it. A body that was seen before is not made into text again. */
static void kernel(launcher *l) {
    const char **known = l->op->code == MDL_OP_KERNEL || l->op->code == MDL_OP_FUSED ? mdl_text_of_body(l->e, l->op) : NULL;
    mdl_kernel_source source = {.text = known ? *known : NULL};
    const char *wrong = l->e->target->kernel(l->e->scratch, l->op, l->e->plan->isa, &source);
    if (wrong) {
        refuse(l, mdl_strdup(l->e->arena, wrong));
        return;
    }
    if (known && !*known) *known = mdl_strdup(l->e->arena, source.text);
    add_operands(l);
    add_results(l, MDL_ACCESS_WRITE);
    int integers = l->launch.args.n;
    for (int i = 0; i < source.integers.n; i++) add_immediate(l, source.integers.at[i]);
    mdl_plan_grid grid = {source.blocks.rows, source.blocks.per, source.most, source.blocks.times};
    mdl_plan_kernel kernel = {.class = source.class, .grid = grid};
    for (int i = 0; i < source.n_maps; i++) MDL_PUSH(l->e->arena, kernel.maps, map_of(&source.maps[i]));
    l->launch.kind = MDL_LAUNCH_KERNEL;
    l->launch.grid = mdl_plan_blocks(&grid, &l->launch);
    l->launch.label = mdl_strdup(l->e->arena, source.label);
    l->launch.flops = source.flops;
    l->launch.threads = source.threads;
    l->launch.shared_bytes = source.shared_bytes;
    mdl_plan_sign(l->e->arena, l->program, &l->launch, source.sizes, &kernel);
    if (source.per_block >= 0) kernel.args.at[integers + source.per_block].times = 0;
    l->launch.kernel = mdl_intern_kernel(l->e, &kernel, source.text, l->op->span);
    push(l);
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
        case MDL_OP_DOT: gemm(l); break;
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
        default: kernel(l);
    }
}

void mdl_emit_program(mdl_emitter *e, const mdl_region *region) {
    mdl_plan_program program = {.name = region->name};
    launcher l = {.e = e, .program = &program};
    e->scratch = mdl_arena_new();
    for (int i = 0; i < region->ops.n && !e->error; i++) { /* before anything is placed */
        l.op = region->ops.at[i];
        const char *wrong = e->target->refuses(e->arena, l.op);
        if (wrong) refuse(&l, wrong);
    }
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
