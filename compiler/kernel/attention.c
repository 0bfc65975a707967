/* Attention's templates: their constants, and the functions by which they reach memory. */
#include "compiler/kernel/attention.h"

#include "compiler/kernel/embed.h"
#include "runtime/base/status.h"

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- sizes ---- */

/* Columns padded to whole vectors. */
static int64_t padded(const mdl_attention_shape *shape) { return ceil_div(shape->head_dim, 16) * 16; }

/* Tokens of a forward block: the more, the fewer half-filled vectors of queries. */
static int64_t chunk(const mdl_attention_shape *shape) { return padded(shape) <= 128 ? 256 : padded(shape) <= 256 ? 128 : 32; }

/* Keys in a tile: what keeps a block's stack below 512 KiB, and for usual widths below half of that. */
static int64_t keys_forward(const mdl_attention_shape *shape) {
    int64_t k = padded(shape);
    return k <= 128 ? 128 : k <= 256 ? 64 : 32;
}

static int64_t keys_backward(const mdl_attention_shape *shape) {
    int64_t k = padded(shape), keys = 16384 / k / 32 * 32;
    return k > 256 ? 16 : keys > 512 ? 512 : keys;
}

enum { BWD_CHUNK = 64, BWD_PART = 64 };

/* ---- rows in memory ---- */

static const char *c_type(mdl_dtype dtype) {
    MDL_ASSERT(dtype == MDL_F32 || dtype == MDL_BF16);
    return dtype == MDL_F32 ? "float" : "mdl_bf16";
}

#define ROWS_ARGUMENTS "void *const *buffer, const int64_t *immediate, int64_t row, int64_t rows, int64_t head"

/* "buffer[3] + 64 + row * 192 + head * 16": the first element of row `row` */
static const char *place(mdl_arena *arena, const mdl_attention_operand *x) {
    return mdl_printf(arena, "buffer[%d] + %lld + row * %lld + head * %lld", x->slot, (long long)x->first, (long long)x->row,
                      (long long)x->head);
}

typedef struct {
    mdl_text text;
    const char *symbol;
    long long cols;
} functions;

static bool given(functions *f, const char *text) {
    if (text) mdl_text_printf(&f->text, "%s\n", text);
    return text;
}

static void load(functions *f, const char *name, const mdl_attention_operand *x) {
    if (given(f, x->text)) return;
    mdl_text_printf(&f->text,
                    "MDL_FN void %s_load_%s(" ROWS_ARGUMENTS
                    ", float *to, int64_t stride) {\n"
                    "    (void)immediate;\n"
                    "    mdl_load_rows_%s(to, stride, (const %s *)%s, %lld, rows, %lld);\n}\n",
                    f->symbol, name, mdl_dtype_name(x->dtype), c_type(x->dtype), place(f->text.arena, x), (long long)x->row,
                    f->cols);
}

static void store(functions *f, const char *name, const mdl_attention_operand *x) {
    if (given(f, x->text)) return;
    mdl_text_printf(&f->text,
                    "MDL_FN void %s_store_%s(" ROWS_ARGUMENTS
                    ", const float *from, int64_t stride, int64_t chunk) {\n"
                    "    (void)immediate, (void)chunk;\n"
                    "    mdl_store_rows_%s((%s *)%s, %lld, from, stride, rows, %lld);\n}\n",
                    f->symbol, name, mdl_dtype_name(x->dtype), c_type(x->dtype), place(f->text.arena, x), (long long)x->row,
                    f->cols);
}

static void load_delta(functions *f, const mdl_attention_operand *x) {
    if (given(f, x->text)) return;
    mdl_text_printf(&f->text,
                    "MDL_FN void %s_load_delta(" ROWS_ARGUMENTS
                    ", float *to) {\n"
                    "    (void)immediate;\n"
                    "    const %s *from = (const %s *)%s;\n"
                    "    for (int64_t r = 0; r < rows; r++) to[r] = %s(from[r * %lld]);\n}\n",
                    f->symbol, c_type(x->dtype), c_type(x->dtype), place(f->text.arena, x),
                    x->dtype == MDL_F32 ? "" : "mdl_from_bf16", (long long)x->row);
}

