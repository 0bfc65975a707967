/* Single-threaded oneDNN over fixed tiles of D.
 *
 * Run on many threads, the library splits a product as the thread count suggests, and for long sums it also splits k, so that its
 * rounding depends on the machine. Tiles that depend on the problem alone keep every bit, and cost nothing that can be measured
 * (docs/gemm.md).
 *
 * A tile's sums go straight to D where D can hold them: f32, and nothing there that is still needed. Otherwise they go to a tile of
 * the thread's own. What they are multiplied with (scales), what is added to them (bias, then C) and the rounding to bf16 follow
 * while the tile is in the cache. Operands of 8 bits are widened to f32, which has all their products. */
#include "runtime/device/gemm.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/bf16.h"
#include "runtime/device/onednn.h"

/* Measured on two cores (docs/gemm.md): what keeps a tile near the speed of the whole. A tile worth less than MIN_FLOPS costs more
 * to start than it saves; a transposed B larger than PANEL_BYTES falls out of the cache, and more rows must share it. */
enum { MIN_SIDE = 128, MIN_ROWS_LARGE = 512, MAX_COLUMNS = 640, MAX_TILES = 32, FEW_TILES = 8, ROUND = 16, LINE = 64 };
static const double min_flops = 8e6;
static const int64_t panel_bytes = 2 << 20;

struct mdl_cpu_products {
    mdl_arena *arena;
    int threads;
    mdl_onednn *library;        /* once there is a bf16 product */
    float e4m3[256], e5m2[256]; /* the values of their codes */
    char *work;                 /* work_bytes for each thread */
    int64_t work_bytes;
};

/* Where the parts of a thread's working memory begin. A and B hold f32 copies where the library has no bf16 code for a tile. */
typedef struct {
    int64_t sums, a, b, scratch, bytes;
} layout;

struct mdl_cpu_gemm {
    mdl_gemm problem;
    mdl_gemm_memory memory;
    mdl_cpu_products *products;
    int64_t tile_m, tile_n; /* rows and columns of a tile; the last ones may be smaller */
    int64_t tiles_m, tiles_n;
    bool direct;                           /* sums go straight to D */
    bool rounds;                           /* and the library rounds them to D's bf16 */
    const mdl_onednn_matmul *matmul[2][2]; /* bf16, by [in the last row of tiles][in the last column]; NULL: by way of f32 */
    layout work;
};

static bool is_f32(const mdl_gemm *p) { return p->type_a == MDL_F32; }
static bool is_bf16(const mdl_gemm *p) { return p->type_a == MDL_BF16; }

/* A tile, and the memory of the thread that computes it. */
typedef struct {
    const mdl_cpu_gemm *g;
    int64_t batch, row, column, m, n;
    float *sums;
    int64_t ld; /* of sums */
    char *work;
    int thread;
} tile;

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t size_of(mdl_dtype dtype) { return mdl_dtype_bits(dtype) / 8; }

mdl_cpu_products *mdl_cpu_products_new(int threads) {
    mdl_arena *arena = mdl_arena_new();
    mdl_cpu_products *p = MDL_NEW(arena, mdl_cpu_products);
    *p = (mdl_cpu_products){.arena = arena, .threads = threads};
    for (int i = 0; i < 256; i++) {
        p->e4m3[i] = (float)mdl_dtype_of_code(MDL_E4M3, (uint8_t)i);
        p->e5m2[i] = (float)mdl_dtype_of_code(MDL_E5M2, (uint8_t)i);
    }
    return p;
}

void mdl_cpu_products_free(mdl_cpu_products *p) {
    if (!p) return;
    mdl_onednn_close(p->library);
    free(p->work);
    mdl_arena_free(p->arena);
}

int64_t mdl_cpu_products_bytes(const mdl_cpu_products *p) { return p->work_bytes * p->threads; }

/* ---- preparing ---- */
/* `total` in `parts` equal pieces, each a multiple of ROUND unless there is only one. */
static int64_t piece(int64_t total, int64_t parts) {
    return parts <= 1 ? total : smaller(total, divide_up(divide_up(total, parts), ROUND) * ROUND);
}

