/* mdl_math: elementary functions on f32 for generated code, the same text in C and in CUDA C.
 *
 * Branch-free fixed polynomials with explicit fused multiply-add, so that loops over them vectorize without -ffast-math and
 * every build gives the same bits. The coefficients are minimax fits (Lawson iteration in f64, then rounded to f32).
 * Errors in the comments are the largest seen in tests/kernel/math_test.c; NaN goes in, NaN comes out, everywhere. */
#ifndef MDL_MATH_H
#define MDL_MATH_H

#ifdef __CUDACC_RTC__ /* has no headers */
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

#define MDL_PRAGMA(TEXT) _Pragma(#TEXT)
#ifdef __CUDACC__
#define MDL_UNROLL(N) MDL_PRAGMA(unroll N) /* before a loop */
#define MDL_FN static __device__ __forceinline__
#define MDL_FMA(a, b, c) fmaf((a), (b), (c))
#define MDL_SQRT(x) sqrtf(x)
#define MDL_INF __int_as_float(0x7f800000)
#define MDL_NAN __int_as_float(0x7fc00000)
#else
#define MDL_UNROLL(N) MDL_PRAGMA(GCC unroll N)
#define MDL_FN static inline __attribute__((always_inline, unused))
#define MDL_FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#define MDL_SQRT(x) __builtin_sqrtf(x)
#define MDL_INF __builtin_inff()
#define MDL_NAN __builtin_nanf("")
#endif

#define MDL_ROUND 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, left in the low bits */
#define MDL_LOG2E 1.442695041f
#define MDL_LN2_HIGH 0.6931471825f /* ln 2 = HIGH + LOW to 48 bits */
#define MDL_LN2_LOW -1.904654323e-9f

MDL_FN int32_t mdl_bits(float x) {
    union {
        float f;
        int32_t i;
    } u;
    u.f = x;
    return u.i;
}

MDL_FN float mdl_from_bits(int32_t i) {
    union {
        int32_t i;
        float f;
    } u;
    u.i = i;
    return u.f;
}

/* 2^n for -126 <= n <= 127 */
MDL_FN float mdl_power2(int32_t n) { return mdl_from_bits((int32_t)((uint32_t)(n + 127) << 23)); }

MDL_FN float mdl_abs(float x) { return mdl_from_bits(mdl_bits(x) & 0x7fffffff); }

/* The larger and the smaller; NaN when either is NaN. Of +0 and -0, the second. */
MDL_FN float mdl_max(float a, float b) {
    float r = a > b ? a : b;
    return a != a ? a : r;
}

MDL_FN float mdl_min(float a, float b) {
    float r = a < b ? a : b;
    return a != a ? a : r;
}

MDL_FN float mdl_sqrt(float x) { return MDL_SQRT(x); } /* correctly rounded */

MDL_FN float mdl_rsqrt(float x) { return 1.0f / MDL_SQRT(x); } /* two correctly rounded steps: 1 ulp */

/* The GPU's units for 2^x (results below 2^-126 are 0) and 1 / x; the emulator's stand for them. */
#ifdef __CUDACC__
MDL_FN float mdl_unit_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
MDL_FN float mdl_unit_reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#define MDL_UNITS
#elif defined(MDL_EMULATED)
MDL_FN float mdl_unit_exp2(float x) { return x < -126.0f ? 0.0f : __builtin_exp2f(x); }
MDL_FN float mdl_unit_reciprocal(float x) { return 1.0f / x; }
#define MDL_UNITS
#endif