/* One row at a time: a block's stack is nearly full. */
static void compute_delta(functions *f) {
    mdl_text_printf(&f->text,
                    "MDL_FN void %s_load_delta(" ROWS_ARGUMENTS
                    ", float *to) {\n"
                    "    for (int64_t r = 0; r < rows; r++) {\n"
                    "        float o[%lld] MDL_ALIGN, g[%lld] MDL_ALIGN, sum = 0.0f;\n"
                    "        %s_load_o(buffer, immediate, row + r, 1, head, o, %lld);\n"
                    "        %s_load_do(buffer, immediate, row + r, 1, head, g, %lld);\n"
                    "#pragma omp simd reduction(+ : sum)\n"
                    "        for (int k = 0; k < %lld; k++) sum += g[k] * o[k];\n"
                    "        to[r] = sum;\n"
                    "    }\n}\n",
                    f->symbol, f->cols, f->cols, f->symbol, f->cols, f->symbol, f->cols, f->cols);
}

static const char *memory_functions(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                    const char *symbol, bool backward) {
    functions f = {.text = {.arena = arena}, .symbol = symbol, .cols = shape->head_dim};
    load(&f, "q", &memory->q), load(&f, "k", &memory->k), load(&f, "v", &memory->v);
    if (backward) {
        load(&f, "do", &memory->grad_o);
        if (memory->compute_delta)
            load(&f, "o", &memory->o), compute_delta(&f);
        else
            load_delta(&f, &memory->delta);
        store(&f, "dq", &memory->dq), store(&f, "dk", &memory->dk), store(&f, "dv", &memory->dv);
    } else {
        store(&f, "o", &memory->o);
    }
    if (!given(&f, memory->enter))
        mdl_text_printf(&f.text,
                        "MDL_FN void %s_enter(void *const *buffer, const int64_t *immediate, int64_t head, int64_t chunk) {\n"
                        "    (void)buffer, (void)immediate, (void)head, (void)chunk;\n}\n",
                        symbol);
    return f.text.at;
}

mdl_attention_memory mdl_attention_dense(const mdl_attention_shape *shape, bool backward) {
    int64_t K = shape->head_dim;
    mdl_attention_operand q = {0, MDL_F32, shape->heads * K, K, 0, NULL}, k = {1, MDL_F32, shape->kv_heads * K, K, 0, NULL}, v = k;
    mdl_attention_memory m = {.q = q, .k = k, .v = v, .o = q, .grad_o = q, .dq = q, .dk = k, .dv = k, .seq = 3, .lse = 5};
    m.v.slot = 2, m.o.slot = 4;
    if (!backward) return m;
    m.delta = (mdl_attention_operand){5, MDL_F32, shape->heads, 1, 0, NULL};
    m.seq = 6, m.lse = 4, m.grad_o.slot = 3, m.dq.slot = 7, m.dk.slot = 8, m.dv.slot = 9;
    m.scratch = m.dq;
    return m;
}

/* ---- the kernels ---- */

/* The score of s = scale * q.k in C, after what it needs; the slope is d score / d s. */
static const char *score(mdl_arena *arena, const mdl_attention_shape *shape) {
    if (!(shape->softcap > 0)) return "*slope = mdl_splat(1.0f);\n    return s;";
    return mdl_printf(arena,
                      "mdl_vec t = mdl_vtanh(s * (float)%.17g);\n"
                      "    *slope = 1.0f - t * t;\n"
                      "    return t * (float)%.17g;",
                      1 / shape->softcap, shape->softcap);
}

/* Bounds that no segment reaches are none: the kernels compare in 32 bits. */
static const char *bound(mdl_arena *arena, int64_t n) {
    MDL_ASSERT(n >= -1);
    return mdl_number(arena, n >= INT64_C(1) << 30 ? -1 : n);
}