/* At most `wanted` pieces of at least `least`; an even number, or 1. */
static int64_t parts_of(int64_t total, int64_t wanted, int64_t least) {
    return larger(1, smaller(wanted, total / least) & ~INT64_C(1));
}

static void choose_tiles(mdl_cpu_gemm *g) {
    const mdl_gemm *p = &g->problem;
    int64_t tiles = (int64_t)(2.0 * (double)p->m * (double)p->n * (double)p->k / min_flops);
    tiles = larger(1, smaller(tiles, MAX_TILES));
    int64_t parts_n = divide_up(p->n, MAX_COLUMNS), panel = piece(p->n, parts_n) * p->k * size_of(p->type_b);
    int64_t least = p->trans_b && panel > panel_bytes ? MIN_ROWS_LARGE : MIN_SIDE;
    g->tile_m = piece(p->m, parts_of(p->m, tiles / parts_n, least));
    g->tiles_m = divide_up(p->m, g->tile_m);
    g->tile_n = piece(p->n, larger(parts_n, parts_of(p->n, smaller(tiles, FEW_TILES) / g->tiles_m, MIN_SIDE)));
    g->tiles_n = divide_up(p->n, g->tile_n);
}

static int64_t reserve(layout *l, int64_t bytes) {
    int64_t at = l->bytes;
    l->bytes += divide_up(bytes, LINE) * LINE;
    return at;
}

static mdl_onednn_shape tile_shape(const mdl_cpu_gemm *g, int64_t m, int64_t n) {
    const mdl_gemm *p = &g->problem;
    return (mdl_onednn_shape){m, n, p->k, p->lda, p->ldb, g->direct ? p->ldd : g->tile_n, p->trans_a, p->trans_b, g->rounds};
}

/* Products of bf16: the library's code for each size of tile. Made on one thread, which is part of what it is made for. */
static void find_matmuls(mdl_cpu_gemm *g) {
    const mdl_gemm *p = &g->problem;
    mdl_cpu_products *all = g->products;
#pragma omp parallel num_threads(1)
    {
        omp_set_num_threads(1);
        if (!all->library) all->library = mdl_onednn_open(all->threads);
        for (int i = 0; i < 4 && all->library; i++) {
            int64_t m = i / 2 ? p->m - (g->tiles_m - 1) * g->tile_m : g->tile_m;
            int64_t n = i % 2 ? p->n - (g->tiles_n - 1) * g->tile_n : g->tile_n;
            mdl_onednn_shape shape = tile_shape(g, m, n);
            g->matmul[i / 2][i % 2] = mdl_onednn_matmul_for(all->library, &shape);
        }
    }
}

static void lay_out(mdl_cpu_gemm *g) {
    int64_t scratch = 0;
    bool converts = !is_f32(&g->problem) && !is_bf16(&g->problem);
    for (int i = 0; i < 4 && is_bf16(&g->problem); i++) {
        const mdl_onednn_matmul *matmul = g->matmul[i / 2][i % 2];
        converts |= !matmul;
        if (matmul) scratch = larger(scratch, mdl_onednn_scratch_bytes(matmul));
    }
    g->work.sums = reserve(&g->work, g->direct && !(converts && g->rounds) ? 0 : g->tile_m * g->tile_n * 4);
    g->work.a = reserve(&g->work, converts ? g->tile_m * g->problem.k * 4 : 0);
    g->work.b = reserve(&g->work, converts ? g->tile_n * g->problem.k * 4 : 0);
    g->work.scratch = reserve(&g->work, scratch);
}

/* Working memory for every thread that is at least as large as any product needs. */
static bool grow(mdl_cpu_products *p, int64_t bytes) {
    if (bytes <= p->work_bytes) return true;
    free(p->work);
    p->work = aligned_alloc(LINE, (size_t)(bytes * p->threads));
    p->work_bytes = p->work ? bytes : 0;
    return p->work;
}

