/* What every backend must do: one suite, run with each. */
#ifndef MDL_TESTS_DEVICE_CONFORMANCE_H
#define MDL_TESTS_DEVICE_CONFORMANCE_H

#include "runtime/device/device.h"
#include "tests/check.h"

typedef struct {
    const mdl_backend *backend;
    const char *isa;
    int threads; /* of a block of the suite's kernels */
    /* Turns the C sources of the plan's kernels into the file that the backend loads. */
    bool (*compile)(mdl_test *t, mdl_plan *plan);
    mdl_status (*takes)(const mdl_gemm *g); /* NULL: every product; else whether the backend has this one */
    bool adds_in_two;                       /* bias and C of a product may be added after its result has been rounded */
} mdl_conformance_target;

/* The suite's kernels are KERNEL(NAME, BUFFERS, INTEGERS) { ... buffer[i], immediate[i], block, thread of threads ... } for every
 * target; what stands in front of them says what that means. */
#define MDL_CONFORMANCE_CPU                                                                                             \
    "#include <stdint.h>\n"                                                                                             \
    "#define KERNEL(NAME, BUFFERS, INTEGERS) void NAME(void *const *buffer, const int64_t *immediate, int64_t block)\n" \
    "enum { thread = 0, threads = 1 };\n"
enum { MDL_CONFORMANCE_THREADS = 64 };
#define MDL_CONFORMANCE_BODY(NAME) \
    "MDL_FN void " NAME "_body(void *const *buffer, const int64_t *immediate, int64_t block, int thread)"
#define MDL_CONFORMANCE_CUDA \
    "enum { threads = 64 };\n" \
    "#define KERNEL(NAME, BUFFERS, INTEGERS) \\\n" \
    MDL_CONFORMANCE_BODY("NAME##") "; \\\n" \
    "    MDL_KERNEL(NAME, BUFFERS, INTEGERS, 64, 1) { \\\n" \
    "        NAME##_body(args.buffer, args.immediate, mdl_block(), mdl_thread()); \\\n" \
    "    } \\\n" \
    MDL_CONFORMANCE_BODY("NAME##") "\n"

void mdl_conformance(mdl_test *t, const mdl_conformance_target *target);

/* An empty plan for the target with these arena sizes. */
mdl_plan *mdl_conformance_plan(const mdl_conformance_target *target, int64_t param, int64_t input, int64_t result,
                               int64_t activation);
/* The message of a status ("" for success), valid until the next call; frees the status. */
const char *mdl_conformance_message(mdl_status status);

#endif
