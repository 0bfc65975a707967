/* Random words by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). */
#ifndef MDL_BASE_PHILOX_H
#define MDL_BASE_PHILOX_H

#include <stdint.h>

typedef struct {
    uint32_t word[4];
} mdl_random;
mdl_random mdl_philox_words(const uint32_t counter[4], const uint32_t key[2]);

#endif