#ifdef MDL_UNITS
/* e^x: 2 ulp, by the unit for 2^x: x log2 e in two parts, the second as a correction. Results below 2^-126 are 0. */
MDL_FN float mdl_exp(float x) {
    float high = x * MDL_LOG2E, low = MDL_FMA(x, MDL_LOG2E, -high), y = mdl_unit_exp2(high);
    /* elsewhere y is right, and an infinite x has no second part */
    return high > -150.0f && high < 128.0f ? MDL_FMA(y, MDL_FMA(x, 1.925963033e-8f, low) * 0.6931471825f, y) : y;
}
#else
/* e^x: 1 ulp. Denormal results down to 2^-149, then 0; inf above 88.72. x = n ln 2 + r, e^r by a polynomial of degree 6. */
MDL_FN float mdl_exp(float x) {
    float y = x < -110.0f ? -110.0f : x;
    y = y > 90.0f ? 90.0f : y;
    float t = MDL_FMA(y, MDL_LOG2E, MDL_ROUND);
    float n = t - MDL_ROUND;
    float r = MDL_FMA(n, -MDL_LN2_HIGH, y);
    r = MDL_FMA(n, -MDL_LN2_LOW, r);
    float p = MDL_FMA(r, 1.395060215e-3f, 8.368953131e-3f);
    p = MDL_FMA(r, p, 4.166620597e-2f);
    p = MDL_FMA(r, p, 1.666651815e-1f);
    p = MDL_FMA(r, p, 0.5f);
    p = MDL_FMA(r, p, 1.0f);
    p = MDL_FMA(r, p, 1.0f);
    int32_t i = (int32_t)((uint32_t)mdl_bits(t) - (uint32_t)mdl_bits(MDL_ROUND));
    i = x != x ? 0 : i;
    int32_t half = i >> 1; /* in two factors, for results that are denormal or overflow */
    return p * mdl_power2(half) * mdl_power2(i - half);
}
#endif

