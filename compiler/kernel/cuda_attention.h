/* Attention over packed segments for CUDA, forward and backward: what attention.h says of shapes, places in memory, masks and
 * results holds here, but that operands are reached where they lie (no text of theirs) and that delta is given.
 *
 * A block is a head and takes tiles of queries: in f32, those that begin in its chunk of tokens, counted from their segment's start;
 * in bf16, by turns from a list, so that long ones begin first. The backward is one launch of two kinds of blocks: tiles of queries make dq, tiles of keys make dk and dv. No block needs
 * another's results, nothing is added by atomics: the bits depend on shapes and segments alone. */
#ifndef MDL_KERNEL_CUDA_ATTENTION_H
#define MDL_KERNEL_CUDA_ATTENTION_H

#include "compiler/kernel/attention.h"
#include "compiler/kernel/cuda_template.h"

enum { MDL_CUDA_ATTENTION_WIDEST = 256 }; /* in bf16 K is even */

/* By the dtype of q: f32 in fused multiply-adds, bf16 on the tensor cores with f32 sums. `buffers`: of the launch. Immediates T, S.
 * hopper: the code is for sm_90a alone, and may use what that has where it serves. */
mdl_cuda_template mdl_cuda_attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                     int buffers, bool hopper, const char *symbol);
mdl_cuda_template mdl_cuda_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                         int buffers, bool hopper, const char *symbol);

/* Rows of its tiles, if it takes them from a list (memory.tiles), the longest segment's first; 0: it finds them itself. The list may
 * not be known yet. */
int64_t mdl_cuda_attention_tile_rows(const mdl_attention_shape *shape, const mdl_attention_memory *memory, bool backward, bool hopper);

mdl_cuda_template mdl_cuda_attention_f32(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                         int buffers, const char *symbol);
mdl_cuda_template mdl_cuda_attention_bwd_f32(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                             int buffers, const char *symbol);
mdl_cuda_template mdl_cuda_attention_bf16(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                          int buffers, const char *symbol);
mdl_cuda_template mdl_cuda_attention_bwd_bf16(mdl_arena *arena, const mdl_attention_shape *shape,
                                              const mdl_attention_memory *memory, int buffers, const char *symbol);

/* For K = 64 and 128 (forward) or 64, q, k and v (and do) in whole pieces of 16 bytes. Rows of other segments and of the tail may
 * meet weights of zero: they are finite. */
bool mdl_cuda_attention_fits_hopper(const mdl_attention_shape *shape, const mdl_attention_memory *memory, bool backward);
mdl_cuda_template mdl_cuda_attention_hopper(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                            int buffers, const char *symbol);
mdl_cuda_template mdl_cuda_attention_bwd_hopper(mdl_arena *arena, const mdl_attention_shape *shape,
                                                const mdl_attention_memory *memory, int buffers, const char *symbol);

#endif
