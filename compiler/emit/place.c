/* Memory planning: offsets for buffers whose lifetimes are known. Two greedy orders are tried, largest first and in order of birth;
 * the better is kept. Each buffer goes to the lowest gap that no buffer alive at the same time touches. */
#include <stdlib.h>

#include "compiler/emit/emit.h"

typedef struct {
    int buffer;
    int64_t bytes, offset;
    mdl_plan_lifetime life;
} block;

static int64_t aligned(int64_t n) { return (n + MDL_PLAN_ALIGN - 1) / MDL_PLAN_ALIGN * MDL_PLAN_ALIGN; }

static int by_size(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->buffer - y->buffer;
}

static int by_birth(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->life.first != y->life.first) return x->life.first - y->life.first;
    return by_size(a, b);
}

static int by_offset(const void *a, const void *b) {
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int64_t lowest_gap(const block *b, block **placed, int n) {
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const block *p = placed[i];
        if (p->life.first > b->life.last || p->life.last < b->life.first) continue;
        if (at + b->bytes <= p->offset) return at;
        if (aligned(p->offset + p->bytes) > at) at = aligned(p->offset + p->bytes);
    }
    return at;
}

/* placed[] stays sorted by offset. Returns the high-water mark. */
static int64_t place(block *blocks, int n, block **placed) {
    int64_t peak = 0;
    for (int i = 0; i < n; i++) {
        blocks[i].offset = lowest_gap(&blocks[i], placed, i);
        int at = i;
        for (; at > 0 && by_offset(&placed[at - 1], &(block *){&blocks[i]}) > 0; at--) placed[at] = placed[at - 1];
        placed[at] = &blocks[i];
        if (blocks[i].offset + blocks[i].bytes > peak) peak = blocks[i].offset + blocks[i].bytes;
    }
    return peak;
}

void mdl_place_buffers(mdl_plan_program *program) {
    mdl_arena *scratch = mdl_arena_new();
    int n = 0, all = program->buffers.n;
    mdl_plan_lifetime *life = MDL_NEW_ARRAY(scratch, mdl_plan_lifetime, all);
    block *blocks = MDL_NEW_ARRAY(scratch, block, all), **placed = MDL_NEW_ARRAY(scratch, block *, all);
    mdl_plan_lifetimes(program, life, &program->activation_bytes, &program->live_bytes);
    for (int i = 0; i < all; i++)
        if (program->buffers.at[i].arena == MDL_ARENA_ACTIVATION && life[i].first >= 0)
            blocks[n++] = (block){i, program->buffers.at[i].bytes, 0, life[i]};
    int64_t best = -1;
    for (int order = 0; order < 2; order++) {
        qsort(blocks, (size_t)n, sizeof *blocks, order ? by_birth : by_size);
        int64_t peak = place(blocks, n, placed);
        if (best >= 0 && peak >= best) continue;
        best = peak;
        for (int i = 0; i < n; i++) program->buffers.at[blocks[i].buffer].offset = blocks[i].offset;
    }
    mdl_plan_lifetimes(program, life, &program->activation_bytes, &program->live_bytes);
    mdl_arena_free(scratch);
}
