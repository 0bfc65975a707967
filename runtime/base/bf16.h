/* bf16 is the upper half of an f32: widening is exact, narrowing rounds. */
#ifndef MDL_BASE_BF16_H
#define MDL_BASE_BF16_H

#include <stdint.h>
#include <string.h>

static inline float mdl_bf16_widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To nearest, ties to even; a NaN stays one. */
static inline uint16_t mdl_bf16_narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
}

#endif
