/* libcuda.so.1 without a GPU. A "cubin" is a shared object whose kernels are void NAME(const int64_t *args, int64_t block); one
 * that sets its variable fake_fault has accessed what it may not. $MDL_FAKE_CUDA: "none" has no GPU, "old" is an old driver, "dead"
 * does not recover from such an access. */
#define _GNU_SOURCE
#include <cuda.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

enum { MOST = 4096 };

struct CUgraph_st {
    int n;
    fake_work work[MOST];
};
struct CUmod_st {
    void *object;
};
struct CUfunc_st {
    void (*run)(const int64_t *args, int64_t block);
    int *fault;
    int shared_bytes;
};

static CUresult broken; /* what every call answers until the context is reset */
static CUgraph capturing;
static int retained;

static int is(const char *mode) {
    const char *value = getenv("MDL_FAKE_CUDA");
    return value && !strcmp(value, mode);
}

static int64_t ran; /* kernels, copies, fills */
int64_t fake_ran(void) { return ran; }

static void run(const fake_work *work) {
    ran++;
    work->run(work);
}

int fake_add(const fake_work *work) {
    if (broken) return (int)broken;
    if (capturing && capturing->n == MOST) return CUDA_ERROR_OUT_OF_MEMORY;
    if (capturing)
        capturing->work[capturing->n++] = *work;
    else
        run(work);
    return CUDA_SUCCESS; /* what goes wrong is told by a later call */
}

CUresult cuInit(unsigned flags) { return flags || is("none") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int *version) { return *version = is("old") ? 11080 : 13000, CUDA_SUCCESS; }
CUresult cuGetErrorName(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_FAKE";
    return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "fake";
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *n) { return *n = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int i) { return *device = i, CUDA_SUCCESS; }
CUresult cuDeviceGetName(char *name, int room, CUdevice device) {
    return snprintf(name, (size_t)room, "Fake %d", (int)device), CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    (void)device;
    *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    (void)device;
    retained++;
    *context = (CUcontext)&retained;
    return broken;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice device) { return (void)device, retained--, broken; }
CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    if (!is("dead")) broken = CUDA_SUCCESS;
    return (void)device, retained = 0, broken;
}
CUresult cuCtxSetCurrent(CUcontext context) { return (void)context, broken; }

/* ---- memory ---- */
CUresult cuMemGetInfo(size_t *available, size_t *total) { return *available = *total = (size_t)1 << 30, broken; }
CUresult cuMemAlloc(CUdeviceptr *address, size_t bytes) {
    void *at = aligned_alloc(256, (bytes + 255) & ~(size_t)255);
    if (!at) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(at, 0xa5, bytes < 1 << 20 ? bytes : 1 << 20); /* not zero; of all of it would take long */
    *address = (CUdeviceptr)at;
    return broken;
}
CUresult cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
    (void)flags;
    *address = malloc(bytes);
    return *address ? broken : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void *address) { return free(address), broken; }
CUresult cuMemFree(CUdeviceptr address) { return free((void *)address), broken; }

static void run_copy(const fake_work *w) { memcpy((void *)w->what[0], w->what[1], (size_t)w->number[0]); }
static CUresult copy(const void *to, const void *from, size_t bytes) {
    return (CUresult)fake_add(&(fake_work){run_copy, {to, from}, {(int64_t)bytes}});
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    return (void)stream, copy((void *)to, from, bytes);
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return (void)stream, copy(to, (void *)from, bytes);
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return (void)stream, copy((void *)to, (void *)from, bytes);
}
static void run_set(const fake_work *w) { memset((void *)w->what[0], (int)w->number[1], (size_t)w->number[0]); }
CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char byte, size_t bytes, CUstream stream) {
    (void)stream;
    return (CUresult)fake_add(&(fake_work){run_set, {(void *)at}, {(int64_t)bytes, byte}});
}

/* ---- code ---- */
CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned n, CUjit_option *options, void **values) {
    const Elf64_Ehdr *elf = image;
    char path[64];
    int fd = memfd_create("fake", 0);
    size_t bytes = elf->e_shoff + (size_t)elf->e_shnum * elf->e_shentsize;
    (void)n, (void)options, (void)values;
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) || write(fd, image, bytes) != (ssize_t)bytes) return CUDA_ERROR_INVALID_IMAGE;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd); /* stays open: the loader knows the object by this name */
    *module = malloc(sizeof **module);
    (*module)->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return (*module)->object ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}
