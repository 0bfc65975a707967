/* Kernel templates: texts of compiler/kernel/cpu with their $KEYS replaced by constants. */
#include "compiler/kernel/template.h"

#include <string.h>

#include "compiler/kernel/embed.h"
#include "runtime/base/status.h"

/* What stands for a $KEY. A list ends in a row of NULLs. */
typedef struct {
    const char *key, *text;
} entry;

static char *number(mdl_arena *arena, int64_t n) { return mdl_printf(arena, "%lld", (long long)n); }

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

const char *mdl_embedded(const char *name) {
    for (const mdl_embedded_file *file = mdl_embedded_files; file->name; file++)
        if (!strcmp(file->name, name)) return file->text;
    mdl_bug("no embedded text '%s'", name);
}

/* The longest key that `at` begins with. */
static const entry *find(const entry *entries, const char *at) {
    const entry *best = NULL;
    for (; entries->key; entries++)
        if (!strncmp(entries->key, at, strlen(entries->key)) && (!best || strlen(entries->key) > strlen(best->key))) best = entries;
    return best;
}

static const char *instantiate(mdl_arena *arena, const char *name, const entry *entries) {
    mdl_text text = {.arena = arena};
    const char *at = mdl_embedded(name);
    for (const char *dollar; (dollar = strchr(at, '$'));) {
        mdl_text_append(&text, at, (size_t)(dollar - at));
        const entry *found = find(entries, dollar + 1);
        if (!found) mdl_bug("%s: nothing given for '%.20s'", name, dollar);
        mdl_text_append(&text, found->text, strlen(found->text));
        at = dollar + 1 + strlen(found->key);
    }
    mdl_text_append(&text, at, strlen(at));
    return text.at;
}

const char *mdl_template_prelude(void) {
    static const char *const names[] = {"math.h", "bf16.h", "philox.h", "vector.h"};
    static mdl_text all; /* lives as long as the process */
    if (all.arena) return all.at;
    all.arena = mdl_arena_new();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *part = mdl_embedded(names[i]);
        mdl_text_append(&all, part, strlen(part));
    }
    return all.at;
}

/* ---- attention ---- */

/* Columns padded to whole vectors. */
static int64_t padded(const mdl_attention_shape *shape) { return round_up(shape->head_dim, 16); }

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

static const char *attention(mdl_arena *arena, const mdl_attention_shape *shape, const char *symbol, bool backward) {
    MDL_ASSERT(shape->heads > 0 && shape->kv_heads > 0 && shape->heads % shape->kv_heads == 0);
    MDL_ASSERT(shape->head_dim > 0 && shape->head_dim <= 512);
    int64_t keys = backward ? keys_backward(shape) : keys_forward(shape);
    const entry entries[] = {
        {"SYMBOL", symbol},
        {"H", number(arena, shape->heads)},
        {"G", number(arena, shape->kv_heads)},
        {"K", number(arena, shape->head_dim)},
        {"KP", number(arena, padded(shape))},
        {"KEYS", number(arena, keys)},
        {"CHUNK", number(arena, backward ? BWD_CHUNK : chunk(shape))},
        {"PART", number(arena, keys < BWD_PART ? keys : BWD_PART)},
        {"CAUSAL", shape->causal ? "1" : "0"},
        {"SCALE", mdl_printf(arena, "((float)%.17g)", shape->scale)},
        {NULL, NULL},
    };
    return instantiate(arena, backward ? "attention_bwd.c.in" : "attention.c.in", entries);
}

const char *mdl_template_attention(mdl_arena *arena, const mdl_attention_shape *shape, const char *symbol) {
    return attention(arena, shape, symbol, false);
}

const char *mdl_template_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const char *symbol) {
    return attention(arena, shape, symbol, true);
}

mdl_template_blocks mdl_template_attention_blocks(const mdl_attention_shape *shape) {
    return (mdl_template_blocks){0, chunk(shape), shape->heads};
}

mdl_template_blocks mdl_template_attention_bwd_blocks(const mdl_attention_shape *shape) {
    return (mdl_template_blocks){0, BWD_CHUNK, shape->kv_heads};
}

/* The number for immediates T, S. */
static int64_t grid(mdl_template_blocks blocks, int64_t tokens, int64_t segments) {
    return blocks.rows < 0 ? blocks.times : ceil_div(blocks.rows ? segments : tokens, blocks.per) * blocks.times;
}

int64_t mdl_template_attention_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments) {
    return grid(mdl_template_attention_blocks(shape), tokens, segments);
}

int64_t mdl_template_attention_bwd_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments) {
    return grid(mdl_template_attention_bwd_blocks(shape), tokens, segments);
}

/* ---- sums ---- */

