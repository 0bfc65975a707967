/* The cuda backend: conformance in emulation, and what needs no GPU of the half that does. */
#include <stdio.h>
#include <string.h>

#include "runtime/device/cuda/arch.h"
#include "runtime/device/cuda/gemm_cache.h"
#include "runtime/device/cuda/gemm_layout.h"
#include "runtime/device/cuda/intervals.h"
#include "tests/device/conformance.h"
#include "tests/device/cuda_test.h"
#include "tests/device/emulated.h"
#include "tests/plan/fixture.h"

/* Compiles every kernel into kernels/host.so. */
static bool compile_host(mdl_test *t, mdl_plan *plan) {
    const char *output = NULL;
    if (!native_write(t, "host", EMULATED_PRELUDE MDL_CONFORMANCE_CUDA, mdl_cuda_test_text(plan))) return false;
    int status = mdl_shell(t, &output, "cd '%s' && cc %s -o host.so host.c", mdl_test_scratch(t), NATIVE_FLAGS);
    CHECK(t, !status, "%s", output);
    return !status && mdl_cuda_test_file(t, plan, MDL_PLAN_HOST_OBJECT, "host.so");
}

static mdl_conformance_target host(void) {
    return (mdl_conformance_target){&mdl_backend_cuda, MDL_CUDA_HOST,       MDL_CONFORMANCE_THREADS,
                                    compile_host,      mdl_cuda_gemm_takes, false};
}

/* A plan with one kernel of 64 threads that stores a number, or does something wrong. */
static mdl_plan *plan_of(mdl_test *t, const char *body) {
    mdl_conformance_target target = host();
    mdl_plan *plan = mdl_conformance_plan(&target, 0, 0, 64, 0);
    mdl_fixture_kernel(plan, "k_it", mdl_printf(plan->memory, "KERNEL(k_it, 1, 1) {\n    %s\n}\n", body));
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_fixture_buffer(plan, &plan->programs.at[0], "out", MDL_ARENA_RESULT, 0, mdl_type_make(MDL_I32, 0, NULL));
    mdl_fixture_launch(plan, &plan->programs.at[0], MDL_LAUNCH_KERNEL, "it", "w0")->threads = MDL_CONFORMANCE_THREADS;
    compile_host(t, plan);
    return plan;
}

static void test_two_plans(mdl_test *t) {
    const mdl_backend *b = &mdl_backend_cuda;
    int value[2] = {0, 0};
    mdl_plan *plan[2];
    mdl_device *d[2] = {NULL, NULL};
    if (!mdl_case(t, "cuda: two plans at once, each with its emulator")) return;
    for (int i = 0; i < 2; i++) {
        plan[i] =
            plan_of(t, i ? "if (thread == 3) *(int *)buffer[0] = 20 + (int)block;" : "if (thread == 0) *(int *)buffer[0] = 10;");
        const char *text = mdl_conformance_message(b->load(plan[i], 1, &d[i]));
        CHECK(t, d[i], "%s", text);
    }
    for (int i = 0; i < 2 && d[0] && d[1]; i++) {
        mdl_status_free(b->run(d[i], "test"));
        mdl_status_free(b->download(d[i], MDL_ARENA_RESULT, 0, &value[i], sizeof value[i]));
    }
    CHECK(t, value[0] == 10 && value[1] == 20, "%d and %d", value[0], value[1]);
    for (int i = 0; i < 2; i++) {
        b->unload(d[i]);
        mdl_plan_free(plan[i]);
    }
}

static void refuses(mdl_test *t, const mdl_plan *plan, int threads, const char *expected) {
    mdl_device *d = NULL;
    const char *text = mdl_conformance_message(mdl_backend_cuda.load(plan, threads, &d));
    CHECK(t, !d && strstr(text, expected), "expected \"%s\", got \"%s\"", expected, text);
    mdl_backend_cuda.unload(d);
}

