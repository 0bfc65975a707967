/* Memory planning: offsets for buffers whose lifetimes are known. Views have none of their own. Two greedy orders are tried,
 * largest first and in order of birth; the better is kept. Each buffer goes to the lowest gap that no buffer alive at the same time
 * touches. */
#include <stdlib.h>

#include "compiler/emit/emit.h"

typedef struct {
    int buffer, birth;
    int64_t bytes, offset;
} block;

static int64_t aligned(int64_t n) { return (n + MDL_PLAN_ALIGN - 1) / MDL_PLAN_ALIGN * MDL_PLAN_ALIGN; }

static int by_size(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->buffer - y->buffer;
}

static int by_birth(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->birth != y->birth) return x->birth - y->birth;
    return by_size(a, b);
}

static int by_offset(const void *a, const void *b) {
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int64_t lowest_gap(const mdl_plan_lives *lives, const block *b, block **placed, int n) {
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const block *p = placed[i];
        if (mdl_plan_dies_before(lives, p->buffer, b->buffer) || mdl_plan_dies_before(lives, b->buffer, p->buffer)) continue;
        if (at + b->bytes <= p->offset) return at;
        if (aligned(p->offset + p->bytes) > at) at = aligned(p->offset + p->bytes);
    }
    return at;
}

/* placed[] stays sorted by offset. Returns the high-water mark. */
static int64_t place(const mdl_plan_lives *lives, block *blocks, int n, block **placed) {
    int64_t peak = 0;
    for (int i = 0; i < n; i++) {
        blocks[i].offset = lowest_gap(lives, &blocks[i], placed, i);
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
    mdl_plan_lives lives = mdl_plan_lifetimes(scratch, program);
    block *blocks = MDL_NEW_ARRAY(scratch, block, all), **placed = MDL_NEW_ARRAY(scratch, block *, all);
    for (int i = 0; i < all; i++) {
        int birth = mdl_plan_first_use(&lives, i);
        if (birth >= 0) blocks[n++] = (block){i, birth, program->buffers.at[i].bytes, 0};
    }
    int64_t best = -1;
    for (int order = 0; order < 2; order++) {
        qsort(blocks, (size_t)n, sizeof *blocks, order ? by_birth : by_size);
        int64_t peak = place(&lives, blocks, n, placed);
        if (best >= 0 && peak >= best) continue;
        best = peak;
        for (int i = 0; i < n; i++) program->buffers.at[blocks[i].buffer].offset = blocks[i].offset;
    }
    program->activation_bytes = n ? best : 0;
    program->live_bytes = lives.live_bytes;
    mdl_arena_free(scratch);
}
