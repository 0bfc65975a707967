/* Attention's kernels against a scalar f64 reference: odd lengths, empty segments, tails, every mask, every place in memory.
 *
 * Buffers begin as all ones, which is a NaN in f32 and in bf16: rows that nobody writes show, and so does reading a tail row or
 * a neighbour's column. What an operand does not own must still be all ones afterwards. Every kernel runs twice, its blocks in
 * either order, and must give one result. */
#include <math.h>
#include <stdlib.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/template.h"
#include "runtime/base/compare.h"
#include "tests/kernel/arrays.h"
#include "tests/kernel/attention_reference.h"

static double *widen(mdl_arena *arena, const float *x, int64_t n) {
    double *y = MDL_NEW_ARRAY(arena, double, n);
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

/* ---- the reference itself, against central differences of its own loss ---- */

static double loss_of(mdl_arena *arena, problem *p) {
    double loss = 0;
    clear(arena, p);
    solve(arena, p);
    for (int64_t i = 0; i < size_q(p); i++) loss += p->o[i] * p->g[i];
    return loss;
}

static void reference_gradients(mdl_test *t, mdl_attention_mask mask, double softcap) {
    static const int32_t seq[] = {0, 6, 6, 7};
    mdl_arena *arena = mdl_arena_new();
    problem p = {.shape = {4, 2, 6, mask, 0.4, softcap}, .T = 8, .S = 3, .seq = seq};
    p.q = widen(arena, randoms(arena, size_q(&p), 1), size_q(&p)), p.k = widen(arena, randoms(arena, size_k(&p), 2), size_k(&p));
    p.v = widen(arena, randoms(arena, size_k(&p), 3), size_k(&p)), p.g = widen(arena, randoms(arena, size_q(&p), 4), size_q(&p));
    loss_of(arena, &p);
    double *input[] = {p.q, p.k, p.v}, *gradient[] = {p.dq, p.dk, p.dv}, step = 1e-5;
    for (int which = 0; which < 3; which++) {
        int bad = 0;
        for (int64_t i = 0; i < (which ? size_k(&p) : size_q(&p)); i++) {
            double x = input[which][i];
            input[which][i] = x + step;
            double above = loss_of(arena, &p);
            input[which][i] = x - step;
            double below = loss_of(arena, &p);
            input[which][i] = x;
            bad += !(fabs((above - below) / (2 * step) - gradient[which][i]) < 1e-8); /* step^2 times third derivatives of 10 */
        }
        CHECK(t, bad == 0, "%d central differences of input %d differ", bad, which);
    }
    mdl_arena_free(arena);
}

/* ---- cases ---- */

/* Where the operands are. FUSED: q, k and v in one row that has more columns, their gradients likewise, o and do in rows of their
 * own. INTERLEAVED: q, k and v of a head next to each other. BF16: as FUSED. GIVEN: as FUSED, with functions of the test. */
typedef enum { DENSE, FUSED, INTERLEAVED, BF16, GIVEN } layout;

typedef struct {
    mdl_attention_shape shape;
    layout layout;
    bool delta;    /* computed by the kernel */
    bool v3;       /* on AVX2 also where the machine has AVX-512 */
    bool long_too; /* also a segment of several tiles of keys */
} attention_case;

#define ALL \
    { -1, -1 }
#define CAUSAL \
    { -1, 0 }
static const attention_case cases[] = {
    {{3, 3, 16, ALL, 0.25, 0}, .long_too = true},
    {{4, 2, 24, CAUSAL, 0.2, 0}, .v3 = true},
    {{2, 1, 32, ALL, 0.3, 0}, .v3 = true},
    {{2, 2, 64, CAUSAL, 0.125, 0}, .long_too = true},
    {{1, 1, 128, ALL, 0.09, 0}, .layout = DENSE},
    {{6, 2, 10, CAUSAL, -0.3, 0}, .long_too = true},
    {{1, 1, 256, CAUSAL, 0.06, 0}, .long_too = true},
    {{1, 1, 512, ALL, 0.05, 0}, .layout = DENSE},
    {{2, 1, 16, {40, 8}, 0.25, 0}, .long_too = true},
    {{4, 2, 24, {37, 0}, 0.2, 2}, .v3 = true, .long_too = true},
    {{2, 1, 64, {5, 300}, 0.125, 0}, .v3 = true, .long_too = true},
    {{1, 1, 128, {-1, 100}, 0.09, 1.5}, .long_too = true},
    {{2, 2, 10, {0, 0}, 0.3, 0}, .layout = DENSE},
    {{1, 1, 512, {20, -1}, 0.05, 30}, .long_too = true},
    {{1, 1, 16, {INT64_C(1) << 40, 500}, 0.2, 0}, .long_too = true},
    {{4, 2, 24, ALL, 0.2, 0}, .layout = FUSED, .delta = true, .long_too = true},
    {{2, 1, 64, CAUSAL, 0.125, 0}, .layout = FUSED, .v3 = true, .long_too = true},
    {{3, 3, 16, {30, 30}, 0.25, 0}, .layout = INTERLEAVED, .delta = true},
    {{2, 1, 64, ALL, 0.125, 0}, .layout = BF16, .long_too = true},
    {{4, 2, 10, {9, 0}, 0.3, 3}, .layout = BF16, .v3 = true},
    {{4, 2, 32, CAUSAL, 0.2, 0}, .layout = BF16, .delta = true},
    {{4, 2, 24, CAUSAL, 0.2, 0}, .layout = GIVEN, .delta = true, .long_too = true},
};
enum { CASES = sizeof cases / sizeof *cases, STEEP = 0, STEEP_CAUSAL = 3, LOCAL = 8 };

static const int32_t mixed[] = {0, 0, 1, 3, 20, 20, 133, 433, 433, 433}; /* 0 1 2 17 0 113 300 0 0 */
static const int32_t lengthy[] = {0, 3, 1100, 1116};
static const int32_t nothing[] = {0, 0};
static const int32_t full[] = {0, 39, 64}; /* no tail, lengths that are not multiples of a tile */

/* ---- memory ---- */

enum { QKV, O, DO, GRADS, SEQ, LSE, DELTA, SCRATCH, BIAS = 10, STORED, SUMS, SLOTS }; /* DENSE has 0 .. 9 of its own */

/* GIVEN: q is 2 x + bias; stores are counted per row and head; the columns of dv are summed per chunk and head. */
static void give_functions(mdl_arena *arena, const mdl_attention_shape *s, bool backward, mdl_attention_memory *m) {
    long long K = s->head_dim, H = s->heads, G = s->kv_heads;
    const char *symbol = backward ? "backward" : "forward",
               *store =
                   "MDL_FN void %s_store_%s(void *const *buffer, const int64_t *immediate, int64_t row, int64_t rows, "
                   "int64_t head, const float *from, int64_t stride, int64_t chunk) {\n"
                   "    (void)immediate, (void)chunk;\n"
                   "    mdl_store_rows_f32((float *)buffer[%d] + %lld + row * %lld + head * %lld, %lld, from, stride, rows, "
                   "%lld);\n%s}\n",
               *count = mdl_printf(arena, "    for (int r = 0; r < rows; r++) ((int *)buffer[%d])[(row + r) * %lld + head]++;\n",
                                   STORED, H),
               *sum = mdl_printf(arena,
                                 "    for (int r = 0; r < rows; r++) for (int k = 0; k < %lld; k++)\n"
                                 "        ((float *)buffer[%d])[(chunk * %lld + head) * %lld + k] += from[r * stride + k];\n",
                                 K, SUMS, G, K);
    m->q.text =
        mdl_printf(arena,
                   "MDL_FN void %s_load_q(void *const *buffer, const int64_t *immediate, int64_t row, int64_t rows, int64_t "
                   "head, float *to, int64_t stride) {\n    (void)immediate;\n"
                   "    const float *q = (const float *)buffer[%d] + %lld, *b = (const float *)buffer[%d];\n"
                   "    for (int r = 0; r < rows; r++) for (int k = 0; k < %lld; k++)\n"
                   "        to[r * stride + k] = 2 * q[(row + r) * %lld + head * %lld + k] + b[head * %lld + k];\n}\n",
                   symbol, QKV, (long long)m->q.first, BIAS, K, (long long)m->q.row, K, K);
    mdl_attention_operand *counted = backward ? &m->dq : &m->o, dv = m->dv;
    counted->text = mdl_printf(arena, store, symbol, backward ? "dq" : "o", counted->slot, (long long)counted->first,
                               (long long)counted->row, K, (long long)counted->row, K, count);
    m->dv.text =
        mdl_printf(arena, store, symbol, "dv", dv.slot, (long long)dv.first, (long long)dv.row, K, (long long)dv.row, K, sum);
    m->enter =
        mdl_printf(arena,
                   "MDL_FN void %s_enter(void *const *buffer, const int64_t *immediate, int64_t head, int64_t chunk) {\n"
                   "    (void)immediate;\n"
                   "    for (int k = 0; k < %lld && %d; k++) ((float *)buffer[%d])[(chunk * %lld + head) * %lld + k] = 0;\n}\n",
                   symbol, K, backward, SUMS, G, K);
}

static mdl_attention_memory memory_of(mdl_arena *arena, const attention_case *c, bool backward) {
    const mdl_attention_shape *s = &c->shape;
    if (c->layout == DENSE) return mdl_attention_dense(s, backward);
    bool apart = c->layout != INTERLEAVED;
    int64_t K = s->head_dim, H = s->heads, G = s->kv_heads, row = apart ? (H + 2 * G) * K + 5 : 3 * H * K, head = apart ? K : 3 * K;
    mdl_dtype dtype = c->layout == BF16 ? MDL_BF16 : MDL_F32;
    mdl_attention_operand q = {QKV, dtype, row, head, 0, NULL}, o = {O, dtype, H * K + 3, K, 2, NULL}, k = q, v = q;
    k.first = apart ? H * K : K, v.first = apart ? (H + G) * K : 2 * K;
    mdl_attention_memory m = {.q = q, .k = k, .v = v, .o = o, .grad_o = o, .dq = q, .dk = k, .dv = v, .seq = SEQ, .lse = LSE};
    m.grad_o.slot = DO, m.dq.slot = m.dk.slot = m.dv.slot = GRADS;
    m.delta = (mdl_attention_operand){DELTA, MDL_F32, H + 1, 1, 1, NULL};
    m.compute_delta = c->delta;
    m.scratch = dtype == MDL_F32 ? m.dq : (mdl_attention_operand){SCRATCH, MDL_F32, H * K, K, 0, NULL};
    if (c->layout == GIVEN) give_functions(arena, s, backward, &m);
    return m;
}

static int64_t size_of(mdl_dtype dtype) { return dtype == MDL_F32 ? 4 : 2; }

static int64_t bytes_of(const mdl_attention_operand *x, int64_t T) { return T * x->row * size_of(x->dtype); }

/* All ones, with a guard behind. */
static void *ones(mdl_arena *arena, int64_t bytes) {
    return memset(mdl_alloc(arena, (size_t)bytes + GUARD), 255, (size_t)bytes + GUARD);
}

static bool all_ones(const void *x, int64_t bytes) {
    int64_t other = 0;
    for (int64_t i = 0; i < bytes; i++) other += ((const unsigned char *)x)[i] != 255;
    return other == 0;
}

/* Copies the first T rows of dense x [T, heads, K] to where the operand is, or from there; from: what was there becomes all ones.
 */
static void move(void **buffer, const mdl_attention_operand *x, float *dense, int64_t T, int64_t heads, int64_t K, bool out) {
    int64_t size = size_of(x->dtype);
    for (int64_t i = 0; i < T * heads * K; i++) {
        char *at = (char *)buffer[x->slot] + (x->first + i / (heads * K) * x->row + i / K % heads * x->head + i % K) * size;
        uint16_t half = mdl_to_bf16(dense[i]);
        if (!out) memcpy(at, size == 4 ? (void *)&dense[i] : &half, (size_t)size);
        if (!out) continue;
        memcpy(size == 4 ? (void *)&dense[i] : &half, at, (size_t)size);
        if (size == 2) dense[i] = mdl_from_bf16(half);
        memset(at, 255, (size_t)size);
    }
}

/* ---- one kernel ---- */

typedef struct {
    const mdl_attention_operand *place;
    int64_t heads, cols;
    float *dense; /* [T, heads, cols] */
} operand;

/* Runs a kernel in both orders of blocks; the outputs come back dense. */
static void run(mdl_test *t, mdl_arena *arena, mdl_kernel_fn kernel, void **buffer, operand *out, int n, const int64_t *immediate,
                int64_t grid) {
    int64_t T = immediate[0];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) buffer[out[i].place->slot] = ones(arena, bytes_of(out[i].place, T));
        if (buffer[STORED]) memset(buffer[STORED], 0, (size_t)(T * out[0].heads) * 4);
        native_run(kernel, buffer, immediate, grid, pass);
        for (int i = 0; i < n; i++) {
            int64_t count = T * out[i].heads * out[i].cols;
            float *dense = MDL_NEW_ARRAY(arena, float, count);
            move(buffer, out[i].place, dense, T, out[i].heads, out[i].cols, true);
            CHECK(t, !pass || !memcmp(dense, out[i].dense, (size_t)count * 4), "output %d: order of blocks", i);
            out[i].dense = dense;
        }
        for (int i = 0; i < n; i++)
            CHECK(t, all_ones(buffer[out[i].place->slot], bytes_of(out[i].place, T) + GUARD), "output %d: written around it", i);
    }
    for (int64_t i = 0; buffer[STORED] && i < T * out[0].heads; i++)
        if (((int *)buffer[STORED])[i] != 1)
            CHECK(t, false, "row and head %d are stored %d times", (int)i, ((int *)buffer[STORED])[i]);
}

