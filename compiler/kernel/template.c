/* Kernel templates: texts of compiler/kernel/cpu with their $KEYS replaced by constants. */
#include "compiler/kernel/template.h"

#include <string.h>

#include "compiler/kernel/embed.h"
#include "compiler/kernel/template_parts.h"
#include "runtime/base/status.h"

const char *mdl_number(mdl_arena *arena, int64_t n) { return mdl_printf(arena, "%lld", (long long)n); }

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

const char *mdl_embedded(const char *name) {
    for (const mdl_embedded_file *file = mdl_embedded_files; file->name; file++)
        if (!strcmp(file->name, name)) return file->text;
    mdl_bug("no embedded text '%s'", name);
}

/* The longest key that `at` begins with. */
static const mdl_entry *find(const mdl_entry *entries, const char *at) {
    const mdl_entry *best = NULL;
    for (; entries->key; entries++)
        if (!strncmp(entries->key, at, strlen(entries->key)) && (!best || strlen(entries->key) > strlen(best->key))) best = entries;
    return best;
}

const char *mdl_instantiate(mdl_arena *arena, const char *name, const mdl_entry *entries) {
    mdl_text text = {.arena = arena};
    const char *at = mdl_embedded(name);
    for (const char *dollar; (dollar = strchr(at, '$'));) {
        mdl_text_append(&text, at, (size_t)(dollar - at));
        const mdl_entry *found = find(entries, dollar + 1);
        if (!found) mdl_bug("%s: nothing given for '%.20s'", name, dollar);
        mdl_text_append(&text, found->text, strlen(found->text));
        at = dollar + 1 + strlen(found->key);
    }
    mdl_text_append(&text, at, strlen(at));
    return text.at;
}

/* The texts one after the other, once; they live as long as the process. */
static const char *joined(mdl_text *all, const char *const *names) {
    if (all->arena) return all->at;
    all->arena = mdl_arena_new();
    for (; *names; names++) {
        const char *part = mdl_embedded(*names);
        mdl_text_append(all, part, strlen(part));
    }
    return all->at;
}

const char *mdl_template_prelude(void) {
    static const char *const names[] = {"math.h", "bf16.h", "fp8.h", "philox.h", "vector.h", NULL};
    static mdl_text all;
    return joined(&all, names);
}

const char *mdl_cuda_prelude(void) {
    static const char *const names[] = {"math.h", "bf16.h", "fp8.h", "philox.h", "simt.h", "rows.h", NULL};
    static mdl_text all;
    return joined(&all, names);
}

int64_t mdl_template_grid(mdl_template_blocks blocks, int64_t tokens, int64_t segments) {
    return blocks.rows < 0 ? blocks.times : ceil_div(blocks.rows ? segments : tokens, blocks.per) * blocks.times;
}

/* ---- sums ---- */

enum { SCATTER_WIDTH = 64, FINISH_WIDTH = 256, SEGMENT_WIDTH = 1024, SEGSUM_WIDTH = 256, SEGSUM_ROWS = 16, TRANSPOSE_SIDE = 64 };

const char *mdl_template_type(mdl_dtype dtype) {
    MDL_ASSERT(dtype == MDL_F32 || dtype == MDL_BF16);
    return dtype == MDL_F32 ? "float" : "mdl_bf16";
}

const char *mdl_template_widen(mdl_dtype dtype) { return dtype == MDL_F32 ? "" : "mdl_from_bf16"; }

const char *mdl_template_scatter_add(mdl_arena *arena, mdl_dtype dtype, int64_t cols, bool with_init, const char *symbol) {
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"TYPE", mdl_template_type(dtype)},
        {"WIDEN", mdl_template_widen(dtype)},
        {"COLS", mdl_number(arena, cols)},
        {"WIDTH", mdl_number(arena, SCATTER_WIDTH)},
        {"WHAT", with_init ? "init" : "0"},
        {"INIT", with_init ? "buffer[2]" : "0"},
        {"OUT", with_init ? "3" : "2"},
        {NULL, NULL},
    };
    return mdl_instantiate(arena, "scatter_add.c.in", entries);
}

mdl_template_blocks mdl_template_scatter_add_blocks(int64_t cols) {
    return (mdl_template_blocks){-1, 1, ceil_div(cols, SCATTER_WIDTH)};
}

int64_t mdl_template_scatter_add_grid(int64_t cols) { return mdl_template_scatter_add_blocks(cols).times; }

