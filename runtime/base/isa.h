/* The instruction set levels that native code in a plan is compiled for. */
#ifndef MDL_BASE_ISA_H
#define MDL_BASE_ISA_H

#include <stdbool.h>

/* This machine's level: "x86-64-v1" .. "x86-64-v4", "aarch64", or "unknown". The compiler passes it to -march. */
const char *mdl_cpu_isa(void);
/* Whether a level is one that plans may name (x86-64-v2 and up, aarch64). */
bool mdl_isa_known(const char *isa);
/* Whether this machine runs code compiled for `isa`. */
bool mdl_isa_runs(const char *isa);

#endif
