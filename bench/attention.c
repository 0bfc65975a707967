/* Attention's bf16 kernels alone on a GPU, forward and backward: 16384 tokens in 51 segments of log-normal lengths.
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
#include "runtime/device/cuda/gpu_driver.h"

enum { T = 16384, S = 51, LONGEST = 1024, SETS = 4, ROUNDS = 25, LAUNCHES = 12, SAMPLES = 64, REPEATS = 20 };
enum { QKV, SEQ, LSE, O, DO, GRADS, DELTA, TILES, TILES_BWD, SLOTS };

typedef struct {
    int64_t H, K;
    bool hopper; /* the kernels that use what Hopper has */
} widths;
static const widths all_widths[] = {{20, 16, false}, {20, 24, false}, {20, 32, false},  {20, 64, false},
                                    {20, 64, true},  {40, 64, true},  {40, 128, false}, {40, 128, true}};
enum { WIDTHS = sizeof all_widths / sizeof *all_widths };

/* ---- kernels ---- */

static const char *symbol_of(mdl_arena *arena, widths w, bool backward) {
    return mdl_printf(arena, "attention%s%s_%d_%d", backward ? "_bwd" : "", w.hopper ? "_hopper" : "", (int)w.H, (int)w.K);
}

/* q, k and v in one row, their gradients in another. */
static mdl_cuda_template kernel_of(mdl_arena *arena, widths w, bool backward) {
    mdl_attention_shape shape = {w.H, w.H, w.K, {-1, -1}, 1 / sqrt((double)w.K), 0};
    mdl_attention_operand q = {QKV, MDL_BF16, 3 * w.H * w.K, w.K, 0, NULL}, k = q, v = q,
                          o = {O, MDL_BF16, w.H * w.K, w.K, 0, NULL};
    k.first = w.H * w.K, v.first = 2 * w.H * w.K;
    mdl_attention_memory m = {.q = q,
                              .k = k,
                              .v = v,
                              .o = o,
                              .grad_o = o,
                              .dq = q,
                              .dk = k,
                              .dv = v,
                              .seq = SEQ,
                              .lse = LSE,
                              .tiles = backward ? TILES_BWD : TILES};
    m.grad_o.slot = DO, m.dq.slot = m.dk.slot = m.dv.slot = GRADS;
    m.delta = (mdl_attention_operand){DELTA, MDL_F32, w.H, 1, 0, NULL};
    return (backward ? mdl_cuda_attention_bwd : mdl_cuda_attention)(arena, &shape, &m, SLOTS, w.hopper,
                                                                    symbol_of(arena, w, backward));
}

static mdl_status compile(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *folder, const char *arch, widths w, bool backward) {
    const char *symbol = symbol_of(arena, w, backward), *path = mdl_printf(arena, "%s/%s.cubin", folder, symbol);
    mdl_cuda_code code;
    MDL_TRY(mdl_nvrtc_compile(arena, nvrtc, symbol,
                              mdl_printf(arena, "%s%s", mdl_cuda_prelude(), kernel_of(arena, w, backward).text), arch, &code),
            "%s", symbol);
    FILE *f = fopen(path, "wb");
    bool written = f && fwrite(code.bytes, 1, (size_t)code.size, f) == (size_t)code.size;
    if ((f && fclose(f)) || !written) return mdl_fail(MDL_SYSTEM, "cannot write %s", path);
    printf("{\"kernel\": \"%s\", \"arch\": \"%s\", \"registers\": %d, \"spills\": %d}\n", symbol, arch, code.resources.registers,
           (int)code.resources.spill_bytes);
    return MDL_OK;
}

static mdl_status compile_all(mdl_arena *arena, const char *folder, const char *arch) {
    const mdl_nvrtc *nvrtc;
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    for (int i = 0; i < 2 * WIDTHS && !status; i++) status = compile(arena, nvrtc, folder, arch, all_widths[i / 2], i % 2);
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
    size_t list = (T / 64 + S) * 8, bytes[SLOTS] = {3 * row, sizeof b->seq, head, row, row, 3 * row, head, list, list};
    for (int i = 0; i < SETS * SLOTS; i++)
        MDL_TRY_CUDA(b->cu, b->cu->cuMemAlloc(&b->buffer[i / SLOTS][i % SLOTS], bytes[i % SLOTS]), "memory");
    b->qkv = noise(b->arena, (int64_t)row / 2 * 3, 1), b->grad = noise(b->arena, (int64_t)row / 2, 2);
    b->o = mdl_alloc(b->arena, row), b->grads = mdl_alloc(b->arena, 3 * row);
    b->lse = mdl_alloc(b->arena, head), b->delta = mdl_alloc(b->arena, head);
    mdl_status status = upload(b, QKV, b->qkv, 3 * row);
    if (!status) status = upload(b, DO, b->grad, row);
    for (int i = 0; i < 2 && !status; i++) status = upload_tiles(b, i ? TILES_BWD : TILES, kernel_of(b->arena, b->w, i).blocks.per);
    return status ? status : upload(b, SEQ, b->seq, sizeof b->seq);
}

static mdl_status load(const bench *b, const char *folder, bool backward, CUfunction *function) {
    const char *symbol = symbol_of(b->arena, b->w, backward), *path = mdl_printf(b->arena, "%s/%s.cubin", folder, symbol);
    FILE *f = fopen(path, "rb");
    if (!f) return mdl_fail(MDL_BAD_INPUT, "no file %s: mdlattention compile makes it", path);
    char *code = mdl_alloc(b->arena, 1 << 22);
    code[fread(code, 1, (1 << 22) - 1, f)] = 0;
    fclose(f);
    CUmodule module;
    int shared = (int)kernel_of(b->arena, b->w, backward).shared_bytes;
    MDL_TRY_CUDA(b->cu, b->cu->cuModuleLoadDataEx(&module, code, 0, NULL, NULL), "%s", path);
    MDL_TRY_CUDA(b->cu, b->cu->cuModuleGetFunction(function, module, symbol), "%s", path);
    MDL_TRY_CUDA(b->cu, b->cu->cuFuncSetAttribute(*function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared),
                 "%d bytes of shared memory", shared);
    return MDL_OK;
}

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