mdl_cpu_gemm *mdl_cpu_gemm_prepare(mdl_cpu_products *products, const mdl_gemm *problem, const mdl_gemm_memory *memory) {
    mdl_cpu_gemm *g = MDL_NEW(products->arena, mdl_cpu_gemm);
    *g = (mdl_cpu_gemm){.problem = *problem, .memory = *memory, .products = products};
    bool in_place = problem->has_c && memory->c == memory->d;
    bool changes = problem->has_c || problem->has_bias || problem->has_scales;
    g->rounds = is_bf16(problem) && problem->type_d == MDL_BF16 && !changes;
    g->direct = g->rounds || (problem->type_d == MDL_F32 && !(in_place && (!is_f32(problem) || problem->has_scales)));
    choose_tiles(g);
    if (is_bf16(problem)) find_matmuls(g);
    lay_out(g);
    return grow(products, g->work.bytes) ? g : NULL;
}

/* ---- running ---- */
/* Rows of a matrix of `dtype`, ld numbers apart, side by side. */
static void widen(const mdl_cpu_products *all, float *to, const void *from, mdl_dtype dtype, int64_t rows, int64_t cols,
                  int64_t ld) {
    const float *codes = dtype == MDL_E4M3 ? all->e4m3 : dtype == MDL_E5M2 ? all->e5m2 : NULL;
    for (int64_t i = 0; i < rows; i++) {
        const uint8_t *small = (const uint8_t *)from + i * ld;
        const uint16_t *half = (const uint16_t *)from + i * ld;
        for (int64_t j = 0; codes && j < cols; j++) to[i * cols + j] = codes[small[j]];
        for (int64_t j = 0; !codes && j < cols; j++) to[i * cols + j] = mdl_bf16_widen(half[j]);
    }
}

static const void *element(const void *base, mdl_dtype dtype, int64_t index) { return (const char *)base + index * size_of(dtype); }

static bool f32_sums(const tile *t, const float *a, int64_t lda, const float *b, int64_t ldb, bool add) {
    const mdl_gemm *p = &t->g->problem;
    mdl_onednn_shape shape = {t->m, t->n, p->k, lda, ldb, t->ld, p->trans_a, p->trans_b, false};
    return mdl_onednn_sgemm(&shape, add, a, b, t->sums);
}

/* For operands of 8 bits, and where the library has no bf16 code worth the name. */
static bool widened_sums(const tile *t, const void *a, const void *b) {
    const mdl_cpu_gemm *g = t->g;
    const mdl_gemm *p = &g->problem;
    float *wide_a = (float *)(t->work + g->work.a), *wide_b = (float *)(t->work + g->work.b);
    int64_t lda = p->trans_a ? t->m : p->k, ldb = p->trans_b ? p->k : t->n;
    widen(g->products, wide_a, a, p->type_a, p->trans_a ? p->k : t->m, lda, p->lda);
    widen(g->products, wide_b, b, p->type_b, p->trans_b ? t->n : p->k, ldb, p->ldb);
    return f32_sums(t, wide_a, lda, wide_b, ldb, false);
}

static void add_row(float *restrict sums, const void *x, mdl_dtype dtype, int64_t n) {
    if (dtype == MDL_F32)
        for (int64_t j = 0; j < n; j++) sums[j] += ((const float *)x)[j];
    else
        for (int64_t j = 0; j < n; j++) sums[j] += mdl_bf16_widen(((const uint16_t *)x)[j]);
}

static void store_row(void *d, const float *sums, mdl_dtype dtype, int64_t n) {
    if (dtype == MDL_F32)
        memcpy(d, sums, (size_t)n * sizeof *sums);
    else
        for (int64_t j = 0; j < n; j++) ((uint16_t *)d)[j] = mdl_bf16_narrow(sums[j]);
}

static void scale_row(float *sums, float scale, int64_t n) {
    for (int64_t j = 0; j < n; j++) sums[j] *= scale;
}

