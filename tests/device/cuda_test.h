/* For tests of the cuda backend: kernels of a hand-made plan as text, compiled code as its files. */
#ifndef MDL_TESTS_DEVICE_CUDA_TEST_H
#define MDL_TESTS_DEVICE_CUDA_TEST_H

#include <stdio.h>

#include "tests/device/conformance.h"
#include "tests/plan/fixture.h"

/* All kernels of the plan as one text. */
static inline const char *mdl_cuda_test_text(mdl_plan *plan) {
    mdl_text text = {.arena = plan->memory};
    for (int i = 0; i < plan->kernels.n; i++) mdl_text_printf(&text, "%s", plan->kernels.at[i].source);
    return text.at;
}

/* <scratch>/<name> as the plan's file `path`. */
static inline bool mdl_cuda_test_file(mdl_test *t, mdl_plan *plan, const char *path, const char *name) {
    char full[512], block[4096];
    mdl_text text = {.arena = plan->memory};
    snprintf(full, sizeof full, "%s/%s", mdl_test_scratch(t), name);
    FILE *f = fopen(full, "rb");
    if (!f) return false;
    for (size_t n; (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    fclose(f);
    mdl_fixture_file(plan, path, text.at, (int64_t)text.n);
    mdl_fixture_finish(plan);
    return true;
}

#endif