static void test_failing_launch(mdl_test *t) {
    mdl_device *d = NULL;
    if (!mdl_case(t, "cuda: a launch that fails is named, with its place in the model")) return;
    mdl_plan *plan = plan_of(t, "if (thread < 40) mdl_sync();");
    const char *text = mdl_conformance_message(mdl_backend_cuda.load(plan, 0, &d));
    CHECK(t, d, "%s", text);
    text = d ? mdl_conformance_message(mdl_backend_cuda.run(d, "test")) : "";
    CHECK(t,
          strstr(text, "program test, launch 0 (it), kernel k_it, tiny.mdl:7:5: ") && strstr(text, "24 of 64 threads have ended"),
          "%s", text);
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

static void test_refusals(mdl_test *t) {
    if (!mdl_case(t, "cuda: a plan for another target, a damaged object, a product that no library has")) return;
    mdl_plan *plan = plan_of(t, "");
    refuses(t, plan, -1, "-1 threads: expected 0 (all cores) to 1024");
    plan->target = "cpu";
    refuses(t, plan, 1, "the plan is for target cpu, this is the cuda backend");
    plan->target = "cuda";
    plan->kernels.at[0].symbol = "k_other";
    refuses(t, plan, 1, "kernels/host.so has no kernel k_other");
    plan->files.at[0].size = 100;
    refuses(t, plan, 1, "kernels/host.so cannot be loaded");
    plan->files.n = 0;
    refuses(t, plan, 1, "the plan has kernels but no file kernels/host.so");
    mdl_plan_launch *l = &plan->programs.at[0].launches.at[0];
    l->kind = MDL_LAUNCH_GEMM;
    l->gemm.type_d = MDL_BF16;
    plan->kernels.n = 0;
    refuses(t, plan, 1, "launch 0 (it), tiny.mdl:7:5: cuBLASLt has no product of f32 operands with a result in bf16");
    mdl_plan_free(plan);
}

/* On a machine with a GPU the plan, which has no code, is refused for that. */
static void test_no_gpu(mdl_test *t) {
    mdl_conformance_target target = host();
    mdl_device *d = NULL;
    if (!mdl_case(t, "cuda: without a driver, a plan for a GPU is refused with the reason")) return;
    mdl_plan *plan = mdl_conformance_plan(&target, 0, 0, 64, 0);
    plan->isa = "sm_10";
    const char *text = mdl_conformance_message(mdl_backend_cuda.load(plan, 0, &d));
    bool said = strstr(text, "no NVIDIA driver") || strstr(text, "built without CUDA") || strstr(text, "no GPU") ||
                strstr(text, "the plan has code for sm_10, this GPU is sm_");
    CHECK(t, !d && said, "%s", text);
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

/* ---- choices that need no GPU ---- */
static void test_arches(mdl_test *t) {
    static const struct {
        const char *list;
        int major, minor;
        const char *expected; /* NULL: refused */
    } rows[] = {{"sm_80,sm_90a", 9, 0, "sm_90a"},
                {"sm_90,sm_90a", 9, 0, "sm_90a"},
                {"sm_90a,sm_90", 9, 0, "sm_90a"},
                {"sm_80,sm_86", 8, 9, "sm_86"},
                {"sm_80,sm_86", 8, 0, "sm_80"},
                {"sm_80", 9, 0, NULL},
                {"sm_90a", 8, 0, NULL},
                {"sm_100a", 10, 3, NULL},
                {"sm_100f", 10, 3, "sm_100f"},
                {"sm_100,sm_100f", 10, 3, "sm_100f"},
                {"sm_100f", 12, 0, NULL},
                {"sm_100a,sm_120", 12, 1, "sm_120"},
                {"sm_80,compute_80", 9, 0, "compute_80"},
                {"compute_80,sm_80", 8, 0, "sm_80"},
                {"compute_90a", 10, 0, NULL},
                {"compute_80,compute_90", 10, 0, "compute_90"},
                {"sm_8x,,sm_80", 8, 6, "sm_80"},
                {"compute_100f", 12, 0, NULL}};
    mdl_case(t, "cuda: the arch that a GPU takes of a plan's");
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        char arch[MDL_ARCH_LETTERS] = "";
        const char *text = mdl_conformance_message(mdl_cuda_pick_arch(rows[i].list, rows[i].major, rows[i].minor, arch));
        CHECK(t, !strcmp(arch, rows[i].expected ? rows[i].expected : ""), "%s on %d.%d: %s%s", rows[i].list, rows[i].major,
              rows[i].minor, arch, text);
    }
    char arch[MDL_ARCH_LETTERS];
    const char *text = mdl_conformance_message(mdl_cuda_pick_arch("sm_80,sm_100a", 9, 0, arch));
    CHECK(t, !strcmp(text, "the plan has code for sm_80,sm_100a, this GPU is sm_90: compile it with mdlc --arch sm_90"), "%s",
          text);
}

/* An element of a matrix as its rule says. */
static double by_column(const float *memory, const mdl_column_major *x, int64_t batch, int64_t i, int64_t j) {
    return memory[batch * x->stride + j * x->ld + i];
}
static double by_row(const float *memory, int64_t ld, int64_t stride, int64_t batch, int64_t i, int64_t j) {
    return memory[batch * stride + i * ld + j];
}

/* D as the plan has it, and as the library that works by columns is told, on the same memory: integers, so that sums are exact. */
static int count_differences(const mdl_gemm *g, const float *a, const float *b, const float *c, const float *bias) {
    mdl_column_gemm x = mdl_gemm_by_columns(g);
    int wrong = x.d.rows != g->n || x.d.columns != g->m || x.batch != g->batch;
    for (int64_t batch = 0; batch < g->batch; batch++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                double rows = 0, columns = 0;
                for (int64_t k = 0; k < g->k; k++) {
                    rows +=
                        (g->trans_a ? by_row(a, g->lda, g->stride_a, batch, k, i) : by_row(a, g->lda, g->stride_a, batch, i, k)) *
                        (g->trans_b ? by_row(b, g->ldb, g->stride_b, batch, j, k) : by_row(b, g->ldb, g->stride_b, batch, k, j));
                    columns += (x.trans_a ? by_column(b, &x.a, batch, k, j) : by_column(b, &x.a, batch, j, k)) *
                               (x.trans_b ? by_column(a, &x.b, batch, i, k) : by_column(a, &x.b, batch, k, i));
                }
                rows += by_row(c, g->ldc, g->stride_c, batch, i, j) + bias[j];
                columns += by_column(c, &x.c, batch, j, i) + bias[j]; /* row j of the library's D */
                wrong += rows != columns || batch * x.d.stride + i * x.d.ld + j != batch * g->stride_d + i * g->ldd + j;
            }
    return wrong;
}

static void test_layouts(mdl_test *t) {
    enum { M = 5, N = 7, K = 3, BATCH = 2, ROOM = 1024 };
    float memory[4][ROOM];
    mdl_case(t, "cuda: products by rows are the library's by columns");
    for (int i = 0; i < 4 * ROOM; i++) memory[i / ROOM][i % ROOM] = (float)(i * 7919 % 31 - 15);
    for (int variant = 0; variant < 8; variant++) {
        bool ta = variant & 1, tb = variant & 2;
        int64_t pad = variant & 4 ? 3 : 0;
        mdl_gemm g = {.m = M, .n = N, .k = K, .batch = BATCH, .trans_a = ta, .trans_b = tb, .has_c = true, .has_bias = true};
        g.lda = (ta ? M : K) + pad, g.ldb = (tb ? K : N) + 2 * pad, g.ldc = N + pad, g.ldd = N + 4 * pad;
        g.stride_a = g.lda * 6, g.stride_b = 0, g.stride_c = g.ldc * M + pad, g.stride_d = g.ldd * M;
        int wrong = count_differences(&g, memory[0], memory[1], memory[2], memory[3]);
        CHECK(t, !wrong, "variant %d: %d elements differ", variant, wrong);
    }
}

static void test_takes(mdl_test *t) {
    mdl_gemm g = {.type_a = MDL_BF16, .type_b = MDL_BF16, .type_d = MDL_F32, .type_c = MDL_BF16, .type_bias = MDL_BF16};
    mdl_case(t, "cuda: products that the library does not have");
    CHECK(t, !*mdl_conformance_message(mdl_cuda_gemm_takes(&g)), "types of what is not there do not count");
    g.has_c = true;
    CHECK(t, strstr(mdl_conformance_message(mdl_cuda_gemm_takes(&g)), "adds C in the result's type f32 only, not in bf16"), "C");
    g.type_d = MDL_BF16, g.type_bias = MDL_F32, g.has_bias = true;
    CHECK(t, strstr(mdl_conformance_message(mdl_cuda_gemm_takes(&g)), "adds a bias in bf16 only, not in f32"), "bias");
}

/* ---- intervals ---- */
static void test_intervals(mdl_test *t) {
    static const struct {
        mdl_interval at[4];
        int n;
        uint64_t sum, span;
    } rows[] = {{{{0, 0}}, 0, 0, 0},
                {{{5, 9}}, 1, 4, 4},
                {{{5, 9}, {9, 12}}, 2, 7, 7},
                {{{20, 30}, {0, 10}}, 2, 20, 30},
                {{{0, 10}, {5, 15}, {12, 13}, {14, 20}}, 4, 20, 20},
                {{{0, 100}, {10, 20}, {30, 40}, {150, 151}}, 4, 101, 151},
                {{{7, 7}, {7, 8}, {7, 7}}, 3, 1, 1},
                {{{UINT64_MAX - 4, UINT64_MAX}, {UINT64_MAX - 2, UINT64_MAX}}, 2, 4, 4}};
    mdl_case(t, "cuda: the union of intervals");
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        mdl_interval at[4];
        memcpy(at, rows[i].at, sizeof at);
        uint64_t span = mdl_intervals_span(at, rows[i].n), sum = mdl_intervals_union(at, rows[i].n);
        CHECK(t, sum == rows[i].sum && span == rows[i].span, "row %d: %d of %d", i, (int)sum, (int)span);
    }
}

