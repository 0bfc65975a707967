/* The shared object of a plan: mapped from memory, never from a file that others could change. */
#ifndef MDL_DEVICE_NATIVE_H
#define MDL_DEVICE_NATIVE_H

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

typedef struct mdl_native mdl_native;
typedef void (*mdl_native_fn)(void); /* to be cast to what it is */

/* Does this machine run code for the plan's instruction set? */
mdl_status mdl_native_check_isa(const mdl_plan *plan);
/* Maps the plan's file `path` and resolves every kernel: kernels[i] is plan->kernels.at[i]. *native is NULL when there are none. */
mdl_status mdl_native_open(const mdl_plan *plan, const char *path, mdl_native_fn *kernels, mdl_native **native);
void *mdl_native_symbol(const mdl_native *native, const char *name); /* NULL: it has none of this name */
void mdl_native_close(mdl_native *native);                           /* NULL is allowed */

#endif
