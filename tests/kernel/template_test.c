/* Hand-written kernels against scalar f64 references: odd lengths, empty segments, tails, every variant.
 *
 * Outputs begin as NaN, so that a row nobody writes shows; a guard behind each shows writes past the end; tail rows of the
 * inputs are NaN, so that reading them shows. Every kernel runs twice, its blocks in either order, and must give one result. */
#include <math.h>
#include <stdlib.h>

#include "compiler/kernel/template.h"
#include "runtime/base/compare.h"
#include "tests/kernel/native.h"

enum { GUARD = 512 };
static const float guard = 12345; /* not NaN, which additions would not change */

/* ---- arrays ---- */

static float *array(mdl_arena *arena, int64_t n) {
    float *x = MDL_NEW_ARRAY(arena, float, n + GUARD);
    for (int64_t i = 0; i < n + GUARD; i++) x[i] = i < n ? NAN : guard;
    return x;
}

/* About N(0, 1), from a counter. */
static float *randoms(mdl_arena *arena, int64_t n, uint64_t seed) {
    float *x = MDL_NEW_ARRAY(arena, float, n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t z = ((uint64_t)i + seed * 1000003) * UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        for (int k = 0; k < 4; k++) x[i] += (float)(z >> 16 * k & 0xffff) / 65536.0f - 0.5f;
        x[i] *= 1.7f;
    }
    return x;
}

static bool guarded(const float *x, int64_t n) {
    for (int i = 0; i < GUARD; i++)
        if (x[n + i] != guard) return false;
    return true;
}

static double distance(const float *x, const double *y, int64_t n) {
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < n; i++) mdl_comparison_add(&c, (double)x[i], y[i]);
    return mdl_error_l2(&c);
}

/* ---- attention in f64 ---- */

typedef struct {
    mdl_attention_shape shape;
    int64_t T, S;
    const int32_t *seq;
    double *q, *k, *v, *g, *o, *lse, *dq, *dk, *dv;
} problem;

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Probabilities of query i (a token of the segment that begins at `start`) over `keys` keys; returns lse. */
static double probabilities(const problem *p, int64_t head, int64_t i, int64_t start, int64_t keys, double *w) {
    int64_t H = p->shape.heads, G = p->shape.kv_heads, K = p->shape.head_dim;
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        w[j] = (double)(float)p->shape.scale * dot(p->q + (i * H + head) * K, p->k + ((start + j) * G + head / (H / G)) * K, K);
        top = fmax(top, w[j]);
    }
    for (int64_t j = 0; j < keys; j++) sum += w[j] = exp(w[j] - top);
    for (int64_t j = 0; j < keys; j++) w[j] /= sum;
    return top + log(sum);
}

static void query(const problem *p, int64_t head, int64_t i, int64_t start, int64_t keys, double *w) {
    int64_t H = p->shape.heads, G = p->shape.kv_heads, K = p->shape.head_dim, group = head / (H / G);
    const double *q = p->q + (i * H + head) * K, *g = p->g + (i * H + head) * K;
    double *o = p->o + (i * H + head) * K, *dq = p->dq + (i * H + head) * K, scale = (double)(float)p->shape.scale;
    p->lse[i * H + head] = probabilities(p, head, i, start, keys, w);
    for (int64_t j = 0; j < keys; j++)
        for (int64_t c = 0; c < K; c++) o[c] += w[j] * p->v[((start + j) * G + group) * K + c];
    double delta = dot(o, g, K);
    for (int64_t j = 0; j < keys; j++) {
        int64_t at = ((start + j) * G + group) * K;
        double ds = w[j] * (dot(g, p->v + at, K) - delta) * scale;
        for (int64_t c = 0; c < K; c++) {
            dq[c] += ds * p->k[at + c];
            p->dk[at + c] += ds * q[c];
            p->dv[at + c] += w[j] * g[c];
        }
    }
}

/* Outputs and gradients of sum(o g); everything that is computed begins as zeros. */
static void solve(const problem *p) {
    double *w = malloc(sizeof *w * (size_t)(p->T + 1));
    for (int64_t s = 0; w && s < p->S; s++)
        for (int64_t i = p->seq[s]; i < p->seq[s + 1]; i++)
            for (int64_t head = 0; head < p->shape.heads; head++)
                query(p, head, i, p->seq[s], p->shape.causal ? i - p->seq[s] + 1 : p->seq[s + 1] - p->seq[s], w);
    free(w);
}

