/* What the benchmarks train on: one file, masked and cut as ESM-2's recipe does. */
#ifndef MDL_BENCH_DATA_H
#define MDL_BENCH_DATA_H

#include "runtime/data/loader.h"

/* *path stays the caller's. */
static inline mdl_loader_options mdl_bench_data(const char *const *path) {
    return (mdl_loader_options){.data = {.files = path, .n_files = 1},
                                .max_seq_length = 1024,
                                .mlm_probability = 0.15,
                                .mask_fraction = 0.8,
                                .random_fraction = 0.1,
                                .seed = 1,
                                .shuffle = true,
                                .micro_batches = 1};
}

#endif
