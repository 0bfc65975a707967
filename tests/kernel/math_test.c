/* mdl_math against libm in f64 over all exponents; its vectorization; Philox against its known answers. */
#include <math.h>
#include <stdlib.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/cpu/fp8.h"
#include "compiler/kernel/cpu/philox.h"
#include "compiler/kernel/philox.h"
#include "compiler/kernel/template.h"
#include "compiler/op/pointwise.h"
#include "runtime/base/compare.h"
#include "runtime/base/dtype.h"
#include "runtime/base/philox.h"
#include "tests/kernel/native.h"

#define FUNCTIONS(F) F(exp) F(ln) F(sqrt) F(rsqrt) F(sin) F(cos) F(erf) F(erfinv) F(tanh) F(abs)

static double reference_ln(double x) { return log(x); }
static double reference_erfinv(double x) { return mdl_pointwise_eval(MDL_OP_ERFINV, x, 0, 0); }
static double reference_rsqrt(double x) { return 1.0 / sqrt(x); }
static double reference_abs(double x) { return fabs(x); }
#define reference_exp exp
#define reference_sqrt sqrt
#define reference_sin sin
#define reference_cos cos
#define reference_erf erf
#define reference_tanh tanh

#define F(name) \
    static float call_##name(float x) { return mdl_##name(x); }
FUNCTIONS(F)
#undef F

/* The bound is in units in the last place of the f32 result, or absolute where `ulp` is 0. */
static const struct {
    const char *name;
    float (*ours)(float);
    double (*reference)(double);
    double ulp, absolute, range;
} functions[] = {
    {"exp", call_exp, reference_exp, 1.0, 0, INFINITY},
    {"ln", call_ln, reference_ln, 1.0, 0, INFINITY},
    {"sqrt", call_sqrt, reference_sqrt, 0.501, 0, INFINITY},
    {"rsqrt", call_rsqrt, reference_rsqrt, 1.501, 0, INFINITY},
    {"sin", call_sin, reference_sin, 0, 1.2e-7, 1e4},
    {"cos", call_cos, reference_cos, 0, 1.2e-7, 1e4},
    {"erf", call_erf, reference_erf, 2.0, 0, INFINITY},
    {"tanh", call_tanh, reference_tanh, 2.0, 0, INFINITY},
    {"erfinv", call_erfinv, reference_erfinv, 3.0, 0, INFINITY},
    {"abs", call_abs, reference_abs, 0, 0, INFINITY},
};
enum { COUNT = sizeof functions / sizeof *functions };

static double ulp_of(double x) {
    int exponent;
    if (fabs(x) < 0x1p-126) return 0x1p-149;
    frexp(x, &exponent);
    return ldexp(1.0, exponent - 24);
}

/* Distance of y from the reference in units of the bound: at most 1 when good. */
static double error_of(int f, float x, float y) {
    double r = functions[f].reference((double)x);
    if (isnan(r)) return isnan(y) ? 0 : INFINITY;
    if (isinf((float)r)) return y == (float)r ? 0 : INFINITY;
    double error = fabs((double)y - r), bound = functions[f].ulp > 0 ? functions[f].ulp * ulp_of(r) : functions[f].absolute;
    return error == 0 ? 0 : bound > 0 ? error / bound : INFINITY;
}

static void sweep(mdl_test *t, int f) {
    mdl_comparison errors = mdl_comparison_begin();
    float at = 0;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 7919) { /* a prime: every exponent, both signs, NaNs */
        float x = mdl_from_bits((int32_t)(uint32_t)bits);
        if (!isnan(x) && fabsf(x) > functions[f].range) continue;
        double error = error_of(f, x, functions[f].ours(x));
        if (mdl_comparison_add(&errors, error, 0)) at = x;
    }
    CHECK(t, mdl_error_max(&errors) <= 1, "mdl_%s(%.9g) is off by %g of its bound", functions[f].name, (double)at,
          mdl_error_max(&errors));
}

/* The usual range, where the branches of erf and tanh meet: denser. */
static void sweep_near(mdl_test *t, int f) {
    mdl_comparison errors = mdl_comparison_begin();
    float at = 0;
    for (int i = -400000; i <= 400000; i++) {
        float x = (float)i * 2.5e-5f;
        double error = error_of(f, x, functions[f].ours(x));
        if (mdl_comparison_add(&errors, error, 0)) at = x;
    }
    CHECK(t, mdl_error_max(&errors) <= 1, "mdl_%s(%.9g) is off by %g of its bound", functions[f].name, (double)at,
          mdl_error_max(&errors));
}

