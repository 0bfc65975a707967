/* Ops as kernels of a GPU: which template or printer makes each, and how it is launched. */
#include "compiler/target/cuda.h"

#include <string.h>

#include "compiler/kernel/cuda_attention.h"
#include "compiler/op/op.h"
#include "compiler/target/describe.h"
#include "runtime/base/status.h"

/* Rows of a block: few enough that all processors have work, and fewer where rows are wide, so that the last blocks to end are
 * short; where blocks make partial sums over their rows, enough that these cost little traffic. Functions of the shape alone:
 * results do not depend on the card. */
static int64_t row_blocks(int64_t rows, int64_t columns) {
    int64_t each = columns > 2048 ? 4 : columns > 1024 ? 8 : 16;
    return (rows + each - 1) / each;
}
static int64_t partials(int64_t rows) {
    int64_t each = rows / 512;
    each = each < 16 ? 16 : each > 32 ? 32 : each;
    return (rows + each - 1) / each;
}

static void use(mdl_arena *arena, mdl_kernel_source *s, mdl_cuda_template kernel) {
    s->text = kernel.text;
    s->threads = kernel.threads;
    s->shared_bytes = kernel.shared_bytes;
    s->blocks = kernel.blocks;
    s->n_maps = kernel.n_maps;
    s->maps =
        memcpy(MDL_NEW_ARRAY(arena, mdl_template_map, kernel.n_maps + 1), kernel.maps, (size_t)kernel.n_maps * sizeof *kernel.maps);
}

/* Buffers that a launch of the op takes: immediates are none. */
static int buffers_of(const mdl_op *op) {
    int n = op->n_out;
    for (int i = 0; i < op->n_in; i++) n += !mdl_is(op->in[i], MDL_OP_IMM);
    return n;
}

/* ---- row kernels ---- */
static const char *row_kernel(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    mdl_schedule schedule = {.row_block = 1, .lanes = 1, .keep = true};
    int buffers = buffers_of(op);
    const char *error;
    const mdl_loop_kernel *loops = mdl_loop_lower(arena, op, &schedule, NULL, NULL, NULL, &error);
    if (loops) s->text = mdl_cuda_print_row(arena, loops, buffers, s->integers.n, MDL_KERNEL_PLACEHOLDER, &s->threads, &error);
    return error;
}

/* ---- attention ---- */
/* Where operand `i` of the anchor lies: in the rows of an argument, perhaps through views that keep columns side by side. */
enum { MAX_OPERANDS = 64 };
typedef struct {
    const mdl_op *fused;
    int slot[MAX_OPERANDS];
} operands;

static int slot_of(const operands *o, const mdl_value *argument) { return o->slot[mdl_attr_int(argument->def, "index")]; }

static mdl_attention_operand place_of(const operands *o, const mdl_value *v) {
    mdl_attention_operand at = {.dtype = v->type.dtype, .head = v->type.rank == 3 ? v->type.dim[2] : 1};
    for (; !mdl_is(v, MDL_OP_ARG); v = v->def->in[0]) {
        if (!mdl_is(v, MDL_OP_SLICE)) continue;
        int64_t axis = mdl_attr_int(v->def, "axis");
        const mdl_type *whole = &v->def->in[0]->type;
        at.first += mdl_attr_int(v->def, "start") * mdl_span_product(whole, (int)axis + 1, whole->rank);
    }
    at.row = mdl_span_product(&v->type, 1, v->type.rank);
    at.slot = slot_of(o, v);
    return at;
}

static mdl_attention_operand result_of(const mdl_op *fused, const mdl_value *v) {
    const mdl_op *yield = fused->body->ops.at[fused->body->ops.n - 1];
    int slot = buffers_of(fused) - fused->n_out;
    for (int i = 0; i < yield->n_in; i++)
        if (yield->in[i] == v)
            return (mdl_attention_operand){.slot = slot + i,
                                           .dtype = v->type.dtype,
                                           .row = mdl_span_product(&v->type, 1, v->type.rank),
                                           .head = v->type.rank == 3 ? v->type.dim[2] : 1};
    mdl_bug("a result of attention that is not stored");
}

static mdl_attention_memory memory_of(const mdl_op *fused) {
    const mdl_op *a = mdl_fused_anchor(fused);
    operands o = {.fused = fused};
    for (int i = 0, slot = 0; i < fused->n_in; i++) o.slot[i] = mdl_is(fused->in[i], MDL_OP_IMM) ? -1 : slot++;
    mdl_attention_memory m = {.q = place_of(&o, a->in[0]), .k = place_of(&o, a->in[1]), .v = place_of(&o, a->in[2])};
    m.seq = slot_of(&o, a->in[a->n_in - 1]);
    m.tiles = o.slot[fused->n_in - 1]; /* where there is a list: pass/tiles.c puts it there */
    if (a->code == MDL_OP_ATTENTION) {
        m.o = result_of(fused, a->out[0]);
        m.lse = result_of(fused, a->out[1]).slot;
        return m;
    }
    m.grad_o = place_of(&o, a->in[3]);
    m.lse = slot_of(&o, a->in[4]);
    m.delta = place_of(&o, a->in[5]);
    m.dq = result_of(fused, a->out[0]), m.dk = result_of(fused, a->out[1]), m.dv = result_of(fused, a->out[2]);
    return m;
}

