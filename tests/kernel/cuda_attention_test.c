/* Attention's kernels for CUDA, in the emulator, against the scalar f64 reference: every mask, odd lengths about a tile, empty
 * segments, tails, operands in strided places. Where NVRTC is, each text is compiled for real arches too.
 *
 * Buffers begin as all ones, a NaN in f32 and in bf16: what nobody writes shows, and so does reading a tail row or a neighbour's
 * column. What an operand does not own must still be all ones afterwards. */
#include <math.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/cuda_attention.h"
#include "compiler/kernel/template.h"
#include "compiler/target/cuda_nvrtc.h"
#include "runtime/base/compare.h"
#include "tests/device/emulated.h"
#include "tests/kernel/arrays.h"
#include "tests/kernel/attention_reference.h"

/* ---- cases ---- */

/* FUSED: q, k and v in one row, their gradients likewise, with columns of others around them. INTERLEAVED: q, k and v of a head
 * next to each other (H = G). */
typedef enum { DENSE, FUSED, INTERLEAVED } layout;

typedef struct {
    mdl_attention_shape shape;
    layout layout;
    mdl_dtype dtype, out; /* of q, k, v and do; of o and the gradients */
    double steep;         /* q is this times larger; 0: as it is */
} attention_case;

#define ALL \
    { -1, -1 }
#define CAUSAL \
    { -1, 0 }
static const attention_case cases[] = {
    {{2, 2, 2, ALL, 0.7, 0}, DENSE, MDL_F32, MDL_F32, 0},
    {{2, 1, 7, CAUSAL, -0.4, 0}, FUSED, MDL_F32, MDL_F32, 0},
    {{3, 3, 6, {9, -1}, 0.4, 0}, INTERLEAVED, MDL_F32, MDL_F32, 0},
    {{3, 3, 16, ALL, 0.25, 0}, INTERLEAVED, MDL_F32, MDL_F32, 0},
    {{4, 2, 16, {70, 8}, 0.25, 0}, FUSED, MDL_F32, MDL_F32, 0},
    {{4, 1, 24, {37, 0}, 0.2, 2}, FUSED, MDL_F32, MDL_F32, 0},
    {{2, 1, 32, {0, 0}, 0.18, 0}, DENSE, MDL_F32, MDL_F32, 0},
    {{2, 2, 40, {-1, 30}, 0.16, 0}, DENSE, MDL_F32, MDL_F32, 0},
    {{4, 1, 64, CAUSAL, 0.125, 1.5}, FUSED, MDL_F32, MDL_F32, 0},
    {{1, 1, 64, {5, 300}, 0.125, 0}, DENSE, MDL_F32, MDL_BF16, 0},
    {{2, 1, 128, ALL, 0.09, 0}, FUSED, MDL_F32, MDL_F32, 0},
    {{1, 1, 128, {INT64_C(1) << 40, 20}, 0.09, 30}, DENSE, MDL_F32, MDL_F32, 0},
    {{2, 1, 256, CAUSAL, 0.06, 0}, FUSED, MDL_F32, MDL_F32, 0},
    {{2, 1, 16, CAUSAL, 0.25, 0}, DENSE, MDL_F32, MDL_F32, 300}, /* scores to about 1000, both ways */
    {{1, 1, 24, ALL, 0, 0}, DENSE, MDL_F32, MDL_F32, 0},         /* all weights of a query equal */
};
enum { CASES = sizeof cases / sizeof *cases, WINDOW = 4, SOFTCAP = 5, CAUSAL_64 = 8, ALL_128 = 10, CAUSAL_256 = 12 };

/* 0 1 63 0 64 65 3 5 0 7 200 0: each length about a tile, several segments in a chunk, one over several chunks, empty ones */
static const int32_t mixed[] = {0, 0, 1, 64, 64, 128, 193, 196, 201, 201, 208, 408, 408};
static const int32_t nothing[] = {0, 0};
enum { MIXED = sizeof mixed / sizeof *mixed - 1, LONGEST = 208 /* where the one over several chunks begins */ };