/* ---- forward and backward of a case ---- */

/* f32 products of up to 1100 terms and an exponential: the rounding of each is 6e-8 and they add up as a random walk. */
static const double f32_tolerance = 2e-6;
/* Rounding to 8 bits errs by 0.38 * 2^-8 in the norm, cutting them off by twice that. A delta of rounded o moves ds as well. */
static const double bf16_tolerance = 0x1p-9, bf16_delta_tolerance = 0x1p-8;

typedef struct {
    problem p;
    float *q, *k, *v, *g;
    operand out[2], grad[3]; /* o, lse; dq, dk, dv */
    float *sums;             /* GIVEN: of dv by chunk and key head */
} solved;

static void poison_tail(const problem *p, float *x, int64_t row) {
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) x[i] = NAN;
}

/* Draws inputs that the layout can hold, and solves for them. */
static solved pose(mdl_arena *arena, const attention_case *c, const int32_t *seq, int64_t S, int64_t T, const float *bias) {
    solved s = {.p = {.shape = c->shape, .T = T, .S = S, .seq = seq}};
    problem *p = &s.p;
    int64_t q_row = c->shape.heads * c->shape.head_dim, k_row = c->shape.kv_heads * c->shape.head_dim,
            row[] = {q_row, k_row, k_row, q_row};
    float **x[] = {&s.q, &s.k, &s.v, &s.g};
    double **y[] = {&p->q, &p->k, &p->v, &p->g};
    for (int i = 0; i < 4; i++) {
        *x[i] = randoms(arena, T * row[i], (uint64_t)i + 1);
        for (int64_t j = 0; j < T * row[i] && c->layout == BF16; j++) (*x[i])[j] = mdl_from_bf16(mdl_to_bf16((*x[i])[j]));
        *y[i] = widen(arena, *x[i], T * row[i]);
    }
    for (int64_t i = 0; i < T * q_row && c->layout == GIVEN; i++) p->q[i] = 2 * p->q[i] + (double)bias[i % q_row];
    clear(arena, p);
    solve(arena, p);
    for (int i = 0; i < 4; i++) poison_tail(p, *x[i], row[i]);
    return s;
}

