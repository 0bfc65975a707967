/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random numbers by counter.
 * One counter per element: key = the two words of the seed, counter = (index low, index high, stream, 0). */
#ifndef MDL_PHILOX_H
#define MDL_PHILOX_H

/* In place: counter[4] becomes the four random words. */
MDL_FN void mdl_philox(uint32_t counter[4], uint32_t k0, uint32_t k1) {
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    MDL_UNROLL(10)
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