/* ---- memory ---- */

enum { QKV, K_ALONE, V_ALONE, O, DO, GRADS, DK_ALONE, DV_ALONE, SEQ, LSE, DELTA, SLOTS };

static mdl_attention_memory dense_memory(const attention_case *c) {
    int64_t K = c->shape.head_dim, H = c->shape.heads, G = c->shape.kv_heads;
    mdl_attention_operand q = {QKV, c->dtype, H * K, K, 0, NULL}, k = {K_ALONE, c->dtype, G * K, K, 0, NULL};
    mdl_attention_memory m = {.q = q, .k = k, .v = k, .o = q, .grad_o = q, .dq = q, .dk = k, .dv = k, .seq = SEQ, .lse = LSE};
    m.v.slot = V_ALONE, m.o.slot = O, m.grad_o.slot = DO, m.dq.slot = GRADS, m.dk.slot = DK_ALONE, m.dv.slot = DV_ALONE;
    m.delta = (mdl_attention_operand){DELTA, MDL_F32, H, 1, 0, NULL};
    return m;
}

static mdl_attention_memory row_memory(const attention_case *c) {
    bool fused = c->layout == FUSED;
    int64_t K = c->shape.head_dim, H = c->shape.heads, G = c->shape.kv_heads;
    int64_t row = (H + 2 * G) * K + (fused ? 5 : 0), head = fused ? K : 3 * K, first = fused ? 3 : 0;
    mdl_attention_operand q = {QKV, c->dtype, row, head, first, NULL}, k = q, v = q, o = {O, c->dtype, H * K + 3, K, 2, NULL};
    k.first += fused ? H * K : K, v.first += fused ? (H + G) * K : 2 * K;
    mdl_attention_memory m = {.q = q, .k = k, .v = v, .o = o, .grad_o = o, .dq = q, .dk = k, .dv = v, .seq = SEQ, .lse = LSE};
    m.grad_o.slot = DO, m.dq.slot = m.dk.slot = m.dv.slot = GRADS;
    m.delta = (mdl_attention_operand){DELTA, MDL_F32, H + 1, 1, 1, NULL};
    return m;
}

static mdl_attention_memory memory_of(const attention_case *c) {
    mdl_attention_memory m = c->layout == DENSE ? dense_memory(c) : row_memory(c);
    m.o.dtype = m.dq.dtype = m.dk.dtype = m.dv.dtype = c->out;
    return m;
}

static mdl_cuda_template kernel_of(mdl_arena *arena, const attention_case *c, bool backward, const char *symbol) {
    mdl_attention_memory m = memory_of(c);
    MDL_ASSERT(c->dtype == MDL_F32);
    return (backward ? mdl_cuda_attention_bwd_f32 : mdl_cuda_attention_f32)(arena, &c->shape, &m, SLOTS, symbol);
}

/* An operand, and its numbers as [T, heads, cols]. */
typedef struct {
    const mdl_attention_operand *place;
    int64_t heads, cols;
    float *dense;
} operand;

static int64_t size_of(const operand *x) { return x->place->dtype == MDL_F32 ? 4 : 2; }
static int64_t bytes_of(const operand *x, int64_t T) { return T * x->place->row * size_of(x); }

/* All ones, with a guard behind. */
static void *ones(mdl_arena *arena, int64_t bytes) {
    return memset(mdl_alloc(arena, (size_t)bytes + GUARD), 255, (size_t)bytes + GUARD);
}

static char *element(void *const *buffer, const operand *x, int64_t i) {
    int64_t head = i / x->cols % x->heads, at = i / (x->heads * x->cols) * x->place->row + head * x->place->head + i % x->cols;
    return (char *)buffer[x->place->slot] + (x->place->first + at) * size_of(x);
}

