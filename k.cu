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

#ifdef __CUDACC__
#define MDL_FN static __device__ __forceinline__
#define MDL_FMA(a, b, c) fmaf((a), (b), (c))
#define MDL_SQRT(x) sqrtf(x)
#define MDL_INF __int_as_float(0x7f800000)
#define MDL_NAN __int_as_float(0x7fc00000)
#else
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
/* bf16 is the upper half of an f32: loads widen exactly, stores round to nearest even. Plain C, so that loops vectorize. */
#ifndef MDL_BF16_H
#define MDL_BF16_H

typedef uint16_t mdl_bf16;

MDL_FN float mdl_from_bf16(mdl_bf16 x) { return mdl_from_bits((int32_t)((uint32_t)x << 16)); }

/* What lies beyond the largest finite bf16 by half a unit or more becomes infinite. A NaN keeps its sign and upper bits, and
 * becomes quiet: its payload may lie in the lower half alone. */
MDL_FN mdl_bf16 mdl_to_bf16(float x) {
    uint32_t bits = (uint32_t)mdl_bits(x);
    uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (mdl_bf16)(x != x ? bits >> 16 | 0x40 : nearest);
}

#endif
/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random numbers by counter.
 * One counter per element: key = the two words of the seed, counter = (index low, index high, stream, 0). */
#ifndef MDL_PHILOX_H
#define MDL_PHILOX_H

/* In place: counter[4] becomes the four random words. */
MDL_FN void mdl_philox(uint32_t counter[4], uint32_t k0, uint32_t k1) {
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        uint64_t u = (uint64_t)a * 0xD2511F53u, v = (uint64_t)c * 0xCD9E8D57u;
        a = (uint32_t)(v >> 32) ^ b ^ k0;
        c = (uint32_t)(u >> 32) ^ d ^ k1;
        b = (uint32_t)v;
        d = (uint32_t)u;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    counter[0] = a, counter[1] = b, counter[2] = c, counter[3] = d;
}

/* 24 bits: in [0, 1), a multiple of 2^-24 */
MDL_FN float mdl_philox_uniform(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    uint32_t w[4] = {(uint32_t)index, (uint32_t)(index >> 32), stream, 0};
    mdl_philox(w, k0, k1);
    return (float)(int32_t)(w[0] >> 8) * 0x1p-24f;
}

/* Box-Muller from the first two words: u in (0, 1], v in [-1/2, 1/2): sqrt(-2 ln u) cos(2 pi v) */
MDL_FN float mdl_philox_normal(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    uint32_t w[4] = {(uint32_t)index, (uint32_t)(index >> 32), stream, 0};
    mdl_philox(w, k0, k1);
    float u = (float)(int32_t)((w[0] >> 8) + 1) * 0x1p-24f;
    float v = (float)((int32_t)(w[1] >> 8) - 0x800000) * 0x1p-24f;
    return MDL_SQRT(-2.0f * mdl_ln(u)) * mdl_cos(6.283185307f * v);
}

#endif
/* What kernels use of CUDA beyond C, under names of our own, so that the same text compiles for a GPU and for the emulator
 * (MDL_EMULATED: C for the host, one fiber a thread).
 *
 *     MDL_KERNEL(NAME, BUFFERS, INTEGERS, THREADS, RESIDENT) { ... args.buffer[i] ... args.immediate[i] ... }
 *
 * is a kernel of one argument: addresses of the launch's buffers, then its integers. A block has THREADS threads, the compiler
 * makes room for RESIDENT blocks on a processor, and mdl_block() is its number. Collectives (shuffle, ldmatrix, mma) are called by
 * all 32 lanes of a warp, mdl_sync() by all threads of a block. */
#ifndef MDL_SIMT_H
#define MDL_SIMT_H

#define MDL_ALIGN8 __attribute__((aligned(8)))
#define MDL_ALIGN16 __attribute__((aligned(16)))