static void compute_forward(mdl_test *t, mdl_arena *arena, void *library, const attention_case *c, solved *s, float *bias) {
    mdl_attention_memory m = memory_of(arena, c, false);
    int64_t H = c->shape.heads, G = c->shape.kv_heads, K = c->shape.head_dim, T = s->p.T;
    void *buffer[SLOTS] = {0};
    const mdl_attention_operand *in[] = {&m.q, &m.k, &m.v};
    for (int i = 0; i < 3; i++)
        if (!buffer[in[i]->slot]) buffer[in[i]->slot] = ones(arena, bytes_of(in[i], T));
    move(buffer, &m.q, s->q, T, H, K, false), move(buffer, &m.k, s->k, T, G, K, false), move(buffer, &m.v, s->v, T, G, K, false);
    buffer[m.seq] = (void *)(uintptr_t)s->p.seq;
    if (c->layout == GIVEN) buffer[BIAS] = bias, buffer[STORED] = mdl_alloc(arena, (size_t)(T * H) * 4);
    mdl_attention_operand *lse = MDL_NEW(arena, mdl_attention_operand), *o = MDL_NEW(arena, mdl_attention_operand);
    *lse = (mdl_attention_operand){m.lse, MDL_F32, H, 1, 0, NULL}, *o = m.o;
    s->out[0] = (operand){o, H, K, NULL}, s->out[1] = (operand){lse, H, 1, NULL};
    mdl_kernel_fn kernel;
    native_symbol(library, "forward", &kernel);
    run(t, arena, kernel, buffer, s->out, 2, (int64_t[]){T, s->p.S}, mdl_template_attention_grid(&c->shape, T, s->p.S));
}

