/* Attention's bf16 kernels alone on a GPU, forward, with the rotation before it, and backward: 16384 tokens in 51 segments of
 * log-normal lengths.
 *
 *     mdlattention compile FOLDER [ARCH]      # where NVRTC is; ARCH: sm_90a
 *     mdlattention FOLDER                     # where the GPU is: one line of JSON for each H and K
 *
 * A time is the median over rounds of launches back to back; each launch takes the next of four sets of buffers, so that no set is
 * left in the L2 cache. Useful work is 4 and 10 * l^2 * H * K for each segment. A few rows are compared with sums in f64, and each
 * kernel runs again and again to see that it gives the same bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/cuda_attention.h"
#include "compiler/kernel/template.h"
#include "compiler/target/cuda_nvrtc.h"
#include "compiler/target/target.h"
#include "runtime/device/cuda/gpu_driver.h"

enum { T = 16384, S = 51, LONGEST = 1024, SETS = 4, ROUNDS = 25, LAUNCHES = 12, SAMPLES = 64, REPEATS = 20 };
enum { QKV, SEQ, LSE, O, DO, GRADS, DELTA, TILES, TILES_BWD, COS, SIN, Q, K_ROTATED, SLOTS };

typedef struct {
    int64_t H, K;
    bool hopper; /* the kernels that use what Hopper has */
} widths;
static const widths all_widths[] = {{20, 16, false}, {20, 24, false}, {20, 32, false},  {20, 64, false},
                                    {20, 64, true},  {40, 64, true},  {40, 128, false}, {40, 128, true}};
enum { WIDTHS = sizeof all_widths / sizeof *all_widths };

/* ---- kernels ---- */

typedef enum { ROTATE, FORWARD, BACKWARD, KINDS } kind;

/* A kernel, and what a launch of it takes: buffers (slots), integers, tensor maps. */
typedef struct {
    const char *symbol, *text;
    int threads, n_buffers, slot[SLOTS], n_integers, n_maps;
    int64_t grid, shared_bytes, tile_rows, integers[4];
    mdl_template_map maps[4];
} kernel;

static const char *symbol_of(mdl_arena *arena, widths w, kind k) {
    static const char *const names[] = {"rotation", "attention", "attention_bwd"};
    return mdl_printf(arena, "%s%s_%d_%d", names[k], w.hopper ? "_hopper" : "", (int)w.H, (int)w.K);
}

/* q and k as the rotation has left them, v where the projection has; the gradients in one row. */
static kernel attention_of(mdl_arena *arena, widths w, bool backward) {
    mdl_attention_shape shape = {w.H, w.H, w.K, {-1, -1}, 1 / sqrt((double)w.K), 0};
    mdl_attention_operand dq = {GRADS, MDL_BF16, 3 * w.H * w.K, w.K, 0, NULL}, dk = dq, dv = dq, v,
                          q = {Q, MDL_BF16, w.H * w.K, w.K, 0, NULL}, k = q, o = q, grad_o = q;
    dk.first = w.H * w.K, dv.first = 2 * w.H * w.K;
    v = dv, v.slot = QKV, k.slot = K_ROTATED, o.slot = O, grad_o.slot = DO;
    mdl_attention_memory m = {
        .q = q, .k = k, .v = v, .o = o, .grad_o = grad_o, .dq = dq, .dk = dk, .dv = dv, .seq = SEQ, .lse = LSE};
    m.delta = (mdl_attention_operand){DELTA, MDL_F32, w.H, 1, 0, NULL};
    m.tiles = backward ? TILES_BWD : TILES;
    kernel x = {
        .symbol = symbol_of(arena, w, backward ? BACKWARD : FORWARD), .n_buffers = SLOTS, .n_integers = 2, .integers = {T, S}};
    mdl_cuda_template t = (backward ? mdl_cuda_attention_bwd : mdl_cuda_attention)(arena, &shape, &m, SLOTS, w.hopper, x.symbol);
    x.text = t.text, x.threads = t.threads, x.shared_bytes = t.shared_bytes, x.n_maps = t.n_maps, x.tile_rows = t.blocks.per;
    x.grid = mdl_template_grid(t.blocks, T, S);
    memcpy(x.maps, t.maps, sizeof x.maps);
    for (int i = 0; i < SLOTS; i++) x.slot[i] = i;
    return x;
}