static void special(mdl_test *t) {
    const float inf = INFINITY, nan = NAN;
    CHECK(t, mdl_exp(-inf) == 0 && mdl_exp(inf) == inf && mdl_exp(-104) == 0 && mdl_exp(0) == 1, "exp at its ends");
    CHECK(t, mdl_ln(0) == -inf && mdl_ln(inf) == inf && isnan(mdl_ln(-1)) && mdl_ln(1) == 0, "ln at its ends");
    CHECK(t, mdl_erf(inf) == 1 && mdl_erf(-inf) == -1 && mdl_erf(0) == 0 && signbit(mdl_erf(-0.0f)), "erf at its ends");
    CHECK(t,
          mdl_erfinv(1) == inf && mdl_erfinv(-1) == -inf && mdl_erfinv(0) == 0 && signbit(mdl_erfinv(-0.0f)) &&
              isnan(mdl_erfinv(1.0000001f)) && isnan(mdl_erfinv(-inf)),
          "erfinv at its ends");
    CHECK(t, mdl_tanh(inf) == 1 && mdl_tanh(-inf) == -1 && mdl_tanh(100) == 1 && mdl_tanh(0) == 0, "tanh at its ends");
    CHECK(t, isnan(mdl_sin(inf)) && isnan(mdl_cos(-inf)) && mdl_sin(0) == 0 && mdl_cos(0) == 1, "sin and cos at their ends");
    CHECK(t, mdl_max(1, 2) == 2 && mdl_max(2, 1) == 2 && mdl_max(-inf, 1) == 1, "max");
    CHECK(t, mdl_min(1, 2) == 1 && mdl_min(2, 1) == 1 && mdl_min(inf, 1) == 1, "min");
    CHECK(t, isnan(mdl_max(nan, 1)) && isnan(mdl_max(1, nan)), "max with NaN");
    CHECK(t, isnan(mdl_min(nan, 1)) && isnan(mdl_min(1, nan)), "min with NaN");
}

enum { N = 4096 };
static float input[N], output[N];

/* The vectorized loop gives the bits of the plain function. */
static void same_bits(mdl_test *t, void *library, int f) {
    char name[32];
    void (*loop)(float *, const float *);
    snprintf(name, sizeof name, "loop_%s", functions[f].name);
    native_symbol(library, name, &loop);
    CHECK(t, loop, "no %s", name);
    if (!loop) return;
    loop(output, input);
    int different = 0;
    for (int i = 0; i < N; i++) {
        float y = functions[f].ours(input[i]);
        different += memcmp(&y, &output[i], 4) && !(isnan(y) && isnan(output[i]));
    }
    CHECK(t, different == 0, "%d of %d results of mdl_%s differ", different, N, functions[f].name);
}

/* mdl_vexp of the attention kernels is mdl_exp wherever its result is not tiny. */
static void same_vexp(mdl_test *t, void *library) {
    void (*loop)(float *, const float *);
    native_symbol(library, "loop_vexp", &loop);
    for (int i = 0; i < N; i++) input[i] = (float)(i + 64 - N) * 0.0215f; /* -86.7 .. 1.4 */
    if (loop) loop(output, input);
    int different = 0;
    for (int i = 0; i < N; i++) different += output[i] != mdl_exp(input[i]);
    CHECK(t, loop && different == 0, "%d of %d results of mdl_vexp differ", different, N);
}

/* mdl_vtanh has another form than mdl_tanh above 0.625, and meets the same bound. */
static void good_vtanh(mdl_test *t, void *library) {
    void (*loop)(float *, const float *);
    native_symbol(library, "loop_vtanh", &loop);
    for (int i = 0; i < N; i++) input[i] = (float)(i - N / 2) * 0.0051f; /* -10.4 .. 10.4 */
    input[0] = INFINITY, input[1] = -INFINITY, input[2] = NAN, input[3] = 1e30f, input[4] = -0.0f;
    if (loop) loop(output, input);
    int bad = 0;
    for (int i = 0; i < N; i++) {
        double r = tanh((double)input[i]), error = fabs((double)output[i] - r);
        bad += isnan(r) ? !isnan(output[i]) : !(error <= 2 * ulp_of(r)) || !signbit(output[i]) != !signbit(r);
    }
    CHECK(t, loop && bad == 0, "%d of %d results of mdl_vtanh are off", bad, N);
}