static void compute_backward(mdl_test *t, mdl_arena *arena, void *library, const attention_case *c, solved *s, float *bias) {
    mdl_attention_memory m = memory_of(arena, c, true);
    int64_t H = c->shape.heads, G = c->shape.kv_heads, K = c->shape.head_dim, T = s->p.T;
    int64_t grid = mdl_template_attention_bwd_grid(&c->shape, T, s->p.S);
    mdl_attention_operand *place = MDL_NEW_ARRAY(arena, mdl_attention_operand, 3), lse = {m.lse, MDL_F32, H, 1, 0, NULL};
    place[0] = m.dq, place[1] = m.dk, place[2] = m.dv;
    float *delta = MDL_NEW_ARRAY(arena, float, T *H);
    for (int64_t i = 0; i < T * H; i++) delta[i] = (float)s->p.delta[i];
    poison_tail(&s->p, delta, H);
    operand in[] = {{&m.q, H, K, s->q},
                    {&m.k, G, K, s->k},
                    {&m.v, G, K, s->v},
                    {&m.grad_o, H, K, s->g},
                    {&lse, H, 1, s->out[1].dense},
                    {&m.o, H, K, s->out[0].dense},
                    {&m.delta, H, 1, delta}};
    void *buffer[SLOTS] = {0};
    for (int i = 0; i < 7; i++) {
        if (i == (m.compute_delta ? 6 : 5)) continue; /* the one that is not read */
        if (!buffer[in[i].place->slot]) buffer[in[i].place->slot] = ones(arena, bytes_of(in[i].place, T));
        move(buffer, in[i].place, in[i].dense, T, in[i].heads, in[i].cols, false);
    }
    buffer[m.seq] = (void *)(uintptr_t)s->p.seq;
    if (c->layout == BF16) buffer[SCRATCH] = ones(arena, T * H * K * 4);
    if (c->layout == GIVEN) {
        buffer[BIAS] = bias, buffer[STORED] = mdl_alloc(arena, (size_t)(T * H) * 4);
        buffer[SUMS] = s->sums = ones(arena, grid * K * 4);
    }
    for (int i = 0; i < 3; i++) s->grad[i] = (operand){&place[i], i ? G : H, K, NULL};
    mdl_kernel_fn kernel;
    native_symbol(library, "backward", &kernel);
    run(t, arena, kernel, buffer, s->grad, 3, (int64_t[]){T, s->p.S}, grid);
}