static const char *attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                             const char *symbol, bool backward) {
    MDL_ASSERT(shape->heads > 0 && shape->kv_heads > 0 && shape->heads % shape->kv_heads == 0);
    MDL_ASSERT(shape->head_dim > 0 && shape->head_dim <= MDL_ATTENTION_WIDEST);
    MDL_ASSERT(!backward || memory->scratch.dtype == MDL_F32);
    int64_t keys = backward ? keys_backward(shape) : keys_forward(shape);
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"FUNCTIONS", memory_functions(arena, shape, memory, symbol, backward)},
        {"H", mdl_number(arena, shape->heads)},
        {"G", mdl_number(arena, shape->kv_heads)},
        {"K", mdl_number(arena, shape->head_dim)},
        {"KP", mdl_number(arena, padded(shape))},
        {"KEYS", mdl_number(arena, keys)},
        {"CHUNK", mdl_number(arena, backward ? BWD_CHUNK : chunk(shape))},
        {"PART", mdl_number(arena, keys < BWD_PART ? keys : BWD_PART)},
        {"LEFT", bound(arena, shape->mask.left)},
        {"RIGHT", bound(arena, shape->mask.right)},
        {"SCORE", score(arena, shape)},
        {"SLOPED", shape->softcap > 0 ? "1" : "0"},
        {"SCALE", mdl_printf(arena, "((float)%.17g)", shape->scale)},
        {"SEQ", mdl_number(arena, memory->seq)},
        {"LSE", mdl_number(arena, memory->lse)},
        {"SCRATCH", mdl_number(arena, memory->scratch.slot)},
        {"SCRATCH_AT", mdl_number(arena, memory->scratch.first)},
        {"SCRATCH_ROW", mdl_number(arena, memory->scratch.row)},
        {"SCRATCH_HEAD", mdl_number(arena, memory->scratch.head)},
        {NULL, NULL},
    };
    return mdl_printf(arena, "%s%s", mdl_instantiate(arena, "attention_common.c.in", entries),
                      mdl_instantiate(arena, backward ? "attention_bwd.c.in" : "attention.c.in", entries));
}

const char *mdl_template_attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                   const char *symbol) {
    return attention(arena, shape, memory, symbol, false);
}

const char *mdl_template_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                       const char *symbol) {
    return attention(arena, shape, memory, symbol, true);
}

mdl_template_blocks mdl_template_attention_blocks(const mdl_attention_shape *shape) {
    return (mdl_template_blocks){0, chunk(shape), shape->heads};
}

mdl_template_blocks mdl_template_attention_bwd_blocks(const mdl_attention_shape *shape) {
    return (mdl_template_blocks){0, BWD_CHUNK, shape->kv_heads};
}

int64_t mdl_template_attention_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments) {
    return mdl_template_grid(mdl_template_attention_blocks(shape), tokens, segments);
}

int64_t mdl_template_attention_bwd_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments) {
    return mdl_template_grid(mdl_template_attention_bwd_blocks(shape), tokens, segments);
}

/* ---- work ---- */

/* Pairs that lie beyond a bound on one side: the first token that has one has 1, the next 2, ... */
static int64_t beyond(int64_t limit, int64_t length) {
    int64_t n = limit < 0 || limit >= length ? 0 : length - 1 - limit;
    return n * (n + 1) / 2;
}

int64_t mdl_attention_pairs(mdl_attention_mask mask, int64_t length) {
    return length * length - beyond(mask.left, length) - beyond(mask.right, length);
}

int64_t mdl_template_attention_flops(const mdl_attention_shape *shape, bool backward, int64_t tokens, int64_t segments) {
    int64_t length = tokens / segments, longer = tokens % segments; /* segments of length + 1 */
    int64_t pairs =
        longer * mdl_attention_pairs(shape->mask, length + 1) + (segments - longer) * mdl_attention_pairs(shape->mask, length);
    return (backward ? 10 : 4) * shape->head_dim * shape->heads * pairs;
}