/* ---- bf16 ---- */

/* The bf16 next to `x` by the definition: of the two neighbours the nearer, of two equally near the even one. */
static uint16_t nearest_bf16(float x) {
    uint16_t down = (uint16_t)((uint32_t)mdl_bits(x) >> 16);
    double low = fabs((double)mdl_from_bf16(down)),
           high = (down & 0x7fff) == 0x7f7f ? 0x1p128 : fabs((double)mdl_from_bf16(down + 1));
    double below = fabs((double)x) - low, above = high - fabs((double)x);
    return below < above || (below == above && !(down & 1)) ? down : (uint16_t)(down + 1);
}

static void bf16_values(mdl_test *t) {
    int lost = 0, off = 0;
    for (uint32_t i = 0; i < 65536; i++) {
        float x = mdl_from_bf16((uint16_t)i);
        lost += mdl_to_bf16(x) != (uint16_t)(isnan(x) ? i | 0x40 : i);
        static const uint32_t lower[] = {1, 0x7fff, 0x8000, 0x8001, 0xffff}; /* around the tie */
        for (int k = 0; k < 5 && isfinite(x); k++) {
            float between = mdl_from_bits((int32_t)(i << 16 | lower[k]));
            off += mdl_to_bf16(between) != nearest_bf16(between);
        }
    }
    CHECK(t, lost == 0, "%d of 65536 values do not come back", lost);
    CHECK(t, off == 0, "%d values between two bf16 are not rounded to the nearest even", off);
    CHECK(t, mdl_from_bf16(0x3f80) == 1 && mdl_from_bf16(0xc048) == -3.125f, "known values");
    CHECK(t, mdl_to_bf16(0x1.02p0f - 0x1p-23f) == 0x3f81 && mdl_to_bf16(0x1.01p0f) == 0x3f80 && mdl_to_bf16(0x1.03p0f) == 0x3f82,
          "known roundings");
}

static void bf16_special(mdl_test *t) {
    CHECK(t, mdl_to_bf16(INFINITY) == 0x7f80 && mdl_to_bf16(-INFINITY) == 0xff80, "infinities");
    CHECK(t, mdl_to_bf16(0x1.fep127f) == 0x7f7f && mdl_to_bf16(0x1.fefffep127f) == 0x7f7f, "the largest finite");
    CHECK(t, mdl_to_bf16(0x1.ffp127f) == 0x7f80 && mdl_to_bf16(-0x1.fffffep127f) == 0xff80, "overflow");
    CHECK(t, mdl_to_bf16(0.0f) == 0 && mdl_to_bf16(-0.0f) == 0x8000 && mdl_to_bf16(0x1p-149f) == 0, "zeros");
    for (uint32_t i = 1; i < 0x800000; i += 97) { /* NaNs of both signs, of any payload */
        bool nan = isnan(mdl_from_bf16(mdl_to_bf16(mdl_from_bits((int32_t)(0x7f800000 | i)))));
        uint16_t negative = mdl_to_bf16(mdl_from_bits((int32_t)(0xff800000 | i)));
        CHECK(t, nan && isnan(mdl_from_bf16(negative)) && negative >> 15, "NaN %06x is lost", i);
    }
}

/* ---- e4m3 and e5m2 ---- */

