/* What the GPU does during a replay, from the activity records of CUPTI, which is loaded for that.
 *
 * Of its interface only what stands at the beginning of every record is used, by declarations of our own: its headers are not
 * needed to build. CUPTI hands records over in buffers, on a thread of its own. */
#include <pthread.h>
#include <stdlib.h>

#include "runtime/base/library.h"
#include "runtime/device/cuda/gpu.h"
#include "runtime/device/cuda/intervals.h"

typedef enum { MEMCPY = 1, MEMSET = 2, CONCURRENT_KERNEL = 10 } kind; /* CUPTI's numbers */
enum { BUFFER = 1 << 20, ALIGN = 8, FORCED = 1 /* flag of a flush: also buffers that are not full */ };

/* The beginning of the records of these kinds, in every version since CUDA 11. */
typedef struct {
    uint32_t kind;
    unsigned char other[12];
    uint64_t start, end; /* nanoseconds */
} record;

typedef void (*request_fn)(uint8_t **buffer, size_t *bytes, size_t *most_records);
typedef void (*complete_fn)(CUcontext context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid);

/* FUNCTION(name, parameters): each returns 0 for success. */
#define CUPTI_FUNCTIONS(FUNCTION)                                                        \
    FUNCTION(cuptiActivityRegisterCallbacks, (request_fn, complete_fn))                  \
    FUNCTION(cuptiActivityEnable, (kind))                                                \
    FUNCTION(cuptiActivityDisable, (kind))                                               \
    FUNCTION(cuptiActivityFlushAll, (uint32_t flag))                                     \
    FUNCTION(cuptiActivityGetNextRecord, (uint8_t * buffer, size_t valid, record * *at)) \
    FUNCTION(cuptiGetResultString, (int result, const char **text))

typedef struct {
#define FUNCTION(name, parameters) int(*name) parameters;
    CUPTI_FUNCTIONS(FUNCTION)
#undef FUNCTION
} library;

static const kind kinds[] = {CONCURRENT_KERNEL, MEMCPY, MEMSET};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* CUPTI knows no user data: one for the process. */
static library cupti;
static struct {
    pthread_mutex_t lock;
    mdl_interval *at;
    int64_t n, room;
    bool lost; /* a record, for want of memory */
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- called by CUPTI ---- */
static void give_buffer(uint8_t **buffer, size_t *bytes, size_t *most_records) {
    *buffer = aligned_alloc(ALIGN, BUFFER);
    *bytes = *buffer ? BUFFER : 0;
    *most_records = 0; /* as many as fit */
}

static void add(const record *r) {
    if (seen.n == seen.room) {
        int64_t room = seen.room ? 2 * seen.room : 4096;
        mdl_interval *larger = realloc(seen.at, (size_t)room * sizeof *larger);
        seen.lost |= !larger;
        if (!larger) return;
        seen.at = larger, seen.room = room;
    }
    seen.at[seen.n++] = (mdl_interval){r->start, r->end};
}

static void take_buffer(CUcontext context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid) {
    record *r = NULL;
    (void)context, (void)stream, (void)bytes;
    pthread_mutex_lock(&seen.lock);
    while (!cupti.cuptiActivityGetNextRecord(buffer, valid, &r))
        if (r->kind == CONCURRENT_KERNEL || r->kind == MEMCPY || r->kind == MEMSET) add(r);
    pthread_mutex_unlock(&seen.lock);
    free(buffer);
}

/* ---- tracing ---- */
static mdl_status check(int result) {
    const char *text = NULL;
    if (!result) return MDL_OK;
    cupti.cuptiGetResultString(result, &text);
    return mdl_fail(MDL_SYSTEM, "CUPTI: %s", text ? text : "an unknown error");
}

static mdl_status load(void) {
    static const char *const names[] = {"libcupti.so.13", "libcupti.so.12", NULL};
    static bool loaded;
    void *opened = NULL;
    if (loaded) return MDL_OK;
    mdl_status status = mdl_library_open(names, &opened);
    mdl_status_free(status);
    if (status) return mdl_fail(MDL_SYSTEM, "there is no CUPTI, which scripts/install-dependencies --cuda installs");
#define FUNCTION(name, parameters) MDL_TRY(mdl_library_function(opened, #name, &cupti.name), "CUPTI");
    CUPTI_FUNCTIONS(FUNCTION)
#undef FUNCTION
    status = check(cupti.cuptiActivityRegisterCallbacks(give_buffer, take_buffer));
    loaded = !status;
    return status;
}

static mdl_status enable(void) {
    mdl_status status = load();
    for (int i = 0; i < KINDS && !status; i++) status = check(cupti.cuptiActivityEnable(kinds[i]));
    return status;
}

static void disable(void) {
    for (int i = 0; i < KINDS; i++) cupti.cuptiActivityDisable(kinds[i]);
}

/* A graph that was made with tracing on or off stays so in some versions: it is made anew. */
static void forget_graph(mdl_gpu *gpu, int program) {
    if (gpu->graphs[program]) gpu->cu->cuGraphExecDestroy(gpu->graphs[program]);
    gpu->graphs[program] = NULL;
}

static mdl_status finish(mdl_gpu *gpu) { return mdl_gpu_check(gpu, gpu->cu->cuStreamSynchronize(gpu->stream)); }

/* Replays once; what was seen of it, and of nothing before. */
static mdl_status trace(mdl_device *d, int program) {
    mdl_status status = mdl_gpu_run(d, program);
    if (!status) status = finish(d->at);
    return status ? status : check(cupti.cuptiActivityFlushAll(FORCED));
}

static void forget_seen(void) {
    pthread_mutex_lock(&seen.lock);
    seen.n = 0;
    seen.lost = false;
    pthread_mutex_unlock(&seen.lock);
}

static void sum_up(mdl_activity *activity) {
    pthread_mutex_lock(&seen.lock);
    activity->records = seen.n;
    activity->span = 1e-9 * (double)mdl_intervals_span(seen.at, seen.n);
    activity->busy = 1e-9 * (double)mdl_intervals_union(seen.at, seen.n);
    if (!seen.n || seen.lost) activity->why_not = seen.n ? "CUPTI's records were lost" : "CUPTI recorded nothing";
    pthread_mutex_unlock(&seen.lock);
}

/* What keeps CUPTI from tracing is no failure. */
static mdl_status give_up(mdl_device *d, mdl_status why, mdl_activity *activity) {
    activity->why_not = mdl_strdup(d->memory, mdl_message(why));
    mdl_status_free(why);
    return MDL_OK;
}

/* The first replay also makes the graph. */
mdl_status mdl_gpu_activity(mdl_device *d, int program, mdl_activity *activity) {
    mdl_gpu *gpu = d->at;
    mdl_status status = finish(gpu);
    if (status) return status;
    if ((status = enable())) return give_up(d, status, activity);
    forget_graph(gpu, program);
    status = trace(d, program);
    forget_seen();
    if (!status) status = trace(d, program);
    disable();
    forget_graph(gpu, program);
    if (!status) sum_up(activity);
    return status;
}
