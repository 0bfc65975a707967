/* The order of an epoch: a permutation of 0 .. n-1 that any index can be asked of directly, so that a position in the data is two
 * integers (epoch, index), a seek costs nothing and no array is stored. */
#ifndef MDL_DATA_SHUFFLE_H
#define MDL_DATA_SHUFFLE_H

#include <stdint.h>

enum { MDL_SHUFFLE_ROUNDS = 8 };

typedef struct {
    int64_t n;
    int half_bits;
    uint64_t key[MDL_SHUFFLE_ROUNDS];
} mdl_shuffle;

/* The permutation of one epoch; n >= 1. */
mdl_shuffle mdl_shuffle_make(int64_t n, uint64_t seed, int64_t epoch);
/* The sequence at `index` of the permutation; 0 <= index < n. */
int64_t mdl_shuffle_at(const mdl_shuffle *shuffle, int64_t index);

#endif