/* ---- comparisons ---- */

/* |x - y| / |y|, by element where y is 0; NaN counted as infinite */
static double distance(const float *x, const double *y, int64_t n) {
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < n; i++) mdl_comparison_add(&c, (double)x[i], y[i]);
    return mdl_error_l2(&c) / (c.size > 0 ? 1 : sqrt((double)n)); /* where all are 0: what an element is off by */
}

static void compare(mdl_test *t, const char *what, const problem *p, const operand *x, const double *y, double tolerance) {
    int64_t row = x->heads * x->cols, tail = 0;
    double error = distance(x->dense, y, p->T * row);
    CHECK(t, error <= tolerance, "T=%d: %s: relative error %g", (int)p->T, what, error);
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) tail += !(x->dense[i] == 0);
    CHECK(t, tail == 0, "T=%d: %s: the tail is not zero", (int)p->T, what);
}

/* The sums of dv's columns that the case's own function made, against dv. */
static void compare_sums(mdl_test *t, mdl_arena *arena, const attention_case *c, const solved *s) {
    int64_t row = c->shape.kv_heads * c->shape.head_dim, T = s->p.T;
    int64_t chunks = mdl_template_attention_bwd_grid(&c->shape, T, s->p.S) / c->shape.kv_heads;
    float *sum = MDL_NEW_ARRAY(arena, float, row);
    double *expected = MDL_NEW_ARRAY(arena, double, row);
    for (int64_t i = 0; i < chunks * row; i++) sum[i % row] += s->sums[i];
    for (int64_t i = 0; i < T * row; i++) expected[i % row] += (double)s->grad[2].dense[i];
    double error = distance(sum, expected, row);
    CHECK(t, error < 1e-5, "T=%d: sums of columns: relative error %g", (int)T,
          error); /* signs are mixed: terms cancel to a tenth of their size */
}

