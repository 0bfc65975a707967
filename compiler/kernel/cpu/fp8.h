/* The 8-bit formats of OCP. Stores round to nearest even and saturate: what lies beyond the largest number, infinity too, becomes
 * the largest; a NaN stays one. Loads are exact. Plain C, so that loops vectorize; a GPU that has instructions for it (sm_89) gives
 * the same bits. */
#ifndef MDL_FP8_H
#define MDL_FP8_H

typedef uint8_t mdl_e4m3; /* 4 bits of exponent, 3 of fraction: to 448 */
typedef uint8_t mdl_e5m2; /* to 57344 */

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define MDL_HAS_FP8
#endif

/* In a format of `fraction` bits: `most` and `smallest` are the bits, as f32, of its largest and its smallest normal number. Below
 * that the sum of a number and `magic` has the unit of the format, and the processor rounds. */
MDL_FN uint8_t mdl_fp8_store(float x, int fraction, uint32_t bias, uint32_t most, uint32_t smallest, float magic) {
    int shift = 23 - fraction;
    uint32_t bits = (uint32_t)mdl_bits(x), whole = bits & 0x7fffffff, size = whole < most ? whole : most;
    uint32_t nearest = ((size + (((uint32_t)1 << (shift - 1)) - 1) + (size >> shift & 1)) >> shift) - (bias << fraction);
    uint32_t small = (uint32_t)mdl_bits(mdl_from_bits((int32_t)size) + magic) - (uint32_t)mdl_bits(magic);
    uint32_t code = size < smallest ? small : nearest;
    return (uint8_t)(whole > 0x7f800000 ? 0x7f : code | (bits >> 24 & 0x80));
}

MDL_FN mdl_e4m3 mdl_to_e4m3(float x) {
#ifdef MDL_HAS_FP8
    uint16_t y;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(y) : "f"(0.0f), "f"(x));
    return (mdl_e4m3)y;
#else
    return mdl_fp8_store(x, 3, 120, 0x43e00000, 0x3c800000, 16384.0f);
#endif
}

MDL_FN mdl_e5m2 mdl_to_e5m2(float x) {
#ifdef MDL_HAS_FP8
    uint16_t y;
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(y) : "f"(0.0f), "f"(x));
    return (mdl_e5m2)y;
#else
    return mdl_fp8_store(x, 2, 112, 0x47600000, 0x38800000, 128.0f);
#endif
}

/* A code without its sign: small, where the exponent is 0, counts units. */
MDL_FN float mdl_fp8_number(uint32_t code, int fraction, uint32_t bias, float unit) {
    float number = mdl_from_bits((int32_t)((code << (23 - fraction)) + (bias << 23)));
    return code >> fraction ? number : (float)(int32_t)code * unit;
}

MDL_FN float mdl_from_e4m3(mdl_e4m3 x) {
    uint32_t code = x & 0x7f;
    float y = mdl_fp8_number(code, 3, 120, 0x1p-9f);
    y = code == 0x7f ? MDL_NAN : y;
    return x & 0x80 ? -y : y;
}

MDL_FN float mdl_from_e5m2(mdl_e5m2 x) {
    uint32_t code = x & 0x7f;
    float y = mdl_fp8_number(code, 2, 112, 0x1p-16f);
    y = code > 0x7c ? MDL_NAN : code == 0x7c ? MDL_INF : y;
    return x & 0x80 ? -y : y;
}

#endif
