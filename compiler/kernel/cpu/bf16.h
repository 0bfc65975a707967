/* bf16 is the upper half of an f32: loads widen exactly, stores round to nearest even. Plain C, so that loops vectorize. */
#ifndef MDL_BF16_H
#define MDL_BF16_H

typedef uint16_t mdl_bf16;

MDL_FN float mdl_from_bf16(mdl_bf16 x) { return mdl_from_bits((int32_t)((uint32_t)x << 16)); }

/* What lies beyond the largest finite bf16 by half a unit or more becomes infinite. A NaN keeps its sign and upper bits, and
 * becomes quiet: its payload may lie in the lower half alone. */
MDL_FN mdl_bf16 mdl_to_bf16(float x) {
#ifdef __CUDACC__ /* one instruction; every NaN becomes the same one */
    mdl_bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
#else
    uint32_t bits = (uint32_t)mdl_bits(x);
    uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (mdl_bf16)(x != x ? bits >> 16 | 0x40 : nearest);
#endif
}

#endif
