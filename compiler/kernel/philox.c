/* Philox on the host; see philox.h. */
#include "compiler/kernel/philox.h"

#include <math.h>

#include "runtime/base/philox.h"

static mdl_random words_at(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    return mdl_philox_words((const uint32_t[]){(uint32_t)index, (uint32_t)(index >> 32), stream, 0}, (const uint32_t[]){k0, k1});
}

double mdl_philox_reference_uniform(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    return (double)(words_at(k0, k1, stream, index).word[0] >> 8) * 0x1p-24;
}

double mdl_philox_reference_normal(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index) {
    mdl_random w = words_at(k0, k1, stream, index);
    double u = ((double)(w.word[0] >> 8) + 1.0) * 0x1p-24, v = (double)(w.word[1] >> 8) * 0x1p-24 - 0.5;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586477 * v);
}