/* The row kernel that a plan has for q and k rotated, as pass schedule leaves it. %1: T, %2: H, %3: K, %4: K / 2, %5: H K, %6: 3 H
 * K, %7: blocks. */
static const char rotation[] =
    "program rotate {\n"
    "  %0 = input {name=\"qkv\"} : bf16[$T,$R]\n"
    "  %1 = input {name=\"cos\"} : f32[$T,$N]\n"
    "  %2 = input {name=\"sin\"} : f32[$T,$N]\n"
    "  %3, %4 = kernel %0, %1, %2 {rows=$T, blocks=$B} : bf16[$T,$H,$K], bf16[$T,$H,$K] do\n"
    "    %0 = arg {index=0} : bf16[$T,$R]\n"
    "    %1 = slice %0 {axis=1, start=0, size=$W} : bf16[$T,$W]\n"
    "    %2 = reshape %1 : bf16[$T,$H,$K]\n"
    "    %3 = cast %2 {to=\"f32\"} : f32[$T,$H,$K]\n"
    "    %4 = slice %3 {axis=2, start=0, size=$N} : f32[$T,$H,$N]\n"
    "    %5 = slice %3 {axis=2, start=$N, size=$N} : f32[$T,$H,$N]\n"
    "    %6 = arg {index=1} : f32[$T,$N]\n"
    "    %7 = broadcast %6 {axes=[0,2]} : f32[$T,$H,$N]\n"
    "    %8 = arg {index=2} : f32[$T,$N]\n"
    "    %9 = broadcast %8 {axes=[0,2]} : f32[$T,$H,$N]\n"
    "    %10 = mul %4, %7 : f32[$T,$H,$N]\n"
    "    %11 = mul %5, %9 : f32[$T,$H,$N]\n"
    "    %12 = sub %10, %11 : f32[$T,$H,$N]\n"
    "    %13 = cast %12 {to=\"bf16\"} : bf16[$T,$H,$N]\n"
    "    %14 = mul %5, %7 : f32[$T,$H,$N]\n"
    "    %15 = mul %4, %9 : f32[$T,$H,$N]\n"
    "    %16 = add %14, %15 : f32[$T,$H,$N]\n"
    "    %17 = cast %16 {to=\"bf16\"} : bf16[$T,$H,$N]\n"
    "    %18 = concat %13, %17 {axis=2} : bf16[$T,$H,$K]\n"
    "    %19 = slice %0 {axis=1, start=$W, size=$W} : bf16[$T,$W]\n"
    "    %20 = reshape %19 : bf16[$T,$H,$K]\n"
    "    %21 = cast %20 {to=\"f32\"} : f32[$T,$H,$K]\n"
    "    %22 = slice %21 {axis=2, start=0, size=$N} : f32[$T,$H,$N]\n"
    "    %23 = slice %21 {axis=2, start=$N, size=$N} : f32[$T,$H,$N]\n"
    "    %24 = mul %22, %7 : f32[$T,$H,$N]\n"
    "    %25 = mul %23, %9 : f32[$T,$H,$N]\n"
    "    %26 = sub %24, %25 : f32[$T,$H,$N]\n"
    "    %27 = cast %26 {to=\"bf16\"} : bf16[$T,$H,$N]\n"
    "    %28 = mul %23, %7 : f32[$T,$H,$N]\n"
    "    %29 = mul %22, %9 : f32[$T,$H,$N]\n"
    "    %30 = add %28, %29 : f32[$T,$H,$N]\n"
    "    %31 = cast %30 {to=\"bf16\"} : bf16[$T,$H,$N]\n"
    "    %32 = concat %27, %31 {axis=2} : bf16[$T,$H,$K]\n"
    "    yield %18, %32\n"
    "  end\n"
    "  result %3 {name=\"q\"}\n"
    "  result %4 {name=\"k\"}\n"
    "}\n";

static const char *replaced(mdl_arena *arena, const char *text, const char *key, const char *by) {
    mdl_text t = {.arena = arena};
    for (const char *at; (at = strstr(text, key)); text = at + strlen(key))
        mdl_text_printf(&t, "%.*s%s", (int)(at - text), text, by);
    mdl_text_printf(&t, "%s", text);
    return t.at;
}

