/* CUDA kernels of sums and segments in the emulator, against plain loops in the order that each kernel promises: odd sizes, empty
 * segments, tails, every variant. Where NVRTC is, each text is compiled for real arches too.
 *
 * Outputs begin as NaN, so that a row nobody writes shows; a guard behind each shows writes past the end; inputs end where memory
 * ends, so that reading past them is a crash. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/cuda_template.h"
#include "compiler/kernel/template.h"
#include "compiler/target/cuda_nvrtc.h"
#include "tests/device/emulated.h"
#include "tests/kernel/arrays.h"

enum { COLS = 301, ROWS = 33, TOKENS = 450, SEGMENTS = 9, WARPS = 8, TILE_ROWS = 64 };
static const int32_t mixed[] = {0, 0, 1, 3, 20, 20, 133, 433, 433, 433}; /* 0 1 2 17 0 113 300 0 0 */
static const int64_t finish_cols[] = {257, 1, 512};
static const bool finish_inits[] = {true, false, true};
static const int64_t finish_chunks[] = {21, 1, 12};

typedef struct {
    mdl_test *t;
    mdl_arena *arena;
    mdl_emulator_abi *emulator;
    void *library;
} fixture;

/* Every text, by its symbol. */
static mdl_cuda_template kernel_of(mdl_arena *arena, const char *symbol) {
    if (!strcmp(symbol, "scatter")) return mdl_cuda_scatter_add(arena, MDL_F32, COLS, false, symbol);
    if (!strcmp(symbol, "scatter_init")) return mdl_cuda_scatter_add(arena, MDL_F32, COLS, true, symbol);
    if (!strcmp(symbol, "scatter_bf16")) return mdl_cuda_scatter_add(arena, MDL_BF16, COLS, false, symbol);
    if (!strcmp(symbol, "finish")) return mdl_cuda_finish(arena, 3, finish_cols, finish_inits, symbol);
    if (!strcmp(symbol, "tiles")) return mdl_cuda_tiles(arena, TILE_ROWS, symbol);
    if (!strcmp(symbol, "segsum_bf16")) return mdl_cuda_segment(arena, "segsum", MDL_BF16, COLS, symbol);
    return mdl_cuda_segment(arena, symbol, MDL_F32, COLS, symbol);
}
static const char *const symbols[] = {"scatter", "scatter_init", "scatter_bf16", "finish",      "segment_id", "position",
                                      "seglen",  "first",        "segsum",       "segsum_bf16", "tiles"};
enum { SYMBOLS = sizeof symbols / sizeof *symbols };

/* Runs a kernel for immediates T and S, or N. */
static void run(const fixture *f, const char *symbol, const void *args, int64_t tokens, int64_t segments) {
    mdl_cuda_template kernel = kernel_of(f->arena, symbol);
    mdl_emulated_launch launch = {
        .name = symbol, .args = args, .threads = kernel.threads, .blocks = mdl_template_grid(kernel.blocks, tokens, segments)};
    native_symbol(f->library, symbol, &launch.kernel);
    mdl_status status = launch.kernel ? mdl_emulator_run(f->emulator, &launch) : mdl_fail(MDL_SYSTEM, "no kernel %s", symbol);
    CHECK(f->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* x in bf16; x itself becomes what that can hold. */
static void *narrowed(mdl_arena *arena, float *x, int64_t n) {
    uint16_t *y = MDL_NEW_ARRAY(arena, uint16_t, n);
    for (int64_t i = 0; i < n; i++) x[i] = mdl_from_bf16(y[i] = mdl_to_bf16(x[i]));
    return y;
}

/* A copy that ends at a page that cannot be read; it stays. */
static void *at_an_edge(const void *from, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    char *at = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at + room, page, PROT_NONE)) abort();
    return memcpy(at + room - bytes, from, bytes);
}

/* `rows` rows of x for a kernel, in f32 or bf16. */
static void *rows_of(mdl_arena *arena, float *x, int64_t rows, bool narrow) {
    size_t n = (size_t)(rows * COLS);
    return narrow ? at_an_edge(narrowed(arena, x, (int64_t)n), 2 * n) : at_an_edge(x, 4 * n);
}

/* What begins with `start` and takes the sums of the warps in order. */
static float total(float start, const float *sums) {
    for (int w = 0; w < WARPS; w++) start += sums[w];
    return start;
}

static void same(const fixture *f, const float *out, const float *expected, int64_t n, const char *what) {
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&out[i], &expected[i], sizeof *out)) {
            CHECK(f->t, false, "%s: element %d is %g, not %g", what, (int)i, (double)out[i], (double)expected[i]);
            return;
        }
    CHECK(f->t, guarded(out, n), "%s: written past its end", what);
}

