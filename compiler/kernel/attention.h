/* The templates of attention over packed segments, forward and backward. They compute on tiles of f32, and reach their rows in
 * memory through functions: plain ones that are made here from a place in memory, or text that the caller gives, so that a
 * fused body (a bias, a rotation, a column sum) can stand between memory and tile. */
#ifndef MDL_KERNEL_ATTENTION_H
#define MDL_KERNEL_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/kernel/blocks.h"
#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"

/* Query i sees key j of its segment when i - j <= left and j - i <= right; -1 is no bound; causal is right = 0. Bounds are never
 * below 0 otherwise, so every token sees itself. Keys that no query of a group sees cost nothing. */
typedef struct {
    int64_t left, right;
} mdl_attention_mask;

enum { MDL_ATTENTION_WIDEST = 512 }; /* a block's matrices are on its stack */

typedef struct {
    int64_t heads, kv_heads, head_dim; /* H, G, K; G divides H; K from 1 to MDL_ATTENTION_WIDEST */
    mdl_attention_mask mask;
    double scale;
    double softcap; /* c > 0: the score is c tanh(scale q.k / c); 0: scale q.k */
} mdl_attention_shape;

/* Where the rows of an operand [T, heads, K] are: element (t, h, k) is number first + t * row + h * head + k of a buffer. */
typedef struct {
    int slot;        /* of the kernel's buffers */
    mdl_dtype dtype; /* MDL_F32, or MDL_BF16: widened at loads, rounded to nearest even at stores */
    int64_t row, head, first;
    const char *text; /* not NULL: the function itself (and what it needs), in place of all of the above */
} mdl_attention_operand;

/* Functions that stand in `text` begin with the kernel's symbol. r counts rows from `row`, k < K; `head` is a key head for k, v,
 * dk, dv:
 *   MDL_FN void SYMBOL_load_q(void *const *buffer, const int64_t *immediate, int64_t row, int64_t rows, int64_t head,
 *                             float *to, int64_t stride);           to[r * stride + k]; so load_k, load_v, load_do, load_o
 *   MDL_FN void SYMBOL_load_delta(..., int64_t head, float *to);    to[r]
 *   MDL_FN void SYMBOL_store_o(void *const *buffer, const int64_t *immediate, int64_t row, int64_t rows, int64_t head,
 *                              const float *from, int64_t stride, int64_t chunk);        so store_dq, store_dk, store_dv
 *   MDL_FN void SYMBOL_enter(void *const *buffer, const int64_t *immediate, int64_t head, int64_t chunk);
 * Every row of an output is stored once, whole, by one block, in an order that shapes and segments fix; tail rows as zeros.
 * `chunk` (0 .. grid / heads - 1, where heads is H forward, G backward) and the head tell blocks apart. Each block calls `enter`
 * before all else, with its head (its key head, backward): there a column sum of its own begins at zero. */
typedef struct {
    mdl_attention_operand q, k, v, o; /* o: backward only if delta is computed */
    mdl_attention_operand grad_o, delta, dq, dk, dv;
    bool compute_delta; /* delta is the sum over K of do * o, as load_do and load_o give them; `delta` is not used */
    /* f32; the backward's dq gathers here while a segment takes more than one tile of keys. May be dq's own place when that is
     * f32: a row is read from here before it is stored. */
    mdl_attention_operand scratch;
    int seq, lse;      /* slots: cu_seqlens i32[S+1]; f32[T,H] */
    int tiles;         /* slot of what the op tiles gives for mdl_cuda_attention_tile_rows; for CUDA, where that is not 0 */
    const char *enter; /* the function, or NULL */
} mdl_attention_memory;

/* Everything f32 and dense. Slots forward: q [T,H,K], k and v [T,G,K], seq, o [T,H,K], lse [T,H]. Backward: q, k, v, do [T,H,K],
 * lse, delta [T,H], seq, dq, dk, dv; dq is its own scratch. */
mdl_attention_memory mdl_attention_dense(const mdl_attention_shape *shape, bool backward);

/* Immediates: T, S (at most 2^30). A block never meets another's rows; the tail (tokens of no segment) is zeros in every output. */
const char *mdl_template_attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                   const char *symbol);
const char *mdl_template_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                       const char *symbol);
mdl_template_blocks mdl_template_attention_blocks(const mdl_attention_shape *shape);
mdl_template_blocks mdl_template_attention_bwd_blocks(const mdl_attention_shape *shape);
int64_t mdl_template_attention_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments);
int64_t mdl_template_attention_bwd_grid(const mdl_attention_shape *shape, int64_t tokens, int64_t segments);

/* Pairs of a query and a key that it sees in one segment of `length` tokens: length^2 without a bound. */
int64_t mdl_attention_pairs(mdl_attention_mask mask, int64_t length);

/* The work of `tokens` tokens in `segments` segments of one length, the least that they can take (pairs are convex in the length):
 * 4 K H a pair forward, 10 K H backward (five products, the scores once more). Work truly done is this times the sum of
 * mdl_attention_pairs over the batch's segments, by the same sum here. */
int64_t mdl_template_attention_flops(const mdl_attention_shape *shape, bool backward, int64_t tokens, int64_t segments);

#endif