/* ln x: 1 ulp. -inf at 0, NaN below, inf at inf. x = 2^e m with m in [sqrt 1/2, sqrt 2). */
MDL_FN float mdl_ln(float x) {
    float y = x < 1.175494351e-38f ? x * 8388608.0f : x; /* denormals */
    float e0 = x < 1.175494351e-38f ? -23.0f : 0.0f;
    int32_t i = (int32_t)((uint32_t)mdl_bits(y) - 0x3f3504f3u);
    float e = (float)(i >> 23) + e0;
    float f = mdl_from_bits((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
    float p = MDL_FMA(f, -7.635655254e-2f, 1.276332736e-1f);
    p = MDL_FMA(f, p, -1.316058189e-1f);
    p = MDL_FMA(f, p, 1.420155317e-1f);
    p = MDL_FMA(f, p, -1.662329882e-1f);
    p = MDL_FMA(f, p, 2.000123411e-1f);
    p = MDL_FMA(f, p, -2.500082254e-1f);
    p = MDL_FMA(f, p, 3.333333135e-1f);
    float s = f * f;
    p = MDL_FMA(p, f, -0.5f);
    p = MDL_FMA(p, s, e * MDL_LN2_LOW);
    float r = MDL_FMA(e, MDL_LN2_HIGH, f + p);
    r = x == 0.0f ? -MDL_INF : r;
    r = x < 0.0f ? MDL_NAN : r;
    return x < MDL_INF ? r : x;
}

/* sin(x + quarter * pi / 2): 1e-7 absolute for |x| <= 1e4; the error grows with |x| beyond, and the result is meaningless
 * above 6e6. Cody-Waite reduction with pi / 2 in three parts. */
MDL_FN float mdl_sin_quarter(float x, int32_t quarter) {
    float t = MDL_FMA(x, 0.6366197467f, MDL_ROUND);
    float n = t - MDL_ROUND;
    float r = MDL_FMA(n, -1.570796371f, x);
    r = MDL_FMA(n, 4.371139000e-8f, r);
    r = MDL_FMA(n, 1.715124e-15f, r);
    float s = r * r;
    float a = MDL_FMA(s, -1.949495054e-4f, 8.331973106e-3f);
    a = MDL_FMA(s, a, -1.666665077e-1f);
    a = MDL_FMA(s * r, a, r);
    float b = MDL_FMA(s, 2.443772973e-5f, -1.388736186e-3f);
    b = MDL_FMA(s, b, 4.166664556e-2f);
    b = MDL_FMA(s * s, b, MDL_FMA(s, -0.5f, 1.0f));
    int32_t i = (int32_t)((uint32_t)mdl_bits(t) + (uint32_t)quarter);
    float y = (i & 1) != 0 ? b : a;
    return mdl_from_bits(mdl_bits(y) ^ (int32_t)((uint32_t)(i & 2) << 30));
}

MDL_FN float mdl_sin(float x) { return mdl_sin_quarter(x, 0); }

MDL_FN float mdl_cos(float x) { return mdl_sin_quarter(x, 1); }

#ifdef MDL_UNITS
/* 2e-7 absolute, which is what 1 + erf needs: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26. */
MDL_FN float mdl_erf(float x) {
    float z = mdl_abs(x), t = mdl_unit_reciprocal(MDL_FMA(z, 0.3275911f, 1.0f)), e = mdl_unit_exp2(z * z * -MDL_LOG2E);
    float p = MDL_FMA(t, 1.061405429f, -1.453152027f);
    p = MDL_FMA(t, p, 1.421413741f);
    p = MDL_FMA(t, p, -0.284496736f);
    p = MDL_FMA(t, p, 0.254829592f);
    float y = MDL_FMA(-p * t, e, 1.0f);
    return mdl_from_bits(mdl_bits(y) | (mdl_bits(x) & (int32_t)0x80000000));
}
#else
/* 2 ulp. Below 1 an odd polynomial; above 1 - e^P(x), where P fits ln erfc. */
MDL_FN float mdl_erf(float x) {
    float z = mdl_abs(x);
    float s = z * z;
    float a = MDL_FMA(s, 7.853882562e-5f, -8.010200690e-4f);
    a = MDL_FMA(s, a, 5.188328680e-3f);
    a = MDL_FMA(s, a, -2.685381286e-2f);
    a = MDL_FMA(s, a, 1.128358543e-1f);
    a = MDL_FMA(s, a, -3.761262596e-1f);
    a = MDL_FMA(s, a, 1.283791065e-1f);
    a = MDL_FMA(a, z, z);
    float w = z > 4.0f ? 4.0f : z;
    float b = MDL_FMA(w, 1.855740265e-4f, -2.939607482e-3f);
    b = MDL_FMA(w, b, 2.180531807e-2f);
    b = MDL_FMA(w, b, -1.030373722e-1f);
    b = MDL_FMA(w, b, -6.382256746e-1f);
    b = MDL_FMA(w, b, -1.127040029f);
    b = MDL_FMA(w, b, -3.537193115e-4f);
    b = 1.0f - mdl_exp(b);
    float y = z < 1.0f ? a : b;
    return mdl_from_bits(mdl_bits(y) | (mdl_bits(x) & (int32_t)0x80000000));
}
#endif

/* 3 ulp: erf(y) = x for |x| < 1; inf at 1, NaN beyond. y / x is a polynomial of w = -ln(1 - x^2) below 5, of sqrt(w) above. */
MDL_FN float mdl_erfinv(float x) {
    float w = -mdl_ln(MDL_FMA(-x, x, 1.0f));
    float t = w - 2.5f;
    float a = MDL_FMA(t, -8.790809860e-9f, 2.323571380e-8f);
    a = MDL_FMA(t, a, 4.661698940e-7f);
    a = MDL_FMA(t, a, -3.462738500e-6f);
    a = MDL_FMA(t, a, -4.963357700e-6f);
    a = MDL_FMA(t, a, 2.183445470e-4f);
    a = MDL_FMA(t, a, -1.252741790e-3f);
    a = MDL_FMA(t, a, -4.177386870e-3f);
    a = MDL_FMA(t, a, 0.24664028f);
    a = MDL_FMA(t, a, 1.50140941f);
    t = MDL_SQRT(w) - 3.0f;
    float b = MDL_FMA(t, 1.289130010e-4f, -3.186874960e-4f);
    b = MDL_FMA(t, b, -7.654076760e-5f);
    b = MDL_FMA(t, b, 1.495815460e-3f);
    b = MDL_FMA(t, b, -3.587031040e-3f);
    b = MDL_FMA(t, b, 5.683184600e-3f);
    b = MDL_FMA(t, b, -7.639400200e-3f);
    b = MDL_FMA(t, b, 9.445684030e-3f);
    b = MDL_FMA(t, b, 1.00167513f);
    b = MDL_FMA(t, b, 2.83297682f);
    float y = (w < 5.0f ? a : b) * x;
    return mdl_abs(x) == 1.0f ? x * MDL_INF : y;
}

/* 2 ulp. Below 0.625 an odd polynomial; above 1 - 2 / (e^2x + 1). */
MDL_FN float mdl_tanh(float x) {
    float z = mdl_abs(x);
    float s = z * z;
    float a = MDL_FMA(s, -5.697384011e-3f, 2.063254640e-2f);
    a = MDL_FMA(s, a, -5.373779684e-2f);
    a = MDL_FMA(s, a, 1.333142072e-1f);
    a = MDL_FMA(s, a, -3.333328068e-1f);
    a = MDL_FMA(s * z, a, z);
    float b = 1.0f - 2.0f / (mdl_exp(z + z) + 1.0f);
    float y = z < 0.625f ? a : b;
    return mdl_from_bits(mdl_bits(y) | (mdl_bits(x) & (int32_t)0x80000000));
}

#endif
