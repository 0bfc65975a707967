/* Philox on the host; see philox.h. */
#include "compiler/kernel/philox.h"

#include <math.h>

void mdl_philox_words(const uint32_t counter[4], uint32_t k0, uint32_t k1, uint32_t out[4]) {
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t u = UINT64_C(0xD2511F53) * a, v = UINT64_C(0xCD9E8D57) * c;
        a = (uint32_t)(v >> 32) ^ b ^ k0;
        c = (uint32_t)(u >> 32) ^ d ^ k1;
        b = (uint32_t)v;
        d = (uint32_t)u;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

double mdl_philox_reference_uniform(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    uint32_t words[4];
    mdl_philox_words((const uint32_t[4]){(uint32_t)index, (uint32_t)(index >> 32), stream, 0}, k0, k1, words);
    return (double)(words[0] >> 8) * 0x1p-24;
}

double mdl_philox_reference_normal(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    uint32_t words[4];
    mdl_philox_words((const uint32_t[4]){(uint32_t)index, (uint32_t)(index >> 32), stream, 0}, k0, k1, words);
    double u = ((double)(words[0] >> 8) + 1.0) * 0x1p-24, v = (double)(words[1] >> 8) * 0x1p-24 - 0.5;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586477 * v);
}
