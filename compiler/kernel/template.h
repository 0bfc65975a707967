/* Hand-written kernel templates for what fusion does not make: segment sums, scatter, column sums; attention's are in attention.h.
 * Each function returns C source for one kernel of the ABI in runtime/device/kernel_abi.h, called `symbol`; sizes in columns are
 * constants in the text, numbers of rows (T, S) are immediates, so that layers and token budgets share kernels. */
#ifndef MDL_KERNEL_TEMPLATE_H
#define MDL_KERNEL_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/kernel/blocks.h"
#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"

/* The text that every generated source begins with: includes nothing but <stdint.h>; mdl_math; bf16; vector types. */
const char *mdl_template_prelude(void);
/* The same for CUDA kernels: mdl_math; bf16; random numbers; what simt.h says. */
const char *mdl_cuda_prelude(void);

/* out [N, cols] = init (or 0) + sum over t with index[t] == n of x[t, cols], in order of t; index outside 0..N-1 is skipped.
 * Buffers x [T,cols] of `dtype` (f32 or bf16; sums are f32), index i32[T], (init [N,cols] when with_init; may be the same memory as
 * out), out. Immediates T, N. */
const char *mdl_template_scatter_add(mdl_arena *arena, mdl_dtype dtype, int64_t cols, bool with_init, const char *symbol);
mdl_template_blocks mdl_template_scatter_add_blocks(int64_t cols);
int64_t mdl_template_scatter_add_grid(int64_t cols);

/* out [cols, R] = x [R, cols] transposed, of one byte. Buffers x, out. Immediate R. */
const char *mdl_template_transpose(mdl_arena *arena, int64_t cols, const char *symbol);
mdl_template_blocks mdl_template_transpose_blocks(int64_t cols);

/* Segment ops. Buffers: seq; out. segsum: x [T,cols] of `dtype` (f32 or bf16), seq; out f32[S,cols] (an empty segment is 0).
 * Immediates T, S. name: "segment_id" i32[T] (-1 in the tail), "position" i32[T] (0 in the tail), "seglen" i32[S], "first" i32[S]
 * (-1 when empty), "segsum". */
const char *mdl_template_segment(mdl_arena *arena, const char *name, mdl_dtype dtype, int64_t cols, const char *symbol);
mdl_template_blocks mdl_template_segment_blocks(const char *name, int64_t cols);
int64_t mdl_template_segment_grid(const char *name, int64_t cols, int64_t tokens, int64_t segments);

/* The shared column-sum finish: for every output i of width cols[i]: out_i = (init_i or 0) + sum over c < chunks_i of
 * partial_i[c, :], in order of c. Buffers: n partials f32[chunks_i, cols[i]]; the inits of those outputs that have one (each may
 * be the same memory as its output); n outputs. Immediates: n chunks. */
const char *mdl_template_finish(mdl_arena *arena, int n, const int64_t *cols, const bool *init, const char *symbol);
mdl_template_blocks mdl_template_finish_blocks(int n, const int64_t *cols);
int64_t mdl_template_finish_grid(int n, const int64_t *cols);

#endif