/* ---- choices of algorithms ---- */
static void test_cache(mdl_test *t) {
    mdl_arena *m = mdl_arena_new();
    unsigned char a[64], b[64], got[64];
    const char *path = mdl_printf(m, "%s/cache/mdl/gemm.json", mdl_test_scratch(t)), *text;
    mdl_case(t, "cuda: choices of algorithms are kept by library, card and problem");
    for (int i = 0; i < 64; i++) a[i] = (unsigned char)(3 * i + 160), b[i] = (unsigned char)(255 - i);
    mdl_gemm_cache *cache = mdl_gemm_cache_open(m, path, "lt 1", "card"), *other = mdl_gemm_cache_open(m, path, "lt 2", "card");
    CHECK(t, !mdl_gemm_cache_was_damaged(cache) && !mdl_gemm_cache_find(cache, "p", got, 64), "nothing is there at first");
    mdl_gemm_cache_put(cache, "p", a, 64);
    mdl_gemm_cache_put(other, "p", b, 64);
    CHECK(t, mdl_gemm_cache_find(cache, "p", got, 64) && !memcmp(got, a, 64), "what was put is found before it is saved");
    text = mdl_conformance_message(mdl_gemm_cache_save(cache));
    CHECK(t, !*text, "%s", text);
    text = mdl_conformance_message(mdl_gemm_cache_save(other));
    CHECK(t, !*text, "%s", text);
    cache = mdl_gemm_cache_open(m, path, "lt 1", "card");
    CHECK(t, mdl_gemm_cache_find(cache, "p", got, 64) && !memcmp(got, a, 64), "the first's choice stays");
    CHECK(t, !mdl_gemm_cache_find(cache, "q", got, 64) && !mdl_gemm_cache_find(cache, "p", got, 32), "other problems, other sizes");
    cache = mdl_gemm_cache_open(m, path, "lt 2", "card");
    CHECK(t, mdl_gemm_cache_find(cache, "p", got, 64) && !memcmp(got, b, 64), "the second's, too");
    cache = mdl_gemm_cache_open(m, path, "lt 2", "other card");
    CHECK(t, !mdl_gemm_cache_find(cache, "p", got, 64) && !mdl_gemm_cache_was_damaged(cache), "another card has none");

    mdl_case(t, "cuda: damaged lines of the file of choices are dropped, once");
    FILE *f = fopen(path, "a");
    if (f) fputs("{\"library\":\"lt 1\",\"gpu\":\"card\",\"problem\":\"x\",\"algorithm\":\"0g\"}\n{\"library\":\"l", f);
    if (f) fclose(f);
    cache = mdl_gemm_cache_open(m, path, "lt 1", "card");
    CHECK(t, mdl_gemm_cache_was_damaged(cache) && mdl_gemm_cache_find(cache, "p", got, 64), "the good lines stay");
    text = mdl_conformance_message(mdl_gemm_cache_save(cache));
    CHECK(t, !*text, "%s", text);
    cache = mdl_gemm_cache_open(m, path, "lt 1", "card");
    CHECK(t, !mdl_gemm_cache_was_damaged(cache) && mdl_gemm_cache_find(cache, "p", got, 64), "the file is whole again");
    mdl_arena_free(m);
}

