/* Attention in f32 for CUDA: the sizes of tiles, and the functions by which the texts reach memory. */
#include "compiler/kernel/cuda_attention.h"
#include "compiler/kernel/embed.h"
#include "compiler/kernel/template_parts.h"
#include "runtime/base/status.h"

enum { THREADS = 128, GROUPS = 16, LANES = 8 }; /* in the texts too: a group of lanes shares its rows */

/* ---- sizes ---- */

static int64_t padded(const mdl_attention_shape *s) { return (s->head_dim + LANES - 1) / LANES * LANES; }

/* Rows of a thread: what its registers hold beside the columns, of one output forward, of two backward. */
static int64_t rows_each(const mdl_attention_shape *s, bool backward) {
    if (!backward) return s->head_dim <= 128 ? 4 : 2;
    return s->head_dim <= 64 ? 4 : s->head_dim <= 128 ? 2 : 1;
}

/* Rows of a tile of the other side: keys, or queries for a tile of keys. */
static int64_t others(const mdl_attention_shape *s, bool backward) { return s->head_dim <= 64 && !backward ? 32 : 16; }

/* Of the texts' struct SYMBOL_shared: at most 70 KB. */
static int64_t shared_bytes(const mdl_attention_shape *s, bool backward) {
    int64_t rows = GROUPS * rows_each(s, backward), n = others(s, backward), stride = padded(s) + 1;
    int64_t floats = backward ? 2 * (rows + n) * stride + 2 * rows * (n + 1) + 2 * n : (rows + 2 * n) * stride + rows * (n + 1);
    return 4 * floats;
}

/* ---- rows in memory ---- */

typedef struct {
    mdl_text text;
    const char *symbol;
} functions;

/* "(const float *)buffer[3] + 64 + row * 192 + head * 16": the first element of row `row` */
static const char *place(mdl_arena *arena, const mdl_attention_operand *x, const char *type) {
    MDL_ASSERT(!x->text);
    return mdl_printf(arena, "(%s *)buffer[%d] + %lld + row * %lld + head * %lld", type, x->slot, (long long)x->first,
                      (long long)x->row, (long long)x->head);
}

/* `rows` rows as a tile of n, `times` as much. */
static void load(functions *f, const char *name, const mdl_attention_operand *x, const char *times) {
    MDL_ASSERT(x->dtype == MDL_F32);
    mdl_text_printf(&f->text,
                    "MDL_FN void %s_load_%s(void *const *buffer, float *tile, int n, int64_t row, int64_t head, int rows) {\n"
                    "    %s_tile(tile, n, %s, %lld, rows, %s);\n}\n",
                    f->symbol, name, f->symbol, place(f->text.arena, x, "const float"), (long long)x->row, times);
}

/* The number of a row and head. */
static void number(functions *f, const char *name, const mdl_attention_operand *x) {
    MDL_ASSERT(x->dtype == MDL_F32);
    mdl_text_printf(&f->text,
                    "MDL_FN float %s_%s(void *const *buffer, int64_t row, int64_t head) {\n"
                    "    return *(%s);\n}\n",
                    f->symbol, name, place(f->text.arena, x, "const float"));
}

static void store(functions *f, const char *name, const mdl_attention_operand *x) {
    mdl_text_printf(&f->text,
                    "MDL_FN void %s_store_%s(void *const *buffer, int64_t row, int64_t head, int64_t column, float x) {\n"
                    "    (%s)[column] = %s(x);\n}\n",
                    f->symbol, name, place(f->text.arena, x, mdl_template_type(x->dtype)),
                    x->dtype == MDL_F32 ? "" : "mdl_to_bf16");
}

static const char *places(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *m, const char *scale,
                          const char *symbol, bool backward) {
    functions f = {.text = {.arena = arena}, .symbol = symbol};
    mdl_attention_operand lse = {.slot = m->lse, .dtype = MDL_F32, .row = shape->heads, .head = 1};
    load(&f, "q", &m->q, scale), load(&f, "k", &m->k, "1.0f"), load(&f, "v", &m->v, "1.0f");
    if (backward) {
        load(&f, "do", &m->grad_o, "1.0f");
        number(&f, "lse", &lse), number(&f, "delta", &m->delta);
        store(&f, "dq", &m->dq), store(&f, "dk", &m->dk), store(&f, "dv", &m->dv);
    } else {
        store(&f, "o", &m->o), store(&f, "lse", &lse);
    }
    return f.text.at;
}

/* ---- the kernels ---- */

static const char *score(mdl_arena *arena, const mdl_attention_shape *shape) {
    if (!(shape->softcap > 0)) return "*slope = 1.0f;\n    return s;";
    return mdl_printf(arena,
                      "float t = mdl_tanh(s * (float)%.17g);\n"
                      "    *slope = 1.0f - t * t;\n"
                      "    return t * (float)%.17g;",
                      1 / shape->softcap, shape->softcap);
}

/* Bounds that no segment reaches are none: the kernels compare in 32 bits. */
static const char *bound(mdl_arena *arena, int64_t n) {
    MDL_ASSERT(n >= -1);
    return mdl_number(arena, n >= INT64_C(1) << 30 ? -1 : n);
}

static mdl_cuda_template attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                   int buffers, const char *symbol, bool backward) {
    MDL_ASSERT(shape->heads > 0 && shape->kv_heads > 0 && shape->heads % shape->kv_heads == 0);
    MDL_ASSERT(shape->head_dim > 0 && shape->head_dim <= MDL_CUDA_ATTENTION_WIDEST);
    int64_t each = rows_each(shape, backward), rows = GROUPS * each, n = others(shape, backward);
    const char *scale = mdl_printf(arena, "((float)%.17g)", shape->scale);
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"PLACES", places(arena, shape, memory, scale, symbol, backward)},
        {"BUFFERS", mdl_number(arena, buffers)},
        {"H", mdl_number(arena, shape->heads)},
        {"G", mdl_number(arena, shape->kv_heads)},
        {"K", mdl_number(arena, shape->head_dim)},
        {"COLS", mdl_number(arena, padded(shape))},
        {"C", mdl_number(arena, padded(shape) / LANES)},
        {"ROWS", mdl_number(arena, rows)},
        {"R", mdl_number(arena, each)},
        {"OTHERS", mdl_number(arena, n)},
        {"N", mdl_number(arena, n / LANES)},
        {"LEFT", bound(arena, shape->mask.left)},
        {"RIGHT", bound(arena, shape->mask.right)},
        {"SCORE", score(arena, shape)},
        {"SCALE", scale},
        {"SEQ", mdl_number(arena, memory->seq)},
        {NULL, NULL},
    };
    const char *text = mdl_printf(arena, "%s%s", mdl_instantiate(arena, "attention_common_f32.cu.in", entries),
                                  mdl_instantiate(arena, backward ? "attention_bwd_f32.cu.in" : "attention_f32.cu.in", entries));
    return (mdl_cuda_template){.text = text,
                               .threads = THREADS,
                               .shared_bytes = shared_bytes(shape, backward),
                               .blocks = {0, rows, backward ? shape->heads + shape->kv_heads : shape->heads}};
}

mdl_cuda_template mdl_cuda_attention_f32(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                         int buffers, const char *symbol) {
    return attention(arena, shape, memory, buffers, symbol, false);
}

mdl_cuda_template mdl_cuda_attention_bwd_f32(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                             int buffers, const char *symbol) {
    return attention(arena, shape, memory, buffers, symbol, true);
}