/* Each warp has an eighth of the tokens, rounded up. */
static void scatter(const fixture *f, const char *symbol, bool with_init, bool narrow, int64_t tokens) {
    float *x = randoms(f->arena, TOKENS * COLS, 1), *init = randoms(f->arena, ROWS * COLS, 2), *out = array(f->arena, ROWS * COLS);
    float(*sums)[WARPS] = mdl_alloc(f->arena, sizeof *sums * ROWS * COLS), *expected = MDL_NEW_ARRAY(f->arena, float, ROWS *COLS);
    int32_t index[TOKENS];
    void *memory = rows_of(f->arena, x, tokens, narrow);
    for (int i = 0; i < TOKENS; i++) {
        index[i] = i % 50 == 0 ? -1 : i % 50 == 1 ? ROWS : i / 32 % 3 == 1 ? 5 : i * 7919 % (ROWS - 1); /* the last row: nothing */
        for (int j = 0; j < COLS && i < tokens && index[i] >= 0 && index[i] < ROWS; j++)
            sums[index[i] * COLS + j][i / ((tokens + 7) / 8)] += x[i * COLS + j];
    }
    void *edge = at_an_edge(index, sizeof *index * (size_t)tokens);
    for (int i = 0; i < ROWS * COLS; i++) expected[i] = total(with_init ? init[i] : 0.0f, sums[i]);
    struct {
        void *buffer[4];
        int64_t immediate[2];
    } four = {{memory, edge, out, out}, {tokens, ROWS}}; /* with an init: in place */
    struct {
        void *buffer[3];
        int64_t immediate[2];
    } three = {{memory, edge, out}, {tokens, ROWS}};
    if (with_init) memcpy(out, init, sizeof(float) * ROWS * COLS);
    run(f, symbol, with_init ? (void *)&four : (void *)&three, tokens, ROWS);
    same(f, out, expected, ROWS * COLS, symbol);
}

/* Outputs of several widths and numbers of partial sums, some on top of an init, which is then their own memory. */
static void finish(const fixture *f) {
    struct {
        void *buffer[8];
        int64_t immediate[3];
    } args;
    float *expected[3];
    memcpy(args.immediate, finish_chunks, sizeof finish_chunks);
    for (int i = 0, slot = 3; i < 3; i++) {
        int64_t cols = finish_cols[i], chunks = finish_chunks[i];
        float *partial = randoms(f->arena, chunks * cols, (uint64_t)i);
        float *init = randoms(f->arena, cols, (uint64_t)i + 5);
        args.buffer[i] = at_an_edge(partial, sizeof(float) * (size_t)(chunks * cols));
        args.buffer[5 + i] = array(f->arena, cols);
        if (finish_inits[i]) args.buffer[slot++] = memcpy(args.buffer[5 + i], init, sizeof(float) * (size_t)cols);
        expected[i] = MDL_NEW_ARRAY(f->arena, float, cols);
        for (int64_t j = 0; j < cols; j++) {
            float sums[WARPS] = {0};
            for (int64_t c = 0; c < chunks; c++) sums[c % WARPS] += partial[c * cols + j];
            expected[i][j] = total(finish_inits[i] ? init[j] : 0.0f, sums);
        }
    }
    run(f, "finish", &args, 0, 0);
    for (int i = 0; i < 3; i++) same(f, args.buffer[5 + i], expected[i], finish_cols[i], "finish");
}

static void segments(const fixture *f, const char *name, int64_t count, const int32_t *expected) {
    int32_t out[TOKENS + 1];
    struct {
        const void *buffer[2];
        int64_t immediate[2];
    } args = {{mixed, out}, {TOKENS, SEGMENTS}};
    memset(out, 0x7f, sizeof out);
    run(f, name, &args, TOKENS, SEGMENTS);
    for (int64_t i = 0; i < count; i++)
        CHECK(f->t, out[i] == expected[i], "%s[%d] is %d, not %d", name, (int)i, out[i], expected[i]);
    CHECK(f->t, out[count] == 0x7f7f7f7f, "%s: written past its end", name);
}

static void all_segments(const fixture *f) {
    int32_t id[TOKENS], position[TOKENS], length[SEGMENTS], first[SEGMENTS];
    for (int i = 0; i < TOKENS; i++) id[i] = -1, position[i] = 0;
    for (int s = 0; s < SEGMENTS; s++) {
        length[s] = mixed[s + 1] - mixed[s];
        first[s] = length[s] ? mixed[s] : -1;
        for (int i = mixed[s]; i < mixed[s + 1]; i++) id[i] = s, position[i] = i - mixed[s];
    }
    segments(f, "segment_id", TOKENS, id);
    segments(f, "position", TOKENS, position);
    segments(f, "seglen", SEGMENTS, length);
    segments(f, "first", SEGMENTS, first);
}

/* By each length, from the longest down. */
static void tiles(const fixture *f) {
    enum { PLACES = (TOKENS + TILE_ROWS - 1) / TILE_ROWS + SEGMENTS };
    int32_t expected[2 * PLACES], out[2 * PLACES + 1], n = 0;
    struct {
        const void *buffer[2];
        int64_t immediate[2];
    } args = {{mixed, out}, {TOKENS, SEGMENTS}};
    memset(expected, 0xff, sizeof expected);
    memset(out, 0x7f, sizeof out);
    for (int length = TOKENS; length > 0; length--)
        for (int s = 0; s < SEGMENTS; s++)
            for (int first = 0; mixed[s + 1] - mixed[s] == length && first < length; first += TILE_ROWS)
                expected[n++] = s, expected[n++] = first;
    run(f, "tiles", &args, TOKENS, SEGMENTS);
    CHECK(f->t, n > 2 * SEGMENTS, "no segment has more tiles than one");
    for (int i = 0; i < 2 * PLACES; i++) CHECK(f->t, out[i] == expected[i], "tiles[%d] is %d, not %d", i, out[i], expected[i]);
    CHECK(f->t, out[2 * PLACES] == 0x7f7f7f7f, "tiles: written past its end");
}