static void put(mdl_arena *arena, void **buffer, const operand *x, int64_t T) {
    if (!buffer[x->place->slot]) buffer[x->place->slot] = ones(arena, bytes_of(x, T));
    for (int64_t i = 0; i < T * x->heads * x->cols; i++) {
        uint16_t half = mdl_to_bf16(x->dense[i]);
        memcpy(element(buffer, x, i), size_of(x) == 4 ? (void *)&x->dense[i] : &half, (size_t)size_of(x));
    }
}

/* Moves the numbers out; all ones stay behind. */
static void take(mdl_arena *arena, void *const *buffer, operand *x, int64_t T) {
    x->dense = MDL_NEW_ARRAY(arena, float, T * x->heads * x->cols);
    for (int64_t i = 0; i < T * x->heads * x->cols; i++) {
        uint16_t half;
        memcpy(size_of(x) == 4 ? (void *)&x->dense[i] : &half, element(buffer, x, i), (size_t)size_of(x));
        if (size_of(x) == 2) x->dense[i] = mdl_from_bf16(half);
        memset(element(buffer, x, i), 255, (size_t)size_of(x));
    }
}

/* ---- one kernel ---- */

typedef struct {
    mdl_test *t;
    mdl_emulator_abi *emulator;
    void *library;
} fixture;