/* Every number comes back; what lies between, and beside the middle between, is rounded as mdl_dtype_round says. */
static void fp8_values(mdl_test *t) {
    static const uint32_t low[] = {0, 1, 0x7ff, 0x800, 0x801, 0xfff}; /* of the 12 bits that neither format sees */
    int lost = 0, off = 0;
    for (int i = 0; i < 256; i++) {
        float x = mdl_from_e4m3((uint8_t)i), y = mdl_from_e5m2((uint8_t)i);
        lost += isnan(x) ? (i & 0x7f) != 0x7f : mdl_to_e4m3(x) != i;
        lost += isnan(y) ? (i & 0x7f) < 0x7d : isinf(y) ? (i & 0x7f) != 0x7c : mdl_to_e5m2(y) != i;
    }
    CHECK(t, !lost, "%d numbers do not come back", lost);
    for (uint32_t high = 0; high < 1u << 20; high++)
        for (int k = 0; k < 6; k++) {
            float x = mdl_from_bits((int32_t)(high << 12 | low[k]));
            double four = mdl_dtype_round(MDL_E4M3, (double)x), five = mdl_dtype_round(MDL_E5M2, (double)x);
            float a = mdl_from_e4m3(mdl_to_e4m3(x)), b = mdl_from_e5m2(mdl_to_e5m2(x));
            off += isnan(x) ? !isnan(a) || !isnan(b) : (double)a != four || (double)b != five;
        }
    CHECK(t, !off, "%d numbers of f32 are not rounded as they should be", off);
    CHECK(t, mdl_from_e4m3(0x38) == 1 && mdl_from_e4m3(0xfe) == -448 && mdl_from_e4m3(1) == 0x1p-9f, "known numbers of e4m3");
    CHECK(t, mdl_from_e5m2(0x3c) == 1 && mdl_from_e5m2(0xfb) == -57344 && mdl_from_e5m2(1) == 0x1p-16f, "known numbers of e5m2");
    CHECK(t, mdl_to_e4m3(-0.0f) == 0x80 && mdl_to_e5m2(-INFINITY) == 0xfb && mdl_to_e4m3(NAN) == 0x7f, "signs, infinity, NaN");
}

/* A vectorized loop over arrays of bf16 gives the bits of the plain functions. */
static void same_bf16(mdl_test *t, void *library) {
    static uint16_t narrow[N];
    void (*store)(uint16_t *, const float *), (*load)(float *, const uint16_t *);
    native_symbol(library, "store_bf16", &store);
    native_symbol(library, "load_bf16", &load);
    CHECK(t, store && load, "no loops of bf16");
    if (!store || !load) return;
    int different = 0;
    store(narrow, input);
    for (int i = 0; i < N; i++) different += narrow[i] != mdl_to_bf16(input[i]);
    load(output, narrow);
    for (int i = 0; i < N; i++) different += (uint32_t)mdl_bits(output[i]) != (uint32_t)narrow[i] << 16;
    CHECK(t, different == 0, "%d of %d conversions differ", different, N);
}

static void vectorized(mdl_test *t) {
    static char source[8192];
    int length = snprintf(source, sizeof source,
                          "void loop_vexp(float *restrict y, const float *restrict x) {\n"
                          "    for (int i = 0; i < %d; i += MDL_LANES) mdl_store(y + i, mdl_vexp(mdl_load(x + i)));\n}\n"
                          "void loop_vtanh(float *restrict y, const float *restrict x) {\n"
                          "    for (int i = 0; i < %d; i += MDL_LANES) mdl_store(y + i, mdl_vtanh(mdl_load(x + i)));\n}\n"
                          "void store_bf16(mdl_bf16 *restrict y, const float *restrict x) {\n"
                          "#pragma omp simd\n    for (int i = 0; i < %d; i++) y[i] = mdl_to_bf16(x[i]);\n}\n"
                          "void load_bf16(float *restrict y, const mdl_bf16 *restrict x) {\n"
                          "#pragma omp simd\n    for (int i = 0; i < %d; i++) y[i] = mdl_from_bf16(x[i]);\n}\n",
                          N, N, N, N);
    for (int f = 0; f < COUNT; f++)
        length += snprintf(source + length, sizeof source - (size_t)length,
                           "void loop_%s(float *restrict y, const float *restrict x) {\n"
                           "#pragma omp simd\n    for (int i = 0; i < %d; i++) y[i] = mdl_%s(x[i]);\n}\n",
                           functions[f].name, N, functions[f].name);
    bool gcc = !mdl_shell(t, NULL, "cc --version | grep -q 'Free Software Foundation'");
    char flags[128];
    snprintf(flags, sizeof flags, "%s%s", native_isa(), gcc ? " -fopt-info-vec" : "");
    const char *text;
    CHECK(t, native_write(t, "math", mdl_template_prelude(), source), "cannot write the source");
    void *library = native_compile(t, "math", flags, &text);
    int loops = 0;
    for (const char *at = text; gcc && (at = strstr(at, "loop vectorized")); at++) loops++;
    CHECK(t, !gcc || loops == COUNT + 2, "%d of %d loops were vectorized:\n%s", loops, COUNT + 2, text);
    for (int i = 0; i < N; i++)
        input[i] = i < N / 2 ? (float)(i - N / 4) * 0.011f : mdl_from_bits((int32_t)((uint32_t)i * 0x9E3779B9u));
    for (int f = 0; f < COUNT && library; f++) same_bits(t, library, f);
    if (library) same_bf16(t, library);
    if (library) same_vexp(t, library), good_vtanh(t, library);
}

