/* What the host can do at best: for plans that run on it. */
#ifndef MDL_DEVICE_RATES_H
#define MDL_DEVICE_RATES_H

#include "runtime/base/arena.h"
#include "runtime/device/device.h"

/* "AMD EPYC 9R14, 2 threads, oneDNN 2.6.3" */
const char *mdl_host_identity(mdl_arena *memory, int threads);
/* As `rates` of the vtable, with so many threads. */
mdl_status mdl_host_rates(int threads, int64_t edge, mdl_rates *rates);

#endif