static kernel rotation_of(mdl_arena *arena, widths w) {
    static const int slots[] = {QKV, COS, SIN, Q, K_ROTATED};
    kernel x = {.symbol = symbol_of(arena, w, ROTATE), .n_buffers = 5};
    mdl_regions programs = {0};
    mdl_kernel_source source = {0};
    const int64_t numbers[] = {T, w.H, w.K, w.K / 2, w.H * w.K, 3 * w.H * w.K, mdl_target_cuda.row_blocks(T, 3 * w.H * w.K)};
    const char *text = rotation;
    for (int i = 0; i < 7; i++)
        text = replaced(arena, text, (char[]){'$', "THKNWRB"[i], 0}, mdl_printf(arena, "%d", (int)numbers[i]));
    const char *wrong = mdl_parse_ir(arena, text, &programs);
    if (!wrong) wrong = mdl_target_cuda.kernel(arena, programs.at[0]->ops.at[3], "sm_90a", &source);
    if (wrong) mdl_bug("%s", wrong);
    x.text = replaced(arena, source.text, MDL_KERNEL_PLACEHOLDER, x.symbol), x.threads = source.threads,
    x.shared_bytes = source.shared_bytes;
    x.grid = mdl_template_grid(source.blocks, T, S);
    x.n_integers = source.integers.n;
    for (int i = 0; i < source.integers.n; i++) x.integers[i] = source.integers.at[i];
    memcpy(x.slot, slots, sizeof slots);
    return x;
}

static kernel kernel_of(mdl_arena *arena, widths w, kind k) {
    return k == ROTATE ? rotation_of(arena, w) : attention_of(arena, w, k == BACKWARD);
}

static mdl_status compile(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *folder, const char *arch, kernel x) {
    const char *path = mdl_printf(arena, "%s/%s.cubin", folder, x.symbol);
    mdl_cuda_code code;
    MDL_TRY(mdl_nvrtc_compile(arena, nvrtc, x.symbol, mdl_printf(arena, "%s%s", mdl_cuda_prelude(), x.text), arch, &code), "%s",
            x.symbol);
    FILE *f = fopen(path, "wb");
    bool written = f && fwrite(code.bytes, 1, (size_t)code.size, f) == (size_t)code.size;
    if ((f && fclose(f)) || !written) return mdl_fail(MDL_SYSTEM, "cannot write %s", path);
    printf("{\"kernel\": \"%s\", \"arch\": \"%s\", \"registers\": %d, \"spills\": %d}\n", x.symbol, arch, code.resources.registers,
           (int)code.resources.spill_bytes);
    return MDL_OK;
}

static mdl_status compile_all(mdl_arena *arena, const char *folder, const char *arch) {
    const mdl_nvrtc *nvrtc;
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    for (int i = 0; i < KINDS * WIDTHS && !status; i++)
        status = compile(arena, nvrtc, folder, arch, kernel_of(arena, all_widths[i / KINDS], (kind)(i % KINDS)));
    return status;
}

/* ---- the batch ---- */

/* Quantiles of a log-normal whose l^2 is 1.48 times the square of its mean, as protein lengths are, in a mixed order. */
static void fill_segments(int32_t seq[S + 1]) {
    double length[S], sum = 0, squeeze;
    for (int i = 0; i < S; i++) {
        double p = ((i * 20 % S) + 0.5) / S;
        sum += length[i] = exp(0.62 * sqrt(2.0) * (double)mdl_erfinv((float)(2 * p - 1)));
    }
    squeeze = T / sum;
    seq[0] = 0;
    for (int i = 0; i < S; i++) seq[i + 1] = seq[i] + (int32_t)fmin(LONGEST, round(squeeze * length[i]));
    int32_t rest = T - seq[S]; /* of the longest that were cut: to the others alike */
    for (int i = 0; i <= S; i++) seq[i] += (int32_t)((int64_t)rest * i / S);
}

/* About N(0, 1) in bf16. */
static uint16_t *noise(mdl_arena *arena, int64_t n, uint32_t state) {
    uint16_t *x = MDL_NEW_ARRAY(arena, uint16_t, n);
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) sum += (float)((state = state * 1664525u + 1013904223u) >> 8) / (float)(1 << 23) - 1.0f;
        x[i] = mdl_to_bf16(0.87f * sum);
    }
    return x;
}

/* ---- one pair of kernels on the GPU ---- */

typedef struct {
    mdl_arena *arena;
    const mdl_driver *cu;
    widths w;
    CUdeviceptr buffer[SETS][SLOTS];
    CUevent begin, end;
    int32_t seq[S + 1];
    uint16_t *qkv, *grad, *o, *grads; /* on the host */
    float *lse, *delta;
} bench;

