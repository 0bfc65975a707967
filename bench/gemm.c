/* The matrix products of one ESM-2 8M layer (forward and both gradients) through the CPU backend alone: GFLOP/s over all of them,
 * each at the best of 10. One line of JSON.   mdlgemm [TOKENS [f32|bf16]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/device/gemm.h"

enum { THREADS = 2 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Memory for n f32 between -1 and 1, or as many bf16: the upper halves. */
static void *noise(size_t n, mdl_dtype dtype) {
    float *x = malloc(n * sizeof *x);
    unsigned state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (float)(1 << 23) - 1.0f;
        if (dtype == MDL_BF16) memcpy((char *)x + 2 * i, (char *)&x[i] + 2, 2);
    }
    return x;
}

static double best_of(mdl_cpu_products *products, const mdl_gemm *problem, const mdl_gemm_memory *memory) {
    const mdl_cpu_gemm *gemm = mdl_cpu_gemm_prepare(products, problem, memory);
    double best = 1e9;
    for (int i = 0; gemm && i < 11; i++) {
        double start = now();
        mdl_status_free(mdl_cpu_gemm_run(gemm));
        double seconds = now() - start;
        if (i && seconds < best) best = seconds;
    }
    return best;
}

int main(int argc, char **argv) {
    static const int64_t layer[][2] = {{960, 320}, {320, 320}, {1280, 320}, {320, 1280}}; /* out, in */
    int64_t T = argc > 1 ? atoll(argv[1]) : 4096;
    mdl_dtype dtype = argc > 2 && !strcmp(argv[2], "bf16") ? MDL_BF16 : MDL_F32;
    size_t most = (size_t)(T > 1280 ? T : 1280) * 1280;
    mdl_gemm_memory memory = {.a = noise(most, dtype), .b = noise(most, dtype), .d = noise(most, MDL_F32)};
    mdl_cpu_products *products = mdl_cpu_products_new(THREADS);
    double seconds = 0, flops = 0;
    for (int i = 0; i < 4; i++) {
        int64_t out = layer[i][0], in = layer[i][1];
        mdl_gemm p[] = {{.m = T, .n = out, .k = in, .lda = in, .ldb = in, .ldd = out, .trans_b = true},
                        {.m = T, .n = in, .k = out, .lda = out, .ldb = in, .ldd = in},
                        {.m = out, .n = in, .k = T, .lda = out, .ldb = in, .ldd = in, .trans_a = true}};
        for (int k = 0; k < 3; k++) { /* gradients of weights are f32 */
            p[k].batch = 1;
            p[k].type_a = p[k].type_b = dtype;
            p[k].type_d = k < 2 ? dtype : MDL_F32;
            seconds += best_of(products, &p[k], &memory);
            flops += 2.0 * (double)T * (double)out * (double)in;
        }
    }
    printf("{\"library\": \"%s\", \"dtype\": \"%s\", \"threads\": %d, \"gflops\": %.1f}\n", mdl_cpu_gemm_version(),
           mdl_dtype_name(dtype), THREADS, flops / seconds / 1e9);
    mdl_cpu_products_free(products);
    free((void *)memory.a);
    free((void *)memory.b);
    free(memory.d);
    return 0;
}
