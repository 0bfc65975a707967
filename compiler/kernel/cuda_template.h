/* The kernels of template.h for CUDA: the same buffers, immediates and results but for the order of sums, which depends on sizes
 * alone here too. Each is a text in the dialect of cuda/simt.h. */
#ifndef MDL_KERNEL_CUDA_TEMPLATE_H
#define MDL_KERNEL_CUDA_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/kernel/blocks.h"
#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"

typedef struct {
    const char *text;
    int threads;          /* of a block */
    int64_t shared_bytes; /* of dynamic shared memory */
    mdl_template_blocks blocks;
    mdl_template_map maps[4];
    int n_maps;
} mdl_cuda_template;

/* A block is one row n and 128 columns: each of 8 warps adds up the matches among its eighth of the tokens. Reads `index` once a
 * block: meant for tables of few rows. */
mdl_cuda_template mdl_cuda_scatter_add(mdl_arena *arena, mdl_dtype dtype, int64_t cols, bool with_init, const char *symbol);
/* A block is a tile of 64 x 64 bytes. */
mdl_cuda_template mdl_cuda_transpose(mdl_arena *arena, int64_t cols, const char *symbol);
/* A thread is a token or a segment; of segsum, a block is one segment and 128 columns: each of 8 warps adds up every eighth row. */
mdl_cuda_template mdl_cuda_segment(mdl_arena *arena, const char *name, mdl_dtype dtype, int64_t cols, const char *symbol);
/* The op tiles. A thread is a segment. */
mdl_cuda_template mdl_cuda_tiles(mdl_arena *arena, int64_t rows, const char *symbol);
/* A block is 32 columns of one output: each of 8 warps adds up every eighth chunk. */
mdl_cuda_template mdl_cuda_finish(mdl_arena *arena, int n, const int64_t *cols, const bool *init, const char *symbol);

#endif
