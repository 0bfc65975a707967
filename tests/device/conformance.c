/* The conformance suite: arenas, copies, kernels, and the same bits for any number of threads. Products are in products.c. */
#include "tests/device/conformance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/device/products.h"
#include "tests/plan/fixture.h"

enum { N = 1000, BLOCK = 16, BLOCKS = (N + BLOCK - 1) / BLOCK };

mdl_plan *mdl_conformance_plan(const mdl_conformance_target *target, int64_t param, int64_t input, int64_t result,
                               int64_t activation) {
    mdl_plan *plan = mdl_plan_new();
    plan->model = "conformance";
    plan->target = target->backend->name;
    plan->isa = target->isa;
    plan->precision = "f32";
    plan->compiler = "tests";
    plan->tokens = plan->segments = plan->tile = 1;
    plan->arena_bytes[MDL_ARENA_PARAM] = param;
    plan->arena_bytes[MDL_ARENA_INPUT] = input;
    plan->arena_bytes[MDL_ARENA_RESULT] = result;
    plan->arena_bytes[MDL_ARENA_ACTIVATION] = activation;
    return plan;
}

const char *mdl_conformance_message(mdl_status status) {
    static char text[1024];
    snprintf(text, sizeof text, "%s", mdl_message(status));
    mdl_status_free(status);
    return text;
}

#define OK(expr)                                \
    do {                                        \
        mdl_status ok_ = (expr);                \
        CHECK(t, !ok_, "%s", mdl_message(ok_)); \
        mdl_status_free(ok_);                   \
    } while (0)

/* y = x * 3 + 7 block by block, then result = y - x, then a copy; the immediates stand among the buffers. */
static const char *const affine =
    "KERNEL(k_affine, 2, 2) {\n"
    "    const float *x = (const float *)buffer[0];\n"
    "    float *y = (float *)buffer[1];\n"
    "    for (int64_t i = block * 16 + thread; i < immediate[1] && i < block * 16 + 16; i += threads)\n"
    "        y[i] = x[i] * (float)immediate[0] + 7.0f;\n"
    "}\n";
static const char *const difference =
    "KERNEL(k_difference, 3, 1) {\n"
    "    const float *y = (const float *)buffer[0], *x = (const float *)buffer[1];\n"
    "    float *out = (float *)buffer[2];\n"
    "    for (int64_t i = block + thread; i < immediate[0]; i += threads) out[i] = y[i] - x[i];\n"
    "}\n";

static mdl_plan *kernel_plan(mdl_test *t, const mdl_conformance_target *target) {
    mdl_plan *plan = mdl_conformance_plan(target, 0, 4096, 8192, 4096);
    mdl_type type = mdl_type_make(MDL_F32, 1, (const int64_t[]){N});
    mdl_fixture_kernel(plan, "k_affine", affine);
    mdl_fixture_kernel(plan, "k_difference", difference);
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_fixture_buffer(plan, p, "x", MDL_ARENA_INPUT, 64, type);
    mdl_fixture_buffer(plan, p, "y", MDL_ARENA_ACTIVATION, 0, type);
    int out = mdl_fixture_buffer(plan, p, "out", MDL_ARENA_RESULT, 0, type);
    mdl_fixture_buffer(plan, p, "again", MDL_ARENA_RESULT, 4096, type);
    mdl_plan_launch *l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "affine", "i3 r0 i1000 w1");
    l->grid = BLOCKS;
    l->bytes = 1 << 20; /* large enough to be spread over threads */
    l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "difference", "r1 r0 w2 i1000");
    l->kernel = 1;
    mdl_fixture_launch(plan, p, MDL_LAUNCH_COPY, "copy", "r2 w3");
    MDL_PUSH(plan->memory, p->results, ((mdl_plan_result){"out", out}));
    for (int i = 0; i < 2; i++) p->launches.at[i].threads = target->threads;
    mdl_fixture_finish(plan);
    bool compiled = target->compile(t, plan);
    CHECK(t, compiled, "the kernels do not compile");
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return plan;
}

/* Two launches on two streams write halves of rows [100, 20]; a third, which waits, sums each row. */
static const char *const half =
    "KERNEL(k_half, 2, 2) {\n"
    "    const float *x = (const float *)buffer[0];\n"
    "    float *y = (float *)buffer[1];\n"
    "    for (int64_t i = thread; i < 10; i += threads) y[block * 20 + i] = x[block * 10 + i] * (float)immediate[1];\n"
    "}\n";
static const char *const whole =
    "KERNEL(k_whole, 2, 1) {\n"
    "    const float *y = (const float *)buffer[0];\n"
    "    float *out = (float *)buffer[1];\n"
    "    float sum = 0;\n"
    "    for (int64_t i = 0; i < 20; i++) sum += y[block * 20 + i];\n"
    "    if (thread == 0 && block < immediate[0]) out[block] = sum;\n"
    "}\n";

