/* Hand-written kernel templates for what fusion does not make: attention, segment sums, scatter. Each function returns
 * C source for one kernel of the ABI in runtime/device/kernel_abi.h, called `symbol`; sizes in columns are constants in
 * the text, numbers of rows (T, S) are immediates, so that layers and token budgets share kernels. */
#ifndef MDL_KERNEL_TEMPLATE_H
#define MDL_KERNEL_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/arena.h"

typedef struct {
    int64_t heads, kv_heads, head_dim; /* H, G, K; G divides H */
    bool causal;
    double scale;
} mdl_attention_shape;

/* How many blocks a kernel has: immediate `rows` / `per` rounded up (1 when rows is -1), times `times`. */
typedef struct {
    int rows;
    int64_t per, times;
} mdl_template_blocks;

/* The text that every generated source begins with: includes nothing but <stdint.h>; mdl_math; bf16; vector types. */
const char *mdl_template_prelude(void);

/* Immediates for all: T, S. seq is cu_seqlens i32[S+1].
 * attention: buffers q [T,H,K], k [T,G,K], v [T,G,K], seq; o [T,H,K], lse [T,H].
 *   grid = mdl_template_attention_grid(shape, T, S). Tail rows (tokens of no segment) of every output are zeros.
 * attention_bwd: buffers q, k, v, do [T,H,K], lse [T,H], delta [T,H] (sum over K of do*o), seq; dq, dk, dv. */
const char *mdl_template_attention(mdl_arena *arena, const mdl_attention_shape *shape, const char *symbol);
const char *mdl_template_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const char *symbol);
mdl_template_blocks mdl_template_attention_blocks(const mdl_attention_shape *shape);
mdl_template_blocks mdl_template_attention_bwd_blocks(const mdl_attention_shape *shape);
int64_t mdl_template_attention_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments);
int64_t mdl_template_attention_bwd_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments);

/* out [N, cols] = init (or 0) + sum over t with index[t] == n of x[t, cols], in order of t; index outside 0..N-1 is skipped.
 * Buffers x f32[T,cols], index i32[T], (init [N,cols] when with_init; may be the same memory as out), out. Immediates T, N. */
const char *mdl_template_scatter_add(mdl_arena *arena, int64_t cols, bool with_init, const char *symbol);
mdl_template_blocks mdl_template_scatter_add_blocks(int64_t cols);
int64_t mdl_template_scatter_add_grid(int64_t cols);

/* Segment ops. Buffers: seq; out. segsum: x f32[T,cols], seq; out f32[S,cols] (an empty segment is 0). Immediates T, S.
 * name: "segment_id" i32[T] (-1 in the tail), "position" i32[T] (0 in the tail), "seglen" i32[S],
 * "first" i32[S] (-1 when empty), "segsum". */
const char *mdl_template_segment(mdl_arena *arena, const char *name, int64_t cols, const char *symbol);
mdl_template_blocks mdl_template_segment_blocks(const char *name, int64_t cols);
int64_t mdl_template_segment_grid(const char *name, int64_t cols, int64_t tokens, int64_t segments);

/* The shared column-sum finish: for every output i of width cols[i]: out_i = (init_i or 0) + sum over c < chunks of
 * partial_i[c, :], in order of c. Buffers: n partials f32[chunks, cols[i]], then n inits when with_init (each may be the same
 * memory as its output), then n outputs. Immediate: chunks. */
const char *mdl_template_finish(mdl_arena *arena, int n, const int64_t *cols, bool with_init, const char *symbol);
mdl_template_blocks mdl_template_finish_blocks(int n, const int64_t *cols);
int64_t mdl_template_finish_grid(int n, const int64_t *cols);

#endif