static void segment_sums(const fixture *f, const char *symbol, bool narrow) {
    float *x = randoms(f->arena, TOKENS * COLS, 1), *out = array(f->arena, SEGMENTS * COLS), expected[SEGMENTS * COLS];
    void *memory = rows_of(f->arena, x, mixed[SEGMENTS], narrow); /* not the tail's */
    for (int s = 0; s < SEGMENTS; s++)
        for (int j = 0; j < COLS; j++) {
            float sums[WARPS] = {0};
            for (int i = mixed[s]; i < mixed[s + 1]; i++) sums[(i - mixed[s]) % WARPS] += x[i * COLS + j];
            expected[s * COLS + j] = total(0.0f, sums);
        }
    struct {
        const void *buffer[3];
        int64_t immediate[2];
    } args = {{memory, mixed, out}, {TOKENS, SEGMENTS}};
    run(f, symbol, &args, TOKENS, SEGMENTS);
    same(f, out, expected, SEGMENTS * COLS, symbol);
}

/* For the arches that plans are made for: each text compiles, and no register is spilled. */
static void compile_all(mdl_test *t, const mdl_nvrtc *nvrtc) {
    static const char *const arches[] = {"sm_80", "sm_90a", "sm_100a", "sm_120", "compute_80"};
    for (int i = 0; i < SYMBOLS; i++)
        for (size_t a = 0; a < sizeof arches / sizeof *arches; a++) {
            mdl_arena *arena = mdl_arena_new();
            mdl_cuda_code code = {0};
            const char *text = mdl_printf(arena, "%s%s", mdl_cuda_prelude(), kernel_of(arena, symbols[i]).text);
            mdl_status status = mdl_nvrtc_compile(arena, nvrtc, symbols[i], text, arches[a], &code);
            CHECK(t, !status, "%s: %s", symbols[i], mdl_message(status));
            CHECK(t, code.resources.registers <= 64, "%s takes %d registers", symbols[i], code.resources.registers);
            CHECK(t, !code.resources.spill_bytes && !code.resources.stack_bytes, "%s uses local memory on %s", symbols[i],
                  arches[a]);
            mdl_status_free(status);
            mdl_arena_free(arena);
        }
}

static void *compile_sums(mdl_test *t, mdl_arena *arena, mdl_emulator_abi *emulator) {
    mdl_text source = {.arena = arena};
    for (int i = 0; i < SYMBOLS; i++) mdl_text_printf(&source, "%s\n", kernel_of(arena, symbols[i]).text);
    return emulated_compile(t, "cuda_sums", source.at, emulator);
}

static void run_all(const fixture *f) {
    mdl_test *t = f->t;
    if (mdl_case(t, "CUDA scatter_add")) scatter(f, "scatter", false, false, TOKENS);
    if (mdl_case(t, "CUDA scatter_add of a few tokens")) scatter(f, "scatter", false, false, 11);
    if (mdl_case(t, "CUDA scatter_add onto an init")) scatter(f, "scatter_init", true, false, TOKENS);
    if (mdl_case(t, "CUDA scatter_add of bf16")) scatter(f, "scatter_bf16", false, true, TOKENS);
    if (mdl_case(t, "CUDA finish: several widths and chunks, with and without an init")) finish(f);
    if (mdl_case(t, "CUDA segment_id, position, seglen, first")) all_segments(f);
    if (mdl_case(t, "CUDA tiles")) tiles(f);
    if (mdl_case(t, "CUDA segsum")) segment_sums(f, "segsum", false);
    if (mdl_case(t, "CUDA segsum of bf16")) segment_sums(f, "segsum_bf16", true);
}

static void emulate(mdl_test *t) {
    fixture f = {.t = t, .arena = mdl_arena_new()};
    mdl_status status = mdl_emulator_new(&f.emulator);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    if (f.emulator && mdl_case(t, "CUDA sums and segments compile for the emulator"))
        f.library = compile_sums(t, f.arena, f.emulator);
    if (f.library) run_all(&f);
    mdl_emulator_free(f.emulator);
    mdl_arena_free(f.arena);
}

void suite_cuda_templates(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_nvrtc *nvrtc;
    emulate(t);
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    if (status) printf("cuda_templates: skipped compiling for GPUs: %s\n", mdl_message(status));
    if (!status && !MDL_TEST_SANITIZED && mdl_case(t, "CUDA sums and segments compile for GPUs, without spills"))
        compile_all(t, nvrtc);
    mdl_status_free(status);
    mdl_arena_free(arena);
}
