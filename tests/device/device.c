/* The CPU backend: the conformance suite, and what concerns native code. */
#include <stdio.h>
#include <string.h>

#include "runtime/base/isa.h"
#include "tests/device/conformance.h"
#include "tests/device/products.h"
#include "tests/plan/fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* the sanitizer stops at impossible allocations */
#else
enum { SANITIZED = 0 };
#endif

/* Compiles every kernel of the plan into kernels/cpu.so. */
static bool compile(mdl_test *t, mdl_plan *plan) {
    const char *folder = mdl_test_scratch(t), *output = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/kernels.c", folder);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fputs(MDL_CONFORMANCE_CPU, f);
    for (int i = 0; i < plan->kernels.n; i++) fputs(plan->kernels.at[i].source, f);
    fclose(f);
    int status = mdl_shell(t, &output, "cc -std=c11 -O1 -shared -fPIC -o '%s/kernels.so' '%s'", folder, path);
    CHECK(t, status == 0, "%s", output);
    snprintf(path, sizeof path, "%s/kernels.so", folder);
    f = fopen(path, "rb");
    mdl_text text = {.arena = plan->memory};
    char block[4096];
    for (size_t n; f && (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    if (f) fclose(f);
    mdl_fixture_file(plan, MDL_PLAN_CPU_OBJECT, text.at ? text.at : "", (int64_t)text.n);
    mdl_fixture_finish(plan);
    return status == 0;
}

static mdl_conformance_target cpu(void) {
    return (mdl_conformance_target){&mdl_backend_cpu, mdl_cpu_isa(), 1, compile, NULL, false};
}

/* A plan with one kernel that stores `number`. */
static mdl_plan *store_plan(mdl_test *t, const char *symbol, int number) {
    mdl_conformance_target target = cpu();
    mdl_plan *plan = mdl_conformance_plan(&target, 0, 0, 64, 0);
    mdl_fixture_kernel(plan, symbol,
                       mdl_printf(plan->memory,
                                  "void %s(void *const *buffer, const int64_t *immediate, int64_t block) {\n"
                                  "    *(int *)buffer[0] = %d; (void)immediate; (void)block;\n}\n",
                                  symbol, number));
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "store"}));
    mdl_fixture_buffer(plan, &plan->programs.at[0], "out", MDL_ARENA_RESULT, 0, mdl_type_make(MDL_I32, 0, NULL));
    mdl_fixture_launch(plan, &plan->programs.at[0], MDL_LAUNCH_KERNEL, "store", "w0");
    compile(t, plan);
    return plan;
}

static int stored(mdl_device *d) {
    int value = 0;
    mdl_status status = mdl_backend_cpu.run(d, "store");
    if (!status) status = mdl_backend_cpu.download(d, MDL_ARENA_RESULT, 0, &value, sizeof value);
    mdl_status_free(status);
    return value;
}

static void test_two_plans(mdl_test *t) {
    mdl_case(t, "two plans at once, and one after the other");
    mdl_plan *plan[2] = {store_plan(t, "k_store", 1), store_plan(t, "k_store", 2)};
    mdl_device *d[2] = {NULL, NULL};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) {
            const char *text = mdl_conformance_message(mdl_backend_cpu.load(plan[i], 1, &d[i]));
            CHECK(t, d[i], "%s", text);
        }
        if (d[0] && d[1]) CHECK(t, stored(d[0]) == 1 && stored(d[1]) == 2, "the plans share code");
        for (int i = 0; i < 2; i++) mdl_backend_cpu.unload(d[i ^ round]);
    }
    mdl_plan_free(plan[0]);
    mdl_plan_free(plan[1]);
}

static void refuses(mdl_test *t, const mdl_plan *plan, int threads, const char *expected) {
    mdl_device *d = NULL;
    const char *text = mdl_conformance_message(mdl_backend_cpu.load(plan, threads, &d));
    CHECK(t, !d && strstr(text, expected), "expected \"%s\", got \"%s\"", expected, text);
    mdl_backend_cpu.unload(d);
}

static void test_refusals(mdl_test *t) {
    char text[256];
    bool x86 = !strncmp(mdl_cpu_isa(), "x86", 3);
    mdl_case(t, "a plan for another machine, target or object");
    mdl_plan *plan = store_plan(t, "k_store", 3);
    refuses(t, plan, -1, "-1 threads: expected 0 (all cores) to 1024");
    plan->isa = x86 ? "aarch64" : "x86-64-v4";
    snprintf(text, sizeof text, "the plan was compiled for %s, this machine is %s: compile it here with mdlc", plan->isa,
             mdl_cpu_isa());
    refuses(t, plan, 1, text);
    plan->isa = "z80";
    refuses(t, plan, 1, "the plan was compiled for z80, which is not known here");
    plan->isa = mdl_cpu_isa();
    plan->target = "abacus";
    refuses(t, plan, 1, "the plan is for target abacus");
    plan->target = "cpu";
    plan->kernels.at[0].symbol = "k_other";
    refuses(t, plan, 1, "kernels/cpu.so has no kernel k_other");
    plan->files.at[0].size = 100;
    refuses(t, plan, 1, "kernels/cpu.so cannot be loaded");
    plan->files.n = 0;
    refuses(t, plan, 1, "the plan has kernels but no file kernels/cpu.so");
    plan->kernels.n = 0;
    plan->arena_bytes[MDL_ARENA_ACTIVATION] = INT64_C(1) << 50;
    if (!SANITIZED) refuses(t, plan, 1, "not enough memory: arena activation needs 1125899906842624 bytes");
    mdl_plan_free(plan);
}

static void test_backends(mdl_test *t) {
    const mdl_backend *backend = NULL;
    mdl_case(t, "backends are found by name");
    const char *text = mdl_conformance_message(mdl_backend_find("cpu", &backend));
    CHECK(t, backend == &mdl_backend_cpu, "%s", text);
    text = mdl_conformance_message(mdl_backend_find("abacus", &backend));
    CHECK(t, !backend && !strcmp(text, "the plan is for target abacus, this program has: cpu, cuda"), "%s", text);
}

static void test_isa(mdl_test *t) {
    mdl_case(t, "this machine runs its own level and those below");
    CHECK(t, mdl_isa_runs(mdl_cpu_isa()) || !mdl_isa_known(mdl_cpu_isa()), "%s", mdl_cpu_isa());
    if (!strcmp(mdl_cpu_isa(), "x86-64-v4")) CHECK(t, mdl_isa_runs("x86-64-v2") && mdl_isa_runs("x86-64-v3"), "lower levels");
    CHECK(t, !mdl_isa_runs("x86-64-v5") && !mdl_isa_known("x86-64-v5") && !mdl_isa_runs(""), "unknown levels");
}

void suite_device(mdl_test *t) {
    mdl_conformance_target target = cpu();
    test_isa(t);
    test_backends(t);
    mdl_conformance(t, &target);
    mdl_test_onednn(t, &target);
    test_two_plans(t);
    test_refusals(t);
}
