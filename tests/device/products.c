/* Products of every orientation, with odd sizes and strides, and the same bits for any number of threads. */
#include "tests/device/products.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/plan/fixture.h"

enum { LARGEST = 1 << 20 }; /* elements of a matrix in these tests */

static mdl_gemm make(int64_t m, int64_t n, int64_t k, int variant, int64_t pad) {
    bool ta = variant & 1, tb = variant & 2;
    return (mdl_gemm){.m = m,
                      .n = n,
                      .k = k,
                      .lda = (ta ? m : k) + pad,
                      .ldb = (tb ? k : n) + pad,
                      .ldc = n + pad,
                      .trans_a = ta,
                      .trans_b = tb,
                      .beta = variant >> 2};
}

static mdl_plan *product_plan(const mdl_conformance_target *target, const mdl_gemm *g) {
    int64_t a = (g->trans_a ? g->k : g->m) * g->lda, b = (g->trans_b ? g->n : g->k) * g->ldb, c = g->m * g->ldc;
    mdl_plan *plan = mdl_conformance_plan(target, 8 * (int64_t)LARGEST, 0, 4 * (int64_t)LARGEST, 0);
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_fixture_buffer(plan, p, "a", MDL_ARENA_PARAM, 0, mdl_type_make(MDL_F32, 1, &a));
    mdl_fixture_buffer(plan, p, "b", MDL_ARENA_PARAM, 4 * (int64_t)LARGEST, mdl_type_make(MDL_F32, 1, &b));
    mdl_fixture_buffer(plan, p, "c", MDL_ARENA_RESULT, 0, mdl_type_make(MDL_F32, 1, &c));
    mdl_fixture_launch(plan, p, MDL_LAUNCH_GEMM, "product", g->beta ? "r0 r1 u2" : "r0 r1 w2")->gemm = *g;
    mdl_fixture_finish(plan);
    return plan;
}

static float noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (float)(1 << 23) - 1.0f;
}

/* The number of elements off by more than the bound that holds for f32 sums in any order: (k+1) units of the sum of absolute terms;
 * and of padding elements that changed. */
static int count_wrong(const mdl_gemm *g, const float *a, const float *b, const float *before, const float *c) {
    int wrong = 0;
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double sum = g->beta ? before[i * g->ldc + j] : 0, size = fabs(sum);
            for (int64_t k = 0; k < g->k; k++) {
                double term =
                    (double)a[g->trans_a ? k * g->lda + i : i * g->lda + k] * b[g->trans_b ? j * g->ldb + k : k * g->ldb + j];
                sum += term;
                size += fabs(term);
            }
            wrong += !(fabs(c[i * g->ldc + j] - sum) <= (double)(g->k + 1) * FLT_EPSILON * size);
        }
        wrong += memcmp(c + i * g->ldc + g->n, before + i * g->ldc + g->n, (size_t)(g->ldc - g->n) * 4) != 0;
    }
    return wrong;
}

static bool multiply(mdl_test *t, const mdl_backend *backend, const mdl_plan *plan, int threads, const float *ab,
                     const float *before, float *c) {
    mdl_device *d = NULL;
    mdl_status status = backend->load(plan, threads, &d);
    if (!status) status = backend->upload(d, MDL_ARENA_PARAM, 0, ab, 8 * (int64_t)LARGEST);
    if (!status) status = backend->upload(d, MDL_ARENA_RESULT, 0, before, 4 * (int64_t)LARGEST);
    if (!status) status = backend->run(d, "test");
    if (!status) status = backend->download(d, MDL_ARENA_RESULT, 0, c, 4 * (int64_t)LARGEST);
    bool ok = !status;
    CHECK(t, ok, "%s", mdl_message(status));
    mdl_status_free(status);
    backend->unload(d);
    return ok;
}

static void test_product(mdl_test *t, const mdl_conformance_target *target, const mdl_gemm *g, float *memory) {
    float *ab = memory, *before = memory + 2 * LARGEST, *c = before + LARGEST, *other = c + LARGEST;
    uint32_t state = 1;
    for (int i = 0; i < 3 * LARGEST; i++) memory[i] = noise(&state);
    if (!g->beta) memset(before, 0xff, 4 * (size_t)LARGEST); /* NaN: without accumulation C must not be read */
    mdl_plan *plan = product_plan(target, g);
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    if (multiply(t, target->backend, plan, 1, ab, before, c)) {
        int wrong = count_wrong(g, ab, ab + LARGEST, before, c);
        CHECK(t, !wrong, "%d elements are wrong", wrong);
        static const int threads[] = {2, 3, 8}; /* on 8 a library left alone divides the long sum of the last size */
        for (int i = 0; i < 3; i++)
            if (multiply(t, target->backend, plan, threads[i], ab, before, other))
                CHECK(t, !memcmp(c, other, 4 * (size_t)LARGEST), "%d threads give other bits than one", threads[i]);
    }
    mdl_plan_free(plan);
}

void mdl_conformance_products(mdl_test *t, const mdl_conformance_target *target) {
    /* m, n, k: odd, tiny, one row, one column, wider and taller than a tile, a long sum. */
    static const int64_t sizes[][3] = {{1, 1, 1},     {5, 7, 3},      {1, 129, 40},   {113, 1, 33},
                                       {113, 33, 64}, {300, 331, 33}, {40, 1300, 17}, {33, 320, 1024}};
    float *memory = malloc(5 * sizeof(float) * LARGEST);
    if (!memory) abort();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int variant = 0; variant < 8; variant++) {
            mdl_gemm g = make(sizes[s][0], sizes[s][1], sizes[s][2], variant, variant % 3);
            if (!mdl_case(t, "%s: product %ldx%ldx%ld%s%s%s", target->backend->name, (long)g.m, (long)g.n, (long)g.k,
                          g.trans_a ? ", A transposed" : "", g.trans_b ? ", B transposed" : "", g.beta ? ", added" : ""))
                continue;
            test_product(t, target, &g, memory);
        }
    free(memory);
}
