/* oneDNN's single-threaded sgemm over fixed tiles of C.
 *
 * Run on many threads, the library splits a product as the thread count suggests, and for long sums it also splits k, so that its
 * rounding depends on the machine. Tiles that depend on the problem alone keep every bit, and cost nothing that can be measured
 * (docs/gemm.md). dnnl_sgemm has the same signature in oneDNN 2 and 3. */
#include "runtime/device/gemm.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>

/* Measured on two cores (docs/gemm.md): what keeps a tile near the speed of the whole. A tile worth less than MIN_FLOPS costs more
 * to start than it saves; a transposed B larger than PANEL_BYTES falls out of the cache, and more rows must share it. */
enum { MIN_SIDE = 128, MIN_ROWS_LARGE = 512, MAX_COLUMNS = 640, MAX_TILES = 32, FEW_TILES = 8, ROUND = 16 };
static const double min_flops = 8e6;
static const int64_t panel_bytes = 2 << 20;

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* `total` in `parts` equal pieces, each a multiple of ROUND unless there is only one. */
static int64_t piece(int64_t total, int64_t parts) {
    return parts <= 1 ? total : smaller(total, divide_up(divide_up(total, parts), ROUND) * ROUND);
}

/* At most `wanted` pieces of at least `least`; an even number, or 1. */
static int64_t parts_of(int64_t total, int64_t wanted, int64_t least) {
    return larger(1, smaller(wanted, total / least) & ~INT64_C(1));
}

void mdl_cpu_gemm_prepare(const mdl_gemm *problem, mdl_cpu_gemm *gemm) {
    int64_t m = problem->m, n = problem->n, k = problem->k;
    int64_t tiles = (int64_t)(2.0 * (double)m * (double)n * (double)k / min_flops);
    tiles = larger(1, smaller(tiles, MAX_TILES));
    int64_t parts_n = divide_up(n, MAX_COLUMNS);
    int64_t least = problem->trans_b && piece(n, parts_n) * k * 4 > panel_bytes ? MIN_ROWS_LARGE : MIN_SIDE;
    int64_t tile_m = piece(m, parts_of(m, tiles / parts_n, least));
    int64_t tile_n = piece(n, larger(parts_n, parts_of(n, smaller(tiles, FEW_TILES) / divide_up(m, tile_m), MIN_SIDE)));
    *gemm = (mdl_cpu_gemm){*problem, tile_m, tile_n, divide_up(m, tile_m), divide_up(n, tile_n)};
}

static dnnl_status_t run_tile(const mdl_cpu_gemm *g, int64_t tile, const float *a, const float *b, float *c) {
    const mdl_gemm *p = &g->problem;
    int64_t row = tile / g->tiles_n * g->tile_m, column = tile % g->tiles_n * g->tile_n;
    int64_t m = p->m - row < g->tile_m ? p->m - row : g->tile_m;
    int64_t n = p->n - column < g->tile_n ? p->n - column : g->tile_n;
    a += p->trans_a ? row : row * p->lda;
    b += p->trans_b ? column * p->ldb : column;
    c += row * p->ldc + column;
    return dnnl_sgemm(p->trans_a ? 'T' : 'N', p->trans_b ? 'T' : 'N', m, n, p->k, 1.0f, a, p->lda, b, p->ldb, (float)p->beta, c,
                      p->ldc);
}

mdl_status mdl_cpu_gemm_run(const mdl_cpu_gemm *gemm, int threads, const float *a, const float *b, float *c) {
    int64_t tiles = gemm->tiles_m * gemm->tiles_n;
    int failed = 0;
    if (tiles == 1) threads = 1; /* else all, even if some stay idle: libgomp ends threads when teams change size */
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        omp_set_num_threads(1); /* this region only: the library must not open a team of its own */
#pragma omp for schedule(dynamic) nowait
        for (int64_t i = 0; i < tiles; i++) failed |= (int)run_tile(gemm, i, a, b, c);
    }
    if (failed)
        return mdl_fail(MDL_SYSTEM, "%s refused a product of %ld x %ld x %ld", mdl_cpu_gemm_version(), (long)gemm->problem.m,
                        (long)gemm->problem.n, (long)gemm->problem.k);
    return MDL_OK;
}

const char *mdl_cpu_gemm_version(void) {
    static _Thread_local char text[64];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
