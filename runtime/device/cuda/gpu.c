/* The GPU as a place for plans: device, code, memory. All work goes through one stream, in order. */
#include "runtime/device/cuda/gpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/clock.h"

/* ---- the device ---- */
static mdl_status describe(mdl_gpu *gpu, int *major, int *minor) {
    const mdl_driver *cu = gpu->cu;
    MDL_TRY_CUDA(cu, cu->cuDeviceGet(&gpu->device, 0), "the first GPU");
    MDL_TRY_CUDA(cu, cu->cuDeviceGetName(gpu->name, sizeof gpu->name, gpu->device), "its name");
    MDL_TRY_CUDA(cu, cu->cuDeviceGetAttribute(major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->device), "its arch");
    MDL_TRY_CUDA(cu, cu->cuDeviceGetAttribute(minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->device), "its arch");
    return MDL_OK;
}

mdl_status mdl_cuda_gpu_arch(char arch[MDL_ARCH_LETTERS]) {
    mdl_gpu gpu = {0};
    int major = 0, minor = 0;
    mdl_status status = mdl_driver_get(&gpu.cu);
    if (!status) status = describe(&gpu, &major, &minor);
    if (!status)
        snprintf(arch, MDL_ARCH_LETTERS, "sm_%d%d%s", major, minor, major >= 9 ? "a" : ""); /* the first with one is sm_90 */
    return status;
}

static mdl_status open_device(mdl_device *d, mdl_gpu *gpu, char arch[MDL_ARCH_LETTERS]) {
    const mdl_driver *cu = gpu->cu;
    int major = 0, minor = 0;
    mdl_status status = describe(gpu, &major, &minor);
    if (status) return status;
    MDL_TRY(mdl_cuda_pick_arch(d->plan->isa, major, minor, arch), "%s", gpu->name);
    MDL_TRY_CUDA(cu, cu->cuDevicePrimaryCtxRetain(&gpu->context, gpu->device), "%s", gpu->name);
    MDL_TRY_CUDA(cu, cu->cuCtxSetCurrent(gpu->context), "%s", gpu->name);
    MDL_TRY_CUDA(cu, cu->cuStreamCreate(&gpu->stream, CU_STREAM_NON_BLOCKING), "%s", gpu->name);
    return MDL_OK;
}

static mdl_status check_memory(const mdl_device *d, const mdl_gpu *gpu) {
    size_t available = 0, total = 0;
    int64_t needed = mdl_plan_memory(d->plan);
    MDL_TRY_CUDA(gpu->cu, gpu->cu->cuMemGetInfo(&available, &total), "%s", gpu->name);
    if (needed <= (int64_t)available) return MDL_OK;
    return mdl_fail(MDL_SYSTEM,
                    "not enough memory on the %s: the plan needs %" PRId64
                    " MiB, %zu of %zu MiB are free. Compile it for fewer tokens "
                    "(mdlc --tokens, now %" PRId64 "), or free the GPU",
                    gpu->name, (needed >> 20) + 1, available >> 20, total >> 20, d->plan->tokens);
}

/* ---- code ---- */
static mdl_status load_kernel(const mdl_device *d, mdl_gpu *gpu, int i, const char *arch) {
    const mdl_plan_kernel *kernel = &d->plan->kernels.at[i];
    char log[4096] = "";
    const char *path = mdl_plan_code_path(d->memory, kernel, arch);
    const mdl_plan_file *file = mdl_plan_find_file(d->plan, path);
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    if (!file) return mdl_fail(MDL_BAD_INPUT, "the plan has no file %s", path);
    const char *code = mdl_strndup(d->memory, file->bytes, (size_t)file->size); /* PTX must end with a NUL, which a file does not */
    MDL_TRY_CUDA(gpu->cu, gpu->cu->cuModuleLoadDataEx(&gpu->modules[i], code, 2, options, values), "%s on the %s%s%s", path,
                 gpu->name, *log ? ": " : "", log);
    MDL_TRY_CUDA(gpu->cu, gpu->cu->cuModuleGetFunction(&gpu->functions[i], gpu->modules[i], kernel->symbol), "%s", path);
    return MDL_OK;
}

