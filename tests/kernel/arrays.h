/* For tests of kernels: arrays that show what was not written and what was written beyond them. */
#ifndef MDL_TESTS_KERNEL_ARRAYS_H
#define MDL_TESTS_KERNEL_ARRAYS_H

#include <math.h>

#include "tests/kernel/native.h"

enum { GUARD = 512 };
static const float guard = 12345; /* not NaN, which additions would not change */

static inline float *array(mdl_arena *arena, int64_t n) {
    float *x = MDL_NEW_ARRAY(arena, float, n + GUARD);
    for (int64_t i = 0; i < n + GUARD; i++) x[i] = i < n ? NAN : guard;
    return x;
}

static inline bool guarded(const float *x, int64_t n) {
    for (int i = 0; i < GUARD; i++)
        if (x[n + i] != guard) return false;
    return true;
}

/* About N(0, 1), from a counter. */
static inline float *randoms(mdl_arena *arena, int64_t n, uint64_t seed) {
    float *x = MDL_NEW_ARRAY(arena, float, n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t z = ((uint64_t)i + seed * 1000003) * UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        for (int k = 0; k < 4; k++) x[i] += (float)(z >> 16 * k & 0xffff) / 65536.0f - 0.5f;
        x[i] *= 1.7f;
    }
    return x;
}

/* Runs a kernel in both orders of blocks into fresh outputs of f32; the outputs are buffer[first_out ..]. */
static inline void run_twice(mdl_test *t, mdl_arena *arena, mdl_kernel_fn kernel, void **buffer, int first_out, const int64_t *size,
                             int n, const int64_t *immediate, int64_t grid) {
    float *first[3] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) buffer[first_out + i] = array(arena, size[i]);
        native_run(kernel, buffer, immediate, grid, pass);
        for (int i = 0; i < n; i++) {
            CHECK(t, guarded(buffer[first_out + i], size[i]), "output %d: written past its end", i);
            CHECK(t, !pass || !memcmp(first[i], buffer[first_out + i], sizeof(float) * (size_t)size[i]),
                  "output %d: order of blocks", i);
            first[i] = buffer[first_out + i];
        }
    }
}

#endif