static mdl_status upload(const bench *b, int slot, const void *from, size_t bytes) {
    for (int set = 0; set < SETS; set++)
        MDL_TRY_CUDA(b->cu, b->cu->cuMemcpyHtoDAsync(b->buffer[set][slot], from, bytes, NULL), "a copy to the GPU");
    return MDL_OK;
}

static mdl_status download(const bench *b, int slot, void *to, size_t bytes) {
    MDL_TRY_CUDA(b->cu, b->cu->cuMemcpyDtoHAsync(to, b->buffer[0][slot], bytes, NULL), "a copy from the GPU");
    MDL_TRY_CUDA(b->cu, b->cu->cuStreamSynchronize(NULL), "the stream");
    return MDL_OK;
}

/* What the op tiles gives. */
static mdl_status upload_tiles(const bench *b, int slot, int64_t rows) {
    int32_t tiles[2 * (T / 64 + S)], n = 0;
    memset(tiles, 255, sizeof tiles);
    for (int32_t length = LONGEST + T; length > 0; length--)
        for (int32_t s = 0; s < S; s++)
            for (int32_t first = 0; b->seq[s + 1] - b->seq[s] == length && first < length; first += (int32_t)rows)
                tiles[n++] = s, tiles[n++] = first;
    return upload(b, slot, tiles, sizeof tiles);
}

static mdl_status allocate(bench *b) {
    size_t row = (size_t)(T * b->w.H * b->w.K) * 2, head = (size_t)(T * b->w.H) * 4;
    size_t list = (T / 64 + S) * 8, table = (size_t)(T * b->w.K / 2) * 4,
           bytes[SLOTS] = {3 * row, sizeof b->seq, head, row, row, 3 * row, head, list, list, table, table, row, row};
    for (int i = 0; i < SETS * SLOTS; i++)
        MDL_TRY_CUDA(b->cu, b->cu->cuMemAlloc(&b->buffer[i / SLOTS][i % SLOTS], bytes[i % SLOTS]), "memory");
    b->qkv = noise(b->arena, (int64_t)row / 2 * 3, 1), b->grad = noise(b->arena, (int64_t)row / 2, 2);
    b->o = mdl_alloc(b->arena, row), b->grads = mdl_alloc(b->arena, 3 * row);
    b->lse = mdl_alloc(b->arena, head), b->delta = mdl_alloc(b->arena, head);
    mdl_status status = upload(b, QKV, b->qkv, 3 * row);
    if (!status) status = upload(b, DO, b->grad, row);
    for (int i = 0; i < 2 && !status; i++)
        status = upload_tiles(b, i ? TILES_BWD : TILES, kernel_of(b->arena, b->w, i ? BACKWARD : FORWARD).tile_rows);
    return status ? status : upload(b, SEQ, b->seq, sizeof b->seq);
}

/* A kernel on the GPU, with its argument for each set of buffers. */
typedef struct {
    kernel x;
    CUfunction function;
    struct {
        int64_t words[1024 / sizeof(int64_t)] __attribute__((aligned(64)));
    } args[SETS];
} loaded;

