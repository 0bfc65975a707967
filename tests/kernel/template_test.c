/* Hand-written kernels of sums and segments against plain loops: odd lengths, empty segments, tails, every variant.
 *
 * Outputs begin as NaN, so that a row nobody writes shows; a guard behind each shows writes past the end; tail rows of the
 * inputs are NaN, so that reading them shows. */
#include <math.h>
#include <stdlib.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/template.h"
#include "tests/kernel/arrays.h"

static const int32_t mixed[] = {0, 0, 1, 3, 20, 20, 133, 433, 433, 433}; /* 0 1 2 17 0 113 300 0 0 */

enum { COLS = 301, ROWS = 33, TOKENS = 450, SEGMENTS = 9 };
static const int64_t finish_cols[] = {257, 1, 512};

static const bool finish_inits[] = {true, false, true};
static const int64_t finish_chunks[] = {5, 1, 12};

static void *compile_sums(mdl_test *t) {
    static const char *const names[] = {"segment_id", "position", "seglen", "first", "segsum"};
    mdl_arena *arena = mdl_arena_new();
    mdl_text source = {.arena = arena};
    mdl_text_printf(&source, "%s\n", mdl_template_scatter_add(arena, MDL_F32, COLS, false, "scatter"));
    mdl_text_printf(&source, "%s\n", mdl_template_scatter_add(arena, MDL_F32, COLS, true, "scatter_init"));
    mdl_text_printf(&source, "%s\n", mdl_template_scatter_add(arena, MDL_BF16, COLS, false, "scatter_bf16"));
    mdl_text_printf(&source, "%s\n", mdl_template_finish(arena, 3, finish_cols, finish_inits, "finish"));
    mdl_text_printf(&source, "%s\n", mdl_template_segment(arena, "segsum", MDL_BF16, COLS, "segsum_bf16"));
    for (int i = 0; i < 5; i++) mdl_text_printf(&source, "%s\n", mdl_template_segment(arena, names[i], MDL_F32, COLS, names[i]));
    CHECK(t, native_write(t, "sums", mdl_template_prelude(), source.at), "cannot write the source");
    const char *output;
    void *library = native_compile(t, "sums", native_isa(), &output);
    CHECK(t, !*output, "cc says\n%s", output);
    mdl_arena_free(arena);
    return library;
}

/* x in bf16; x itself becomes what that can hold. */
static uint16_t *narrowed(mdl_arena *arena, float *x, int64_t n) {
    uint16_t *y = MDL_NEW_ARRAY(arena, uint16_t, n);
    for (int64_t i = 0; i < n; i++) x[i] = mdl_from_bf16(y[i] = mdl_to_bf16(x[i]));
    return y;
}

/* In order of t in f32: the kernel must give these bits. */
static void scatter(mdl_test *t, void *library, const char *name, bool with_init, bool narrow) {
    mdl_arena *arena = mdl_arena_new();
    float *x = randoms(arena, TOKENS * COLS, 1), *init = randoms(arena, ROWS * COLS, 2), *out = array(arena, ROWS * COLS);
    void *memory = narrow ? (void *)narrowed(arena, x, TOKENS * COLS) : x;
    float *expected = MDL_NEW_ARRAY(arena, float, ROWS *COLS);
    int32_t index[TOKENS];
    if (with_init) memcpy(expected, init, sizeof(float) * ROWS * COLS), memcpy(out, init, sizeof(float) * ROWS * COLS);
    for (int i = 0; i < TOKENS; i++) {
        index[i] = i % 50 == 0 ? -1 : i % 50 == 1 ? ROWS : i * 7919 % (ROWS - 1); /* the last row gets nothing */
        for (int j = 0; j < COLS && index[i] >= 0 && index[i] < ROWS; j++) expected[index[i] * COLS + j] += x[i * COLS + j];
    }
    mdl_kernel_fn kernel;
    native_symbol(library, name, &kernel);
    void *buffer[] = {memory, index, out, out}; /* with_init: in place */
    native_run(kernel, buffer, (int64_t[]){TOKENS, ROWS}, mdl_template_scatter_add_grid(COLS), true);
    CHECK(t, !memcmp(out, expected, sizeof(float) * ROWS * COLS), "sums differ");
    CHECK(t, guarded(out, ROWS * COLS), "written past its end");
    mdl_arena_free(arena);
}

