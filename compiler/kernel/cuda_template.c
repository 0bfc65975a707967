/* Texts of compiler/kernel/cuda for what fusion does not make. */
#include "compiler/kernel/cuda_template.h"

#include <string.h>

#include "compiler/kernel/embed.h"
#include "compiler/kernel/template.h"
#include "compiler/kernel/template_parts.h"
#include "runtime/base/status.h"

/* THREADS are 8 warps; a warp has WIDTH columns of sums, a finish FINISH_WIDTH, in the texts too. */
enum { THREADS = 256, WIDTH = 128, FINISH_WIDTH = 32 };

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

mdl_cuda_template mdl_cuda_scatter_add(mdl_arena *arena, mdl_dtype dtype, int64_t cols, bool with_init, const char *symbol) {
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"BUFFERS", with_init ? "4" : "3"},
        {"TYPE", mdl_template_type(dtype)},
        {"WIDEN", mdl_template_widen(dtype)},
        {"COLS", mdl_number(arena, cols)},
        {"PARTS", mdl_number(arena, ceil_div(cols, WIDTH))},
        {"WHAT", with_init ? "init" : "0"},
        {"START", with_init ? "((const float *)args.buffer[2])[n * cols + column]" : "0.0f"},
        {"OUT", with_init ? "3" : "2"},
        {NULL, NULL},
    };
    const char *text = mdl_instantiate(arena, "scatter_add.cu.in", entries);
    return (mdl_cuda_template){.text = text, .threads = THREADS, .blocks = {1, 1, ceil_div(cols, WIDTH)}};
}

mdl_cuda_template mdl_cuda_transpose(mdl_arena *arena, int64_t cols, const char *symbol) {
    mdl_template_blocks blocks = mdl_template_transpose_blocks(cols);
    const mdl_entry entries[] = {
        {"SYMBOL", symbol}, {"COLS", mdl_number(arena, cols)}, {"PARTS", mdl_number(arena, blocks.times)}, {NULL, NULL}};
    const char *text = mdl_instantiate(arena, "transpose.cu.in", entries);
    return (mdl_cuda_template){.text = text, .threads = THREADS, .blocks = blocks};
}

mdl_cuda_template mdl_cuda_segment(mdl_arena *arena, const char *name, mdl_dtype dtype, int64_t cols, const char *symbol) {
    const mdl_segment_op *op = mdl_segment_op_find(name);
    bool sum = !strcmp(name, "segsum");
    const char *file = sum ? "segment_sum.cu.in" : op->of_tokens ? "segment_token.cu.in" : "segment_each.cu.in";
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"COLS", mdl_number(arena, cols)},
        {"PARTS", mdl_number(arena, ceil_div(cols, WIDTH))},
        {"WHAT", op->what},
        {"VALUE", op->value},
        {"TAIL", op->tail},
        {"TYPE", sum ? mdl_template_type(dtype) : ""},
        {"WIDEN", sum ? mdl_template_widen(dtype) : ""},
        {NULL, NULL},
    };
    mdl_template_blocks blocks = {op->of_tokens ? 0 : 1, THREADS, 1};
    if (sum) blocks = (mdl_template_blocks){1, 1, ceil_div(cols, WIDTH)};
    return (mdl_cuda_template){.text = mdl_instantiate(arena, file, entries), .threads = THREADS, .blocks = blocks};
}

mdl_cuda_template mdl_cuda_tiles(mdl_arena *arena, int64_t rows, const char *symbol) {
    const mdl_entry entries[] = {{"SYMBOL", symbol}, {"ROWS", mdl_number(arena, rows)}, {NULL, NULL}};
    return (mdl_cuda_template){
        .text = mdl_instantiate(arena, "segment_tiles.cu.in", entries), .threads = THREADS, .blocks = {1, THREADS, 1}};
}

mdl_cuda_template mdl_cuda_finish(mdl_arena *arena, int n, const int64_t *cols, const bool *init, const char *symbol) {
    MDL_ASSERT(n > 0);
    mdl_text widths = {.arena = arena}, inits = {.arena = arena};
    mdl_template_blocks blocks = {-1, 1, 0};
    int slot = n; /* of the next init; then of the first output */
    for (int i = 0; i < n; i++) {
        mdl_text_printf(&widths, "%s%lld", i ? ", " : "", (long long)cols[i]);
        mdl_text_printf(&inits, "%s%d", i ? ", " : "", init[i] ? slot++ : -1);
        blocks.times += ceil_div(cols[i], FINISH_WIDTH);
    }
    const mdl_entry entries[] = {
        {"SYMBOL", symbol},
        {"BUFFERS", mdl_number(arena, slot + n)},
        {"N", mdl_number(arena, n)},
        {"COLS", widths.at},
        {"INIT", inits.at},
        {"OUT", mdl_number(arena, slot)},
        {NULL, NULL},
    };
    return (mdl_cuda_template){.text = mdl_instantiate(arena, "finish.cu.in", entries), .threads = THREADS, .blocks = blocks};
}
