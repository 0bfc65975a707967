/* What every backend must do: one suite, run with each. */
#ifndef MDL_TESTS_DEVICE_CONFORMANCE_H
#define MDL_TESTS_DEVICE_CONFORMANCE_H

#include "runtime/device/device.h"
#include "tests/check.h"

typedef struct {
    const mdl_backend *backend;
    const char *isa;
    /* Turns the C sources of the plan's kernels into the file that the backend loads. */
    bool (*compile)(mdl_test *t, mdl_plan *plan);
} mdl_conformance_target;

void mdl_conformance(mdl_test *t, const mdl_conformance_target *target);

/* An empty plan for the target with these arena sizes. */
mdl_plan *mdl_conformance_plan(const mdl_conformance_target *target, int64_t param, int64_t input, int64_t result,
                               int64_t activation);
/* The message of a status ("" for success), valid until the next call; frees the status. */
const char *mdl_conformance_message(mdl_status status);

#endif
