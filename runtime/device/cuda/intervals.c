/* Intervals in the order of their beginnings: each adds what lies behind the end of all before it. */
#include "runtime/device/cuda/intervals.h"

#include <stdlib.h>

static int by_begin(const void *a, const void *b) {
    uint64_t x = ((const mdl_interval *)a)->begin, y = ((const mdl_interval *)b)->begin;
    return (x > y) - (x < y);
}

uint64_t mdl_intervals_union(mdl_interval *intervals, int64_t n) {
    uint64_t sum = 0, end = 0;
    if (n > 1) qsort(intervals, (size_t)n, sizeof *intervals, by_begin);
    for (int64_t i = 0; i < n; i++) {
        uint64_t from = intervals[i].begin > end ? intervals[i].begin : end;
        if (intervals[i].end <= from) continue;
        sum += intervals[i].end - from;
        end = intervals[i].end;
    }
    return sum;
}

uint64_t mdl_intervals_span(const mdl_interval *intervals, int64_t n) {
    uint64_t first = UINT64_MAX, last = 0;
    for (int64_t i = 0; i < n; i++) {
        if (intervals[i].begin < first) first = intervals[i].begin;
        if (intervals[i].end > last) last = intervals[i].end;
    }
    return n ? last - first : 0;
}