static double *widen(mdl_arena *arena, const float *x, int64_t n) {
    double *y = MDL_NEW_ARRAY(arena, double, n);
    for (int64_t i = 0; x && i < n; i++) y[i] = (double)x[i];
    return y;
}

static int64_t size_q(const problem *p) { return p->T * p->shape.heads * p->shape.head_dim; }
static int64_t size_k(const problem *p) { return p->T * p->shape.kv_heads * p->shape.head_dim; }
static int64_t size_lse(const problem *p) { return p->T * p->shape.heads; }

static void clear(mdl_arena *arena, problem *p) {
    p->o = MDL_NEW_ARRAY(arena, double, size_q(p));
    p->dq = MDL_NEW_ARRAY(arena, double, size_q(p));
    p->dk = MDL_NEW_ARRAY(arena, double, size_k(p));
    p->dv = MDL_NEW_ARRAY(arena, double, size_k(p));
    p->lse = MDL_NEW_ARRAY(arena, double, size_lse(p));
}

/* The reference itself against central differences of its own loss. */
static void reference_gradients(mdl_test *t) {
    static const int32_t seq[] = {0, 5, 5, 6};
    mdl_arena *arena = mdl_arena_new();
    problem p = {.shape = {4, 2, 6, true, 0.4}, .T = 7, .S = 3, .seq = seq};
    p.q = widen(arena, randoms(arena, size_q(&p), 1), size_q(&p)), p.k = widen(arena, randoms(arena, size_k(&p), 2), size_k(&p));
    p.v = widen(arena, randoms(arena, size_k(&p), 3), size_k(&p)), p.g = widen(arena, randoms(arena, size_q(&p), 4), size_q(&p));
    clear(arena, &p);
    solve(&p);
    double *input[] = {p.q, p.k, p.v}, *gradient[] = {p.dq, p.dk, p.dv}, step = 1e-5;
    mdl_comparison c = mdl_comparison_begin();
    for (int which = 0; which < 3; which++) {
        for (int64_t i = 0; i < (which ? size_k(&p) : size_q(&p)); i++) {
            double loss[2], x = input[which][i];
            for (int side = 0; side < 2; side++) {
                input[which][i] = side ? x + step : x - step;
                clear(arena, &p);
                solve(&p);
                loss[side] = dot(p.o, p.g, size_q(&p));
            }
            input[which][i] = x;
            mdl_comparison_add(&c, gradient[which][i], (loss[1] - loss[0]) / (2 * step));
        }
    }
    double worst = mdl_error_max(&c);
    CHECK(t, worst < 1e-8, "central differences differ by %g", worst); /* step^2 times third derivatives of order 10 */
    mdl_arena_free(arena);
}

/* ---- attention kernels ---- */

typedef struct {
    mdl_attention_shape shape;
    bool v3;       /* on AVX2 also where the machine has AVX-512 */
    bool long_too; /* also a segment of several tiles of keys */
} attention_case;

static const attention_case attention_cases[] = {
    {{3, 3, 16, false, 0.25}, false, true}, {{4, 2, 24, true, 0.2}, true, false},     {{2, 1, 32, false, 0.3}, true, false},
    {{2, 2, 64, true, 0.125}, false, true}, {{1, 1, 128, false, 0.09}, false, false}, {{6, 2, 10, true, -0.3}, false, true},
    {{1, 1, 256, true, 0.06}, false, true}, {{1, 1, 512, false, 0.05}, false, false},
};
enum { CASES = sizeof attention_cases / sizeof *attention_cases };

static const int32_t mixed[] = {0, 0, 1, 3, 20, 20, 133, 433, 433, 433}; /* 0 1 2 17 0 113 300 0 0 */
static const int32_t lengthy[] = {0, 3, 1100, 1116};
static const int32_t nothing[] = {0, 0};
static const int32_t full[] = {0, 39, 64}; /* no tail, lengths that are not multiples of a tile */

static void poison_tail(const problem *p, float *x, int64_t row) {
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) x[i] = NAN;
}

static bool is_zero(const float *x, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++)
        if (x[i] != 0) return false;
    return true;
}