#define MDL_ARGS(NAME, BUFFERS, INTEGERS) \
    typedef struct {                      \
        void *buffer[BUFFERS];            \
        int64_t immediate[INTEGERS];      \
    } NAME##_args

/* 16 bytes, as one access moves them. */
typedef struct {
    uint32_t w[4];
} mdl_16 MDL_ALIGN16;
typedef struct {
    uint32_t w[2];
} mdl_8 MDL_ALIGN8;

#ifndef MDL_EMULATED

#define MDL_KERNEL(NAME, BUFFERS, INTEGERS, THREADS, RESIDENT) \
    MDL_ARGS(NAME, BUFFERS, INTEGERS);                         \
    extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) NAME(const __grid_constant__ NAME##_args args)
#define MDL_SHARED __shared__

MDL_FN int mdl_thread(void) { return (int)threadIdx.x; }
MDL_FN int64_t mdl_block(void) { return (int64_t)blockIdx.x; }
/* The launch's shared bytes, aligned to 128. */
MDL_FN char *mdl_dynamic_shared(void) {
    extern __shared__ __align__(128) char mdl_dynamic[];
    return mdl_dynamic;
}
MDL_FN void mdl_sync(void) { __syncthreads(); }
MDL_FN void mdl_sync_warp(void) { __syncwarp(); }
/* x of the lane whose number differs by the bits of mask; of lane `lane`. */
MDL_FN float mdl_shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
MDL_FN float mdl_shuffle(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
MDL_FN int32_t mdl_shuffle_xor_i32(int32_t x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
MDL_FN int32_t mdl_shuffle_i32(int32_t x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }

/* 2^x, to 2 ulp; results below 2^-126 are 0. */
MDL_FN float mdl_exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* The two bf16 of a word, the first in its lower half. */
MDL_FN uint32_t mdl_pack_bf16(float low, float high) {
    uint32_t w;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
    return w;
}

MDL_FN uint32_t mdl_shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

/* Matrices of 8 x 8 bf16 from shared memory: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned). Lane i gets
 * elements (i / 4, 2 (i % 4)) and the next one of each matrix, or of its transposed. */
MDL_FN void mdl_ldmatrix4(uint32_t r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}
MDL_FN void mdl_ldmatrix4_transposed(uint32_t r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}
MDL_FN void mdl_ldmatrix2(uint32_t r[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}
MDL_FN void mdl_ldmatrix2_transposed(uint32_t r[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}

/* d[16,8] += a[16,16] b[16,8] and d[16,8] += a[16,8] b[8,8], bf16 with f32 sums, in the fragments of PTX's mma.m16n8k16, m16n8k8.
 */
MDL_FN void mdl_mma_k16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MDL_FN void mdl_mma_k8(float d[4], const uint32_t a[2], const uint32_t b[1]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}

/* Starts a copy of 16 bytes to shared memory (aligned on both sides); zeros where `there` is false, and nothing is read. commit
 * closes a group of copies, wait returns when at most `n` of the thread's groups are still under way. */
MDL_FN void mdl_copy_async(void *shared, const void *global, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(mdl_shared_address(shared)), "l"(global), "r"(there ? 16 : 0)
                 : "memory");
}
MDL_FN void mdl_copy_commit(void) { asm volatile("cp.async.commit_group;" : : : "memory"); }
#define mdl_copy_wait(n) asm volatile("cp.async.wait_group %0;" : : "n"(n) : "memory")

#endif
#endif
MDL_KERNEL(k_test, 2, 1, 256, 2) {
    float *out = (float *)args.buffer[1];
    const float *x = (const float *)args.buffer[0];
    MDL_SHARED float s[256];
    s[mdl_thread()] = x[mdl_thread()];
    mdl_sync();
    int unused_thing = 4;
    out[mdl_block() * 256 + mdl_thread()] = mdl_erf(s[255 - mdl_thread()]) + mdl_philox_normal(1, 2, 3, (uint64_t)args.immediate[0]);
}