/* The known answers that Random123 1.14 ships (kat_vectors, philox4x32 10). */
static void known_answers(mdl_test *t) {
    static const uint32_t kat[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t text[4];
        mdl_random host = mdl_philox_words(kat[i], kat[i] + 4);
        memcpy(text, kat[i], sizeof text);
        mdl_philox(text, kat[i][4], kat[i][5]);
        CHECK(t, !memcmp(host.word, kat[i] + 6, 16), "host, vector %d: %08x %08x %08x %08x", i, host.word[0], host.word[1],
              host.word[2], host.word[3]);
        CHECK(t, !memcmp(text, kat[i] + 6, 16), "kernel, vector %d: %08x %08x %08x %08x", i, text[0], text[1], text[2], text[3]);
    }
}

static void distributions(mdl_test *t) {
    enum { DRAWS = 100000 };
    double sum = 0, square = 0, uniform = 0;
    mdl_comparison normals = mdl_comparison_begin(), uniforms = mdl_comparison_begin();
    int outside = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        uint64_t index = i << 17 | i; /* both words of the index */
        double n = mdl_philox_reference_normal(7, 9, 3, index), u = mdl_philox_reference_uniform(7, 9, 3, index);
        float n32 = mdl_philox_normal(7, 9, 3, index), u32 = mdl_philox_uniform(7, 9, 3, index);
        mdl_comparison_add(&normals, (double)n32, n);
        mdl_comparison_add(&uniforms, (double)u32, u);
        outside += !(u >= 0 && u < 1);
        sum += n, square += n * n, uniform += u;
    }
    double error = mdl_error_max(&normals);
    CHECK(t, error <= 2e-6, "normals of kernel and host differ by %g", error); /* f32 rounding of 2 pi v, times a radius to 5.8 */
    CHECK(t, mdl_error_max(&uniforms) == 0 && !outside, "uniforms of kernel and host differ, or %d are outside [0, 1)", outside);
    CHECK(t, fabs(sum / DRAWS) < 0.02, "mean of normals %g", sum / DRAWS);                 /* 5 sigma: 5 / sqrt(DRAWS) = 0.016 */
    CHECK(t, fabs(square / DRAWS - 1) < 0.03, "variance of normals %g", square / DRAWS);   /* 5 sqrt(2 / DRAWS) = 0.022 */
    CHECK(t, fabs(uniform / DRAWS - 0.5) < 0.006, "mean of uniforms %g", uniform / DRAWS); /* 5 sqrt(1 / 12 / DRAWS) = 0.0046 */
    CHECK(t, mdl_philox_uniform(7, 9, 3, 5) != mdl_philox_uniform(7, 9, 4, 5), "the stream counts");
    CHECK(t, mdl_philox_uniform(7, 9, 3, 5) != mdl_philox_uniform(7, 9, 3, 5 | UINT64_C(1) << 32), "the high word counts");
}

void suite_math(mdl_test *t) {
    for (int f = 0; f < COUNT; f++) {
        if (mdl_case(t, "mdl_%s against libm", functions[f].name)) {
            sweep(t, f);
            sweep_near(t, f);
        }
    }
    if (mdl_case(t, "special values")) special(t);
    if (mdl_case(t, "bf16: every value comes back, what lies between is rounded to the nearest even")) bf16_values(t);
    if (mdl_case(t, "bf16: infinities, overflow, zeros, NaN")) bf16_special(t);
    if (mdl_case(t, "e4m3, e5m2: every number comes back, others are rounded to the nearest even, and saturate")) fp8_values(t);
    if (mdl_case(t, "loops vectorize and give the same bits")) vectorized(t);
    if (mdl_case(t, "philox: known answers")) known_answers(t);
    if (mdl_case(t, "philox: uniform and normal")) distributions(t);
}