/* Runs a kernel in both orders of blocks into fresh outputs; the outputs are buffer[first_out ..]. */
static void run_twice(mdl_test *t, mdl_arena *arena, mdl_kernel_fn kernel, void **buffer, int first_out, const int64_t *size, int n,
                      const int64_t *immediate, int64_t grid) {
    float *first[3] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) buffer[first_out + i] = array(arena, size[i]);
        native_run(kernel, buffer, immediate, grid, pass);
        for (int i = 0; i < n; i++) {
            CHECK(t, guarded(buffer[first_out + i], size[i]), "output %d: written past its end", i);
            CHECK(t, !pass || !memcmp(first[i], buffer[first_out + i], sizeof(float) * (size_t)size[i]),
                  "output %d: order of blocks", i);
            first[i] = buffer[first_out + i];
        }
    }
}

/* f32 products of up to 1100 terms and an exponential: the rounding of each is 6e-8 and they add up as a random walk. */
static const double attention_tolerance = 2e-6;

static void check_attention(mdl_test *t, const char *what, const problem *p, const float *x, const double *y, int64_t row) {
    double error = distance(x, y, p->T * row);
    CHECK(t, error <= attention_tolerance, "T=%d: %s: relative error %g", (int)p->T, what, error);
    CHECK(t, is_zero(x, p->seq[p->S] * row, p->T * row), "T=%d: %s: the tail is not zero", (int)p->T, what);
}

/* sum over columns of do * o, as the compiler has it computed by another kernel */
static float *row_dots(mdl_arena *arena, const problem *p) {
    float *delta = MDL_NEW_ARRAY(arena, float, size_lse(p));
    int64_t K = p->shape.head_dim;
    for (int64_t i = 0; i < size_lse(p); i++) delta[i] = (float)dot(p->o + i * K, p->g + i * K, K);
    poison_tail(p, delta, p->shape.heads);
    return delta;
}

static void run_attention(mdl_test *t, void *library, const attention_case *c, const int32_t *seq, int64_t S, int64_t T) {
    mdl_arena *arena = mdl_arena_new();
    problem p = {.shape = c->shape, .T = T, .S = S, .seq = seq};
    int64_t q_row = c->shape.heads * c->shape.head_dim, k_row = c->shape.kv_heads * c->shape.head_dim;
    float *q = randoms(arena, T * q_row, 1), *k = randoms(arena, T * k_row, 2), *v = randoms(arena, T * k_row, 3),
          *g = randoms(arena, T * q_row, 4);
    p.q = widen(arena, q, T * q_row), p.k = widen(arena, k, T * k_row), p.v = widen(arena, v, T * k_row),
    p.g = widen(arena, g, T * q_row);
    clear(arena, &p);
    solve(&p);
    poison_tail(&p, q, q_row), poison_tail(&p, k, k_row), poison_tail(&p, v, k_row), poison_tail(&p, g, q_row);
    mdl_kernel_fn forward, backward;
    native_symbol(library, "forward", &forward);
    native_symbol(library, "backward", &backward);
    void *fwd[6] = {q, k, v, (void *)(uintptr_t)seq};
    run_twice(t, arena, forward, fwd, 4, (int64_t[]){T * q_row, size_lse(&p)}, 2, (int64_t[]){T, S},
              mdl_template_attention_grid(&c->shape, T, S));
    check_attention(t, "o", &p, fwd[4], p.o, q_row);
    check_attention(t, "lse", &p, fwd[5], p.lse, c->shape.heads);
    void *bwd[10] = {q, k, v, g, fwd[5], row_dots(arena, &p), (void *)(uintptr_t)seq};
    run_twice(t, arena, backward, bwd, 7, (int64_t[]){T * q_row, T * k_row, T * k_row}, 3, (int64_t[]){T, S},
              mdl_template_attention_bwd_grid(&c->shape, T, S));
    check_attention(t, "dq", &p, bwd[7], p.dq, q_row);
    check_attention(t, "dk", &p, bwd[8], p.dk, k_row);
    check_attention(t, "dv", &p, bwd[9], p.dv, k_row);
    mdl_arena_free(arena);
}

static const char *isa_of(const attention_case *c) { return c->v3 ? "-march=x86-64-v3" : native_isa(); }

