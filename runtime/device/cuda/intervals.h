/* Stretches of time on one clock. */
#ifndef MDL_DEVICE_CUDA_INTERVALS_H
#define MDL_DEVICE_CUDA_INTERVALS_H

#include <stdint.h>

typedef struct {
    uint64_t begin, end; /* nanoseconds; begin <= end */
} mdl_interval;

/* Nanoseconds that lie in at least one of n intervals. Sorts them by their beginnings. */
uint64_t mdl_intervals_union(mdl_interval *intervals, int64_t n);
/* Nanoseconds from the first beginning to the last end; 0 of none. */
uint64_t mdl_intervals_span(const mdl_interval *intervals, int64_t n);

#endif