mdl_template_blocks mdl_template_transpose_blocks(int64_t cols) {
    return (mdl_template_blocks){0, TRANSPOSE_SIDE, ceil_div(cols, TRANSPOSE_SIDE)};
}

const char *mdl_template_transpose(mdl_arena *arena, int64_t cols, const char *symbol) {
    const mdl_entry entries[] = {{"SYMBOL", symbol},
                                 {"COLS", mdl_number(arena, cols)},
                                 {"PARTS", mdl_number(arena, mdl_template_transpose_blocks(cols).times)},
                                 {NULL, NULL}};
    return mdl_instantiate(arena, "transpose.c.in", entries);
}

const char *mdl_template_finish(mdl_arena *arena, int n, const int64_t *cols, const bool *init, const char *symbol) {
    MDL_ASSERT(n > 0);
    mdl_text widths = {.arena = arena}, inits = {.arena = arena};
    int slot = n; /* of the next init; then of the first output */
    for (int i = 0; i < n; i++) {
        mdl_text_printf(&widths, "%s%lld", i ? ", " : "", (long long)cols[i]);
        mdl_text_printf(&inits, "%s%d", i ? ", " : "", init[i] ? slot++ : -1);
    }
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"N", mdl_number(arena, n)},
        {"COLS", widths.at},
        {"INIT", inits.at},
        {"WIDTH", mdl_number(arena, FINISH_WIDTH)},
        {"OUT", mdl_number(arena, slot)},
        {NULL, NULL},
    };
    return mdl_instantiate(arena, "finish.c.in", entries);
}

mdl_template_blocks mdl_template_finish_blocks(int n, const int64_t *cols) {
    mdl_template_blocks blocks = {-1, 1, 0};
    for (int i = 0; i < n; i++) blocks.times += ceil_div(cols[i], FINISH_WIDTH);
    return blocks;
}

int64_t mdl_template_finish_grid(int n, const int64_t *cols) { return mdl_template_finish_blocks(n, cols).times; }

/* ---- segments ---- */

const mdl_segment_op *mdl_segment_op_find(const char *name) {
    static const mdl_segment_op ops[] = {
        {"segment_id", true, "its segment, -1 in the tail", "s", "-1"},
        {"position", true, "its offset in its segment, 0 in the tail", "t - seq[s]", "0"},
        {"seglen", false, "its length", "seq[s + 1] - seq[s]", ""},
        {"first", false, "its first token, -1 when it is empty", "seq[s + 1] > seq[s] ? seq[s] : -1", ""},
        {"segsum", false, "", "", ""},
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(ops[i].name, name)) return &ops[i];
    mdl_bug("no segment op '%s'", name);
}

const char *mdl_template_segment(mdl_arena *arena, const char *name, mdl_dtype dtype, int64_t cols, const char *symbol) {
    const mdl_segment_op *op = mdl_segment_op_find(name);
    bool sum = !strcmp(name, "segsum");
    const char *file = sum ? "segment_sum.c.in" : op->of_tokens ? "segment_token.c.in" : "segment_each.c.in";
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"COLS", mdl_number(arena, cols)},
        {"WIDTH", mdl_number(arena, sum ? SEGSUM_WIDTH : SEGMENT_WIDTH)},
        {"PARTS", mdl_number(arena, ceil_div(cols, SEGSUM_WIDTH))},
        {"WHAT", op->what},
        {"VALUE", op->value},
        {"TAIL", op->tail},
        {"TYPE", sum ? mdl_template_type(dtype) : ""},
        {"WIDEN", sum ? mdl_template_widen(dtype) : ""},
        {NULL, NULL},
    };
    return mdl_instantiate(arena, file, entries);
}

mdl_template_blocks mdl_template_segment_blocks(const char *name, int64_t cols) {
    if (!strcmp(name, "segsum")) return (mdl_template_blocks){1, SEGSUM_ROWS, ceil_div(cols, SEGSUM_WIDTH)};
    return (mdl_template_blocks){mdl_segment_op_find(name)->of_tokens ? 0 : 1, SEGMENT_WIDTH, 1};
}

int64_t mdl_template_segment_grid(const char *name, int64_t cols, int64_t tokens, int64_t segments) {
    return mdl_template_grid(mdl_template_segment_blocks(name, cols), tokens, segments);
}
