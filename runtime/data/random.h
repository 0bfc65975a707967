/* Random numbers by counter: a draw depends on what it is for and on nothing else, so batches do not depend on packing, on the
 * number of threads or on what was drawn before. */
#ifndef MDL_DATA_RANDOM_H
#define MDL_DATA_RANDOM_H

#include "runtime/base/philox.h"

typedef enum { MDL_RANDOM_SHUFFLE, MDL_RANDOM_CROP, MDL_RANDOM_MASK, MDL_RANDOM_SOURCE } mdl_random_use;

/* The draw for one position of one sequence in one epoch. epoch and position count modulo 2^32, sequence modulo 2^56. */
mdl_random mdl_random_at(uint64_t seed, mdl_random_use use, int64_t epoch, int64_t sequence, int64_t position);

/* 0 <= result < n for n <= 2^32; the bias is below n / 2^32. */
static inline int64_t mdl_random_below(uint32_t word, int64_t n) { return (int64_t)(((uint64_t)word * (uint64_t)n) >> 32); }

#endif
