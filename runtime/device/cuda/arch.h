/* Which of a plan's arches a GPU runs. */
#ifndef MDL_DEVICE_CUDA_ARCH_H
#define MDL_DEVICE_CUDA_ARCH_H

#include "runtime/base/status.h"

#define MDL_CUDA_HOST "host" /* the plan's isa when its kernels are for the emulator */
enum { MDL_ARCH_LETTERS = 16 };

/* The best of `list` ("sm_80,sm_90a,compute_90") for a GPU of this compute capability. In order: code for exactly this one, first
 * that with an "a" (of all its features) or "f"; code for the highest lower one of the same major number, "f" before plain, "a"
 * never; PTX ("compute_*"), which the driver compiles, of the highest that is not above. The error names the plan's and the GPU's.
 */
mdl_status mdl_cuda_pick_arch(const char *list, int major, int minor, char arch[MDL_ARCH_LETTERS]);

/* What this machine's GPU is best compiled for: "sm_80", "sm_90a". The error says why there is no GPU. */
mdl_status mdl_cuda_gpu_arch(char arch[MDL_ARCH_LETTERS]);

#endif
