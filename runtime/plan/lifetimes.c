/* When buffers live, how much memory that takes, and at least needs. */
#include <stdlib.h>

#include "runtime/plan/plan.h"

/* Bytes that begin to live at launch `at`, or (negative) stop to live before it. */
typedef struct {
    int at;
    int64_t bytes;
} change;

static int by_launch(const void *a, const void *b) {
    const change *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static int64_t peak(change *changes, int n) {
    uint64_t now = 0; /* wraps on sizes that no verified plan has */
    int64_t most = 0;
    qsort(changes, (size_t)n, sizeof *changes, by_launch);
    for (int i = 0; i < n; i++) {
        now += (uint64_t)changes[i].bytes;
        if ((i + 1 == n || changes[i + 1].at != changes[i].at) && (int64_t)now > most) most = (int64_t)now;
    }
    return most;
}

static void mark(const mdl_plan_program *program, mdl_plan_lifetime *lifetimes) {
    for (int i = 0; i < program->buffers.n; i++) lifetimes[i] = (mdl_plan_lifetime){-1, -1};
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *launch = &program->launches.at[i];
        for (int j = 0; j < launch->args.n; j++) {
            if (launch->args.at[j].kind == MDL_ARG_IMMEDIATE) continue;
            int64_t buffer = launch->args.at[j].value;
            if (program->buffers.at[buffer].arena != MDL_ARENA_ACTIVATION) continue;
            if (lifetimes[buffer].first < 0) lifetimes[buffer].first = i;
            lifetimes[buffer].last = i;
        }
    }
}

void mdl_plan_lifetimes(const mdl_plan_program *program, mdl_plan_lifetime *lifetimes, int64_t *activation_bytes,
                        int64_t *live_bytes) {
    mdl_arena *scratch = mdl_arena_new();
    change *changes = MDL_NEW_ARRAY(scratch, change, 2 * program->buffers.n + 1);
    int n = 0;
    mark(program, lifetimes);
    *activation_bytes = 0;
    for (int i = 0; i < program->buffers.n; i++) {
        const mdl_plan_buffer *b = &program->buffers.at[i];
        if (lifetimes[i].first < 0) continue;
        if (b->offset + b->bytes > *activation_bytes) *activation_bytes = b->offset + b->bytes;
        changes[n++] = (change){lifetimes[i].first, b->bytes};
        changes[n++] = (change){lifetimes[i].last + 1, -b->bytes};
    }
    *live_bytes = peak(changes, n);
    mdl_arena_free(scratch);
}