static void run_case(mdl_test *t, void *library, const attention_case *c, const int32_t *seq, int64_t S, int64_t T) {
    mdl_arena *arena = mdl_arena_new();
    float *bias = randoms(arena, c->shape.heads * c->shape.head_dim, 9);
    solved s = pose(arena, c, seq, S, T, bias);
    double o_tolerance = c->layout == BF16 ? bf16_tolerance : f32_tolerance;
    double tolerance = c->layout == BF16 && c->delta ? bf16_delta_tolerance : o_tolerance;
    compute_forward(t, arena, library, c, &s, bias);
    compare(t, "o", &s.p, &s.out[0], s.p.o, o_tolerance);
    compare(t, "lse", &s.p, &s.out[1], s.p.lse, f32_tolerance);
    compute_backward(t, arena, library, c, &s, bias);
    compare(t, "dq", &s.p, &s.grad[0], s.p.dq, tolerance);
    compare(t, "dk", &s.p, &s.grad[1], s.p.dk, tolerance);
    compare(t, "dv", &s.p, &s.grad[2], s.p.dv, tolerance);
    if (c->layout == GIVEN && T > 3) compare_sums(t, arena, c, &s);
    mdl_arena_free(arena);
}

/* ---- what masks and large scores must not do ---- */

static void *library_of(mdl_test *t, int i) {
    char name[32];
    snprintf(name, sizeof name, "attention%d", i);
    return native_load(t, name);
}

/* Runs the forward kernel of a dense case over 64 tokens in segments of 39 and 25; returns o, and lse behind it. */
static const float *forward64(mdl_test *t, mdl_arena *arena, int index, float *q, float *k, float *v) {
    const mdl_attention_shape *shape = &cases[index].shape;
    int64_t n = 64 * shape->heads * shape->head_dim;
    void *library = library_of(t, index);
    mdl_kernel_fn forward;
    native_symbol(library, "forward", &forward);
    float *o = array(arena, n + 64 * shape->heads);
    void *buffer[] = {q, k, v, (void *)(uintptr_t)full, o, o + n};
    if (library) native_run(forward, buffer, (int64_t[]){64, 2}, mdl_template_attention_grid(shape, 64, 2), false);
    return o;
}

