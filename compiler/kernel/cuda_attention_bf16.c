/* Attention in bf16 for CUDA: the sizes of its tiles, and its places in memory. */
#include "compiler/kernel/cuda_attention.h"
#include "compiler/kernel/embed.h"
#include "compiler/kernel/template_parts.h"
#include "runtime/base/status.h"

/* Of attention_tiles.h: the threads of a block, and its own rows: queries, or keys. */
enum { THREADS = 128, ROWS = 64 };

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---- sizes ---- */

/* Columns of a tile, and what lies between its rows: an odd number of pieces of 8. */
static int64_t cols_of(const mdl_attention_shape *shape) { return round_up(shape->head_dim, 8); }
static int64_t pitch_of(const mdl_attention_shape *shape) { return (cols_of(shape) / 8 | 1) * 8; }

/* How many rows of the other kind come at a time, in how many stages, how many of them are computed at a time, and the blocks for
 * which a processor has registers. Registers decide over the last two (suite cuda_attention_bf16: no spills to K = 128); the shared
 * memory is below 99 KiB, what the smaller GPUs give a block, but for the backward of K above 248. */
typedef struct {
    int64_t rows, stages, step, resident;
} tiling;

static tiling forward_tiling(int64_t cols) {
    if (cols <= 32) return (tiling){64, 3, 64, 4};
    if (cols <= 64) return (tiling){64, 2, 64, 3};
    if (cols <= 128) return (tiling){64, 2, 64, 2};
    return (tiling){32, 2, 32, 1};
}

static tiling backward_tiling(int64_t cols) {
    if (cols <= 16) return (tiling){64, 2, 32, 4};
    if (cols <= 32) return (tiling){64, 2, 32, 3};
    if (cols <= 64) return (tiling){64, 2, 16, 3};
    if (cols <= 128) return (tiling){32, 2, 16, 2};
    return (tiling){16, 2, 16, 1};
}

/* To so many columns, the backward's own keys and values stay in registers. */
enum { HELD_COLS = 16 };

/* ---- places in memory ---- */

typedef struct {
    mdl_arena *arena;
    const mdl_attention_shape *shape;
    mdl_entry at[64];
    int n;
} entries;

static void add(entries *e, const char *key, const char *text) {
    MDL_ASSERT(e->n < (int)(sizeof e->at / sizeof *e->at) - 1);
    e->at[e->n++] = (mdl_entry){key, text};
}

static void add_number(entries *e, const char *key, int64_t n) { add(e, key, mdl_number(e->arena, n)); }

/* All rows and heads of the operand begin at multiples of n elements. */
static bool aligned(const mdl_attention_operand *x, int64_t n) { return x->first % n == 0 && x->row % n == 0 && x->head % n == 0; }

/* $OF_<name>, the head's column in row 0; $ROW_<name>, the elements between rows. head: an expression. */
static void add_place(entries *e, const char *name, const mdl_attention_operand *x, const char *head, bool is_const) {
    MDL_ASSERT(!x->text);
    add(e, mdl_printf(e->arena, "OF_%s", name),
        mdl_printf(e->arena, "(%s%s *)buffer[%d] + %lld + %s * %lld", is_const ? "const " : "", mdl_template_type(x->dtype),
                   x->slot, (long long)x->first, head, (long long)x->head));
    add_number(e, mdl_printf(e->arena, "ROW_%s", name), x->row);
}

/* $LOAD_<name>: the function of attention_tiles.h */
static void add_input(entries *e, const char *name, const mdl_attention_operand *x, const char *head) {
    MDL_ASSERT(x->dtype == MDL_BF16);
    add_place(e, name, x, head, true);
    bool pieces = e->shape->head_dim % 8 == 0 && aligned(x, 8);
    add(e, mdl_printf(e->arena, "LOAD_%s", name), pieces ? "mdl_tile_copy" : "mdl_tile_load");
}

static void add_output(entries *e, const char *name, const mdl_attention_operand *x, const char *head) {
    add_place(e, name, x, head, false);
    add(e, mdl_printf(e->arena, "STORE_%s", name),
        mdl_printf(e->arena, "mdl_store_%s_%s", aligned(x, 2) ? "pair" : "each", mdl_dtype_name(x->dtype)));
}

/* ---- the score ---- */

static const double log2_e = 1.4426950408889634;

/* $SCORE makes of s = q.k what $FACTOR, positive, turns into a power of 2; slope: the derivative of
 * the score by scale * s. Without a softcap the factor takes in a positive scale. */