static int64_t tile_rows(const mdl_op *fused, const char *isa) {
    const mdl_op *a = mdl_fused_anchor(fused);
    mdl_attention_shape shape = mdl_attention_shape_of(a);
    mdl_attention_memory m = memory_of(fused);
    return mdl_cuda_attention_tile_rows(&shape, &m, a->code == MDL_OP_ATTENTION_BWD, mdl_cuda_is_hopper(isa));
}

static void attention(mdl_arena *arena, const mdl_op *fused, const char *isa, mdl_kernel_source *s) {
    mdl_attention_shape shape = mdl_describe_attention(arena, fused, s);
    mdl_attention_memory m = memory_of(fused);
    bool forward = mdl_fused_anchor(fused)->code == MDL_OP_ATTENTION, hopper = mdl_cuda_is_hopper(isa);
    use(arena, s,
        (forward ? mdl_cuda_attention : mdl_cuda_attention_bwd)(arena, &shape, &m, buffers_of(fused), hopper,
                                                                MDL_KERNEL_PLACEHOLDER));
}

/* ---- other templates ---- */
static void finish(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    const int64_t *cols;
    const bool *init;
    mdl_describe_finish(arena, op, s, &cols, &init);
    use(arena, s, mdl_cuda_finish(arena, op->n_out, cols, init, MDL_KERNEL_PLACEHOLDER));
}

static void scatter_add(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    int64_t cols = mdl_describe_scatter(arena, op, s);
    use(arena, s, mdl_cuda_scatter_add(arena, op->in[0]->type.dtype, cols, op->n_in == 3, MDL_KERNEL_PLACEHOLDER));
}

static void transpose(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    use(arena, s, mdl_cuda_transpose(arena, mdl_describe_transpose(arena, op, s), MDL_KERNEL_PLACEHOLDER));
}

static void segment(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    int64_t cols = mdl_describe_segment(arena, op, s);
    use(arena, s, mdl_cuda_segment(arena, s->label, op->in[0]->type.dtype, cols, MDL_KERNEL_PLACEHOLDER));
}

static void tiles(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s) {
    mdl_describe_segment(arena, op, s);
    use(arena, s, mdl_cuda_tiles(arena, mdl_attr_int(op, "rows"), MDL_KERNEL_PLACEHOLDER));
}

/* ---- the target ---- */
static const char *refuses(mdl_arena *arena, const mdl_op *op) {
    if (op->code != MDL_OP_FUSED) return mdl_refuses_sums(arena, op);
    const mdl_type *q = &mdl_fused_anchor(op)->in[0]->type;
    if (op->n_in > MAX_OPERANDS - 1) return "attention with so many operands";
    if (q->dim[2] > MDL_CUDA_ATTENTION_WIDEST) return "attention with heads wider than 256";
    return q->dim[2] % 2 && q->dtype != MDL_F32 ? "attention with heads of an odd width in bf16" : NULL;
}

static const char *kernel(mdl_arena *arena, const mdl_op *op, const char *isa, mdl_kernel_source *s) {
    const char *wrong = refuses(arena, op);
    *s = (mdl_kernel_source){.per_block = -1, .sizes = 2};
    if (wrong) return wrong;
    switch (op->code) {
        case MDL_OP_KERNEL: mdl_describe_rows(arena, op, s, 0); return row_kernel(arena, op, s);
        case MDL_OP_FINISH: finish(arena, op, s); return NULL;
        case MDL_OP_FUSED: attention(arena, op, isa, s); return NULL;
        case MDL_OP_TILES: tiles(arena, op, s); return NULL;
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

/* Views of a fused projection are read where they lie. Arithmetic stays outside: rotating q and k on load was measured slower than
 * a row kernel that does it once (docs/cuda.md). */
static bool absorbs(const mdl_op *anchor, const mdl_op *op, bool stores) {
    (void)anchor;
    return !stores && (op->code == MDL_OP_RESHAPE || (op->code == MDL_OP_SLICE && mdl_attr_int(op, "axis") > 0));
}

/* No sums stand behind attention here. */
static int64_t fused_partials(const mdl_op *fused) {
    (void)fused;
    return 1;
}

/* What 8 bits save grows with in * out, what they cost (bytes quantized, and transposed) with in + out. Training steps in fp8
 * against bf16 on an H100 (docs/fp8.md): slower at 320 columns, whose layers have in * out / (in + out) of 160 to 256, quicker at
 * 640, with 320 to 512. */
static bool fp8_pays(int64_t in, int64_t out, const char *isa) { return !strcmp(isa, "host") || in * out / (in + out) >= 300; }

static const char *default_isa(void) { return "sm_90a"; }

const mdl_target mdl_target_cuda = {
    .name = "cuda",
    .precision = MDL_BF16,
    .limits = {.args = 120, .ops = 256, .copies = 32},
    .narrow = true,
    .has = mdl_has_template,
    .absorbs = absorbs,
    .partials = partials,
    .row_blocks = row_blocks,
    .fused_partials = fused_partials,
    .tile_rows = tile_rows,
    .refuses = refuses,
    .kernel = kernel,
    .default_isa = default_isa,
    .refuses_isa = mdl_cuda_refuses_arches,
    .refuses_fp8 = mdl_cuda_refuses_fp8,
    .fp8_pays = fp8_pays,
    .compile = mdl_cuda_compile,
};