static mdl_status gpu_open(mdl_device *d) {
    char arch[MDL_ARCH_LETTERS] = "";
    mdl_gpu *gpu = MDL_NEW(d->memory, mdl_gpu);
    d->at = gpu;
    gpu->started = -1;
    gpu->modules = MDL_NEW_ARRAY(d->memory, CUmodule, d->plan->kernels.n + 1);
    gpu->functions = MDL_NEW_ARRAY(d->memory, CUfunction, d->plan->kernels.n + 1);
    gpu->shared = MDL_NEW_ARRAY(d->memory, int64_t, d->plan->kernels.n + 1);
    gpu->graphs = MDL_NEW_ARRAY(d->memory, CUgraphExec, d->plan->programs.n + 1);
    if (mdl_plan_workspace(d->plan)) mdl_gpu_products_load_early();
    mdl_status status = mdl_driver_get(&gpu->cu);
    mdl_mark("driver");
    if (!status) status = open_device(d, gpu, arch);
    mdl_mark("context of the GPU");
    if (!status) status = check_memory(d, gpu);
    for (int i = 0; i < d->plan->kernels.n && !status; i++) status = load_kernel(d, gpu, i, arch);
    mdl_mark("code of the kernels");
    return status;
}

/* What comes back from here is of no interest: the device is given up. */
static void gpu_close(mdl_device *d) {
    mdl_gpu *gpu = d->at;
    const mdl_driver *cu = gpu->cu;
    if (!gpu->context || gpu->lost) return;
    cu->cuCtxSetCurrent(gpu->context);
    if (gpu->stream) cu->cuStreamSynchronize(gpu->stream);
    for (int p = 0; p < d->plan->programs.n; p++)
        if (gpu->graphs[p]) cu->cuGraphExecDestroy(gpu->graphs[p]);
    mdl_gpu_products_close(gpu->products);
    for (int i = 0; i < d->plan->kernels.n; i++)
        if (gpu->modules[i]) cu->cuModuleUnload(gpu->modules[i]);
    for (int i = 0; i < gpu->blocks.n; i++) cu->cuMemFree(gpu->blocks.at[i]);
    for (int i = 0; i < 2; i++) {
        if (gpu->sent[i]) cu->cuEventDestroy(gpu->sent[i]);
        if (gpu->staged[i]) cu->cuMemFreeHost(gpu->staged[i]);
    }
    if (gpu->stream) cu->cuStreamDestroy(gpu->stream);
    cu->cuDevicePrimaryCtxRelease(gpu->device);
}

/* ---- memory ---- */
static mdl_status gpu_allocate(mdl_device *d, int64_t bytes, char **address) {
    mdl_gpu *gpu = d->at;
    CUdeviceptr block = 0;
    MDL_TRY_CUDA(gpu->cu, gpu->cu->cuMemAlloc(&block, (size_t)bytes), "%" PRId64 " bytes on the %s", bytes, gpu->name);
    MDL_PUSH(d->memory, gpu->blocks, block);
    d->held += bytes;
    *address = (char *)(uintptr_t)block; /* never followed on the host */
    return MDL_OK;
}

static CUdeviceptr on_device(const char *address) { return (CUdeviceptr)(uintptr_t)address; }

/* The calling thread may be another than at load. */
static mdl_status enter(mdl_gpu *gpu) { return mdl_gpu_check(gpu, gpu->cu->cuCtxSetCurrent(gpu->context)); }

static mdl_status finish(mdl_gpu *gpu) { return mdl_gpu_check(gpu, gpu->cu->cuStreamSynchronize(gpu->stream)); }

static mdl_status gpu_copy_in(mdl_device *d, char *to, const void *from, int64_t bytes) {
    mdl_gpu *gpu = d->at;
    mdl_status status = enter(gpu);
    if (!status) status = mdl_gpu_check(gpu, gpu->cu->cuMemcpyHtoDAsync(on_device(to), from, (size_t)bytes, gpu->stream));
    return status ? status : finish(gpu);
}

static mdl_status make_staging(mdl_device *d) {
    mdl_gpu *gpu = d->at;
    size_t bytes = (size_t)d->plan->arena_bytes[MDL_ARENA_INPUT];
    for (int i = 0; i < 2; i++) {
        MDL_TRY_CUDA(gpu->cu, gpu->cu->cuMemHostAlloc((void **)&gpu->staged[i], bytes, 0), "%zu bytes for inputs", bytes);
        MDL_TRY_CUDA(gpu->cu, gpu->cu->cuEventCreate(&gpu->sent[i], CU_EVENT_DISABLE_TIMING), "inputs");
    }
    return MDL_OK;
}