static mdl_status make_map(const bench *b, const mdl_template_map *m, int set, CUtensorMap *to) {
    cuuint64_t sizes[] = {(cuuint64_t)m->cols, (cuuint64_t)m->heads, T},
               bytes[] = {2 * (cuuint64_t)m->head, 2 * (cuuint64_t)m->row};
    cuuint32_t box[] = {64, 1, 64}, steps[] = {1, 1, 1};
    CUdeviceptr at = b->buffer[set][m->buffer] + 2 * (CUdeviceptr)m->first;
    MDL_TRY_CUDA(b->cu,
                 b->cu->cuTensorMapEncodeTiled(to, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, (void *)(uintptr_t)at, sizes, bytes, box,
                                               steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                 "a tensor map");
    return MDL_OK;
}

/* Buffers, integers and, at a multiple of 64 bytes, tensor maps: MDL_KERNEL and MDL_ARGS_MAPS of the kernels' dialect. */
static mdl_status make_argument(const bench *b, loaded *k, int set) {
    const kernel *x = &k->x;
    int64_t *words = k->args[set].words;
    mdl_status status = MDL_OK;
    for (int i = 0; i < x->n_buffers; i++) words[i] = (int64_t)b->buffer[set][x->slot[i]];
    for (int i = 0; i < x->n_integers; i++) words[x->n_buffers + i] = x->integers[i];
    words += (x->n_buffers + x->n_integers + 7) / 8 * 8;
    for (int i = 0; i < x->n_maps && !status; i++, words += sizeof(CUtensorMap) / sizeof *words)
        status = make_map(b, &x->maps[i], set, (CUtensorMap *)(void *)words);
    return status;
}

static mdl_status load(const bench *b, const char *folder, kind kind, loaded *k) {
    k->x = kernel_of(b->arena, b->w, kind);
    const char *path = mdl_printf(b->arena, "%s/%s.cubin", folder, k->x.symbol);
    FILE *f = fopen(path, "rb");
    if (!f) return mdl_fail(MDL_BAD_INPUT, "no file %s: mdlattention compile makes it", path);
    char *code = mdl_alloc(b->arena, 1 << 22);
    code[fread(code, 1, (1 << 22) - 1, f)] = 0;
    fclose(f);
    CUmodule module;
    MDL_TRY_CUDA(b->cu, b->cu->cuModuleLoadDataEx(&module, code, 0, NULL, NULL), "%s", path);
    MDL_TRY_CUDA(b->cu, b->cu->cuModuleGetFunction(&k->function, module, k->x.symbol), "%s", path);
    MDL_TRY_CUDA(b->cu,
                 b->cu->cuFuncSetAttribute(k->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)k->x.shared_bytes),
                 "%d bytes of shared memory", (int)k->x.shared_bytes);
    mdl_status status = MDL_OK;
    for (int set = 0; set < SETS && !status; set++) status = make_argument(b, k, set);
    return status;
}