static void launch(const fixture *f, const char *symbol, const mdl_cuda_template *kernel, void *const *buffer, const problem *p) {
    struct {
        void *buffer[SLOTS];
        int64_t immediate[2];
    } args = {.immediate = {p->T, p->S}};
    memcpy(args.buffer, buffer, sizeof args.buffer);
    mdl_emulated_launch launch = {.name = symbol,
                                  .args = &args,
                                  .threads = kernel->threads,
                                  .shared_bytes = kernel->shared_bytes,
                                  .blocks = mdl_template_grid(kernel->blocks, p->T, p->S)};
    native_symbol(f->library, symbol, &launch.kernel);
    mdl_status status = launch.kernel ? mdl_emulator_run(f->emulator, &launch) : mdl_fail(MDL_SYSTEM, "no kernel %s", symbol);
    CHECK(f->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* Runs a kernel on n_in operands; its n_out outputs come back dense. */
static void run(const fixture *f, mdl_arena *arena, const char *symbol, const mdl_cuda_template *kernel, const problem *p,
                const operand *in, int n_in, operand *out, int n_out) {
    void *buffer[SLOTS] = {[SEQ] = (void *)(uintptr_t)p->seq};
    for (int i = 0; i < n_in; i++) put(arena, buffer, &in[i], p->T);
    for (int i = 0; i < n_out; i++) buffer[out[i].place->slot] = ones(arena, bytes_of(&out[i], p->T));
    launch(f, symbol, kernel, buffer, p);
    for (int i = 0; i < n_out; i++) take(arena, buffer, &out[i], p->T);
    for (int i = 0; i < n_out; i++) {
        const unsigned char *at = buffer[out[i].place->slot];
        int64_t other = 0;
        for (int64_t j = 0; j < bytes_of(&out[i], p->T) + GUARD; j++) other += at[j] != 255;
        CHECK(f->t, !other, "%s: %d bytes around output %d are written", symbol, (int)other, i);
    }
}

/* ---- a case ---- */

typedef struct {
    problem p;
    mdl_attention_memory m;
    mdl_attention_operand lse;
    float *q, *k, *v, *g;
    operand out[2], grad[3]; /* o, lse; dq, dk, dv */
} solved;

/* n random numbers that the dtype can hold, in f64 too. */
static double *draw(mdl_arena *arena, float **x, int64_t n, uint64_t seed, mdl_dtype dtype, double times) {
    double *y = MDL_NEW_ARRAY(arena, double, n);
    *x = randoms(arena, n, seed);
    for (int64_t i = 0; i < n; i++) {
        float value = (float)times * (*x)[i];
        (*x)[i] = dtype == MDL_F32 ? value : mdl_from_bf16(mdl_to_bf16(value));
        y[i] = (double)(*x)[i];
    }
    return y;
}

static void poison_tail(const problem *p, float *x, int64_t row) {
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) x[i] = NAN;
}

static solved *pose(mdl_arena *arena, const attention_case *c, const int32_t *seq, int64_t S, int64_t T) {
    solved *s = MDL_NEW(arena, solved);
    problem *p = &s->p;
    *p = (problem){.shape = c->shape, .T = T, .S = S, .seq = seq};
    s->m = memory_of(c);
    s->lse = (mdl_attention_operand){LSE, MDL_F32, c->shape.heads, 1, 0, NULL};
    p->q = draw(arena, &s->q, size_q(p), 1, c->dtype, c->steep > 0 ? c->steep : 1);
    p->k = draw(arena, &s->k, size_k(p), 2, c->dtype, 1), p->v = draw(arena, &s->v, size_k(p), 3, c->dtype, 1);
    p->g = draw(arena, &s->g, size_q(p), 4, c->dtype, 1);
    clear(arena, p);
    solve(arena, p);
    poison_tail(p, s->q, size_q(p) / T), poison_tail(p, s->k, size_k(p) / T);
    poison_tail(p, s->v, size_k(p) / T), poison_tail(p, s->g, size_q(p) / T);
    return s;
}

static void forward(const fixture *f, mdl_arena *arena, int number, solved *s) {
    int64_t H = s->p.shape.heads, G = s->p.shape.kv_heads, K = s->p.shape.head_dim;
    const char *symbol = mdl_printf(arena, "forward%d", number);
    mdl_cuda_template kernel = kernel_of(arena, &cases[number], false, symbol);
    operand in[] = {{&s->m.q, H, K, s->q}, {&s->m.k, G, K, s->k}, {&s->m.v, G, K, s->v}};
    s->out[0] = (operand){&s->m.o, H, K, NULL}, s->out[1] = (operand){&s->lse, H, 1, NULL};
    run(f, arena, symbol, &kernel, &s->p, in, 3, s->out, 2);
}

/* With lse as the forward gave it, so that weights are of the scores as rounded; delta as the reference has it. */
static void backward(const fixture *f, mdl_arena *arena, int number, solved *s) {
    int64_t H = s->p.shape.heads, G = s->p.shape.kv_heads, K = s->p.shape.head_dim;
    const char *symbol = mdl_printf(arena, "backward%d", number);
    mdl_cuda_template kernel = kernel_of(arena, &cases[number], true, symbol);
    float *delta = MDL_NEW_ARRAY(arena, float, size_lse(&s->p)), *lse = MDL_NEW_ARRAY(arena, float, size_lse(&s->p));
    for (int64_t i = 0; i < size_lse(&s->p); i++) delta[i] = (float)s->p.delta[i], lse[i] = s->out[1].dense[i];
    poison_tail(&s->p, delta, H), poison_tail(&s->p, lse, H);
    operand in[] = {{&s->m.q, H, K, s->q},      {&s->m.k, G, K, s->k}, {&s->m.v, G, K, s->v},
                    {&s->m.grad_o, H, K, s->g}, {&s->lse, H, 1, lse},  {&s->m.delta, H, 1, delta}};
    s->grad[0] = (operand){&s->m.dq, H, K, NULL};
    s->grad[1] = (operand){&s->m.dk, G, K, NULL}, s->grad[2] = (operand){&s->m.dv, G, K, NULL};
    run(f, arena, symbol, &kernel, &s->p, in, 6, s->grad, 3);
}

/* ---- comparisons ---- */

/* Products and sums of up to 256 terms in f32, and an exponential: each rounding is 6e-8, and they add up as a random walk. */
static const double f32_tolerance = 2e-6;
/* A score of 1000 is off by 2^-24 of that, a few times over, and its weight by as much: 1000 * 2^-24 * 2. */
static const double steep_tolerance = 1.2e-4;
/* Rounding to 8 bits errs by 0.38 * 2^-8 in the norm, cutting them off by twice that. */
static const double bf16_tolerance = 0x1p-9;

static double tolerance_of(const attention_case *c) {
    return c->out == MDL_BF16 ? bf16_tolerance : c->steep > 0 ? steep_tolerance : f32_tolerance;
}

/* The error is |x - y| / |y|; where all of y is 0, what an element is off by. */
static void compare(const fixture *f, const char *what, const problem *p, const operand *x, const double *y, double tolerance) {
    int64_t row = x->heads * x->cols, tail = 0;
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < p->T * row; i++) mdl_comparison_add(&c, (double)x->dense[i], y[i]);
    double error = mdl_error_l2(&c) / (c.size > 0 ? 1 : sqrt((double)(p->T * row)));
    CHECK(f->t, error <= tolerance, "T=%d: %s: relative error %g", (int)p->T, what, error);
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) tail += !(x->dense[i] == 0);
    CHECK(f->t, tail == 0, "T=%d: %s: the tail is not zero", (int)p->T, what);
}

