/* What a GPU can do at best. */
#include "runtime/device/cuda/gpu.h"

#include <inttypes.h>

enum { TRIES = 5 };
/* The usual one copies 256 MiB, beyond every cache; beside a plan that fills the GPU there may be room for less. */
static const int64_t usual_edge = 8192, least_edge = 1024;

typedef struct {
    mdl_gpu *gpu;
    CUdeviceptr from, to;
    CUevent start, end;
    mdl_gpu_products *products;
} bench;

static mdl_status prepare(bench *b, mdl_arena *scratch, size_t bytes) {
    const mdl_driver *cu = b->gpu->cu;
    MDL_TRY_CUDA(cu, cu->cuMemAlloc(&b->from, bytes), "%zu bytes to measure rates with", bytes);
    MDL_TRY_CUDA(cu, cu->cuMemAlloc(&b->to, bytes), "%zu bytes to measure rates with", bytes);
    MDL_TRY_CUDA(cu, cu->cuMemsetD8Async(b->from, 0x3c, bytes, b->gpu->stream), "numbers"); /* 0.0115 in f32 and in bf16 */
    MDL_TRY_CUDA(cu, cu->cuEventCreate(&b->start, CU_EVENT_DEFAULT), "timing");
    MDL_TRY_CUDA(cu, cu->cuEventCreate(&b->end, CU_EVENT_DEFAULT), "timing");
    return mdl_gpu_products_open(scratch, cu, b->gpu->stream, b->gpu->name, &b->products);
}

static mdl_status read_clock(const bench *b, double *seconds) {
    const mdl_driver *cu = b->gpu->cu;
    float milliseconds = 0;
    MDL_TRY_CUDA(cu, cu->cuEventRecord(b->end, b->gpu->stream), "timing");
    MDL_TRY_CUDA(cu, cu->cuEventSynchronize(b->end), "timing");
    MDL_TRY_CUDA(cu, cu->cuEventElapsedTime(&milliseconds, b->start, b->end), "timing");
    *seconds = 1e-3 * (double)milliseconds;
    return MDL_OK;
}

/* One try: a product, or (NULL) a copy. */
static mdl_status try_once(const bench *b, const mdl_gpu_product *product, size_t bytes, double *seconds) {
    const mdl_driver *cu = b->gpu->cu;
    MDL_TRY_CUDA(cu, cu->cuEventRecord(b->start, b->gpu->stream), "timing");
    if (product)
        MDL_TRY(mdl_gpu_product_run(product), "product");
    else
        MDL_TRY_CUDA(cu, cu->cuMemcpyDtoDAsync(b->to, b->from, bytes, b->gpu->stream), "copy");
    return read_clock(b, seconds);
}

/* `work` over the least of the times. */
static mdl_status rate(const bench *b, const mdl_gpu_product *product, size_t bytes, double work, double *best) {
    for (int i = 0; i < TRIES; i++) {
        double seconds = 0;
        mdl_status status = try_once(b, product, bytes, &seconds);
        if (status) return status;
        if (seconds > 0 && work / seconds > *best) *best = work / seconds;
    }
    return MDL_OK;
}

static mdl_status measure(bench *b, int64_t edge, mdl_rates *rates) {
    const mdl_dtype types[] = {MDL_F32, MDL_BF16};
    const mdl_gpu_product *product[2] = {NULL, NULL};
    void *from = (void *)(uintptr_t)b->from;
    mdl_gemm_memory memory = {.a = from, .b = from, .d = (void *)(uintptr_t)b->to};
    double flops = 2.0 * (double)(edge * edge * edge);
    size_t bytes = (size_t)(edge * edge * 4);
    mdl_status status = MDL_OK;
    for (int i = 0; i < 2 && !status; i++) {
        mdl_gemm problem = {.m = edge, .n = edge, .k = edge, .batch = 1, .lda = edge, .ldb = edge, .ldd = edge};
        problem.type_a = problem.type_b = problem.type_d = types[i];
        status = mdl_gpu_product_make(b->products, &problem, &memory, &product[i]);
    }
    if (!status) status = mdl_gpu_products_decide(b->products);
    if (!status) status = rate(b, NULL, bytes, 2.0 * (double)bytes, &rates->copy);
    if (!status) status = rate(b, product[0], 0, flops, &rates->f32);
    return status ? status : rate(b, product[1], 0, flops, &rates->bf16);
}

static mdl_status choose_edge(const mdl_gpu *gpu, int64_t *edge) {
    size_t available = 0, total = 0;
    MDL_TRY_CUDA(gpu->cu, gpu->cu->cuMemGetInfo(&available, &total), "%s", gpu->name);
    for (*edge = usual_edge; *edge > least_edge && *edge * *edge * 4 > (int64_t)available / 4;) *edge /= 2;
    return MDL_OK;
}

mdl_status mdl_gpu_rates(mdl_device *d, int64_t edge, mdl_rates *rates) {
    mdl_gpu *gpu = d->at;
    bench b = {.gpu = gpu};
    mdl_arena *scratch = mdl_arena_new();
    *rates = (mdl_rates){0};
    mdl_status status = edge ? MDL_OK : choose_edge(gpu, &edge);
    if (!status) status = prepare(&b, scratch, (size_t)(edge * edge * 4));
    if (!status) status = measure(&b, edge, rates);
    mdl_gpu_products_close(b.products);
    if (b.start) gpu->cu->cuEventDestroy(b.start);
    if (b.end) gpu->cu->cuEventDestroy(b.end);
    if (b.from) gpu->cu->cuMemFree(b.from);
    if (b.to) gpu->cu->cuMemFree(b.to);
    mdl_arena_free(scratch);
    return status;
}
