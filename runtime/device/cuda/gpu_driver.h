/* The NVIDIA driver, loaded when a plan for a GPU is. */
#ifndef MDL_DEVICE_CUDA_GPU_DRIVER_H
#define MDL_DEVICE_CUDA_GPU_DRIVER_H

#include <cuda.h>

#include "runtime/base/status.h"

/* Every function of the driver that is used. cuda.h gives their types, and as macros their versions (cuMemAlloc_v2). */
#define MDL_DRIVER_FUNCTIONS(FUNCTION)    \
    FUNCTION(cuInit)                      \
    FUNCTION(cuDriverGetVersion)          \
    FUNCTION(cuGetErrorName)              \
    FUNCTION(cuGetErrorString)            \
    FUNCTION(cuDeviceGetCount)            \
    FUNCTION(cuDeviceGet)                 \
    FUNCTION(cuDeviceGetName)             \
    FUNCTION(cuDeviceGetAttribute)        \
    FUNCTION(cuDevicePrimaryCtxRetain)    \
    FUNCTION(cuDevicePrimaryCtxRelease)   \
    FUNCTION(cuDevicePrimaryCtxReset)     \
    FUNCTION(cuCtxSetCurrent)             \
    FUNCTION(cuMemGetInfo)                \
    FUNCTION(cuMemAlloc)                  \
    FUNCTION(cuMemFree)                   \
    FUNCTION(cuMemHostAlloc)              \
    FUNCTION(cuMemFreeHost)               \
    FUNCTION(cuMemcpyHtoDAsync)           \
    FUNCTION(cuMemcpyDtoHAsync)           \
    FUNCTION(cuMemcpyDtoDAsync)           \
    FUNCTION(cuMemsetD8Async)             \
    FUNCTION(cuModuleLoadDataEx)          \
    FUNCTION(cuModuleUnload)              \
    FUNCTION(cuModuleGetFunction)         \
    FUNCTION(cuFuncSetAttribute)          \
    FUNCTION(cuTensorMapEncodeTiled)      \
    FUNCTION(cuLaunchKernel)              \
    FUNCTION(cuStreamCreate)              \
    FUNCTION(cuStreamDestroy)             \
    FUNCTION(cuStreamSynchronize)         \
    FUNCTION(cuStreamBeginCapture)        \
    FUNCTION(cuStreamEndCapture)          \
    FUNCTION(cuGraphInstantiateWithFlags) \
    FUNCTION(cuGraphLaunch)               \
    FUNCTION(cuGraphDestroy)              \
    FUNCTION(cuGraphExecDestroy)          \
    FUNCTION(cuEventCreate)               \
    FUNCTION(cuEventDestroy)              \
    FUNCTION(cuEventRecord)               \
    FUNCTION(cuEventSynchronize)          \
    FUNCTION(cuEventElapsedTime)

typedef struct {
#define FUNCTION(name) __typeof__(name) *name;
    MDL_DRIVER_FUNCTIONS(FUNCTION)
#undef FUNCTION
} mdl_driver;

/* Loads and initializes it, once in a process. The errors: no driver, one that is too old, no GPU. */
mdl_status mdl_driver_get(const mdl_driver **driver);

/* "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered" */
mdl_status mdl_driver_fail(const mdl_driver *cu, CUresult result) __attribute__((warn_unused_result));
/* Has the process lost its context by this? Every later call fails too. */
bool mdl_driver_is_sticky(CUresult result);

#define MDL_TRY_CUDA(cu, call, ...)                                                         \
    do {                                                                                    \
        CUresult mdl_result_ = (call);                                                      \
        if (mdl_result_) return mdl_context(mdl_driver_fail(cu, mdl_result_), __VA_ARGS__); \
    } while (0)

#endif