static mdl_plan *view_plan(mdl_test *t, const mdl_conformance_target *target) {
    mdl_plan *plan = mdl_conformance_plan(target, 0, 4096, 448, 8064);
    mdl_type rows = mdl_type_make(MDL_F32, 2, (const int64_t[]){100, 20}),
             part = mdl_type_make(MDL_F32, 2, (const int64_t[]){100, 10});
    mdl_fixture_kernel(plan, "k_half", half);
    mdl_fixture_kernel(plan, "k_whole", whole);
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "views"}));
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_fixture_buffer(plan, p, "x", MDL_ARENA_INPUT, 0, part);
    int y = mdl_fixture_buffer(plan, p, "y", MDL_ARENA_ACTIVATION, 64, rows);
    int out = mdl_fixture_buffer(plan, p, "out", MDL_ARENA_RESULT, 0, mdl_type_make(MDL_F32, 1, (const int64_t[]){100}));
    for (int i = 0; i < 2; i++) {
        int b = mdl_fixture_buffer(plan, p, i ? "right" : "left", MDL_ARENA_ACTIVATION, 40 * i, part);
        p->buffers.at[b].of = y, p->buffers.at[b].stride = 20, p->buffers.at[b].bytes = 4 * (99 * 20 + 10);
        mdl_plan_launch *l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "half", i ? "r0 w4 i100 i3" : "r0 w3 i100 i2");
        l->grid = 100;
        l->stream = i;
        /* a view's two writers share a base: one comes first */
        if (i) MDL_PUSH(plan->memory, l->waits, 0);
    }
    mdl_plan_launch *l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "whole", "r1 w2 i100");
    l->kernel = 1, l->grid = 100, l->stream = 2;
    MDL_PUSH(plan->memory, l->waits, 1);
    MDL_PUSH(plan->memory, p->results, ((mdl_plan_result){"out", out}));
    for (int i = 0; i < 3; i++) p->launches.at[i].threads = target->threads;
    mdl_fixture_finish(plan);
    CHECK(t, target->compile(t, plan), "the kernels do not compile");
    OK(mdl_plan_verify(plan));
    return plan;
}

static void test_views(mdl_test *t, const mdl_conformance_target *target) {
    const mdl_backend *b = target->backend;
    float x[1000], out[100];
    int wrong = 0;
    mdl_device *d = NULL;
    mdl_case(t, "%s: strided views, streams", b->name);
    for (int i = 0; i < 1000; i++) x[i] = (float)(i % 7);
    mdl_plan *plan = view_plan(t, target);
    OK(b->load(plan, 2, &d));
    if (!d) return;
    OK(b->fill(d, MDL_ARENA_ACTIVATION, 0xff));
    OK(b->upload(d, MDL_ARENA_INPUT, 0, x, sizeof x));
    OK(b->run(d, "views"));
    OK(b->download(d, MDL_ARENA_RESULT, 0, out, sizeof out));
    for (int r = 0; r < 100; r++) {
        float sum = 0;
        for (int i = 0; i < 10; i++) sum += 5 * x[10 * r + i];
        wrong += out[r] != sum;
    }
    CHECK(t, !wrong, "%d rows are wrong; the first is %g", wrong, out[0]);
    b->unload(d);
    mdl_plan_free(plan);
}

static void check_output(mdl_test *t, const mdl_backend *b, mdl_device *d, const float *x) {
    float out[N], again[N];
    OK(b->download(d, MDL_ARENA_RESULT, 0, out, sizeof out));
    OK(b->download(d, MDL_ARENA_RESULT, 4096, again, sizeof again));
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += out[i] != (x[i] * 3.0f + 7.0f) - x[i];
    CHECK(t, !wrong, "%d of %d results are wrong; the first is %g", wrong, N, out[0]);
    CHECK(t, !memcmp(out, again, sizeof out), "the copy differs");
}

static void test_kernels(mdl_test *t, const mdl_conformance_target *target) {
    const mdl_backend *b = target->backend;
    float x[N];
    double seconds[3] = {-1, -1, -1};
    for (int i = 0; i < N; i++) x[i] = (float)(i % 37) - 11.0f;
    mdl_plan *plan = kernel_plan(t, target);
    for (int threads = 0; threads < 4; threads++) {
        mdl_device *d = NULL;
        mdl_case(t, "%s: kernels and copies, %d threads", b->name, threads);
        OK(b->load(plan, threads, &d));
        if (!d) continue;
        OK(b->fill(d, MDL_ARENA_ACTIVATION, 0xff));
        OK(b->fill(d, MDL_ARENA_RESULT, 0xff));
        OK(b->upload(d, MDL_ARENA_INPUT, 64, x, sizeof x));
        OK(b->run(d, "test"));
        check_output(t, b, d, x);
        OK(b->fill(d, MDL_ARENA_RESULT, 0));
        OK(b->profile(d, "test", seconds));
        check_output(t, b, d, x);
        CHECK(t, seconds[0] >= 0 && seconds[1] >= 0 && seconds[2] >= 0, "profile gives no times");
        const char *text = mdl_conformance_message(b->run(d, "nothing"));
        CHECK(t, strstr(text, "no program nothing"), "%s", text);
        b->unload(d);
    }
    mdl_plan_free(plan);
}

