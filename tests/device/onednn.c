/* The shim for oneDNN: both of its interfaces compile; bf16 code where the processor has it, and right results where it has not. */
#include <stdlib.h>
#include <string.h>

#include "runtime/device/gemm.h"
#include "runtime/device/onednn.h"
#include "tests/device/products.h"
#include "tests/plan/fixture.h"

/* The library reads it once: what it is told here holds for a child only. */
#define AS_IF_AVX2 "ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2"
static bool is_child(void) { return getenv("ONEDNN_MAX_CPU_ISA") != NULL; }

static void test_interfaces(mdl_test *t) {
    for (int version = 2; version <= 3; version++) {
        const char *output;
        if (!mdl_case(t, "the shim compiles against oneDNN %d", version)) continue;
        int status =
            mdl_shell(t, &output,
                      "cd '%s' && cc -std=gnu11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I. -Itests/device/onednn/%d "
                      "runtime/device/onednn.c",
                      mdl_test_source(t), version);
        CHECK(t, !status, "%s", output);
    }
}

/* Otherwise every product could quietly go by way of f32. */
static void test_bf16_code(mdl_test *t) {
    if (!mdl_case(t, "the library has code for bf16 tiles exactly where the processor has the instructions")) return;
    mdl_onednn *library = mdl_onednn_open(1);
    for (int i = 0; i < 8 && library; i++) {
        mdl_onednn_shape shape = {128, 160, 320, 320, 320, 160, i & 1, i & 2, i & 4};
        bool has = mdl_onednn_matmul_for(library, &shape) != NULL;
        CHECK(t, has == mdl_onednn_has_bf16(), "combination %d: %d", i, has);
        CHECK(t, mdl_onednn_matmul_for(library, &shape) == mdl_onednn_matmul_for(library, &shape), "equal shapes are one");
        shape.m = 1; /* a vector: refused, see onednn.c */
        CHECK(t, !mdl_onednn_matmul_for(library, &shape), "a vector is accepted");
    }
    CHECK(t, library, "no engine");
    mdl_onednn_close(library);
}

static const char *note_of(mdl_test *t, const mdl_conformance_target *target, mdl_dtype dtype) {
    mdl_plan *plan = mdl_conformance_plan(target, 0, 64, 64, 0);
    mdl_device *d = NULL;
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_fixture_buffer(plan, p, "a", MDL_ARENA_INPUT, 0, mdl_type_make(dtype, 1, (const int64_t[]){4}));
    mdl_fixture_buffer(plan, p, "d", MDL_ARENA_RESULT, 0, mdl_type_make(dtype, 1, (const int64_t[]){4}));
    mdl_fixture_launch(plan, p, MDL_LAUNCH_GEMM, "product", "r0 r0 w1")->gemm =
        (mdl_gemm){.m = 2, .n = 2, .k = 2, .batch = 1, .lda = 2, .ldb = 2, .ldd = 2, .type_a = dtype, .type_b = dtype, .type_d = dtype};
    mdl_fixture_finish(plan);
    const char *text = mdl_conformance_message(target->backend->load(plan, 1, &d));
    CHECK(t, d, "%s", text);
    const char *note = d ? target->backend->note(d) : NULL;
    target->backend->unload(d);
    mdl_plan_free(plan);
    return note;
}

static void test_note(mdl_test *t, const mdl_conformance_target *target) {
    if (!mdl_case(t, "a device says when it has no instructions for bf16 products of its plan")) return;
    CHECK(t, !note_of(t, target, MDL_F32), "a note on an f32 plan");
    const char *note = note_of(t, target, MDL_BF16);
    CHECK(t, !note == mdl_cpu_gemm_has_bf16(), "the note is \"%s\"", note ? note : "");
    CHECK(t, !note || strstr(note, "bf16"), "%s", note);
    if (is_child()) CHECK(t, note, "no note as if on AVX2");
}

/* On a processor as of AVX2 the library computes no bf16: tiles go by way of f32. */
static void test_without_bf16(mdl_test *t) {
    const char *output = NULL;
    if (is_child() || !mdl_case(t, "without instructions for it, products of bf16 are right")) return;
    int status = mdl_shell(t, &output, AS_IF_AVX2 " '%s/mdltest' device --filter bf16", MDL_BINARY_DIR);
    CHECK(t, !status && strstr(output, ", 0 failed") && !strstr(output, "\n0 passed"), "%s", output);
}

void mdl_test_onednn(mdl_test *t, const mdl_conformance_target *target) {
    test_interfaces(t);
    test_bf16_code(t);
    test_note(t, target);
    test_without_bf16(t);
}