enum { SCATTER_WIDTH = 64, FINISH_WIDTH = 256, SEGMENT_WIDTH = 1024, SEGSUM_WIDTH = 256, SEGSUM_ROWS = 16 };

const char *mdl_template_scatter_add(mdl_arena *arena, int64_t cols, bool with_init, const char *symbol) {
    const entry entries[] = {
        {"SYMBOL", symbol},
        {"COLS", number(arena, cols)},
        {"WIDTH", number(arena, SCATTER_WIDTH)},
        {"WHAT", with_init ? "init" : "0"},
        {"INIT", with_init ? "buffer[2]" : "0"},
        {"OUT", with_init ? "3" : "2"},
        {NULL, NULL},
    };
    return instantiate(arena, "scatter_add.c.in", entries);
}

mdl_template_blocks mdl_template_scatter_add_blocks(int64_t cols) {
    return (mdl_template_blocks){-1, 1, ceil_div(cols, SCATTER_WIDTH)};
}

int64_t mdl_template_scatter_add_grid(int64_t cols) { return mdl_template_scatter_add_blocks(cols).times; }

const char *mdl_template_finish(mdl_arena *arena, int n, const int64_t *cols, bool with_init, const char *symbol) {
    MDL_ASSERT(n > 0);
    mdl_text list = {.arena = arena};
    for (int i = 0; i < n; i++) mdl_text_printf(&list, "%s%lld", i ? ", " : "", (long long)cols[i]);
    const entry entries[] = {
        {"SYMBOL", symbol},
        {"N", number(arena, n)},
        {"LIST", list.at},
        {"WIDTH", number(arena, FINISH_WIDTH)},
        {"WHAT", with_init ? "init" : "0"},
        {"INIT", with_init ? mdl_printf(arena, "buffer[%d + i]", n) : "0"},
        {"OUT", number(arena, with_init ? 2 * n : n)},
        {NULL, NULL},
    };
    return instantiate(arena, "finish.c.in", entries);
}

mdl_template_blocks mdl_template_finish_blocks(int n, const int64_t *cols) {
    mdl_template_blocks blocks = {-1, 1, 0};
    for (int i = 0; i < n; i++) blocks.times += ceil_div(cols[i], FINISH_WIDTH);
    return blocks;
}

int64_t mdl_template_finish_grid(int n, const int64_t *cols) { return mdl_template_finish_blocks(n, cols).times; }

/* ---- segments ---- */

/* One row per name: the template it fills, per token or per segment. */
static const struct segment_kernel {
    const char *name, *file, *what, *value, *tail;
} segment_kernels[] = {
    {"segment_id", "segment_token.c.in", "its segment, -1 in the tail", "s", "-1"},
    {"position", "segment_token.c.in", "its offset in its segment, 0 in the tail", "t - seq[s]", "0"},
    {"seglen", "segment_each.c.in", "its length", "seq[s + 1] - seq[s]", ""},
    {"first", "segment_each.c.in", "its first token, -1 when it is empty", "seq[s + 1] > seq[s] ? seq[s] : -1", ""},
    {"segsum", "segment_sum.c.in", "", "", ""},
};

static const struct segment_kernel *segment_kernel(const char *name) {
    for (size_t i = 0; i < sizeof segment_kernels / sizeof *segment_kernels; i++)
        if (!strcmp(segment_kernels[i].name, name)) return &segment_kernels[i];
    mdl_bug("no segment kernel '%s'", name);
}

const char *mdl_template_segment(mdl_arena *arena, const char *name, int64_t cols, const char *symbol) {
    const struct segment_kernel *kernel = segment_kernel(name);
    bool sum = !strcmp(name, "segsum");
    const entry entries[] = {
        {"SYMBOL", symbol},
        {"COLS", number(arena, cols)},
        {"WIDTH", number(arena, sum ? SEGSUM_WIDTH : SEGMENT_WIDTH)},
        {"PARTS", number(arena, ceil_div(cols, SEGSUM_WIDTH))},
        {"WHAT", kernel->what},
        {"VALUE", kernel->value},
        {"TAIL", kernel->tail},
        {NULL, NULL},
    };
    return instantiate(arena, kernel->file, entries);
}

mdl_template_blocks mdl_template_segment_blocks(const char *name, int64_t cols) {
    bool tokens = !strcmp(segment_kernel(name)->file, "segment_token.c.in");
    if (!strcmp(name, "segsum")) return (mdl_template_blocks){1, SEGSUM_ROWS, ceil_div(cols, SEGSUM_WIDTH)};
    return (mdl_template_blocks){tokens ? 0 : 1, SEGMENT_WIDTH, 1};
}

int64_t mdl_template_segment_grid(const char *name, int64_t cols, int64_t tokens, int64_t segments) {
    return grid(mdl_template_segment_blocks(name, cols), tokens, segments);
}