/* ---- the GPU half with a fake driver, in a process of its own: a process loads one driver ---- */
static bool make_fakes(mdl_test *t) {
    const char *output = NULL;
    int rc =
        mdl_shell(t, &output,
                  "mkdir -p '%s/fake/lib64' && cd '%s/fake/lib64' && CC='cc -std=gnu11 -O1 -Wall -Wextra -Werror -shared -fPIC "
                  "-isystem %s' && $CC -Wl,-soname,libcuda.so.1 -o libcuda.so.1 %s/tests/device/fake/cuda.c && "
                  "V=$(sed -n 's/^#define CUBLAS_VER_MAJOR //p' %s/cublas_api.h) && "
                  "$CC -Wl,-rpath,\"$PWD\" -o libcublasLt.so.$V %s/tests/device/fake/cublaslt.c libcuda.so.1 && "
                  "$CC -Wl,-rpath,\"$PWD\" -o libcupti.so.13 %s/tests/device/fake/cupti.c libcuda.so.1",
                  mdl_test_scratch(t), mdl_test_scratch(t), MDL_CUDA_INCLUDE, MDL_SOURCE_DIR, MDL_CUDA_INCLUDE, MDL_SOURCE_DIR,
                  MDL_SOURCE_DIR);
    CHECK(t, !rc, "%s", output);
    return !rc;
}