/* A NaN in one key of a segment reaches every query of it and no other segment, also among large scores. */
static void nan_stays(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    int64_t per_token = cases[STEEP].shape.heads * cases[STEEP].shape.head_dim, n = 64 * per_token;
    float *q = randoms(arena, n, 1), *k = randoms(arena, n, 2), *v = randoms(arena, n, 3);
    for (int64_t i = 0; i < n; i++) q[i] *= 40;
    k[5 * per_token] = NAN;
    const float *o = forward64(t, arena, STEEP, q, k, v);
    int nan = 0, bad = 0;
    for (int64_t i = 0; i < 39; i++) nan += isnan(o[i * per_token]);
    for (int64_t i = 39 * per_token; i < n; i++) bad += !isfinite(o[i]);
    CHECK(t, nan == 39, "a NaN key reached %d of 39 queries", nan);
    CHECK(t, bad == 0, "%d values of another segment are not finite", bad);
    mdl_arena_free(arena);
}

/* Causal, score of key j = 200 (j - 100): each query takes its own value, though hidden keys score e^200 times more. And
 * without causality in steps of 100 from below: the last key wins, though padding would score e^2000 times more. */
static void steep(mdl_test *t, int index, double step, bool causal) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_attention_shape *s = &cases[index].shape;
    int64_t row = s->heads * s->head_dim, n = 64 * row;
    float *q = MDL_NEW_ARRAY(arena, float, n), *k = MDL_NEW_ARRAY(arena, float, n), *v = randoms(arena, n, 3);
    for (int64_t i = 0; i < n; i++) {
        q[i] = 1;
        k[i] = (float)(step * (double)(i / row - 100) / (s->scale * (double)s->head_dim));
    }
    const float *o = forward64(t, arena, index, q, k, v);
    for (int64_t i = 0; i < 64; i++) {
        int64_t from = causal ? i : i < 39 ? 38 : 63;
        double lse = (double)o[n + i * s->heads], expected = step * (double)(from - 100);
        CHECK(t, fabs(lse - expected) < 0.02, "query %d: lse %g, not %g", (int)i, lse, expected); /* f32 rounding of 20000 */
        CHECK(t, fabsf(o[i * row] - v[from * row]) < 1e-5f, "query %d: %g, not %g", (int)i, (double)o[i * row],
              (double)v[from * row]);
    }
    mdl_arena_free(arena);
}

static int count_nan(const operand *x, int64_t from, int64_t to) {
    int n = 0;
    for (int64_t i = from * x->heads * x->cols; i < to * x->heads * x->cols; i++) n += isnan(x->dense[i]);
    return n;
}

/* Work is proportional to the window: a NaN in one key far from a query is multiplied by none of its weights, not even by a zero.
 * It reaches o and dq within a window and the rest of a group of 32 queries or 16 keys, dk within two windows of that. */
static void stays_local(mdl_test *t) {
    enum { AT = 600, NEAR = 40 + 32 + 16 };
    mdl_arena *arena = mdl_arena_new();
    const attention_case *c = &cases[LOCAL];
    solved s = pose(arena, c, lengthy, 3, 1120, NULL);
    void *library = library_of(t, LOCAL);
    int64_t row = c->shape.kv_heads * c->shape.head_dim;
    s.k[AT * row] = s.v[AT * row] = NAN;
    compute_forward(t, arena, library, c, &s, NULL);
    compute_backward(t, arena, library, c, &s, NULL);
    const operand *o = &s.out[0];
    CHECK(t, count_nan(o, AT, AT + 40) == 40 * o->heads * o->cols, "the queries that see the NaN are not NaN");
    CHECK(t, !count_nan(o, 0, AT - NEAR) && !count_nan(o, AT + NEAR, 1120), "o: keys beyond the window are multiplied");
    for (int i = 0; i < 3; i++)
        CHECK(t, !count_nan(&s.grad[i], 0, AT - 2 * NEAR) && !count_nan(&s.grad[i], AT + 2 * NEAR, 1120),
              "gradient %d: keys beyond the window are multiplied", i);
    mdl_arena_free(arena);
}

/* ---- work ---- */