/* The tile's sums scaled; bias, then C, added to them; then into D, where they are not there yet. */
static void finish(const tile *t, bool add_c) {
    const mdl_gemm *p = &t->g->problem;
    const mdl_gemm_memory *x = &t->g->memory;
    bool in_d = t->g->direct && !t->g->rounds;
    if (in_d && !p->has_bias && !add_c && !p->has_scales) return;
    for (int64_t i = 0; i < t->m; i++) {
        float *sums = t->sums + i * t->ld;
        int64_t c = t->batch * p->stride_c + (t->row + i) * p->ldc + t->column;
        int64_t d = t->batch * p->stride_d + (t->row + i) * p->ldd + t->column;
        if (p->has_scales) scale_row(sums, *x->scale_a * *x->scale_b, t->n);
        if (p->has_bias) add_row(sums, element(x->bias, p->type_bias, t->column), p->type_bias, t->n);
        if (add_c) add_row(sums, element(x->c, p->type_c, c), p->type_c, t->n);
        if (!in_d) store_row((void *)element(x->d, p->type_d, d), sums, p->type_d, t->n);
    }
}

static bool run_tile(tile *t) {
    const mdl_cpu_gemm *g = t->g;
    const mdl_gemm *p = &g->problem;
    const void *a = element(g->memory.a, p->type_a, t->batch * p->stride_a + (p->trans_a ? t->row : t->row * p->lda));
    const void *b = element(g->memory.b, p->type_b, t->batch * p->stride_b + (p->trans_b ? t->column * p->ldb : t->column));
    void *d = (void *)element(g->memory.d, p->type_d, t->batch * p->stride_d + t->row * p->ldd + t->column);
    const mdl_onednn_matmul *matmul = g->matmul[t->row + t->m == p->m][t->column + t->n == p->n];
    bool in_d = g->direct && !(g->rounds && !matmul), start = false, ok;
    t->sums = in_d ? d : (void *)(t->work + g->work.sums);
    t->ld = in_d ? p->ldd : g->tile_n;
    if (is_f32(p)) {
        start = g->direct && p->has_c && g->memory.c == g->memory.d;
        ok = f32_sums(t, a, p->lda, b, p->ldb, start);
    } else if (matmul) {
        ok = mdl_onednn_run(matmul, t->thread, a, b, t->sums, t->work + g->work.scratch);
    } else {
        ok = widened_sums(t, a, b);
    }
    if (!(g->rounds && matmul)) finish(t, p->has_c && !start);
    return ok;
}

static bool run_numbered(const mdl_cpu_gemm *g, int64_t number) {
    const mdl_gemm *p = &g->problem;
    int64_t in_matrix = number % (g->tiles_m * g->tiles_n);
    tile t = {.g = g, .batch = number / (g->tiles_m * g->tiles_n), .thread = omp_get_thread_num()};
    t.row = in_matrix / g->tiles_n * g->tile_m;
    t.column = in_matrix % g->tiles_n * g->tile_n;
    t.m = smaller(p->m - t.row, g->tile_m);
    t.n = smaller(p->n - t.column, g->tile_n);
    t.work = g->products->work + t.thread * g->products->work_bytes;
    return run_tile(&t);
}

mdl_status mdl_cpu_gemm_run(const mdl_cpu_gemm *g) {
    int64_t tiles = g->problem.batch * g->tiles_m * g->tiles_n;
    int failed = 0, threads = tiles == 1 ? 1 : g->products->threads; /* 1 or all: libgomp ends threads when teams change size */
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        omp_set_num_threads(1); /* this region only: the library must not open a team of its own */
#pragma omp for schedule(dynamic) nowait
        for (int64_t i = 0; i < tiles; i++) failed |= !run_numbered(g, i);
    }
    if (failed)
        return mdl_fail(MDL_SYSTEM, "%s refused a product of %ld x %ld x %ld", mdl_onednn_version(), (long)g->problem.m,
                        (long)g->problem.n, (long)g->problem.k);
    return MDL_OK;
}

const char *mdl_cpu_gemm_version(void) { return mdl_onednn_version(); }
bool mdl_cpu_gemm_has_bf16(void) { return mdl_onednn_has_bf16(); }