static void run_case(const fixture *f, int number, const int32_t *seq, int64_t S, int64_t T) {
    mdl_arena *arena = mdl_arena_new();
    solved *s = pose(arena, &cases[number], seq, S, T);
    double tolerance = tolerance_of(&cases[number]);
    forward(f, arena, number, s);
    compare(f, "o", &s->p, &s->out[0], s->p.o, tolerance);
    compare(f, "lse", &s->p, &s->out[1], s->p.lse, f32_tolerance);
    backward(f, arena, number, s);
    compare(f, "dq", &s->p, &s->grad[0], s->p.dq, tolerance);
    compare(f, "dk", &s->p, &s->grad[1], s->p.dk, tolerance);
    compare(f, "dv", &s->p, &s->grad[2], s->p.dv, tolerance);
    mdl_arena_free(arena);
}

static int count_nan(const operand *x, int64_t from, int64_t to) {
    int n = 0;
    for (int64_t i = from * x->heads * x->cols; i < to * x->heads * x->cols; i++) n += isnan(x->dense[i]);
    return n;
}

/* Work is proportional to the window, and no segment meets another: a NaN in one key reaches the queries that see it, and no others
 * but those within a tile of 64 queries and 32 keys more; the gradients of keys that these see. */
static void nan_stays(const fixture *f) {
    enum { AT = LONGEST, LEFT = 70, TILES = 64 + 32 };
    mdl_arena *arena = mdl_arena_new();
    solved *s = pose(arena, &cases[WINDOW], mixed, MIXED, mixed[MIXED]);
    int64_t row = size_k(&s->p) / s->p.T, per_row = s->p.shape.heads * s->p.shape.head_dim;
    s->k[AT * row] = s->v[AT * row] = NAN;
    forward(f, arena, WINDOW, s);
    backward(f, arena, WINDOW, s);
    CHECK(f->t, count_nan(&s->out[0], AT, AT + LEFT + 1) >= LEFT * per_row / 2, "the queries that see the NaN are not NaN");
    CHECK(f->t, !count_nan(&s->out[0], AT + LEFT + TILES, s->p.T), "o: keys beyond the window are multiplied");
    for (int i = 0; i < 2; i++) CHECK(f->t, !count_nan(&s->out[i], 0, AT), "output %d: NaN from another segment", i);
    for (int i = 0; i < 3; i++) CHECK(f->t, !count_nan(&s->grad[i], 0, AT), "gradient %d: NaN from another segment", i);
    mdl_arena_free(arena);
}

/* ---- the suite ---- */