/* Two compilers at a time: this is most of the suite's time. */
static bool compile_attention(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_text command = {.arena = arena};
    bool good = true;
    for (int i = 0; i < CASES; i++) {
        const char *forward = mdl_template_attention(arena, &attention_cases[i].shape, "forward");
        const char *backward = mdl_template_attention_bwd(arena, &attention_cases[i].shape, "backward");
        good &= native_write(t, mdl_printf(arena, "attention%d", i), mdl_template_prelude(),
                             mdl_printf(arena, "%s\n%s", forward, backward));
        mdl_text_printf(&command, "%s -Wall -Wextra -Wframe-larger-than=524288 attention%d.c -o attention%d.so\n",
                        isa_of(&attention_cases[i]), i, i);
    }
    const char *output;
    int rc =
        mdl_shell(t, &output, "cd %s && xargs -P2 -L1 cc %s <<'LIST'\n%sLIST\n", mdl_test_scratch(t), NATIVE_FLAGS, command.at);
    CHECK(t, good && rc == 0 && !*output, "cc says\n%s", output);
    mdl_arena_free(arena);
    return rc == 0;
}

static void attention(mdl_test *t, int i) {
    const attention_case *c = &attention_cases[i];
    char name[32];
    snprintf(name, sizeof name, "attention%d", i);
    void *library = native_load(t, name);
    if (!library) return;
    run_attention(t, library, c, mixed, 9, 450);
    run_attention(t, library, c, nothing, 1, 3);
    run_attention(t, library, c, full, 2, 64);
    if (c->long_too) run_attention(t, library, c, lengthy, 3, 1120);
}

/* Runs the forward kernel of a case over 64 tokens in segments of 39 and 25; returns o, and lse behind it. */
static const float *forward64(mdl_test *t, mdl_arena *arena, int index, float *q, float *k, float *v) {
    char name[32];
    snprintf(name, sizeof name, "attention%d", index);
    const mdl_attention_shape *shape = &attention_cases[index].shape;
    int64_t n = 64 * shape->heads * shape->head_dim;
    void *library = native_load(t, name);
    mdl_kernel_fn forward;
    native_symbol(library, "forward", &forward);
    float *o = array(arena, n + 64 * shape->heads);
    void *buffer[] = {q, k, v, (void *)(uintptr_t)full, o, o + n};
    if (library) native_run(forward, buffer, (int64_t[]){64, 2}, mdl_template_attention_grid(shape, 64, 2), false);
    return o;
}

/* A NaN in one key of a segment reaches every query of it and no other segment, also among large scores. */
static void attention_nan(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    int64_t per_token = attention_cases[0].shape.heads * attention_cases[0].shape.head_dim, n = 64 * per_token;
    float *q = randoms(arena, n, 1), *k = randoms(arena, n, 2), *v = randoms(arena, n, 3);
    for (int64_t i = 0; i < n; i++) q[i] *= 40;
    k[5 * per_token] = NAN;
    const float *o = forward64(t, arena, 0, q, k, v);
    int nan = 0, bad = 0;
    for (int64_t i = 0; i < 39; i++) nan += isnan(o[i * per_token]);
    for (int64_t i = 39 * per_token; i < n; i++) bad += !isfinite(o[i]);
    CHECK(t, nan == 39, "a NaN key reached %d of 39 queries", nan);
    CHECK(t, bad == 0, "%d values of another segment are not finite", bad);
    mdl_arena_free(arena);
}

/* Causal, score of key j = 200 (j - 100): each query takes its own value, though hidden keys score e^200 times more. And
 * without causality in steps of 100 from below: the last key wins, though padding would score e^2000 times more. */
static void attention_steep(mdl_test *t, int index, double step) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_attention_shape *s = &attention_cases[index].shape;
    int64_t row = s->heads * s->head_dim, n = 64 * row;
    float *q = MDL_NEW_ARRAY(arena, float, n), *k = MDL_NEW_ARRAY(arena, float, n), *v = randoms(arena, n, 3);
    for (int64_t i = 0; i < n; i++) {
        q[i] = 1;
        k[i] = (float)(step * (double)(i / row - 100) / (s->scale * (double)s->head_dim));
    }
    const float *o = forward64(t, arena, index, q, k, v);
    for (int64_t i = 0; i < 64; i++) {
        int64_t from = s->causal ? i : i < 39 ? 38 : 63;
        double lse = (double)o[n + i * s->heads], expected = step * (double)(from - 100);
        CHECK(t, fabs(lse - expected) < 0.02, "query %d: lse %g, not %g", (int)i, lse, expected); /* f32 rounding of 20000 */
        CHECK(t, fabsf(o[i * row] - v[from * row]) < 1e-5f, "query %d: %g, not %g", (int)i, (double)o[i * row],
              (double)v[from * row]);
    }
    mdl_arena_free(arena);
}

/* ---- sums and segments ---- */