CUresult cuModuleUnload(CUmodule module) { return dlclose(module->object), free(module), broken; }
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    void *symbol = dlsym(module->object, name);
    *function = calloc(1, sizeof **function); /* as long as the process */
    memcpy(&(*function)->run, &symbol, sizeof symbol);
    (*function)->fault = dlsym(module->object, "fake_fault");
    (*function)->shared_bytes = 48 << 10;
    return symbol ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) function->shared_bytes = value;
    return broken;
}
/* The tests' own words about a map. */
CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base, const cuuint64_t *sizes,
                                const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps,
                                CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                CUtensorMapFloatOOBfill fill) {
    (void)box, (void)steps, (void)interleave, (void)promotion, (void)fill;
    if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || rank != 3 || swizzle != CU_TENSOR_MAP_SWIZZLE_128B || (uintptr_t)base % 16 ||
        strides[0] % 16 || strides[1] % 16 || (uintptr_t)map % 64)
        return CUDA_ERROR_INVALID_VALUE;
    uint64_t words[] = {(uint64_t)(uintptr_t)base, sizes[0], sizes[1], sizes[2], strides[0], strides[1]};
    return memcpy(map, words, sizeof words), broken;
}
static void run_kernel(const fake_work *w) {
    struct CUfunc_st *f = (struct CUfunc_st *)w->what[0];
    for (int64_t block = 0; block < w->number[0] && !broken; block++) {
        f->run(w->what[1], block);
        if (f->fault && *f->fault) broken = CUDA_ERROR_ILLEGAL_ADDRESS, *f->fault = 0;
    }
}
CUresult cuLaunchKernel(CUfunction f, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared,
                        CUstream stream, void **arguments, void **extra) {
    (void)stream, (void)extra;
    if (y * z * ty * tz != 1 || !x || !tx || tx > 1024 || (int)shared > f->shared_bytes) return CUDA_ERROR_INVALID_VALUE;
    return (CUresult)fake_add(&(fake_work){run_kernel, {f, arguments[0]}, {x}});
}

/* ---- streams, graphs, events ---- */
CUresult cuStreamCreate(CUstream *stream, unsigned flags) { return (void)flags, *stream = (CUstream)&capturing, broken; }
CUresult cuStreamDestroy(CUstream stream) { return (void)stream, broken; }
CUresult cuStreamSynchronize(CUstream stream) { return (void)stream, capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : broken; }
CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
    (void)stream, (void)mode;
    if (capturing) return CUDA_ERROR_ILLEGAL_STATE;
    return (capturing = calloc(1, sizeof *capturing)) ? broken : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) { return (void)stream, *graph = capturing, capturing = NULL, broken; }
CUresult cuGraphInstantiateWithFlags(CUgraphExec *to, CUgraph graph, unsigned long long flags) {
    (void)flags;
    CUgraph made = malloc(sizeof *made);
    *made = *graph;
    *to = (CUgraphExec)made;
    return broken;
}
CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream) {
    const struct CUgraph_st *g = (const struct CUgraph_st *)graph;
    CUresult before = broken;
    (void)stream;
    for (int i = 0; i < g->n && !broken; i++) run(&g->work[i]);
    return before;
}
CUresult cuGraphDestroy(CUgraph graph) { return free(graph), broken; }
CUresult cuGraphExecDestroy(CUgraphExec graph) { return free(graph), broken; }
static char timed, untimed; /* events are one of these */
CUresult cuEventCreate(CUevent *event, unsigned flags) {
    *event = (CUevent)(flags & CU_EVENT_DISABLE_TIMING ? &untimed : &timed);
    return broken;
}
CUresult cuEventDestroy(CUevent event) { return (void)event, broken; }
static int recorded;
int fake_is_timing(void) { return recorded % 2; }
CUresult cuEventRecord(CUevent event, CUstream stream) {
    (void)stream;
    recorded += event == (CUevent)&timed;
    return broken;
}
CUresult cuEventSynchronize(CUevent event) { return (void)event, broken; }
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    return (void)from, (void)to, *milliseconds = 0.25f, broken;
}
