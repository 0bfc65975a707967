/* Launches on a GPU: each program is captured into a graph when it is first run. */
#include <inttypes.h>

#include "runtime/base/clock.h"
#include "runtime/device/cuda/gemm_layout.h"
#include "runtime/device/cuda/gpu.h"
#include "runtime/device/cuda/hopper.h"

mdl_status mdl_gpu_check(mdl_gpu *gpu, CUresult result) {
    if (!result) return MDL_OK;
    gpu->lost |= mdl_driver_is_sticky(result);
    return mdl_driver_fail(gpu->cu, result);
}

/* ---- preparing ---- */
/* A kernel may have as much dynamic shared memory as its largest launch takes: beyond 48 KiB, static memory included, that must be
 * asked for. */
static mdl_status allow_shared(mdl_gpu *gpu, int kernel, int64_t bytes) {
    CUfunction_attribute most = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    if (bytes <= gpu->shared[kernel]) return MDL_OK;
    MDL_TRY_CUDA(gpu->cu, gpu->cu->cuFuncSetAttribute(gpu->functions[kernel], most, (int)bytes),
                 "%" PRId64 " bytes of shared memory", bytes);
    gpu->shared[kernel] = bytes;
    return MDL_OK;
}

/* A box is a tile as kernels read it: 64 rows of a head's 64 columns, swizzled. */
mdl_status mdl_gpu_map(mdl_device *d, const mdl_plan_map *map, void *buffer, int64_t rows, void *to) {
    mdl_gpu *gpu = d->at;
    cuuint64_t sizes[] = {(cuuint64_t)map->cols, (cuuint64_t)map->heads, (cuuint64_t)rows};
    cuuint64_t bytes[] = {2 * (cuuint64_t)map->head, 2 * (cuuint64_t)map->row};
    cuuint32_t box[] = {MDL_TILE_PITCH / 2, 1, MDL_TILE_SIDE}, steps[] = {1, 1, 1};
    return mdl_gpu_check(
        gpu, gpu->cu->cuTensorMapEncodeTiled(to, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, (char *)buffer + 2 * map->first, sizes, bytes,
                                             box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
}

static mdl_status prepare_kernel(mdl_device *d, const mdl_bound_launch *bound, mdl_gpu_launch *to) {
    mdl_gpu *gpu = d->at;
    int kernel = bound->record->kernel;
    to->function = gpu->functions[kernel];
    MDL_TRY(mdl_cuda_argument(d, bound, &to->argument[0]), "its argument");
    return allow_shared(gpu, kernel, bound->record->shared_bytes);
}

static mdl_status prepare_product(mdl_device *d, const mdl_bound_launch *bound, mdl_gpu_launch *to) {
    mdl_gpu *gpu = d->at;
    mdl_gemm_memory memory = mdl_bound_gemm(bound);
    mdl_status status = mdl_cuda_gemm_takes(&bound->record->gemm);
    if (!status && !gpu->products) status = mdl_gpu_products_open(d->memory, gpu->cu, gpu->stream, gpu->name, &gpu->products);
    return status ? status : mdl_gpu_product_make(gpu->products, &bound->record->gemm, &memory, &to->product);
}

static mdl_status prepare_launch(mdl_device *d, const mdl_bound_launch *bound, mdl_gpu_launch *to) {
    to->bound = bound;
    switch (bound->record->kind) {
        case MDL_LAUNCH_KERNEL: return prepare_kernel(d, bound, to);
        case MDL_LAUNCH_GEMM: return prepare_product(d, bound, to);
        case MDL_LAUNCH_COPY: return MDL_OK;
        default: return mdl_fail(MDL_BAD_INPUT, "a launch of a kind that the GPU does not have");
    }
}

/* Fills an arena with copies of its first bytes. */
static mdl_status repeat(mdl_gpu *gpu, char *arena, int64_t filled, int64_t bytes) {
    CUdeviceptr base = (CUdeviceptr)(uintptr_t)arena;
    for (int64_t n; filled < bytes; filled += n) {
        n = filled < bytes - filled ? filled : bytes - filled;
        CUresult result = gpu->cu->cuMemcpyDtoDAsync(base + (CUdeviceptr)filled, base, (size_t)n, gpu->stream);
        if (result) return mdl_gpu_check(gpu, result);
    }
    return MDL_OK;
}

/* Products are timed on numbers between 1/2 and 2, in bf16 as in f32: zeros would cost less power than a model's. */
static mdl_status fill_with_numbers(mdl_device *d) {
    enum { N = 1 << 18 };
    uint16_t *numbers = MDL_NEW_ARRAY(d->memory, uint16_t, N);
    uint32_t state = 1;
    for (int i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (uint16_t)((state >> 16 & 0x8000) | 0x3f00 | (state >> 20 & 0xff));
    }
    mdl_status status = MDL_OK;
    for (int a = 0; a < MDL_ARENA_COUNT && !status; a++) {
        int64_t bytes = d->plan->arena_bytes[a], n = bytes < (int64_t)sizeof *numbers * N ? bytes : (int64_t)sizeof *numbers * N;
        if (bytes) status = d->place->copy_in(d, d->arena[a], numbers, n);
        if (bytes && !status) status = repeat(d->at, d->arena[a], n, bytes);
    }
    return status;
}

mdl_status mdl_gpu_prepare(mdl_device *d) {
    mdl_gpu *gpu = d->at;
    gpu->programs = MDL_NEW_ARRAY(d->memory, mdl_gpu_launch *, d->plan->programs.n);
    for (int p = 0; p < d->plan->programs.n; p++) {
        int n = d->plan->programs.at[p].launches.n;
        gpu->programs[p] = MDL_NEW_ARRAY(d->memory, mdl_gpu_launch, n);
        for (int l = 0; l < n; l++) {
            mdl_status status = prepare_launch(d, &d->programs[p][l], &gpu->programs[p][l]);
            if (status) return mdl_cuda_blame(d, p, l, status);
        }
    }
    mdl_mark("launches, library of products loaded");
    if (!gpu->products) return MDL_OK;
    d->held += mdl_gpu_products_bytes(gpu->products);
    if (mdl_gpu_products_undecided(gpu->products)) MDL_TRY(fill_with_numbers(d), "timing products");
    MDL_TRY(mdl_gpu_products_decide(gpu->products), "timing products");
    d->note = mdl_gpu_products_note(gpu->products);
    return MDL_OK;
}

/* ---- running ---- */
static mdl_status start_kernel(mdl_gpu *gpu, const mdl_gpu_launch *l) {
    const mdl_plan_launch *record = l->bound->record;
    return mdl_gpu_check(gpu, gpu->cu->cuLaunchKernel(l->function, (unsigned)record->grid, 1, 1, (unsigned)record->threads, 1, 1,
                                                      (unsigned)record->shared_bytes, gpu->stream, (void **)l->argument, NULL));
}

static mdl_status start_copy(mdl_gpu *gpu, const mdl_bound_launch *b) {
    return mdl_gpu_check(gpu, gpu->cu->cuMemcpyDtoDAsync((CUdeviceptr)(uintptr_t)b->buffer[1], (CUdeviceptr)(uintptr_t)b->buffer[0],
                                                         (size_t)b->copy_bytes, gpu->stream));
}

static mdl_status start(mdl_gpu *gpu, const mdl_gpu_launch *l) {
    switch (l->bound->record->kind) {
        case MDL_LAUNCH_KERNEL: return start_kernel(gpu, l);
        case MDL_LAUNCH_GEMM: return mdl_gpu_product_run(l->product);
        default: return start_copy(gpu, l->bound);
    }
}

static mdl_status start_all(mdl_device *d, int program) {
    mdl_gpu *gpu = d->at;
    mdl_status status = MDL_OK;
    for (int l = 0; l < d->plan->programs.at[program].launches.n && !status; l++)
        if ((status = start(gpu, &gpu->programs[program][l]))) status = mdl_cuda_blame(d, program, l, status);
    return status;
}

static mdl_status capture(mdl_device *d, int program) {
    mdl_gpu *gpu = d->at;
    const char *name = d->plan->programs.at[program].name;
    CUgraph graph = NULL;
    MDL_TRY(mdl_gpu_check(gpu, gpu->cu->cuStreamBeginCapture(gpu->stream, CU_STREAM_CAPTURE_MODE_RELAXED)), "program %s", name);
    mdl_status status = start_all(d, program);
    CUresult ended = gpu->cu->cuStreamEndCapture(gpu->stream, &graph);
    if (!status) status = mdl_gpu_check(gpu, ended);
    if (!status) status = mdl_gpu_check(gpu, gpu->cu->cuGraphInstantiateWithFlags(&gpu->graphs[program], graph, 0));
    if (graph) gpu->cu->cuGraphDestroy(graph);
    return mdl_context(status, "program %s as a graph", name);
}

mdl_status mdl_gpu_run(mdl_device *d, int program) {
    mdl_gpu *gpu = d->at;
    mdl_status status = gpu->graphs[program] ? MDL_OK : capture(d, program);
    if (status) return status;
    gpu->started = program;
    MDL_TRY(mdl_gpu_check(gpu, gpu->cu->cuGraphLaunch(gpu->graphs[program], gpu->stream)), "program %s",
            d->plan->programs.at[program].name);
    return MDL_OK;
}

mdl_status mdl_gpu_part(mdl_device *d, int program, int first, int last) {
    mdl_gpu *gpu = d->at;
    gpu->started = program;
    for (int l = first; l < last; l++) {
        mdl_status status = start(gpu, &gpu->programs[program][l]);
        if (!status) status = mdl_gpu_check(gpu, gpu->cu->cuStreamSynchronize(gpu->stream));
        if (status) return mdl_cuda_blame(d, program, l, status);
    }
    return MDL_OK;
}

/* ---- profiling ---- */
/* events[2 l] and the next stand before and behind launch l. */
static mdl_status record_all(mdl_device *d, int program, CUevent *events) {
    mdl_gpu *gpu = d->at;
    for (int l = 0; l < d->plan->programs.at[program].launches.n; l++) {
        mdl_status status = mdl_gpu_check(gpu, gpu->cu->cuEventRecord(events[2 * l], gpu->stream));
        if (!status) status = start(gpu, &gpu->programs[program][l]);
        if (!status) status = mdl_gpu_check(gpu, gpu->cu->cuEventRecord(events[2 * l + 1], gpu->stream));
        if (status) return mdl_cuda_blame(d, program, l, status);
    }
    return mdl_gpu_check(gpu, gpu->cu->cuStreamSynchronize(gpu->stream));
}

static mdl_status read_times(mdl_gpu *gpu, int n, const CUevent *events, double *seconds) {
    for (int l = 0; l < n; l++) {
        float milliseconds = 0;
        mdl_status status = mdl_gpu_check(gpu, gpu->cu->cuEventElapsedTime(&milliseconds, events[2 * l], events[2 * l + 1]));
        if (status) return status;
        seconds[l] = 1e-3 * (double)milliseconds;
    }
    return MDL_OK;
}

mdl_status mdl_gpu_profile(mdl_device *d, int program, double *seconds) {
    mdl_gpu *gpu = d->at;
    int n = d->plan->programs.at[program].launches.n, made = 0;
    mdl_arena *scratch = mdl_arena_new();
    CUevent *events = MDL_NEW_ARRAY(scratch, CUevent, 2 * n + 1);
    mdl_status status = MDL_OK;
    gpu->started = program;
    for (; made < 2 * n && !status; made++) status = mdl_gpu_check(gpu, gpu->cu->cuEventCreate(&events[made], CU_EVENT_DEFAULT));
    if (!status) status = record_all(d, program, events);
    if (!status) status = read_times(gpu, n, events, seconds);
    for (int i = 0; i < made; i++)
        if (events[i]) gpu->cu->cuEventDestroy(events[i]);
    mdl_arena_free(scratch);
    return status;
}