enum { COLS = 301, ROWS = 33, TOKENS = 450, SEGMENTS = 9 };
static const int64_t finish_cols[] = {257, 1, 512};

static void *compile_sums(mdl_test *t) {
    static const char *const names[] = {"segment_id", "position", "seglen", "first", "segsum"};
    mdl_arena *arena = mdl_arena_new();
    mdl_text source = {.arena = arena};
    mdl_text_printf(&source, "%s\n", mdl_template_scatter_add(arena, COLS, false, "scatter"));
    mdl_text_printf(&source, "%s\n", mdl_template_scatter_add(arena, COLS, true, "scatter_init"));
    mdl_text_printf(&source, "%s\n", mdl_template_finish(arena, 3, finish_cols, false, "finish"));
    mdl_text_printf(&source, "%s\n", mdl_template_finish(arena, 3, finish_cols, true, "finish_init"));
    for (int i = 0; i < 5; i++) mdl_text_printf(&source, "%s\n", mdl_template_segment(arena, names[i], COLS, names[i]));
    CHECK(t, native_write(t, "sums", mdl_template_prelude(), source.at), "cannot write the source");
    const char *output;
    void *library = native_compile(t, "sums", native_isa(), &output);
    CHECK(t, !*output, "cc says\n%s", output);
    mdl_arena_free(arena);
    return library;
}

/* In order of t in f32: the kernel must give these bits. */
static void scatter(mdl_test *t, void *library, bool with_init) {
    mdl_arena *arena = mdl_arena_new();
    float *x = randoms(arena, TOKENS * COLS, 1), *init = randoms(arena, ROWS * COLS, 2), *out = array(arena, ROWS * COLS);
    float *expected = MDL_NEW_ARRAY(arena, float, ROWS *COLS);
    int32_t index[TOKENS];
    if (with_init) memcpy(expected, init, sizeof(float) * ROWS * COLS), memcpy(out, init, sizeof(float) * ROWS * COLS);
    for (int i = 0; i < TOKENS; i++) {
        index[i] = i % 50 == 0 ? -1 : i % 50 == 1 ? ROWS : i * 7919 % (ROWS - 1); /* the last row gets nothing */
        for (int j = 0; j < COLS && index[i] >= 0 && index[i] < ROWS; j++) expected[index[i] * COLS + j] += x[i * COLS + j];
    }
    mdl_kernel_fn kernel;
    native_symbol(library, with_init ? "scatter_init" : "scatter", &kernel);
    void *buffer[] = {x, index, out, out}; /* with_init: in place */
    native_run(kernel, buffer, (int64_t[]){TOKENS, ROWS}, mdl_template_scatter_add_grid(COLS), true);
    CHECK(t, !memcmp(out, expected, sizeof(float) * ROWS * COLS), "sums differ");
    CHECK(t, guarded(out, ROWS * COLS), "written past its end");
    mdl_arena_free(arena);
}

static void finish(mdl_test *t, void *library, bool with_init) {
    enum { CHUNKS = 5 };
    mdl_arena *arena = mdl_arena_new();
    void *buffer[9];
    float *expected[3];
    for (int i = 0; i < 3; i++) {
        int64_t cols = finish_cols[i];
        float *partial = buffer[i] = randoms(arena, CHUNKS * cols, (uint64_t)i), *init = randoms(arena, cols, (uint64_t)i + 5);
        float *out = array(arena, cols);
        if (with_init) memcpy(out, init, sizeof(float) * (size_t)cols);
        buffer[3 + i] = buffer[with_init ? 6 + i : 3 + i] = out; /* with_init: in place */
        expected[i] = MDL_NEW_ARRAY(arena, float, cols);
        for (int64_t j = 0; j < cols; j++) {
            expected[i][j] = with_init ? init[j] : 0;
            for (int c = 0; c < CHUNKS; c++) expected[i][j] += partial[c * cols + j];
        }
    }
    mdl_kernel_fn kernel;
    native_symbol(library, with_init ? "finish_init" : "finish", &kernel);
    native_run(kernel, buffer, (int64_t[]){CHUNKS}, mdl_template_finish_grid(3, finish_cols), true);
    for (int i = 0; i < 3; i++) {
        CHECK(t, !memcmp(buffer[3 + i], expected[i], sizeof(float) * (size_t)finish_cols[i]), "output %d differs", i);
        CHECK(t, guarded(buffer[3 + i], finish_cols[i]), "output %d: written past its end", i);
    }
    mdl_arena_free(arena);
}

