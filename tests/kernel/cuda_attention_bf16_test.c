/* Attention in bf16 for CUDA, in the emulator, against the scalar f64 reference on the same rounded inputs.
 *
 * Buffers begin as all ones, a NaN in bf16 and in f32: what nobody writes shows, and so does reading a tail row or a neighbour's
 * column. What an operand does not own must still be all ones afterwards. */
#include <math.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/cuda_attention.h"
#include "compiler/kernel/template.h"
#include "compiler/target/cuda_nvrtc.h"
#include "runtime/base/compare.h"
#include "runtime/device/cuda/hopper.h"
#include "tests/device/emulated.h"
#include "tests/kernel/arrays.h"
#include "tests/kernel/attention_reference.h"

/* FUSED: q, k and v in one row, their gradients likewise, with columns of others around them; all in whole pieces of 16 bytes.
 * ODD: as FUSED, at odd places. */
typedef enum { DENSE, FUSED, ODD } layout;

typedef struct {
    mdl_attention_shape shape;
    layout layout;
    mdl_dtype out; /* of o and the gradients */
    double steep;  /* q is this times larger; 0: as it is */
} attention_case;

#define ALL \
    { -1, -1 }
#define CAUSAL \
    { -1, 0 }
static const attention_case cases[] = {
    {{2, 2, 2, ALL, 0.7, 0}, DENSE, MDL_F32, 0},          {{2, 1, 6, CAUSAL, 0.4, 0}, FUSED, MDL_BF16, 0},
    {{3, 3, 16, ALL, 0.25, 0}, DENSE, MDL_BF16, 0},       {{4, 2, 16, {70, 8}, 0.25, 0}, FUSED, MDL_F32, 0},
    {{2, 2, 24, ALL, 0.2, 0}, FUSED, MDL_BF16, 0},        {{4, 1, 24, {37, 0}, 0.2, 2}, ODD, MDL_F32, 0},
    {{4, 2, 32, CAUSAL, 0.18, 0}, FUSED, MDL_BF16, 0},    {{2, 1, 32, {0, 0}, 0.18, 0}, DENSE, MDL_F32, 0},
    {{2, 2, 40, {-1, 30}, -0.16, 0}, DENSE, MDL_BF16, 0}, {{2, 2, 64, ALL, 0.125, 0}, DENSE, MDL_BF16, 0},
    {{2, 1, 64, {70, 8}, 0.125, 0}, FUSED, MDL_BF16, 0},  {{1, 1, 64, ALL, 0.125, 0}, DENSE, MDL_BF16, 100},
    {{4, 1, 64, CAUSAL, 0.125, 1.5}, FUSED, MDL_F32, 0},  {{1, 1, 64, {5, 300}, 0.125, 0}, ODD, MDL_BF16, 0},
    {{2, 1, 128, ALL, 0.09, 0}, FUSED, MDL_BF16, 0},      {{1, 1, 128, {INT64_C(1) << 40, 20}, 0.09, 0}, DENSE, MDL_F32, 0},
    {{2, 1, 256, {70, 0}, 0.06, 0}, FUSED, MDL_F32, 0}, /* a row may see nothing of its warp's first tile */
    {{2, 1, 16, CAUSAL, 0.25, 0}, DENSE, MDL_F32, 300}, /* scores to about 1000, both ways */
    {{1, 1, 24, ALL, 0, 0}, DENSE, MDL_F32, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

/* 0 1 63 0 64 65 3 5 0 7 200 0: each length about a tile, several segments in a chunk, one over several chunks, empty ones */
static const int32_t mixed[] = {0, 0, 1, 64, 64, 128, 193, 196, 201, 201, 208, 408, 408};
static const int32_t nothing[] = {0, 0};
enum { MIXED = sizeof mixed / sizeof *mixed - 1 };

/* ---- memory ---- */

enum { QKV, K_ALONE, V_ALONE, O, DO, GRADS, DK_ALONE, DV_ALONE, SEQ, LSE, DELTA, TILES, SLOTS };

static mdl_attention_memory memory_of(const attention_case *c) {
    int64_t K = c->shape.head_dim, H = c->shape.heads, G = c->shape.kv_heads;
    bool dense = c->layout == DENSE;
    int64_t row = (H + 2 * G) * K + (c->layout == ODD ? 5 : 16), first = c->layout == ODD ? 3 : 8;
    mdl_attention_operand q = {QKV, MDL_BF16, row, K, first, NULL}, k = q, v = q, o = {O, c->out, H * K + first, K, first, NULL};
    k.first += H * K, v.first += (H + G) * K;
    if (dense) {
        q = (mdl_attention_operand){QKV, MDL_BF16, H * K, K, 0, NULL};
        k = v = (mdl_attention_operand){K_ALONE, MDL_BF16, G * K, K, 0, NULL};
        o = (mdl_attention_operand){O, c->out, H * K, K, 0, NULL};
        v.slot = V_ALONE;
    }
    mdl_attention_memory m = {
        .q = q, .k = k, .v = v, .o = o, .grad_o = o, .dq = q, .dk = k, .dv = v, .seq = SEQ, .lse = LSE, .tiles = TILES};
    m.grad_o.slot = DO, m.grad_o.dtype = MDL_BF16;
    m.dq.slot = GRADS, m.dk.slot = dense ? DK_ALONE : GRADS, m.dv.slot = dense ? DV_ALONE : GRADS;
    m.dq.dtype = m.dk.dtype = m.dv.dtype = c->out;
    m.delta = (mdl_attention_operand){DELTA, MDL_F32, H + 1, 1, 1, NULL};
    return m;
}

/* An operand and its numbers as [T, heads, cols]. */
typedef struct {
    const mdl_attention_operand *place;
    int64_t heads, cols;
    float *dense;
} operand;

static int64_t bytes_of(const operand *x, int64_t T) { return (T * x->place->row + 16) * (x->place->dtype == MDL_F32 ? 4 : 2); }

/* All ones, with a guard behind; aligned as a device's memory is. */
static void *ones(mdl_arena *arena, int64_t bytes) {
    char *at = mdl_alloc(arena, (size_t)bytes + GUARD + 16);
    at += -(uintptr_t)at % 16;
    return memset(at, 255, (size_t)bytes + GUARD);
}

static char *element(void *const *buffer, const operand *x, int64_t i) {
    int64_t head = i / x->cols % x->heads, at = i / (x->heads * x->cols) * x->place->row + head * x->place->head + i % x->cols;
    return (char *)buffer[x->place->slot] + (x->place->first + at) * (x->place->dtype == MDL_F32 ? 4 : 2);
}

static void put(mdl_arena *arena, void **buffer, const operand *x, int64_t T) {
    if (!buffer[x->place->slot]) buffer[x->place->slot] = ones(arena, bytes_of(x, T));
    for (int64_t i = 0; i < T * x->heads * x->cols; i++) {
        uint16_t half = mdl_to_bf16(x->dense[i]);
        bool wide = x->place->dtype == MDL_F32;
        memcpy(element(buffer, x, i), wide ? (void *)&x->dense[i] : &half, wide ? 4 : 2);
    }
}

/* Moves the numbers out; all ones stay behind. */
static void take(mdl_arena *arena, void *const *buffer, operand *x, int64_t T) {
    x->dense = MDL_NEW_ARRAY(arena, float, T * x->heads * x->cols);
    for (int64_t i = 0; i < T * x->heads * x->cols; i++) {
        uint16_t half;
        bool wide = x->place->dtype == MDL_F32;
        memcpy(wide ? (void *)&x->dense[i] : &half, element(buffer, x, i), wide ? 4 : 2);
        if (!wide) x->dense[i] = mdl_from_bf16(half);
        memset(element(buffer, x, i), 255, wide ? 4 : 2);
    }
}

/* The tiles of `rows` rows, the longest segment's first, and -1 in the other places; nothing behind them. */
static int32_t *tiles_of(mdl_arena *arena, const problem *p, int64_t rows) {
    int64_t places = (p->T + rows - 1) / rows + p->S, n = 0;
    int32_t *tiles = MDL_NEW_ARRAY(arena, int32_t, 2 * places + 1);
    memset(tiles, 255, 2 * (size_t)places * sizeof *tiles);
    for (int32_t length = p->T > INT32_MAX ? 0 : (int32_t)p->T; length > 0; length--)
        for (int32_t s = 0; s < p->S; s++)
            for (int32_t first = 0; p->seq[s + 1] - p->seq[s] == length && first < length; first += (int32_t)rows, n++)
                tiles[2 * n] = s, tiles[2 * n + 1] = first;
    return tiles;
}

/* ---- one kernel ---- */

typedef struct {
    mdl_test *t;
    mdl_emulator_abi *emulator;
    void *library;
} fixture;

static void run(const fixture *f, mdl_arena *arena, const char *symbol, const mdl_cuda_template *kernel, void **buffer,
                const problem *p, operand *out, int n) {
    struct {
        void *buffer[SLOTS];
        int64_t immediate[2];
        struct {
            mdl_emulated_map map __attribute__((aligned(MDL_MAP_ALIGN)));
            char rest[MDL_MAP_BYTES - sizeof(mdl_emulated_map)];
        } maps[4];
    } args = {.immediate = {p->T, p->S}};
    for (int i = 0; i < n; i++) buffer[out[i].place->slot] = ones(arena, bytes_of(&out[i], p->T));
    buffer[SEQ] = (void *)(uintptr_t)p->seq;
    buffer[TILES] = tiles_of(arena, p, kernel->blocks.per);
    memcpy(args.buffer, buffer, sizeof args.buffer);
    for (int i = 0; i < kernel->n_maps; i++) {
        const mdl_template_map *m = &kernel->maps[i];
        args.maps[i].map =
            (mdl_emulated_map){(const char *)buffer[m->buffer] + 2 * m->first, p->T, m->heads, m->cols, 2 * m->row, 2 * m->head};
    }
    mdl_emulated_launch launch = {.name = symbol,
                                  .args = &args,
                                  .threads = kernel->threads,
                                  .shared_bytes = kernel->shared_bytes,
                                  .blocks = mdl_template_grid(kernel->blocks, p->T, p->S)};
    native_symbol(f->library, symbol, &launch.kernel);
    mdl_status status = launch.kernel ? mdl_emulator_run(f->emulator, &launch) : mdl_fail(MDL_SYSTEM, "no kernel %s", symbol);
    CHECK(f->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    for (int i = 0; i < n; i++) take(arena, buffer, &out[i], p->T);
    for (int i = 0; i < n; i++) {
        const unsigned char *at = buffer[out[i].place->slot];
        int64_t other = 0;
        for (int64_t j = 0; j < bytes_of(&out[i], p->T) + GUARD; j++) other += at[j] != 255;
        CHECK(f->t, !other, "%s: %d bytes around output %d are written", symbol, (int)other, i);
    }
}

/* ---- comparisons ---- */

/* Scores, sums and lse are f32; inputs are the reference's. What a score is off by, about 2^-23 of its size, is in lse. */
static const double lse_tolerance = 2e-6;
/* Weights are rounded to bf16 before they meet the values, and o when it is stored: each errs by 2^-9 at most, by 0.38 * 2^-8 =
 * 1.5e-3 in the norm, and a row that one weight rules has no average over many. */
static const double o_tolerance = 4e-3;
/* Here weights and ds are rounded, then what is stored; ds is a difference that may be less than its terms. */
static const double gradient_tolerance = 8e-3;

static void compare(const fixture *f, const char *symbol, const char *what, const problem *p, const operand *x, const double *y,
                    double tolerance) {
    int64_t row = x->heads * x->cols, tail = 0;
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < p->T * row; i++) mdl_comparison_add(&c, (double)x->dense[i], y[i]);
    CHECK(f->t, mdl_error_l2(&c) <= tolerance, "%s, T=%d: %s: relative error %g", symbol, (int)p->T, what, mdl_error_l2(&c));
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) tail += !(x->dense[i] == 0);
    CHECK(f->t, tail == 0, "%s, T=%d: %s: the tail is not zero", symbol, (int)p->T, what);
}

/* ---- cases ---- */

typedef struct {
    problem p;
    float *q, *k, *v, *g; /* what bf16 can hold */
} posed;

static double *rounded(mdl_arena *arena, float **x, int64_t n, uint64_t seed, float times) {
    double *y = MDL_NEW_ARRAY(arena, double, n);
    *x = randoms(arena, n, seed);
    for (int64_t i = 0; i < n; i++) y[i] = (double)((*x)[i] = mdl_from_bf16(mdl_to_bf16(times * (*x)[i])));
    return y;
}

static posed pose(mdl_arena *arena, const attention_case *c, const int32_t *seq, int64_t S, int64_t T) {
    posed s = {.p = {.shape = c->shape, .T = T, .S = S, .seq = seq}};
    s.p.q = rounded(arena, &s.q, size_q(&s.p), 1, c->steep > 0 ? (float)c->steep : 1.0f);
    s.p.k = rounded(arena, &s.k, size_k(&s.p), 2, 1), s.p.v = rounded(arena, &s.v, size_k(&s.p), 3, 1);
    s.p.g = rounded(arena, &s.g, size_q(&s.p), 4, 1);
    clear(arena, &s.p);
    solve(arena, &s.p);
    return s;
}

/* Kernels that copy whole tiles give what lies in the tail weights of zero: there it is finite, but far off. */
static void poison_tail(const problem *p, float *x, int64_t row, float with) {
    for (int64_t i = p->seq[p->S] * row; i < p->T * row; i++) x[i] = with;
}

static void forward(const fixture *f, mdl_arena *arena, int number, bool hopper, const posed *s) {
    const attention_case *c = &cases[number];
    int64_t K = c->shape.head_dim, H = c->shape.heads, G = c->shape.kv_heads;
    mdl_attention_memory m = memory_of(c);
    const char *symbol = hopper ? "forward_hopper" : "forward";
    mdl_cuda_template kernel = mdl_cuda_attention(arena, &c->shape, &m, SLOTS, hopper, symbol);
    mdl_attention_operand lse = {LSE, MDL_F32, H, 1, 0, NULL};
    operand in[] = {{&m.q, H, K, s->q}, {&m.k, G, K, s->k}, {&m.v, G, K, s->v}}, out[] = {{&m.o, H, K, NULL}, {&lse, H, 1, NULL}};
    void *buffer[SLOTS] = {0};
    for (int i = 0; i < 3; i++) put(arena, buffer, &in[i], s->p.T);
    run(f, arena, symbol, &kernel, buffer, &s->p, out, 2);
    compare(f, symbol, "o", &s->p, &out[0], s->p.o, o_tolerance);
    compare(f, symbol, "lse", &s->p, &out[1], s->p.lse, lse_tolerance);
}

static void backward(const fixture *f, mdl_arena *arena, int number, bool hopper, const posed *s) {
    const attention_case *c = &cases[number];
    int64_t K = c->shape.head_dim, H = c->shape.heads, G = c->shape.kv_heads, T = s->p.T;
    mdl_attention_memory m = memory_of(c);
    const char *symbol = hopper ? "backward_hopper" : "backward";
    mdl_cuda_template kernel = mdl_cuda_attention_bwd(arena, &c->shape, &m, SLOTS, hopper, symbol);
    mdl_attention_operand lse = {LSE, MDL_F32, H, 1, 0, NULL};
    float *stats = MDL_NEW_ARRAY(arena, float, 2 * T * H);
    for (int64_t i = 0; i < T * H; i++) stats[i] = (float)s->p.lse[i], stats[T * H + i] = (float)s->p.delta[i];
    poison_tail(&s->p, stats, H, NAN), poison_tail(&s->p, stats + T * H, H, NAN);
    operand in[] = {{&m.q, H, K, s->q},      {&m.k, G, K, s->k},  {&m.v, G, K, s->v},
                    {&m.grad_o, H, K, s->g}, {&lse, H, 1, stats}, {&m.delta, H, 1, stats + T * H}},
            out[] = {{&m.dq, H, K, NULL}, {&m.dk, G, K, NULL}, {&m.dv, G, K, NULL}};
    void *buffer[SLOTS] = {0};
    for (int i = 0; i < 6; i++) put(arena, buffer, &in[i], T);
    run(f, arena, symbol, &kernel, buffer, &s->p, out, 3);
    compare(f, symbol, "dq", &s->p, &out[0], s->p.dq, gradient_tolerance);
    compare(f, symbol, "dk", &s->p, &out[1], s->p.dk, gradient_tolerance);
    compare(f, symbol, "dv", &s->p, &out[2], s->p.dv, gradient_tolerance);
}

static void run_case(const fixture *f, int number, bool hopper, const int32_t *seq, int64_t S, int64_t T) {
    mdl_arena *arena = mdl_arena_new();
    posed s = pose(arena, &cases[number], seq, S, T);
    int64_t rows[] = {size_q(&s.p) / T, size_k(&s.p) / T, size_k(&s.p) / T, size_q(&s.p) / T};
    float *in[] = {s.q, s.k, s.v, s.g};
    for (int i = 0; i < 4; i++) poison_tail(&s.p, in[i], rows[i], hopper ? 1e4f : NAN);
    forward(f, arena, number, hopper, &s);
    backward(f, arena, number, hopper, &s);
    mdl_arena_free(arena);
}

static void *compile_host(mdl_test *t, mdl_arena *arena, int number, bool hopper, mdl_emulator_abi *emulator) {
    const attention_case *c = &cases[number];
    mdl_attention_memory m = memory_of(c);
    const char *end = hopper ? "_hopper" : "";
    mdl_cuda_template forward = mdl_cuda_attention(arena, &c->shape, &m, SLOTS, hopper, mdl_printf(arena, "forward%s", end));
    mdl_cuda_template backward = mdl_cuda_attention_bwd(arena, &c->shape, &m, SLOTS, hopper, mdl_printf(arena, "backward%s", end));
    return emulated_compile(t, mdl_printf(arena, "cuda_attention_bf16_%d%s", number, end),
                            mdl_printf(arena, "%s\n%s", forward.text, backward.text), emulator);
}

static void emulate_case(fixture *f, mdl_arena *arena, int number, bool hopper) {
    f->library = compile_host(f->t, arena, number, hopper, f->emulator);
    if (!f->library) return;
    run_case(f, number, hopper, mixed, MIXED, mixed[MIXED]);
    run_case(f, number, hopper, mixed, MIXED, mixed[MIXED] + 150);
    run_case(f, number, hopper, nothing, 1, 3);
}

static void emulate(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    fixture f = {.t = t};
    mdl_status status = mdl_emulator_new(&f.emulator);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    for (int i = 0; f.emulator && i < CASES; i++) {
        const mdl_attention_shape *s = &cases[i].shape;
        if (!mdl_case(t, mdl_printf(arena, "case %d: H=%d G=%d K=%d", i, (int)s->heads, (int)s->kv_heads, (int)s->head_dim)))
            continue;
        mdl_attention_memory m = memory_of(&cases[i]);
        emulate_case(&f, arena, i, false);
        if (mdl_cuda_attention_fits_hopper(s, &m, false)) emulate_case(&f, arena, i, true);
    }
    mdl_emulator_free(f.emulator);
    mdl_arena_free(arena);
}

/* ---- code for GPUs ---- */

static void compile_one(mdl_test *t, mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *symbol, const mdl_cuda_template *kernel,
                        int64_t K, const char *arch) {
    mdl_cuda_code code = {0};
    const char *text = mdl_printf(arena, "%s%s", mdl_cuda_prelude(), kernel->text);
    mdl_status status = mdl_nvrtc_compile(arena, nvrtc, symbol, text, arch, &code);
    CHECK(t, !status, "%s: %s", symbol, mdl_message(status));
    CHECK(t, K > 128 || (!code.resources.spill_bytes && !code.resources.stack_bytes), "%s, K=%d: %d registers, %d bytes spilled",
          symbol, (int)K, code.resources.registers, (int)code.resources.spill_bytes);
    mdl_status_free(status);
}

/* The widths of real models, on the arch that has fewest registers to spare; and any width on the oldest arch. */
static void compile_all(mdl_test *t, const mdl_nvrtc *nvrtc) {
    static const struct {
        const char *arch;
        int64_t K;
    } codes[] = {{"sm_90a", 16}, {"sm_90a", 24}, {"sm_90a", 32}, {"sm_90a", 64}, {"sm_90a", 128}, {"sm_80", 256}};
    mdl_arena *arena = mdl_arena_new();
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        attention_case c = {{20, 20, codes[i].K, ALL, 0.125, 0}, FUSED, MDL_BF16, 0};
        mdl_attention_memory m = memory_of(&c);
        for (int hopper = 0; hopper < 2; hopper++) {
            if (hopper && (strcmp(codes[i].arch, "sm_90a") || !mdl_cuda_attention_fits_hopper(&c.shape, &m, false))) continue;
            mdl_cuda_template fwd = mdl_cuda_attention(arena, &c.shape, &m, SLOTS, hopper, "forward");
            mdl_cuda_template bwd = mdl_cuda_attention_bwd(arena, &c.shape, &m, SLOTS, hopper, "backward");
            compile_one(t, arena, nvrtc, "forward", &fwd, codes[i].K, codes[i].arch);
            compile_one(t, arena, nvrtc, "backward", &bwd, codes[i].K, codes[i].arch);
        }
    }
    mdl_arena_free(arena);
}

void suite_cuda_attention_bf16(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_nvrtc *nvrtc;
    emulate(t);
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    if (status) printf("cuda_attention_bf16: skipped compiling for GPUs: %s\n", mdl_message(status));
    if (!status && !MDL_TEST_SANITIZED && mdl_case(t, "attention in bf16 compiles for GPUs, without spills to K = 128"))
        compile_all(t, nvrtc);
    mdl_status_free(status);
    mdl_arena_free(arena);
}
