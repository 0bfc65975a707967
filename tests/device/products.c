/* Products of every orientation, dtype and start, with odd sizes, padded rows and batches, against f64; and the same bits for any
 * number of threads. */
#include "tests/device/products.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/plan/fixture.h"

typedef enum { NO_C, C_IS_D, C_ELSEWHERE } start;
typedef enum { ONE, ONE_AFTER_ANOTHER, SIDE_BY_SIDE } arrangement; /* of a batch */

/* Dtypes of a product. C in D's place has D's. */
typedef struct {
    mdl_dtype a, b, c, d, bias;
} dtypes;
static const dtypes kinds[] = {
    {MDL_F32, MDL_F32, MDL_F32, MDL_F32, MDL_F32},      {MDL_F32, MDL_F32, MDL_BF16, MDL_BF16, MDL_BF16},
    {MDL_BF16, MDL_BF16, MDL_F32, MDL_F32, MDL_F32},    {MDL_BF16, MDL_BF16, MDL_BF16, MDL_F32, MDL_BF16},
    {MDL_BF16, MDL_BF16, MDL_BF16, MDL_BF16, MDL_F32},  {MDL_BF16, MDL_BF16, MDL_F32, MDL_BF16, MDL_BF16},
    {MDL_E4M3, MDL_E4M3, MDL_BF16, MDL_BF16, MDL_BF16}, {MDL_E5M2, MDL_E4M3, MDL_F32, MDL_F32, MDL_BF16},
    {MDL_E4M3, MDL_E5M2, MDL_BF16, MDL_BF16, MDL_BF16}};
enum { KINDS = sizeof kinds / sizeof *kinds, BATCH = 3, SMALL = 1 << 16 };

/* An operand: `batch` matrices of rows x cols somewhere in an arena. */
typedef struct {
    mdl_dtype dtype;
    int64_t rows, cols, ld, batch, stride, offset;
} operand;

typedef struct {
    mdl_gemm g;
    operand a, b, c, bias, scales[2], d;
    start start;
    bool in_two; /* a second kernel may add the bias and C */
    int64_t input_bytes, result_bytes;
    char *input, *before, *result, *other;
} product;

static int64_t size_of(mdl_dtype dtype) { return mdl_dtype_bits(dtype) / 8; }
static int64_t elements(const operand *x) { return (x->batch - 1) * x->stride + (x->rows - 1) * x->ld + x->cols; }
static int64_t index_of(const operand *x, int64_t batch, int64_t row, int64_t col) { return batch * x->stride + row * x->ld + col; }

/* Gives an operand its layout, and memory at the end of an arena. */
static operand lay_out(mdl_dtype dtype, int64_t rows, int64_t cols, int64_t pad, arrangement how, int64_t *arena_bytes) {
    operand x = {dtype, rows, cols, cols + pad, how == ONE ? 1 : BATCH, 0, (*arena_bytes + 63) / 64 * 64};
    if (how == ONE_AFTER_ANOTHER) x.stride = rows * x.ld + 2 * pad;
    if (how == SIDE_BY_SIDE) x.stride = cols + pad, x.ld = BATCH * x.stride;
    *arena_bytes = x.offset + elements(&x) * size_of(dtype);
    return x;
}

static void make_problem(product *p, const int64_t size[3], int variant, const dtypes *kind, arrangement how, int64_t pad) {
    bool ta = variant & 1, tb = variant & 2, bias = variant & 4;
    int64_t m = size[0], n = size[1], k = size[2];
    *p = (product){.start = (start)(variant >> 3)};
    p->a = lay_out(kind->a, ta ? k : m, ta ? m : k, pad, how, &p->input_bytes);
    p->b = lay_out(kind->b, tb ? n : k, tb ? k : n, 2 * pad, how == SIDE_BY_SIDE ? ONE : how, &p->input_bytes);
    p->c = lay_out(kind->c, m, n, 3 * pad, how, &p->input_bytes);
    p->bias = lay_out(kind->bias, 1, n, 0, ONE, &p->input_bytes);
    for (int i = 0; i < 2; i++) p->scales[i] = lay_out(MDL_F32, 1, 1, 0, ONE, &p->input_bytes);
    p->d = lay_out(kind->d, m, n, pad, how, &p->result_bytes);
    if (p->start == C_IS_D) p->c = p->d;
    p->g = (mdl_gemm){.m = m,
                      .n = n,
                      .k = k,
                      .batch = p->d.batch,
                      .lda = p->a.ld,
                      .ldb = p->b.ld,
                      .ldd = p->d.ld,
                      .stride_a = p->a.stride,
                      .stride_b = p->b.stride,
                      .stride_d = p->d.stride,
                      .type_a = kind->a,
                      .type_b = kind->b,
                      .type_d = kind->d,
                      .trans_a = ta,
                      .trans_b = tb,
                      .has_c = p->start != NO_C,
                      .has_bias = bias,
                      .has_scales = size_of(kind->a) == 1};
    if (p->g.has_c) p->g.ldc = p->c.ld, p->g.stride_c = p->c.stride, p->g.type_c = p->c.dtype;
    if (p->g.has_bias) p->g.type_bias = kind->bias;
}