static void segments(mdl_test *t, void *library, const char *name, int64_t count, const int32_t *expected) {
    int32_t out[TOKENS + 1];
    memset(out, 0x7f, sizeof out);
    mdl_kernel_fn kernel;
    native_symbol(library, name, &kernel);
    void *buffer[] = {(void *)(uintptr_t)mixed, out};
    native_run(kernel, buffer, (int64_t[]){TOKENS, SEGMENTS}, mdl_template_segment_grid(name, 1, TOKENS, SEGMENTS), true);
    for (int64_t i = 0; i < count; i++) CHECK(t, out[i] == expected[i], "%s[%d] is %d, not %d", name, (int)i, out[i], expected[i]);
    CHECK(t, out[count] == 0x7f7f7f7f, "%s: written past its end", name);
}

static void all_segments(mdl_test *t, void *library) {
    int32_t id[TOKENS], position[TOKENS], length[SEGMENTS], first[SEGMENTS];
    for (int i = 0; i < TOKENS; i++) id[i] = -1, position[i] = 0;
    for (int s = 0; s < SEGMENTS; s++) {
        length[s] = mixed[s + 1] - mixed[s];
        first[s] = length[s] ? mixed[s] : -1;
        for (int i = mixed[s]; i < mixed[s + 1]; i++) id[i] = s, position[i] = i - mixed[s];
    }
    segments(t, library, "segment_id", TOKENS, id);
    segments(t, library, "position", TOKENS, position);
    segments(t, library, "seglen", SEGMENTS, length);
    segments(t, library, "first", SEGMENTS, first);
}

static void segment_sums(mdl_test *t, void *library) {
    mdl_arena *arena = mdl_arena_new();
    float *x = randoms(arena, TOKENS * COLS, 1), *expected = MDL_NEW_ARRAY(arena, float, SEGMENTS *COLS);
    for (int s = 0; s < SEGMENTS; s++)
        for (int i = mixed[s]; i < mixed[s + 1]; i++)
            for (int j = 0; j < COLS; j++) expected[s * COLS + j] += x[i * COLS + j];
    for (int64_t i = (int64_t)mixed[SEGMENTS] * COLS; i < TOKENS * COLS; i++) x[i] = NAN;
    mdl_kernel_fn kernel;
    native_symbol(library, "segsum", &kernel);
    void *buffer[3] = {x, (void *)(uintptr_t)mixed};
    run_twice(t, arena, kernel, buffer, 2, (int64_t[]){SEGMENTS * COLS}, 1, (int64_t[]){TOKENS, SEGMENTS},
              mdl_template_segment_grid("segsum", COLS, TOKENS, SEGMENTS));
    CHECK(t, !memcmp(buffer[2], expected, sizeof(float) * SEGMENTS * COLS), "sums differ");
    mdl_arena_free(arena);
}

static void sums(mdl_test *t) {
    if (!mdl_case(t, "sums and segments compile without a warning")) return;
    void *library = compile_sums(t);
    if (!library) return;
    for (int with_init = 0; with_init < 2; with_init++) {
        if (mdl_case(t, "scatter_add%s", with_init ? " onto an init" : "")) scatter(t, library, with_init);
        if (mdl_case(t, "finish%s", with_init ? " onto an init" : "")) finish(t, library, with_init);
    }
    if (mdl_case(t, "segment_id, position, seglen, first")) all_segments(t, library);
    if (mdl_case(t, "segsum")) segment_sums(t, library);
}

void suite_templates(mdl_test *t) {
    if (mdl_case(t, "reference attention against finite differences")) reference_gradients(t);
    sums(t);
    mdl_case(t, "attention compiles without a warning");
    if (!compile_attention(t)) return;
    for (int i = 0; i < CASES; i++) {
        const mdl_attention_shape *s = &attention_cases[i].shape;
        if (mdl_case(t, "attention H=%d G=%d K=%d%s %s", (int)s->heads, (int)s->kv_heads, (int)s->head_dim,
                     s->causal ? " causal" : "", isa_of(&attention_cases[i])))
            attention(t, i);
    }
    if (mdl_case(t, "attention: NaN among large scores")) attention_nan(t);
    if (mdl_case(t, "attention: steep scores")) attention_steep(t, 0, 100);
    if (mdl_case(t, "attention: steep causal scores")) attention_steep(t, 3, 200);
}
