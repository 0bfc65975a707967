/* Attention in f64, from the formula: for tests of its kernels. */
#ifndef MDL_TESTS_KERNEL_ATTENTION_REFERENCE_H
#define MDL_TESTS_KERNEL_ATTENTION_REFERENCE_H

#include "compiler/kernel/attention.h"

/* Dense arrays: q, o, g (the gradient of o), dq [T,H,K]; k, v, dk, dv [T,G,K]; lse, delta (sum over K of o g) [T,H]. */
typedef struct {
    mdl_attention_shape shape;
    int64_t T, S;
    const int32_t *seq;
    double *q, *k, *v, *g, *o, *lse, *delta, *dq, *dk, *dv;
} problem;

static inline int64_t size_q(const problem *p) { return p->T * p->shape.heads * p->shape.head_dim; }
static inline int64_t size_k(const problem *p) { return p->T * p->shape.kv_heads * p->shape.head_dim; }
static inline int64_t size_lse(const problem *p) { return p->T * p->shape.heads; }

/* Fresh zeros for all that is computed. */
void clear(mdl_arena *arena, problem *p);

/* Outputs and gradients of sum(o g). */
void solve(mdl_arena *arena, const problem *p);

#endif