/* ---- values ---- */
static double get(const char *arena, const operand *x, int64_t batch, int64_t row, int64_t col) {
    int64_t i = index_of(x, x->batch == 1 ? 0 : batch, row, col);
    uint32_t bits = 0;
    if (size_of(x->dtype) == 1) return mdl_dtype_of_code(x->dtype, (uint8_t)arena[x->offset + i]);
    if (x->dtype == MDL_F32)
        memcpy(&bits, arena + x->offset + 4 * i, 4);
    else
        memcpy((char *)&bits + 2, arena + x->offset + 2 * i, 2);
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Noise between -1 and 1; cut to the upper half of its bits it is a bf16. In 8 bits: any number below 2. */
static void fill(char *arena, const operand *x, uint32_t *state) {
    for (int64_t b = 0; b < x->batch; b++)
        for (int64_t r = 0; r < x->rows; r++)
            for (int64_t c = 0; c < x->cols; c++) {
                *state = *state * 1664525u + 1013904223u;
                float value = (float)(*state >> 8) / (float)(1 << 23) - 1.0f;
                int64_t bytes = size_of(x->dtype);
                if (bytes == 1) arena[x->offset + index_of(x, b, r, c)] = (char)(*state >> 24 & 0xbf);
                if (bytes > 1) memcpy(arena + x->offset + bytes * index_of(x, b, r, c), (char *)&value + 4 - bytes, (size_t)bytes);
            }
}

/* What is not an element is NaN: padding and, unless it is added to, D. */
static void fill_all(product *p) {
    uint32_t state = 1;
    memset(p->input, 0xff, (size_t)p->input_bytes);
    memset(p->before, 0xff, (size_t)p->result_bytes);
    fill(p->input, &p->a, &state);
    fill(p->input, &p->b, &state);
    if (p->start == C_ELSEWHERE) fill(p->input, &p->c, &state);
    fill(p->input, &p->bias, &state);
    for (int i = 0; i < 2; i++) fill(p->input, &p->scales[i], &state);
    if (p->start == C_IS_D) fill(p->before, &p->d, &state);
}

/* ---- the expected result ---- */
/* f32 sums of k products, a bias and a start, in any order, are off by at most (k+2) rounding errors of half an epsilon, each of at
 * most the sum of absolute terms; products of two bf16 are exact in f32, those of two f32 add half an epsilon. A result in bf16 is
 * off by half of its own epsilon, 2^-7, as well. A scale of the sum is one rounding more, and the product of two scales another.
 * A GPU's sums of 8-bit operands begin with 13 bits of the largest product of a few at a time: 2^-12 of the absolute terms.
 *
 * On a GPU cuBLASLt adds the bias and C of some sizes in a second kernel, which reads what the first has rounded to D's dtype. In
 * bf16 that is one rounding more, or two when each is added alone: 2^-8 each, of the largest of the sums on the way. */
static double bound(const product *p, double value, double size, double largest) {
    double sum = (double)(p->g.k + 2 + 2 * p->g.has_scales) * FLT_EPSILON * size;
    if (p->in_two && p->g.has_scales) sum += 0x1p-12 * size;
    if (p->d.dtype == MDL_F32) return sum;
    return sum + 0x1p-8 * (fabs(value) + sum) + (p->in_two && (p->g.has_bias || p->g.has_c) ? 0x1p-7 * largest : 0);
}

static bool is_right(const product *p, int64_t batch, int64_t i, int64_t j) {
    double sum = 0, size = 0, terms[] = {0, 0};
    for (int64_t k = 0; k < p->g.k; k++) {
        double a = p->g.trans_a ? get(p->input, &p->a, batch, k, i) : get(p->input, &p->a, batch, i, k);
        double b = p->g.trans_b ? get(p->input, &p->b, batch, j, k) : get(p->input, &p->b, batch, k, j);
        sum += a * b;
        size += fabs(a * b);
    }
    for (int i = 0; i < 2 && p->g.has_scales; i++) {
        double scale = get(p->input, &p->scales[i], 0, 0, 0);
        sum *= scale, size *= fabs(scale);
    }
    if (p->g.has_bias) terms[0] = get(p->input, &p->bias, batch, 0, j);
    if (p->g.has_c) terms[1] = get(p->start == C_IS_D ? p->before : p->input, &p->c, batch, i, j);
    double largest = fmax(fabs(sum), fmax(fabs(sum + terms[0]), fabs(sum + terms[1])));
    sum += terms[0] + terms[1];
    size += fabs(terms[0]) + fabs(terms[1]);
    return fabs(get(p->result, &p->d, batch, i, j) - sum) <= bound(p, sum, size, largest); /* a NaN is not */
}

/* The number of elements that are wrong; `before` becomes what the arena should be. */
static int count_wrong(product *p) {
    int wrong = 0;
    for (int64_t b = 0; b < p->d.batch; b++)
        for (int64_t i = 0; i < p->g.m; i++)
            for (int64_t j = 0; j < p->g.n; j++) wrong += !is_right(p, b, i, j);
    for (int64_t b = 0; b < p->d.batch; b++)
        for (int64_t i = 0; i < p->g.m; i++) {
            int64_t at = p->d.offset + size_of(p->d.dtype) * index_of(&p->d, b, i, 0);
            memcpy(p->before + at, p->result + at, (size_t)(size_of(p->d.dtype) * p->g.n));
        }
    return wrong;
}

/* ---- running ---- */
static int add_buffer(mdl_plan *plan, const char *name, mdl_arena_id arena, const operand *x) {
    int64_t n = elements(x);
    return mdl_fixture_buffer(plan, &plan->programs.at[0], name, arena, x->offset, mdl_type_make(x->dtype, 1, &n));
}

static mdl_plan *product_plan(const mdl_conformance_target *target, const product *p) {
    mdl_plan *plan = mdl_conformance_plan(target, 0, p->input_bytes, p->result_bytes, 0);
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_text args = {.arena = plan->memory};
    mdl_text_printf(&args, "r%d", add_buffer(plan, "a", MDL_ARENA_INPUT, &p->a));
    mdl_text_printf(&args, " r%d", add_buffer(plan, "b", MDL_ARENA_INPUT, &p->b));
    mdl_arena_id home = p->start == C_IS_D ? MDL_ARENA_RESULT : MDL_ARENA_INPUT;
    if (p->g.has_c) mdl_text_printf(&args, " r%d", add_buffer(plan, "c", home, &p->c));
    if (p->g.has_bias) mdl_text_printf(&args, " r%d", add_buffer(plan, "bias", MDL_ARENA_INPUT, &p->bias));
    for (int i = 0; i < 2 && p->g.has_scales; i++)
        mdl_text_printf(&args, " r%d", add_buffer(plan, i ? "scale_b" : "scale_a", MDL_ARENA_INPUT, &p->scales[i]));
    mdl_text_printf(&args, " w%d", add_buffer(plan, "d", MDL_ARENA_RESULT, &p->d));
    mdl_fixture_launch(plan, &plan->programs.at[0], MDL_LAUNCH_GEMM, "product", args.at)->gemm = p->g;
    mdl_fixture_finish(plan);
    return plan;
}

static bool multiply(mdl_test *t, const mdl_backend *backend, const mdl_plan *plan, int threads, const product *p, char *result) {
    mdl_device *d = NULL;
    mdl_status status = backend->load(plan, threads, &d);
    if (!status) status = backend->upload(d, MDL_ARENA_INPUT, 0, p->input, p->input_bytes);
    if (!status) status = backend->upload(d, MDL_ARENA_RESULT, 0, p->before, p->result_bytes);
    if (!status) status = backend->run(d, "test");
    if (!status) status = backend->download(d, MDL_ARENA_RESULT, 0, result, p->result_bytes);
    bool ok = !status;
    CHECK(t, ok, "%s", mdl_message(status));
    mdl_status_free(status);
    backend->unload(d);
    return ok;
}

static void run_product(mdl_test *t, const mdl_conformance_target *target, product *p) {
    static const int threads[] = {2, 3, 8}; /* on 8 a library left alone divides the long sum of the last size */
    mdl_plan *plan = product_plan(target, p);
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    bool ok = multiply(t, target->backend, plan, 1, p, p->result);
    for (int i = 0; i < 3 && ok; i++)
        if (multiply(t, target->backend, plan, threads[i], p, p->other))
            CHECK(t, !memcmp(p->result, p->other, (size_t)p->result_bytes), "%d threads give other bits than one", threads[i]);
    if (ok) {
        int wrong = count_wrong(p);
        CHECK(t, !wrong, "%d elements are wrong", wrong);
        CHECK(t, !memcmp(p->before, p->result, (size_t)p->result_bytes), "padding changed");
    }
    mdl_plan_free(plan);
}

static bool takes(const mdl_conformance_target *target, const mdl_gemm *g) {
    mdl_status status = target->takes ? target->takes(g) : MDL_OK;
    mdl_status_free(status);
    return !status;
}

static void test_product(mdl_test *t, const mdl_conformance_target *target, const int64_t size[3], int variant, int kind) {
    static const char *const starts[] = {"", ", added in place", ", C"}, *const batches[] = {"", ", batch", ", batch side by side"};
    bool large = size[0] * size[1] * size[2] > SMALL;
    arrangement how = large ? ONE : (arrangement)((variant + kind) % 3);
    product p;
    make_problem(&p, size, variant, &kinds[kind], how, (variant + kind) % 4);
    p.in_two = target->adds_in_two;
    const mdl_gemm *g = &p.g;
    if (!takes(target, g)) return;
    if (!mdl_case(t, "%s: product %ldx%ldx%ld%s%s%s%s%s, %s to %s", target->backend->name, (long)g->m, (long)g->n, (long)g->k,
                  g->trans_a ? ", A transposed" : "", g->trans_b ? ", B transposed" : "", g->has_bias ? ", bias" : "",
                  starts[p.start], batches[how], mdl_dtype_name(g->type_a), mdl_dtype_name(g->type_d)))
        return;
    p.input = malloc((size_t)p.input_bytes);
    p.before = malloc(3 * (size_t)p.result_bytes);
    if (!p.input || !p.before) abort();
    p.result = p.before + p.result_bytes;
    p.other = p.result + p.result_bytes;
    fill_all(&p);
    run_product(t, target, &p);
    free(p.input);
    free(p.before);
}

void mdl_conformance_products(mdl_test *t, const mdl_conformance_target *target) {
    /* m, n, k: odd, tiny, one row, one column, no sum, wider and taller than a tile, a long sum; sixteens, for operands of 8 bits.
     */
    static const int64_t sizes[][3] = {{1, 1, 1},      {5, 7, 3},      {9, 33, 1},      {1, 129, 40}, {113, 1, 33}, {113, 33, 64},
                                       {300, 331, 33}, {40, 1300, 17}, {33, 320, 1024}, {17, 64, 48}, {1, 16, 16}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int variant = 0; variant < 24; variant++) /* transposes, bias, start */
            for (int kind = 0; kind < KINDS; kind++) {
                bool large = sizes[s][0] * sizes[s][1] * sizes[s][2] > SMALL; /* every kind, with some of the variants */
                bool small = size_of(kinds[kind].a) == 1;                     /* any layout of them is widened first: a few sizes */
                if (small ? s != 1 && s < 8 : s > 8) continue;
                if (!large || (variant + (int)s) % KINDS == kind || (variant + variant / KINDS) % KINDS == kind)
                    test_product(t, target, sizes[s], variant, kind);
            }
}