/* Most of the suite's time would be compiling unrolled loops, and calls of fmaf. */
static const char quickly[] =
    "#undef MDL_UNROLL\n"
    "#define MDL_UNROLL(N)\n"
    "#pragma GCC optimize(\"O1\")\n"
    "#ifdef __x86_64__\n"
    "#pragma GCC target(\"avx2,fma\")\n"
    "#endif\n";

static void *compile_host(mdl_test *t, mdl_arena *arena, mdl_emulator_abi *emulator) {
    mdl_text source = {.arena = arena};
    mdl_text_printf(&source, "%s", quickly);
    for (int i = 0; i < CASES; i++) {
        mdl_text_printf(&source, "%s\n", kernel_of(arena, &cases[i], false, mdl_printf(arena, "forward%d", i)).text);
        mdl_text_printf(&source, "%s\n", kernel_of(arena, &cases[i], true, mdl_printf(arena, "backward%d", i)).text);
    }
    return emulated_compile(t, "cuda_attention", source.at, emulator);
}

static void emulate(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    fixture f = {.t = t};
    mdl_status status = mdl_emulator_new(&f.emulator);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    if (f.emulator && mdl_case(t, "CUDA attention compiles for the emulator")) f.library = compile_host(t, arena, f.emulator);
    for (int i = 0; f.library && i < CASES; i++) {
        const mdl_attention_shape *s = &cases[i].shape;
        if (!mdl_case(t, "CUDA H=%d G=%d K=%d left=%lld right=%lld softcap=%g, case %d", (int)s->heads, (int)s->kv_heads,
                      (int)s->head_dim, (long long)s->mask.left, (long long)s->mask.right, s->softcap, i))
            continue;
        run_case(&f, i, mixed, MIXED, mixed[MIXED]);
        run_case(&f, i, mixed, MIXED - 2, mixed[MIXED - 2] + 150); /* a long tail */
        run_case(&f, i, nothing, 1, 3);
    }
    if (f.library && mdl_case(t, "CUDA attention: a NaN stays in its window and segment")) nan_stays(&f);
    mdl_emulator_free(f.emulator);
    mdl_arena_free(arena);
}

static void compile_one(mdl_test *t, const mdl_nvrtc *nvrtc, const attention_case *c, bool backward, const char *arch) {
    mdl_arena *arena = mdl_arena_new();
    mdl_cuda_code code = {0};
    const char *symbol = backward ? "backward" : "forward";
    const char *text = mdl_printf(arena, "%s%s", mdl_cuda_prelude(), kernel_of(arena, c, backward, symbol).text);
    mdl_status status = mdl_nvrtc_compile(arena, nvrtc, symbol, text, arch, &code);
    int K = (int)c->shape.head_dim;
    CHECK(t, !status, "%s, K=%d: %s", symbol, K, mdl_message(status));
    CHECK(t, K > 128 || (!code.resources.spill_bytes && !code.resources.stack_bytes),
          "%s, K=%d, %s: %d registers, %d bytes spilled", symbol, K, arch, code.resources.registers,
          (int)code.resources.spill_bytes);
    mdl_status_free(status);
    mdl_arena_free(arena);
}

/* One case of each size of tiles: a second a case. */
static void compile_all(mdl_test *t, const mdl_nvrtc *nvrtc) {
    static const int some[] = {SOFTCAP, CAUSAL_64, ALL_128, CAUSAL_256};
    static const char *const arches[] = {"sm_80", "sm_90a"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        for (int variant = 0; variant < 4; variant++) compile_one(t, nvrtc, &cases[some[i]], variant % 2, arches[variant / 2]);
}

void suite_cuda_attention(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_nvrtc *nvrtc;
    emulate(t);
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    if (status) printf("cuda_attention: skipped compiling for GPUs: %s\n", mdl_message(status));
    if (!status && !MDL_TEST_SANITIZED && mdl_case(t, "CUDA attention compiles for GPUs, without spills to K = 128"))
        compile_all(t, nvrtc);
    mdl_status_free(status);
    mdl_arena_free(arena);
}
