/* Fragments of PTX's products: how the lanes of a warp hold matrices of bf16. */
#ifndef MDL_DEVICE_CUDA_FRAGMENT_H
#define MDL_DEVICE_CUDA_FRAGMENT_H

#include <stdint.h>
#include <string.h>

/* A word holds two bf16, the first in its lower half. */
static inline float mdl_half_of(uint32_t word, int half) {
    uint32_t bits = half ? word & 0xffff0000u : word << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Puts a lane's words of a left operand [16,16], or [16,8] when there are two, in their places: word w has row lane / 4 + 8 (w %
 * 2), columns 2 (lane % 4) + 8 (w / 2) and the next. */
static inline void mdl_left_fragment(int lane, int words, const uint32_t *a, float to[16][16]) {
    for (int w = 0; w < words; w++)
        for (int half = 0; half < 2; half++)
            to[lane / 4 + 8 * (w % 2)][2 * (lane % 4) + 8 * (w / 2) + half] = mdl_half_of(a[w], half);
}

#endif