static mdl_status launch(const bench *b, loaded *k, int set) {
    MDL_TRY_CUDA(b->cu,
                 b->cu->cuLaunchKernel(k->function, (unsigned)k->x.grid, 1, 1, (unsigned)k->x.threads, 1, 1,
                                       (unsigned)k->x.shared_bytes, NULL, (void *[]){&k->args[set % SETS]}, NULL),
                 "a launch of %s", k->x.symbol);
    return MDL_OK;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Milliseconds of a launch of each of n kernels together: the median. The first round warms up. */
static mdl_status measure(const bench *b, int n, loaded *kernels, double *median) {
    float ms[ROUNDS + 1];
    mdl_status status = MDL_OK;
    for (int round = 0; round <= ROUNDS; round++) {
        MDL_TRY_CUDA(b->cu, b->cu->cuEventRecord(b->begin, NULL), "an event");
        for (int i = 0; i < n * LAUNCHES && !status; i++) status = launch(b, &kernels[i % n], i / n);
        if (status) return status;
        MDL_TRY_CUDA(b->cu, b->cu->cuEventRecord(b->end, NULL), "an event");
        MDL_TRY_CUDA(b->cu, b->cu->cuEventSynchronize(b->end), "%s", kernels->x.symbol);
        MDL_TRY_CUDA(b->cu, b->cu->cuEventElapsedTime(&ms[round], b->begin, b->end), "an event");
    }
    qsort(ms + 1, ROUNDS, sizeof *ms, ascending);
    *median = (double)ms[1 + ROUNDS / 2] / LAUNCHES;
    return MDL_OK;
}

/* Runs a kernel on one set again and again: how often its results, `bytes` in `slot`, are not those in `first`, bit for bit. */
static mdl_status repeat(const bench *b, loaded *k, int slot, size_t bytes, const void *first, int *differ) {
    char *again = mdl_alloc(b->arena, bytes);
    mdl_status status = MDL_OK;
    for (int i = 0; i < REPEATS && !status; i++) {
        MDL_TRY_CUDA(b->cu, b->cu->cuMemsetD8Async(b->buffer[0][slot], 0xff, bytes, NULL), "a result");
        for (int set = 1; set < 3 && !status; set++) status = launch(b, k, set);
        if (!status) status = launch(b, k, 0);
        if (!status) status = download(b, slot, again, bytes);
        *differ += !status && memcmp(again, first, bytes);
    }
    return status;
}

/* ---- a few rows in f64 ---- */

typedef struct {
    double difference, size; /* sums of squares */
} error;

static double dot(const uint16_t *x, const uint16_t *y, int64_t K) {
    double sum = 0;
    for (int64_t k = 0; k < K; k++) sum += (double)mdl_from_bf16(x[k]) * (double)mdl_from_bf16(y[k]);
    return sum;
}

static void compare(error *e, const uint16_t *got, const double *want, int64_t K) {
    for (int64_t k = 0; k < K; k++) {
        double d = (double)mdl_from_bf16(got[k]) - want[k];
        e->difference += d * d, e->size += want[k] * want[k];
    }
}

static void accumulate(double *sum, double weight, const uint16_t *row, int64_t K) {
    for (int64_t k = 0; k < K; k++) sum[k] += weight * (double)mdl_from_bf16(row[k]);
}

/* Token t of a head as a query (o, dq) and as a key (dk, dv), from the kernels' own lse. */
static void check_row(const bench *b, int64_t t, int64_t head, error e[4]) {
    int64_t K = b->w.K, row = b->w.H * K, s = 0;
    double o[256] = {0}, dq[256] = {0}, dk[256] = {0}, dv[256] = {0}, scale = 1 / sqrt((double)K);
    const uint16_t *q = b->qkv + head * K, *k = q + row, *v = k + row, *g = b->grad + head * K;
    while (b->seq[s + 1] <= t) s++;
    for (int64_t j = b->seq[s]; j < b->seq[s + 1]; j++) {
        double p = exp(scale * dot(q + 3 * t * row, k + 3 * j * row, K) - (double)b->lse[t * b->w.H + head]);
        accumulate(o, p, v + 3 * j * row, K);
        p *= scale * (dot(g + t * row, v + 3 * j * row, K) - (double)b->delta[t * b->w.H + head]);
        accumulate(dq, p, k + 3 * j * row, K);
        p = exp(scale * dot(q + 3 * j * row, k + 3 * t * row, K) - (double)b->lse[j * b->w.H + head]);
        accumulate(dv, p, g + j * row, K);
        p *= scale * (dot(g + j * row, v + 3 * t * row, K) - (double)b->delta[j * b->w.H + head]);
        accumulate(dk, p, q + 3 * j * row, K);
    }
    const uint16_t *grads = b->grads + 3 * t * row + head * K;
    compare(&e[0], b->o + t * row + head * K, o, K), compare(&e[1], grads, dq, K);
    compare(&e[2], grads + row, dk, K), compare(&e[3], grads + 2 * row, dv, K);
}

static double check(const bench *b) {
    error e[4] = {{0, 0}};
    double worst = 0;
    for (int64_t i = 0; i < SAMPLES; i++) check_row(b, i * 7919 % T, i % b->w.H, e);
    for (int i = 0; i < 4; i++) worst = fmax(worst, sqrt(e[i].difference / e[i].size));
    return worst;
}

/* ---- all of it ---- */

static mdl_status make_delta(const bench *b) {
    size_t row = (size_t)(T * b->w.H * b->w.K) * 2, head = (size_t)(T * b->w.H) * 4;
    mdl_status status = download(b, O, b->o, row);
    if (!status) status = download(b, LSE, b->lse, head);
    for (int64_t i = 0; i < T * b->w.H && !status; i++) b->delta[i] = (float)dot(b->o + i * b->w.K, b->grad + i * b->w.K, b->w.K);
    return status ? status : upload(b, DELTA, b->delta, head);
}

/* cos 1 and sin 0: what is rotated stays what it was, and can be compared. */
static mdl_status upload_angles(const bench *b) {
    int64_t n = T * b->w.K / 2;
    float *cos = MDL_NEW_ARRAY(b->arena, float, n), *sin = MDL_NEW_ARRAY(b->arena, float, n);
    for (int64_t i = 0; i < n; i++) cos[i] = 1;
    mdl_status status = upload(b, COS, cos, (size_t)n * 4);
    return status ? status : upload(b, SIN, sin, (size_t)n * 4);
}

typedef enum { ROTATION, ATTENTION, BOTH, GRADIENTS, TIMES } times;

static mdl_status time_all(const bench *b, loaded *k, double *ms) {
    mdl_status status = measure(b, 1, &k[ROTATE], &ms[ROTATION]);
    if (!status) status = measure(b, 1, &k[FORWARD], &ms[ATTENTION]);
    if (!status) status = measure(b, 2, k, &ms[BOTH]);
    if (!status) status = make_delta(b);
    if (!status) status = upload(b, LSE, b->lse, (size_t)(T * b->w.H) * 4);
    return status ? status : measure(b, 1, &k[BACKWARD], &ms[GRADIENTS]);
}

static mdl_status run_width(bench *b, const char *folder) {
    loaded *k = mdl_alloc(b->arena, KINDS * sizeof *k + 64);
    size_t row = (size_t)(T * b->w.H * b->w.K) * 2;
    double ms[TIMES], work = 0;
    int differ = 0;
    k = (loaded *)(void *)(((uintptr_t)k + 63) & ~(uintptr_t)63);
    fill_segments(b->seq);
    mdl_status status = allocate(b);
    if (!status) status = upload_angles(b);
    for (int i = 0; i < KINDS && !status; i++) status = load(b, folder, (kind)i, &k[i]);
    if (!status) status = time_all(b, k, ms);
    if (!status) status = download(b, GRADS, b->grads, 3 * row);
    if (!status) status = repeat(b, &k[FORWARD], O, row, b->o, &differ);
    if (!status) status = repeat(b, &k[BACKWARD], GRADS, 3 * row, b->grads, &differ);
    if (status) return status;
    for (int s = 0; s < S; s++) work += 1e-9 * (double)(b->w.H * b->w.K) * pow(b->seq[s + 1] - b->seq[s], 2);
    printf(
        "{\"H\": %d, \"K\": %d, \"hopper\": %s, \"rotation_ms\": %.4f, \"forward_ms\": %.4f, \"forward_tflops\": %.1f, "
        "\"both_ms\": %.4f, \"backward_ms\": %.4f, \"backward_tflops\": %.1f, \"error\": %.1e, \"repeats\": %d, "
        "\"repeats_that_differ\": %d}\n",
        (int)b->w.H, (int)b->w.K, b->w.hopper ? "true" : "false", ms[ROTATION], ms[ATTENTION], 4 * work / ms[ATTENTION], ms[BOTH],
        ms[GRADIENTS], 10 * work / ms[GRADIENTS], check(b), 2 * REPEATS, differ);
    fflush(stdout);
    return MDL_OK;
}

static mdl_status run_all(const char *folder) {
    const mdl_driver *cu;
    CUdevice device;
    CUcontext context;
    char name[128];
    mdl_status status = mdl_driver_get(&cu);
    if (status) return status;
    MDL_TRY_CUDA(cu, cu->cuDeviceGet(&device, 0), "the first GPU");
    MDL_TRY_CUDA(cu, cu->cuDeviceGetName(name, sizeof name, device), "its name");
    MDL_TRY_CUDA(cu, cu->cuDevicePrimaryCtxRetain(&context, device), "%s", name);
    MDL_TRY_CUDA(cu, cu->cuCtxSetCurrent(context), "%s", name);
    int32_t seq[S + 1];
    fill_segments(seq);
    printf("{\"gpu\": \"%s\", \"lengths\": [", name);
    for (int i = 0; i < S; i++) printf("%s%d", i ? ", " : "", (int)(seq[i + 1] - seq[i]));
    printf("]}\n");
    for (int i = 0; i < WIDTHS && !status; i++) {
        bench b = {.arena = mdl_arena_new(), .cu = cu, .w = all_widths[i]};
        MDL_TRY_CUDA(cu, cu->cuEventCreate(&b.begin, CU_EVENT_DEFAULT), "an event");
        MDL_TRY_CUDA(cu, cu->cuEventCreate(&b.end, CU_EVENT_DEFAULT), "an event");
        status = run_width(&b, folder);
        for (int n = 0; n < SETS * SLOTS; n++) cu->cuMemFree(b.buffer[n / SLOTS][n % SLOTS]);
        mdl_arena_free(b.arena);
    }
    return status;
}

int main(int argc, char **argv) {
    mdl_arena *arena = mdl_arena_new();
    bool compiles = argc > 2 && !strcmp(argv[1], "compile");
    mdl_status status = compiles    ? compile_all(arena, argv[2], argc > 3 ? argv[3] : "sm_90a")
                        : argc == 2 ? run_all(argv[1])
                                    : mdl_fail(MDL_BAD_INPUT, "usage: mdlattention compile FOLDER [ARCH] | mdlattention FOLDER");
    if (status) fprintf(stderr, "mdlattention: %s\n", mdl_message(status));
    bool failed = status;
    mdl_status_free(status);
    mdl_arena_free(arena);
    return failed;
}