static void add_score(entries *e) {
    double scale = e->shape->scale, cap = e->shape->softcap;
    bool plain = !(cap > 0) && scale > 0;
    const char *score = "*slope = 1.0f;\n    return s;";
    if (cap > 0)
        score = mdl_printf(e->arena,
                           "float t = mdl_tanh(s * (float)%.17g);\n"
                           "    *slope = 1.0f - t * t;\n"
                           "    return t * (float)%.17g;",
                           scale / cap, cap);
    else if (!plain)
        score = mdl_printf(e->arena, "*slope = 1.0f;\n    return s * (float)%.17g;", scale);
    add(e, "SCORE", score);
    add(e, "FACTOR", mdl_printf(e->arena, "(float)%.17g", (plain ? scale : 1) * log2_e));
    add(e, "SCALE", mdl_printf(e->arena, "(float)%.17g", scale));
}

/* ---- the kernels ---- */

/* Bounds that no segment reaches are none: the kernels compare in 32 bits. */
static int64_t bound(int64_t n) {
    MDL_ASSERT(n >= -1);
    return n >= INT64_C(1) << 30 ? -1 : n;
}

static void add_common(entries *e, const mdl_attention_memory *memory, int buffers, const char *symbol, tiling tiling) {
    const mdl_attention_shape *s = e->shape;
    MDL_ASSERT(s->heads > 0 && s->kv_heads > 0 && s->heads % s->kv_heads == 0);
    MDL_ASSERT(s->head_dim > 0 && s->head_dim <= MDL_CUDA_ATTENTION_WIDEST && s->head_dim % 2 == 0);
    add(e, "SYMBOL", symbol);
    add_number(e, "BUFFERS", buffers);
    add_number(e, "H", s->heads), add_number(e, "G", s->kv_heads), add_number(e, "K", s->head_dim);
    add_number(e, "COLS", cols_of(s)), add_number(e, "PITCH", pitch_of(s));
    add_number(e, "STAGES", tiling.stages), add_number(e, "RESIDENT", tiling.resident);
    add_number(e, "LEFT", bound(s->mask.left)), add_number(e, "RIGHT", bound(s->mask.right));
    add_number(e, "SEQ", memory->seq), add_number(e, "LSE", memory->lse), add_number(e, "TILES", memory->tiles);
    add_score(e);
}

/* Of the parts in order. */
static const char *text_of(entries *e, const char *header, const char *first, const char *second) {
    e->at[e->n] = (mdl_entry){NULL, NULL};
    return mdl_printf(e->arena, "%s%s%s%s", header, mdl_embedded("attention_tiles.h"), mdl_instantiate(e->arena, first, e->at),
                      mdl_instantiate(e->arena, second, e->at));
}

/* In terms of a query's head. */
static const char *key_head(const entries *e) {
    return mdl_printf(e->arena, "head / %lld", (long long)(e->shape->heads / e->shape->kv_heads));
}

mdl_cuda_template mdl_cuda_attention_bf16(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                          int buffers, const char *symbol) {
    entries e = {.arena = arena, .shape = shape};
    tiling tiling = forward_tiling(cols_of(shape));
    add_common(&e, memory, buffers, symbol, tiling);
    add_number(&e, "KEYS", tiling.rows);
    add_input(&e, "Q", &memory->q, "head");
    add_input(&e, "K", &memory->k, key_head(&e)), add_input(&e, "V", &memory->v, key_head(&e));
    add_output(&e, "O", &memory->o, "head");
    int64_t shared = (ROWS + tiling.stages * 2 * tiling.rows) * pitch_of(shape) * 2;
    return (mdl_cuda_template){.text = text_of(&e, "", "attention_softmax.cu.in", "attention.cu.in"),
                               .threads = THREADS,
                               .shared_bytes = shared,
                               .blocks = {0, ROWS, shape->heads}};
}

mdl_cuda_template mdl_cuda_attention_bwd_bf16(mdl_arena *arena, const mdl_attention_shape *shape,
                                              const mdl_attention_memory *memory, int buffers, const char *symbol) {
    MDL_ASSERT(!memory->compute_delta && memory->delta.dtype == MDL_F32);
    entries e = {.arena = arena, .shape = shape};
    tiling tiling = backward_tiling(cols_of(shape));
    add_common(&e, memory, buffers, symbol, tiling);
    add_number(&e, "ROWS", tiling.rows), add_number(&e, "STEP", tiling.step);
    add_number(&e, "GROUP", shape->heads / shape->kv_heads);
    add_number(&e, "HELD", cols_of(shape) <= HELD_COLS);
    add_input(&e, "Q", &memory->q, "head"), add_input(&e, "DO", &memory->grad_o, "head");
    add_input(&e, "K", &memory->k, key_head(&e)), add_input(&e, "V", &memory->v, key_head(&e));
    add_place(&e, "DELTA", &memory->delta, "head", true);
    add_output(&e, "DQ", &memory->dq, "head");
    add_output(&e, "DK", &memory->dk, "key_head"), add_output(&e, "DV", &memory->dv, "key_head");
    int64_t tiles = (2 * ROWS + tiling.stages * 2 * tiling.rows) * pitch_of(shape) * 2, stats = 2 * 2 * tiling.rows * 4;
    return (mdl_cuda_template){.text = text_of(&e, "", "attention_gradient.cu.in", "attention_bwd.cu.in"),
                               .threads = THREADS,
                               .shared_bytes = tiles + stats,
                               .blocks = {0, ROWS, shape->heads + shape->kv_heads}};
}

