/* The shared object of a plan: mapped from memory, never from a file that others could change. */
#ifndef MDL_DEVICE_NATIVE_H
#define MDL_DEVICE_NATIVE_H

#include "runtime/base/status.h"
#include "runtime/device/kernel_abi.h"
#include "runtime/plan/plan.h"

typedef struct mdl_native mdl_native;

/* Checks the instruction set, maps the object and resolves every kernel: kernels[i] is plan->kernels.at[i]. */
mdl_status mdl_native_open(const mdl_plan *plan, mdl_kernel_fn *kernels, mdl_native **native);
void mdl_native_close(mdl_native *native); /* NULL is allowed */

#endif