/* Outputs of several widths and numbers of partial sums, some on top of an init, which is then their own memory. */
static void finish(mdl_test *t, void *library) {
    mdl_arena *arena = mdl_arena_new();
    void *buffer[8];
    float *out[3], *expected[3];
    for (int i = 0, slot = 3; i < 3; i++) {
        int64_t cols = finish_cols[i], chunks = finish_chunks[i];
        float *partial = buffer[i] = randoms(arena, chunks * cols, (uint64_t)i), *init = randoms(arena, cols, (uint64_t)i + 5);
        buffer[5 + i] = out[i] = array(arena, cols);
        if (finish_inits[i]) buffer[slot++] = memcpy(out[i], init, sizeof(float) * (size_t)cols);
        expected[i] = MDL_NEW_ARRAY(arena, float, cols);
        for (int64_t j = 0; j < cols; j++) {
            expected[i][j] = finish_inits[i] ? init[j] : 0;
            for (int c = 0; c < chunks; c++) expected[i][j] += partial[c * cols + j];
        }
    }
    mdl_kernel_fn kernel;
    native_symbol(library, "finish", &kernel);
    native_run(kernel, buffer, finish_chunks, mdl_template_finish_grid(3, finish_cols), true);
    for (int i = 0; i < 3; i++) {
        CHECK(t, !memcmp(out[i], expected[i], sizeof(float) * (size_t)finish_cols[i]), "output %d differs", i);
        CHECK(t, guarded(out[i], finish_cols[i]), "output %d: written past its end", i);
    }
    mdl_arena_free(arena);
}

static void segments(mdl_test *t, void *library, const char *name, int64_t count, const int32_t *expected) {
    int32_t out[TOKENS + 1];
    memset(out, 0x7f, sizeof out);
    mdl_kernel_fn kernel;
    native_symbol(library, name, &kernel);
    void *buffer[] = {(void *)(uintptr_t)mixed, out};
    native_run(kernel, buffer, (int64_t[]){TOKENS, SEGMENTS}, mdl_template_segment_grid(name, 1, TOKENS, SEGMENTS), true);
    for (int64_t i = 0; i < count; i++) CHECK(t, out[i] == expected[i], "%s[%d] is %d, not %d", name, (int)i, out[i], expected[i]);
    CHECK(t, out[count] == 0x7f7f7f7f, "%s: written past its end", name);
}

static void all_segments(mdl_test *t, void *library) {
    int32_t id[TOKENS], position[TOKENS], length[SEGMENTS], first[SEGMENTS];
    for (int i = 0; i < TOKENS; i++) id[i] = -1, position[i] = 0;
    for (int s = 0; s < SEGMENTS; s++) {
        length[s] = mixed[s + 1] - mixed[s];
        first[s] = length[s] ? mixed[s] : -1;
        for (int i = mixed[s]; i < mixed[s + 1]; i++) id[i] = s, position[i] = i - mixed[s];
    }
    segments(t, library, "segment_id", TOKENS, id);
    segments(t, library, "position", TOKENS, position);
    segments(t, library, "seglen", SEGMENTS, length);
    segments(t, library, "first", SEGMENTS, first);
}

static void segment_sums(mdl_test *t, void *library, bool narrow) {
    mdl_arena *arena = mdl_arena_new();
    float *x = randoms(arena, TOKENS * COLS, 1), *expected = MDL_NEW_ARRAY(arena, float, SEGMENTS *COLS);
    for (int64_t i = (int64_t)mixed[SEGMENTS] * COLS; i < TOKENS * COLS; i++) x[i] = NAN;
    void *memory = narrow ? (void *)narrowed(arena, x, TOKENS * COLS) : x;
    for (int s = 0; s < SEGMENTS; s++)
        for (int i = mixed[s]; i < mixed[s + 1]; i++)
            for (int j = 0; j < COLS; j++) expected[s * COLS + j] += x[i * COLS + j];
    mdl_kernel_fn kernel;
    native_symbol(library, narrow ? "segsum_bf16" : "segsum", &kernel);
    void *buffer[3] = {memory, (void *)(uintptr_t)mixed};
    run_twice(t, arena, kernel, buffer, 2, (int64_t[]){SEGMENTS * COLS}, 1, (int64_t[]){TOKENS, SEGMENTS},
              mdl_template_segment_grid("segsum", COLS, TOKENS, SEGMENTS));
    CHECK(t, !memcmp(buffer[2], expected, sizeof(float) * SEGMENTS * COLS), "sums differ");
    mdl_arena_free(arena);
}

void suite_templates(mdl_test *t) {
    if (!mdl_case(t, "sums and segments compile without a warning")) return;
    void *library = compile_sums(t);
    if (!library) return;
    if (mdl_case(t, "scatter_add")) scatter(t, library, "scatter", false, false);
    if (mdl_case(t, "scatter_add onto an init")) scatter(t, library, "scatter_init", true, false);
    if (mdl_case(t, "scatter_add of bf16")) scatter(t, library, "scatter_bf16", false, true);
    if (mdl_case(t, "finish: several widths and chunks, with and without an init")) finish(t, library);
    if (mdl_case(t, "segment_id, position, seglen, first")) all_segments(t, library);
    if (mdl_case(t, "segsum")) segment_sums(t, library, false);
    if (mdl_case(t, "segsum of bf16")) segment_sums(t, library, true);
}