typedef CUtensorMap all_maps[SETS][4];

static mdl_status launch(const bench *b, CUfunction function, const mdl_cuda_template *kernel, all_maps maps, int set) {
    struct {
        CUdeviceptr buffer[SLOTS];
        int64_t immediate[2];
        CUtensorMap map[4];
    } args = {.immediate = {T, S}};
    memcpy(args.buffer, b->buffer[set % SETS], sizeof args.buffer);
    memcpy(args.map, maps[set % SETS], sizeof args.map);
    unsigned blocks = (unsigned)mdl_template_grid(kernel->blocks, T, S);
    MDL_TRY_CUDA(b->cu,
                 b->cu->cuLaunchKernel(function, blocks, 1, 1, (unsigned)kernel->threads, 1, 1, (unsigned)kernel->shared_bytes,
                                       NULL, (void *[]){&args}, NULL),
                 "a launch");
    return MDL_OK;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Milliseconds of a launch: the median. The first round warms up. */
static mdl_status measure(const bench *b, CUfunction function, bool backward, double *median) {
    mdl_cuda_template kernel = kernel_of(b->arena, b->w, backward);
    float ms[ROUNDS + 1];
    all_maps maps;
    mdl_status status = MDL_OK;
    for (int i = 0; i < SETS * kernel.n_maps && !status; i++)
        status = make_map(b, &kernel.maps[i / SETS], i % SETS, &maps[i % SETS][i / SETS]);
    if (status) return status;
    for (int round = 0; round <= ROUNDS; round++) {
        MDL_TRY_CUDA(b->cu, b->cu->cuEventRecord(b->begin, NULL), "an event");
        for (int i = 0; i < LAUNCHES && !status; i++) status = launch(b, function, &kernel, maps, i);
        if (status) return status;
        MDL_TRY_CUDA(b->cu, b->cu->cuEventRecord(b->end, NULL), "an event");
        MDL_TRY_CUDA(b->cu, b->cu->cuEventSynchronize(b->end), "kernel %s", symbol_of(b->arena, b->w, backward));
        MDL_TRY_CUDA(b->cu, b->cu->cuEventElapsedTime(&ms[round], b->begin, b->end), "an event");
    }
    qsort(ms + 1, ROUNDS, sizeof *ms, ascending);
    *median = (double)ms[1 + ROUNDS / 2] / LAUNCHES;
    return MDL_OK;
}

/* Runs a kernel on one set again and again: how often its results are not those in `first`, bit for bit. */
static mdl_status repeat(const bench *b, CUfunction function, bool backward, const void *first, int *differ) {
    mdl_cuda_template kernel = kernel_of(b->arena, b->w, backward);
    size_t bytes = (size_t)(T * b->w.H * b->w.K) * (backward ? 6 : 2);
    char *again = mdl_alloc(b->arena, bytes);
    all_maps maps;
    mdl_status status = MDL_OK;
    for (int i = 0; i < SETS * kernel.n_maps && !status; i++)
        status = make_map(b, &kernel.maps[i / SETS], i % SETS, &maps[i % SETS][i / SETS]);
    for (int i = 0; i < REPEATS && !status; i++) {
        CUdeviceptr out = b->buffer[0][backward ? GRADS : O];
        MDL_TRY_CUDA(b->cu, b->cu->cuMemsetD8Async(out, 0xff, bytes, NULL), "a result");
        for (int set = 1; set < 3 && !status; set++) status = launch(b, function, &kernel, maps, set);
        if (!status) status = launch(b, function, &kernel, maps, 0);
        if (!status) status = download(b, backward ? GRADS : O, again, bytes);
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

static mdl_status run_width(bench *b, const char *folder) {
    CUfunction forward, backward;
    double ms[2], work = 0;
    int differ = 0;
    fill_segments(b->seq);
    mdl_status status = allocate(b);
    if (!status) status = load(b, folder, false, &forward);
    if (!status) status = load(b, folder, true, &backward);
    if (!status) status = measure(b, forward, false, &ms[0]);
    if (!status) status = make_delta(b);
    if (!status) status = upload(b, LSE, b->lse, (size_t)(T * b->w.H) * 4);
    if (!status) status = measure(b, backward, true, &ms[1]);
    if (!status) status = download(b, GRADS, b->grads, (size_t)(T * b->w.H * b->w.K) * 6);
    if (!status) status = repeat(b, forward, false, b->o, &differ);
    if (!status) status = repeat(b, backward, true, b->grads, &differ);
    if (status) return status;
    for (int s = 0; s < S; s++) work += 1e-9 * (double)(b->w.H * b->w.K) * pow(b->seq[s + 1] - b->seq[s], 2);
    printf(
        "{\"H\": %d, \"K\": %d, \"hopper\": %s, \"forward_ms\": %.4f, \"forward_tflops\": %.1f, \"backward_ms\": %.4f, "
        "\"backward_tflops\": %.1f, "
        "\"error\": %.1e, \"repeats\": %d, \"repeats_that_differ\": %d}\n",
        (int)b->w.H, (int)b->w.K, b->w.hopper ? "true" : "false", ms[0], 4 * work / ms[0], ms[1], 10 * work / ms[1], check(b),
        2 * REPEATS, differ);
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
