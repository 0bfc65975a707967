/* Loading the driver. */
#include "runtime/device/cuda/gpu_driver.h"

#include "runtime/base/library.h"

/* Of CUDA 12: graphs and cubins as they are used here. */
enum { LEAST_VERSION = 12000 };

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x) /* of what the macro x stands for */

static mdl_status find_functions(void *library, mdl_driver *cu) {
#define FUNCTION(name) MDL_TRY(mdl_library_function(library, TEXT(name), &cu->name), "the NVIDIA driver is too old");
    MDL_DRIVER_FUNCTIONS(FUNCTION)
#undef FUNCTION
    return MDL_OK;
}

static mdl_status check_version(const mdl_driver *cu) {
    int version = 0;
    MDL_TRY_CUDA(cu, cu->cuDriverGetVersion(&version), "the version of the NVIDIA driver");
    if (version >= LEAST_VERSION) return MDL_OK;
    return mdl_fail(MDL_SYSTEM, "the NVIDIA driver is too old: it is for CUDA %d.%d, %d.%d is needed", version / 1000,
                    version % 1000 / 10, LEAST_VERSION / 1000, LEAST_VERSION % 1000 / 10);
}

static mdl_status load(mdl_driver *cu) {
    static const char *const names[] = {"libcuda.so.1", NULL};
    void *library = NULL;
    int devices = 0;
    MDL_TRY(mdl_library_open(names, &library), "this machine has no NVIDIA driver");
    mdl_status status = find_functions(library, cu);
    if (status) return status;
    CUresult result = cu->cuInit(0);
    if (result == CUDA_ERROR_NO_DEVICE) return mdl_fail(MDL_SYSTEM, "the NVIDIA driver sees no GPU");
    if (result) return mdl_context(mdl_driver_fail(cu, result), "the NVIDIA driver does not start");
    if ((status = check_version(cu))) return status;
    MDL_TRY_CUDA(cu, cu->cuDeviceGetCount(&devices), "GPUs");
    return devices ? MDL_OK : mdl_fail(MDL_SYSTEM, "the NVIDIA driver sees no GPU (CUDA_VISIBLE_DEVICES may hide it)");
}

mdl_status mdl_driver_get(const mdl_driver **driver) {
    static mdl_driver cu;
    static bool loaded;
    *driver = &cu;
    mdl_status status = loaded ? MDL_OK : load(&cu);
    loaded = !status;
    return status;
}

mdl_status mdl_driver_fail(const mdl_driver *cu, CUresult result) {
    const char *name = NULL, *text = NULL;
    cu->cuGetErrorName(result, &name);
    cu->cuGetErrorString(result, &text);
    return mdl_fail(MDL_SYSTEM, "%s: %s", name ? name : "an unknown error of CUDA", text ? text : "no text");
}

bool mdl_driver_is_sticky(CUresult result) {
    switch (result) {
        case CUDA_ERROR_ILLEGAL_ADDRESS:
        case CUDA_ERROR_LAUNCH_TIMEOUT:
        case CUDA_ERROR_ASSERT:
        case CUDA_ERROR_HARDWARE_STACK_ERROR:
        case CUDA_ERROR_ILLEGAL_INSTRUCTION:
        case CUDA_ERROR_MISALIGNED_ADDRESS:
        case CUDA_ERROR_INVALID_ADDRESS_SPACE:
        case CUDA_ERROR_INVALID_PC:
        case CUDA_ERROR_LAUNCH_FAILED: return true;
        default: return false;
    }
}