static mdl_status gpu_send_input(mdl_device *d, int64_t offset, const char *from, int64_t bytes) {
    mdl_gpu *gpu = d->at;
    mdl_status status = enter(gpu);
    if (!status && !gpu->sent[1]) status = make_staging(d);
    if (status) return status;
    int turn = gpu->turn ^= 1;
    CUdeviceptr to = on_device(d->arena[MDL_ARENA_INPUT] + offset);
    status = mdl_gpu_check(gpu, gpu->cu->cuEventSynchronize(gpu->sent[turn]));
    if (status) return status;
    memcpy(gpu->staged[turn], from, (size_t)bytes);
    status = mdl_gpu_check(gpu, gpu->cu->cuMemcpyHtoDAsync(to, gpu->staged[turn], (size_t)bytes, gpu->stream));
    return status ? status : mdl_gpu_check(gpu, gpu->cu->cuEventRecord(gpu->sent[turn], gpu->stream));
}

static mdl_status gpu_copy_out(mdl_device *d, void *to, const char *from, int64_t bytes) {
    mdl_gpu *gpu = d->at;
    mdl_status status = enter(gpu);
    if (!status) status = mdl_gpu_check(gpu, gpu->cu->cuMemcpyDtoHAsync(to, on_device(from), (size_t)bytes, gpu->stream));
    return status ? status : finish(gpu);
}

static mdl_status gpu_set(mdl_device *d, char *at, int byte, int64_t bytes) {
    mdl_gpu *gpu = d->at;
    mdl_status status = enter(gpu);
    if (status) return status;
    return mdl_gpu_check(gpu, gpu->cu->cuMemsetD8Async(on_device(at), (unsigned char)byte, (size_t)bytes, gpu->stream));
}

static mdl_status gpu_run(mdl_device *d, int program) {
    mdl_status status = enter(d->at);
    if (status) return status;
    return mdl_cuda_graphs() ? mdl_gpu_run(d, program) : mdl_gpu_part(d, program, 0, d->plan->programs.at[program].launches.n);
}

static mdl_status gpu_part(mdl_device *d, int program, int first, int last) {
    mdl_status status = enter(d->at);
    return status ? status : mdl_gpu_part(d, program, first, last);
}

static mdl_status gpu_rates(mdl_device *d, int64_t edge, mdl_rates *rates) {
    mdl_status status = enter(d->at);
    return status ? status : mdl_gpu_rates(d, edge, rates);
}

static mdl_status gpu_activity(mdl_device *d, int program, mdl_activity *activity) {
    mdl_status status = enter(d->at);
    return status ? status : mdl_gpu_activity(d, program, activity);
}

static const char *gpu_identity(const mdl_device *d) {
    const mdl_gpu *gpu = d->at;
    return gpu->products ? mdl_printf(d->memory, "%s, %s", gpu->name, mdl_gpu_products_library(gpu->products)) : gpu->name;
}

static const char *gpu_choices(const mdl_device *d, mdl_arena *memory) {
    const mdl_gpu *gpu = d->at;
    return gpu->products ? mdl_gpu_products_choices(gpu->products, memory) : "";
}

static mdl_status gpu_choose(mdl_device *d, const char *choices) {
    mdl_gpu *gpu = d->at;
    mdl_status status = enter(gpu);
    return status || !gpu->products ? status : mdl_gpu_products_choose(gpu->products, choices);
}

static mdl_status gpu_profile(mdl_device *d, int program, double *seconds) {
    mdl_status status = enter(d->at);
    return status ? status : mdl_gpu_profile(d, program, seconds);
}

/* A context that is lost takes the process's other calls with it: until it is reset, or, after an illegal address with most
 * drivers, until the process ends. */
static int gpu_lost(mdl_device *d) {
    mdl_gpu *gpu = d->at;
    if (!gpu->lost) return -1;
    gpu->cu->cuDevicePrimaryCtxReset(gpu->device);
    return gpu->started;
}

const mdl_cuda_place mdl_cuda_gpu = {gpu_open,  gpu_close,       gpu_allocate, gpu_copy_in, gpu_send_input, gpu_copy_out,
                                     gpu_set,   mdl_gpu_prepare, gpu_run,      gpu_profile, gpu_part,       mdl_gpu_map,
                                     gpu_rates, gpu_activity,    gpu_identity, gpu_choices, gpu_choose,     gpu_lost};
