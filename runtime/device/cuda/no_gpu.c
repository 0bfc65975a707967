/* In the place of gpu*.c where the build found no headers of CUDA: plans for a GPU are refused with a reason. */
#include "runtime/device/cuda/place.h"

mdl_status mdl_cuda_gpu_arch(char arch[MDL_ARCH_LETTERS]) {
    *arch = 0;
    return mdl_fail(
        MDL_SYSTEM,
        "this mdlrun was built without CUDA: cuda.h was not there. Build it again after scripts/install-dependencies --cuda");
}

static mdl_status refuse(mdl_device *d) {
    char arch[MDL_ARCH_LETTERS];
    (void)d;
    return mdl_cuda_gpu_arch(arch);
}

static void close_nothing(mdl_device *d) { (void)d; }

const mdl_cuda_place mdl_cuda_gpu = {.open = refuse, .close = close_nothing};