static void work(mdl_test *t) {
    for (int64_t left = -1; left < 7; left++)
        for (int64_t right = -1; right < 7; right++)
            for (int64_t n = 0; n < 7; n++) {
                int64_t pairs = 0;
                for (int64_t i = 0; i < n * n; i++)
                    pairs += (left < 0 || i / n - i % n <= left) && (right < 0 || i % n - i / n <= right);
                mdl_attention_mask mask = {left, right};
                CHECK(t, mdl_attention_pairs(mask, n) == pairs, "left %d, right %d: %d pairs of %d tokens", (int)left, (int)right,
                      (int)mdl_attention_pairs(mask, n), (int)n);
            }
    mdl_attention_shape shape = {20, 4, 16, ALL, 1, 0};
    int64_t one = mdl_template_attention_flops(&shape, false, 100, 1), some = mdl_template_attention_flops(&shape, true, 11, 3);
    CHECK(t, one == INT64_C(4) * 16 * 20 * 100 * 100, "forward, one segment: %lld", (long long)one);
    CHECK(t, some == INT64_C(10) * 16 * 20 * (4 * 4 + 4 * 4 + 3 * 3), "backward, three segments: %lld", (long long)some);
}

/* ---- the suite ---- */

static const char *isa_of(const attention_case *c) { return c->v3 ? "-march=x86-64-v3" : native_isa(); }

/* Two compilers at a time: this is most of the suite's time. */
static bool compile(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_text command = {.arena = arena};
    bool good = true;
    for (int i = 0; i < CASES; i++) {
        const attention_case *c = &cases[i];
        mdl_attention_memory fwd = memory_of(arena, c, false), bwd = memory_of(arena, c, true);
        const char *forward = mdl_template_attention(arena, &c->shape, &fwd, "forward");
        const char *backward = mdl_template_attention_bwd(arena, &c->shape, &bwd, "backward");
        good &= native_write(t, mdl_printf(arena, "attention%d", i), mdl_template_prelude(),
                             mdl_printf(arena, "%s\n%s", forward, backward));
        mdl_text_printf(&command, "%s -Wall -Wextra -Wframe-larger-than=524288 attention%d.c -o attention%d.so\n", isa_of(c), i, i);
    }
    const char *output;
    int rc =
        mdl_shell(t, &output, "cd %s && xargs -P2 -L1 cc %s <<'LIST'\n%sLIST\n", mdl_test_scratch(t), NATIVE_FLAGS, command.at);
    CHECK(t, good && rc == 0 && !*output, "cc says\n%s", output);
    mdl_arena_free(arena);
    return rc == 0;
}

static void every_length(mdl_test *t, int i) {
    void *library = library_of(t, i);
    if (!library) return;
    run_case(t, library, &cases[i], mixed, 9, 450);
    run_case(t, library, &cases[i], nothing, 1, 3);
    run_case(t, library, &cases[i], full, 2, 64);
    if (cases[i].long_too) run_case(t, library, &cases[i], lengthy, 3, 1120);
}

void suite_attention(mdl_test *t) {
    static const char *const layouts[] = {"dense", "fused rows", "interleaved", "bf16", "given functions"};
    if (mdl_case(t, "reference against finite differences: causal")) reference_gradients(t, (mdl_attention_mask)CAUSAL, 0);
    if (mdl_case(t, "reference against finite differences: window, softcap"))
        reference_gradients(t, (mdl_attention_mask){2, 1}, 1.5);
    if (mdl_case(t, "pairs and work")) work(t);
    mdl_case(t, "the kernels compile without a warning");
    if (!compile(t)) return;
    for (int i = 0; i < CASES; i++) {
        const mdl_attention_shape *s = &cases[i].shape;
        if (mdl_case(t, "H=%d G=%d K=%d left=%lld right=%lld softcap=%g %s%s %s", (int)s->heads, (int)s->kv_heads, (int)s->head_dim,
                     (long long)s->mask.left, (long long)s->mask.right, s->softcap, layouts[cases[i].layout],
                     cases[i].delta ? ", delta computed" : "", isa_of(&cases[i])))
            every_length(t, i);
    }
    if (mdl_case(t, "NaN among large scores")) nan_stays(t);
    if (mdl_case(t, "steep scores")) steep(t, STEEP, 100, false);
    if (mdl_case(t, "steep causal scores")) steep(t, STEEP_CAUSAL, 200, true);
    if (mdl_case(t, "work stays within the window")) stays_local(t);
}
