/* Measuring the host. The best of a few tries counts: what disturbs a try only makes it slower. */
#include "runtime/device/rates.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/device/gemm.h"

enum { TRIES = 5, ALIGN = 64 };
/* Large enough that no cache holds what is copied, and that a product's tiles are whole. */
static const int64_t usual_copy = INT64_C(128) << 20, usual_edge = 1536;

const char *mdl_host_identity(mdl_arena *memory, int threads) {
    char line[256], name[200] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %199[^\n]", name) == 1) break;
    if (f) fclose(f);
    return mdl_printf(memory, "%s, %d thread%s, %s", name, threads, threads > 1 ? "s" : "", mdl_cpu_gemm_version());
}

/* Bytes read and written a second. */
static double copy_rate(int threads, const char *from, char *to, int64_t bytes) {
    double best = 0;
    int64_t piece = (bytes + threads - 1) / threads;
    for (int i = 0; i < TRIES; i++) {
        double start = mdl_seconds_now();
#pragma omp parallel for num_threads(threads)
        for (int t = 0; t < threads; t++) {
            int64_t first = t * piece, n = bytes - first < piece ? bytes - first : piece;
            if (n > 0) memcpy(to + first, from + first, (size_t)n);
        }
        double rate = 2.0 * (double)bytes / (mdl_seconds_now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

static mdl_status product_rate(int threads, mdl_dtype type, int64_t edge, char *from, char *to, double *best) {
    mdl_gemm problem = {
        .m = edge, .n = edge, .k = edge, .batch = 1, .lda = edge, .ldb = edge, .ldd = edge, .type_a = type, .type_b = type, .type_d = type};
    mdl_gemm_memory memory = {.a = from, .b = from, .d = to};
    mdl_cpu_products *products = mdl_cpu_products_new(threads);
    mdl_cpu_gemm *gemm = mdl_cpu_gemm_prepare(products, &problem, &memory);
    mdl_status status = gemm ? MDL_OK : mdl_fail(MDL_SYSTEM, "not enough memory for a product's tiles");
    for (int i = 0; i < TRIES && !status; i++) {
        double start = mdl_seconds_now();
        status = mdl_cpu_gemm_run(gemm);
        double rate = 2.0 * (double)(edge * edge * edge) / (mdl_seconds_now() - start);
        if (rate > *best) *best = rate;
    }
    mdl_cpu_products_free(products);
    return status;
}

mdl_status mdl_host_rates(int threads, int64_t edge, mdl_rates *rates) {
    int64_t square = (edge ? edge : usual_edge) * (edge ? edge : usual_edge) * 4, bytes = edge ? square : usual_copy;
    size_t room = (size_t)(bytes > square ? bytes : square) / ALIGN * ALIGN + ALIGN;
    char *from = aligned_alloc(ALIGN, room), *to = aligned_alloc(ALIGN, room);
    mdl_status status = from && to ? MDL_OK : mdl_fail(MDL_SYSTEM, "not enough memory to measure rates: %zu bytes", 2 * room);
    *rates = (mdl_rates){0};
    if (!status) {
        memset(from, 0x3c, room); /* 0.0115 in f32 and in bf16 */
        memset(to, 0, room);
        rates->copy = copy_rate(threads, from, to, bytes);
        status = product_rate(threads, MDL_F32, edge ? edge : usual_edge, from, to, &rates->f32);
    }
    if (!status) status = product_rate(threads, MDL_BF16, edge ? edge : usual_edge, from, to, &rates->bf16);
    free(from);
    free(to);
    return status;
}
