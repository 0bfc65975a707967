/* Attention in f32 for CUDA: the sizes of its tiles, and its places in memory. */
#include <string.h>

#include "compiler/kernel/cuda_attention.h"
#include "compiler/kernel/embed.h"
#include "runtime/base/status.h"

/* Four threads a row. */
enum { ROWS = 32 };

typedef struct {
    mdl_arena *arena;
    mdl_entry at[64];
    int n;
} entries;

static void add(entries *e, const char *key, const char *text) {
    MDL_ASSERT(e->n < (int)(sizeof e->at / sizeof *e->at) - 1);
    e->at[e->n++] = (mdl_entry){key, text};
}

static void add_number(entries *e, const char *key, int64_t n) { add(e, key, mdl_number(e->arena, n)); }

/* $OF_<name>, the head's column in row 0; $ROW_<name>, the elements between rows. head: an expression. */
static void add_place(entries *e, const char *name, const mdl_attention_operand *x, const char *head, bool is_const) {
    MDL_ASSERT(!x->text && x->dtype == MDL_F32);
    add(e, mdl_printf(e->arena, "OF_%s", name),
        mdl_printf(e->arena, "(%sfloat *)buffer[%d] + %lld + %s * %lld", is_const ? "const " : "", x->slot, (long long)x->first,
                   head, (long long)x->head));
    add_number(e, mdl_printf(e->arena, "ROW_%s", name), x->row);
}

/* Bounds that no segment reaches are none: the kernels compare in 32 bits. */
static int64_t bound(int64_t n) { return n >= INT64_C(1) << 30 ? -1 : n; }

static void add_common(entries *e, const mdl_attention_shape *s, const mdl_attention_memory *m, int buffers, const char *symbol) {
    int64_t part = (s->head_dim + 3) / 4;
    const char *key_head = mdl_printf(e->arena, "head / %lld", (long long)(s->heads / s->kv_heads));
    add(e, "SYMBOL", symbol);
    add_number(e, "BUFFERS", buffers), add_number(e, "ROWS", ROWS), add_number(e, "KEYS", s->head_dim > 128 ? 8 : 16);
    add_number(e, "H", s->heads), add_number(e, "G", s->kv_heads), add_number(e, "K", s->head_dim);
    add_number(e, "PART", part), add_number(e, "COLS", 4 * part);
    add_number(e, "LEFT", bound(s->mask.left)), add_number(e, "RIGHT", bound(s->mask.right));
    add_number(e, "SEQ", m->seq), add_number(e, "LSE", m->lse);
    add(e, "SCALE", mdl_printf(e->arena, "(float)%.17g", s->scale));
    add_place(e, "Q", &m->q, "head", true);
    add_place(e, "K", &m->k, key_head, true), add_place(e, "V", &m->v, key_head, true);
}

/* The score of s, which is scaled; slope: its derivative by s. */
static const char *score(mdl_arena *arena, const mdl_attention_shape *s, const char *symbol) {
    const char *body = "*slope = 1.0f;\n    return s;";
    if (s->softcap > 0)
        body = mdl_printf(arena,
                          "float t = mdl_tanh(s * (float)%.17g);\n"
                          "    *slope = 1.0f - t * t;\n"
                          "    return t * (float)%.17g;",
                          1 / s->softcap, s->softcap);
    return mdl_printf(arena, "MDL_FN float %s_score(float s, float *slope) {\n    %s\n}\n", symbol, body);
}

static mdl_cuda_template kernel_of(entries *e, const mdl_attention_shape *s, const char *symbol, const char *file, int64_t blocks) {
    const char *text = mdl_printf(e->arena, "%s%s%s%s", mdl_embedded("attention_tiles.h"), mdl_embedded("attention_rows.h"),
                                  score(e->arena, s, symbol), mdl_instantiate(e->arena, file, e->at));
    return (mdl_cuda_template){.text = text, .threads = 4 * ROWS, .blocks = {0, ROWS, blocks}};
}

mdl_cuda_template mdl_cuda_attention_f32(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                         int buffers, const char *symbol) {
    entries e = {.arena = arena};
    add_common(&e, shape, memory, buffers, symbol);
    add_place(&e, "O", &memory->o, "head", false);
    return kernel_of(&e, shape, symbol, "attention_f32.cu.in", shape->heads);
}

mdl_cuda_template mdl_cuda_attention_bwd_f32(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                             int buffers, const char *symbol) {
    entries e = {.arena = arena};
    add_common(&e, shape, memory, buffers, symbol);
    add_place(&e, "KEY", &memory->k, "group", true), add_place(&e, "VALUE", &memory->v, "group", true);
    add_place(&e, "DO", &memory->grad_o, "head", true), add_place(&e, "DELTA", &memory->delta, "head", true);
    add_place(&e, "DQ", &memory->dq, "head", false);
    add_place(&e, "DK", &memory->dk, "group", false), add_place(&e, "DV", &memory->dv, "group", false);
    return kernel_of(&e, shape, symbol, "attention_bwd_f32.cu.in", shape->heads + shape->kv_heads);
}