static void test_parts(mdl_test *t, const mdl_conformance_target *target) {
    const mdl_backend *b = target->backend;
    float x[N], out[N];
    mdl_device *d = NULL;
    mdl_case(t, "%s: parts of a program", b->name);
    for (int i = 0; i < N; i++) x[i] = (float)(i % 37) - 11.0f;
    mdl_plan *plan = kernel_plan(t, target);
    OK(b->load(plan, 2, &d));
    if (!d) return;
    OK(b->upload(d, MDL_ARENA_INPUT, 64, x, sizeof x));
    OK(b->run_part(d, "test", 0, 2));
    OK(b->download(d, MDL_ARENA_RESULT, 4096, out, sizeof out));
    CHECK(t, out[1] == 0, "the last launch, a copy, has run too: %g", out[1]);
    OK(b->run_part(d, "test", 2, 2));
    OK(b->run_part(d, "test", 2, 3));
    check_output(t, b, d, x);
    static const int bad[][2] = {{-1, 1}, {0, 4}, {2, 1}};
    for (int i = 0; i < 3; i++) {
        const char *text = mdl_conformance_message(b->run_part(d, "test", bad[i][0], bad[i][1]));
        CHECK(t, strstr(text, "program test has 3 launches"), "%d to %d: %s", bad[i][0], bad[i][1], text);
    }
    b->unload(d);
    mdl_plan_free(plan);
}

/* Small matrices: what is tested is that all is measured, not how much it is. */
static void test_rates(mdl_test *t, const mdl_conformance_target *target) {
    const mdl_backend *b = target->backend;
    mdl_rates rates = {-1, -1, -1};
    mdl_device *d = NULL;
    mdl_case(t, "%s: rates", b->name);
    mdl_plan *plan = kernel_plan(t, target);
    OK(b->load(plan, 2, &d));
    if (!d) return;
    OK(b->rates(d, 64, &rates));
    CHECK(t, rates.copy > 0 && rates.f32 > 0 && rates.bf16 > 0, "%g, %g, %g", rates.copy, rates.f32, rates.bf16);
    CHECK(t, *b->identity(d), "a device without a name");
    b->unload(d);
    mdl_plan_free(plan);
}

static void test_arenas(mdl_test *t, const mdl_conformance_target *target) {
    const mdl_backend *b = target->backend;
    mdl_device *d = NULL;
    float data[16] = {1, 2, 3}, back[16] = {0};
    mdl_case(t, "%s: arenas", b->name);
    mdl_plan *plan = mdl_conformance_plan(target, 100, 64, 0, INT64_C(9) << 20);
    plan->arena_bytes[MDL_ARENA_CONST] = 16;
    mdl_fixture_file(plan, MDL_PLAN_CONSTANTS, "0123456789abcdef", 16);
    mdl_fixture_finish(plan);
    OK(b->load(plan, 1, &d));
    if (!d) goto done;
    CHECK(t, b->memory(d) >= 100 + 64 + 16 + (9 << 20), "memory is %ld", (long)b->memory(d));
    OK(b->download(d, MDL_ARENA_ACTIVATION, (9 << 20) - 64, back, 64));
    CHECK(t, back[0] == 0 && back[15] == 0, "arenas begin zeroed");
    OK(b->download(d, MDL_ARENA_CONST, 0, back, 16));
    CHECK(t, !memcmp(back, "0123456789abcdef", 16), "constants are loaded");
    OK(b->upload(d, MDL_ARENA_INPUT, 0, data, 64));
    OK(b->download(d, MDL_ARENA_INPUT, 4, back, 60));
    CHECK(t, back[0] == 2 && back[1] == 3, "bytes come back");
    OK(b->fill(d, MDL_ARENA_PARAM, 0xff));
    OK(b->download(d, MDL_ARENA_PARAM, 96, back, 4));
    CHECK(t, isnan(back[0]), "0xff is NaN");
    static const int64_t bad[][2] = {{0, 65}, {64, 1}, {65, 0}, {-1, 4}, {0, -1}, {INT64_MAX, 4}, {4, INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *text = mdl_conformance_message(b->upload(d, MDL_ARENA_INPUT, bad[i][0], data, bad[i][1]));
        CHECK(t, strstr(text, "outside arena input of 64 bytes"), "upload of %ld at %ld: %s", (long)bad[i][1], (long)bad[i][0],
              text);
        text = mdl_conformance_message(b->download(d, MDL_ARENA_INPUT, bad[i][0], back, bad[i][1]));
        CHECK(t, strstr(text, "outside arena input of 64 bytes"), "download: %s", text);
    }
    b->unload(d);
done:
    mdl_plan_free(plan);
}

void mdl_conformance(mdl_test *t, const mdl_conformance_target *target) {
    test_arenas(t, target);
    test_kernels(t, target);
    test_parts(t, target);
    test_rates(t, target);
    test_views(t, target);
    mdl_conformance_products(t, target);
}
