/* When buffers live, by the order that streams and waits give; how much memory that takes, and at least needs. The compiler places
 * buffers by it, and the reader checks them. */
#include <stdlib.h>
#include <string.h>

#include "runtime/plan/plan.h"

static int count_streams(const mdl_plan_program *program) {
    int most = 0;
    for (int i = 0; i < program->launches.n; i++)
        if (program->launches.at[i].stream > most) most = program->launches.at[i].stream;
    return most + 1;
}

/* Launch `earlier`, and what comes before it, comes before the launch whose row is `row`. */
static void follow(const mdl_plan_lives *l, const mdl_plan_program *program, int earlier, int *row) {
    const int *before = &l->before[earlier * l->streams];
    int own = program->launches.at[earlier].stream;
    for (int s = 0; s < l->streams; s++)
        if (before[s] > row[s]) row[s] = before[s];
    if (earlier > row[own]) row[own] = earlier;
}

static void order(mdl_plan_lives *l, const mdl_plan_program *program) {
    int latest[MDL_MAX_STREAMS];
    for (int s = 0; s < l->streams; s++) latest[s] = -1;
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *launch = &program->launches.at[i];
        int *row = &l->before[i * l->streams];
        for (int s = 0; s < l->streams; s++) row[s] = -1;
        if (latest[launch->stream] >= 0) follow(l, program, latest[launch->stream], row);
        for (int w = 0; w < launch->waits.n; w++) follow(l, program, launch->waits.at[w], row);
        latest[launch->stream] = i;
    }
}

static void mark(mdl_plan_lives *l, const mdl_plan_program *program) {
    mdl_plan_use use;
    for (int i = 0; i < program->buffers.n * l->streams; i++) l->first[i] = l->last[i] = -1;
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *launch = &program->launches.at[i];
        for (int k = 0; k <= launch->args.n; k++) {
            if (!mdl_plan_use_at(launch, k, &use)) continue;
            int base = mdl_plan_base(program, use.buffer), at = base * l->streams + launch->stream;
            if (program->buffers.at[base].arena != MDL_ARENA_ACTIVATION) continue;
            if (l->first[at] < 0) l->first[at] = i;
            l->last[at] = i;
        }
    }
}

bool mdl_plan_dies_before(const mdl_plan_lives *l, int a, int b) {
    for (int s = 0; s < l->streams; s++) {
        int begin = l->first[b * l->streams + s];
        for (int r = 0; r < l->streams && begin >= 0; r++)
            if (l->last[a * l->streams + r] > l->before[begin * l->streams + r]) return false;
    }
    return true;
}

int mdl_plan_first_use(const mdl_plan_lives *l, int buffer) {
    int first = -1;
    for (int s = 0; s < l->streams; s++) {
        int at = l->first[buffer * l->streams + s];
        if (at >= 0 && (first < 0 || at < first)) first = at;
    }
    return first;
}

int mdl_plan_last_use(const mdl_plan_lives *l, int buffer) {
    int last = -1;
    for (int s = 0; s < l->streams; s++)
        if (l->last[buffer * l->streams + s] > last) last = l->last[buffer * l->streams + s];
    return last;
}

/* ---- sizes ---- */
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

/* The largest sum of bytes between whose first and last use in one stream a launch of it stands: they all live then. */
static int64_t live_bytes(const mdl_plan_lives *l, const mdl_plan_program *program, int stream) {
    change *changes = calloc(2 * (size_t)program->buffers.n + 1, sizeof *changes);
    int n = 0;
    for (int i = 0; changes && i < program->buffers.n; i++) {
        int at = i * l->streams + stream;
        if (l->first[at] < 0) continue;
        changes[n++] = (change){l->first[at], program->buffers.at[i].bytes};
        changes[n++] = (change){l->last[at] + 1, -program->buffers.at[i].bytes};
    }
    int64_t bytes = peak(changes, n);
    free(changes);
    return bytes;
}

mdl_plan_lives mdl_plan_lifetimes(mdl_arena *arena, const mdl_plan_program *program) {
    mdl_plan_lives l = {.streams = count_streams(program)};
    l.first = MDL_NEW_ARRAY(arena, int, program->buffers.n *l.streams + 1);
    l.last = MDL_NEW_ARRAY(arena, int, program->buffers.n *l.streams + 1);
    l.before = MDL_NEW_ARRAY(arena, int, program->launches.n *l.streams + 1);
    order(&l, program);
    mark(&l, program);
    for (int i = 0; i < program->buffers.n; i++) {
        int64_t end = program->buffers.at[i].offset + program->buffers.at[i].bytes;
        if (mdl_plan_first_use(&l, i) >= 0 && end > l.activation_bytes) l.activation_bytes = end;
    }
    for (int s = 0; s < l.streams; s++) {
        int64_t bytes = live_bytes(&l, program, s);
        if (bytes > l.live_bytes) l.live_bytes = bytes;
    }
    return l;
}
