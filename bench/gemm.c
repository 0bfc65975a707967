/* The matrix products of one ESM-2 8M layer (forward and both gradients) through the CPU backend alone: GFLOP/s over all of them,
 * each at the best of 10. One line of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/device/gemm.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *noise(size_t n) {
    float *x = malloc(n * sizeof *x);
    unsigned state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (float)(1 << 23) - 1.0f;
    }
    return x;
}

static double best_of(const mdl_gemm *problem, const float *a, const float *b, float *c) {
    mdl_cpu_gemm gemm;
    double best = 1e9;
    mdl_cpu_gemm_prepare(problem, &gemm);
    for (int i = 0; i < 11; i++) {
        double start = now();
        mdl_status_free(mdl_cpu_gemm_run(&gemm, 2, a, b, c));
        double seconds = now() - start;
        if (i && seconds < best) best = seconds;
    }
    return best;
}

int main(int argc, char **argv) {
    static const int64_t layer[][2] = {{960, 320}, {320, 320}, {1280, 320}, {320, 1280}}; /* out, in */
    int64_t T = argc > 1 ? atoll(argv[1]) : 4096;
    size_t most = (size_t)(T > 1280 ? T : 1280) * 1280;
    float *a = noise(most), *b = noise(most), *c = noise(most);
    double seconds = 0, flops = 0;
    for (int i = 0; i < 4; i++) {
        int64_t out = layer[i][0], in = layer[i][1];
        const mdl_gemm products[] = {{.m = T, .n = out, .k = in, .lda = in, .ldb = in, .ldc = out, .trans_b = true},
                                     {.m = T, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in},
                                     {.m = out, .n = in, .k = T, .lda = out, .ldb = in, .ldc = in, .trans_a = true}};
        for (int p = 0; p < 3; p++) {
            seconds += best_of(&products[p], a, b, c);
            flops += 2.0 * (double)T * (double)out * (double)in;
        }
    }
    printf("{\"library\": \"%s\", \"threads\": 2, \"gflops\": %.1f}\n", mdl_cpu_gemm_version(), flops / seconds / 1e9);
    free(a);
    free(b);
    free(c);
    return 0;
}