/* ---- Hopper ---- */

/* Tiles there are 64 rows of 64 columns, 8 KiB. */
enum { TILE_BYTES = 64 * 128, WARPGROUP = 128 };

bool mdl_cuda_attention_fits_hopper(const mdl_attention_shape *shape, const mdl_attention_memory *memory, bool backward) {
    bool pieces = aligned(&memory->q, 8) && aligned(&memory->k, 8) && aligned(&memory->v, 8);
    if (backward) return shape->head_dim == 64 && pieces && aligned(&memory->grad_o, 8);
    return (shape->head_dim == 64 || shape->head_dim == 128) && pieces;
}

static void add_map(mdl_cuda_template *kernel, const mdl_attention_operand *x, int64_t heads, int64_t cols) {
    MDL_ASSERT(x->dtype == MDL_BF16 && kernel->n_maps < (int)(sizeof kernel->maps / sizeof *kernel->maps));
    kernel->maps[kernel->n_maps++] = (mdl_template_map){x->slot, x->first, heads, cols, x->row, x->head};
}

/* 64 queries a warpgroup; as many stages of keys and values as leave room for the blocks of a processor. */
mdl_cuda_template mdl_cuda_attention_hopper(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                            int buffers, const char *symbol) {
    entries e = {.arena = arena, .shape = shape};
    bool wide = shape->head_dim > 64;
    int64_t groups = 2, stages = wide ? 5 : 6, tile = shape->head_dim / 64 * TILE_BYTES;
    add_common(&e, memory, buffers, symbol, (tiling){64, stages, 64, wide ? 1 : 2});
    add_number(&e, "KEYS", 64), add_number(&e, "LAG", stages / 2);
    add_number(&e, "GROUPS", groups), add_number(&e, "ROWS", 64 * groups), add_number(&e, "THREADS", WARPGROUP * groups);
    add_number(&e, "GROUP", shape->heads / shape->kv_heads);
    add_output(&e, "O", &memory->o, "head");
    mdl_cuda_template kernel = {.text = text_of(&e, mdl_embedded("hopper.h"), "attention_softmax.cu.in", "attention_hopper.cu.in"),
                                .threads = (int)(WARPGROUP * groups),
                                .shared_bytes = (2 * stages + groups) * tile + (2 * stages + 1) * 8,
                                .blocks = {0, 64 * groups, shape->heads}};
    add_map(&kernel, &memory->q, shape->heads, shape->head_dim);
    add_map(&kernel, &memory->k, shape->kv_heads, shape->head_dim);
    add_map(&kernel, &memory->v, shape->kv_heads, shape->head_dim);
    return kernel;
}

mdl_cuda_template mdl_cuda_attention_bwd_hopper(mdl_arena *arena, const mdl_attention_shape *shape,
                                                const mdl_attention_memory *memory, int buffers, const char *symbol) {
    MDL_ASSERT(!memory->compute_delta && memory->delta.dtype == MDL_F32);
    entries e = {.arena = arena, .shape = shape};
    enum { STAGES = 3 };
    add_common(&e, memory, buffers, symbol, (tiling){64, STAGES, 64, 3});
    add_number(&e, "GROUP", shape->heads / shape->kv_heads);
    add_place(&e, "DELTA", &memory->delta, "head", true);
    add_output(&e, "DQ", &memory->dq, "head");
    add_output(&e, "DK", &memory->dk, "key_head"), add_output(&e, "DV", &memory->dv, "key_head");
    mdl_cuda_template kernel = {
        .text = text_of(&e, mdl_embedded("hopper.h"), "attention_gradient.cu.in", "attention_bwd_hopper.cu.in"),
        .threads = WARPGROUP,
        .shared_bytes = (2 * STAGES + 2) * TILE_BYTES + (2 * STAGES + 1) * 8,
        .blocks = {0, 64, shape->heads + shape->kv_heads}};
    add_map(&kernel, &memory->q, shape->heads, shape->head_dim);
    add_map(&kernel, &memory->k, shape->kv_heads, shape->head_dim);
    add_map(&kernel, &memory->v, shape->kv_heads, shape->head_dim);
    add_map(&kernel, &memory->grad_o, shape->heads, shape->head_dim);
    return kernel;
}