static void test_fake(mdl_test *t, const char *mode, const char *expected) {
    const char *output = NULL;
    if (!mdl_case(t, "cuda: the GPU half with a fake driver: %s", mode)) return;
    /* What the fakes give out they keep, and a context that is lost frees nothing. */
    int rc = mdl_shell(t, &output,
                       "ASAN_OPTIONS=detect_leaks=0 CUDA_HOME='%s/fake' XDG_CACHE_HOME='%s/fake/%s' MDL_FAKE_CUDA=%s mdltest gpu",
                       mdl_test_scratch(t), mdl_test_scratch(t), mode, mode);
    bool runs = !strcmp(mode, "works") || !strcmp(mode, "dead");
    CHECK(t, strstr(output, expected) && (!runs || !rc), "expected %s, got %d and\n%s", expected, rc, output);
}

static void test_gpu_arch(mdl_test *t) {
    const char *output = NULL;
    if (!mdl_case(t, "cuda: mdlrun --gpu-arch, with a fake driver")) return;
    int rc = mdl_shell(t, &output, "CUDA_HOME='%s/fake' MDL_FAKE_CUDA=works mdlrun --gpu-arch", mdl_test_scratch(t));
    CHECK(t, !rc && !strcmp(output, "sm_90a\n"), "got %d and %s", rc, output);
    rc = mdl_shell(t, &output, "CUDA_HOME='%s/fake' MDL_FAKE_CUDA=none mdlrun --gpu-arch", mdl_test_scratch(t));
    CHECK(t, rc == 4 && strstr(output, "the NVIDIA driver sees no GPU"), "got %d and %s", rc, output);
}

static void test_fakes(mdl_test *t) {
    if (!*MDL_CUDA_INCLUDE || !mdl_case(t, "cuda: the fake driver compiles") || !make_fakes(t)) return;
    test_gpu_arch(t);
    test_fake(t, "works", ", 0 failed   the cuda backend on the GPU");
    test_fake(t, "dead", ", 0 failed   the cuda backend on the GPU");
    test_fake(t, "none", "skipped: the NVIDIA driver sees no GPU");
    test_fake(t, "old", "skipped: the NVIDIA driver is too old: it is for CUDA 11.8, 12.0 is needed");
}

void suite_cuda(mdl_test *t) {
    mdl_conformance_target target = host();
    test_arches(t);
    test_layouts(t);
    test_takes(t);
    test_intervals(t);
    test_cache(t);
    test_fakes(t);
    mdl_conformance(t, &target);
    test_two_plans(t);
    test_failing_launch(t);
    test_refusals(t);
    test_no_gpu(t);
}
