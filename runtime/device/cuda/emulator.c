/* Threads of a block as fibers, in turns: each runs until it waits, for its warp, for the block or at a barrier. When a warp's
 * lanes wait at one collective, it is done for all of them; when all threads of the block wait at mdl_sync, all go on; who waits at
 * a barrier looks again in its turn. */
#include "runtime/device/cuda/emulator.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/device/cuda/collective.h"
#include "runtime/device/cuda/fiber.h"
#include "runtime/device/cuda/hopper.h"

enum { PIECE = 16, SHARED_ALIGN = 1024, GUARD = 128, POISON = 0xff }; /* bytes of a copy; of NaN behind the shared memory */

typedef enum { RUNS, AT_COLLECTIVE, AT_SYNC, AT_BARRIER, ENDED } place;

/* A copy that was started and did not arrive yet. */
typedef struct {
    void *to;
    const void *from; /* NULL: zeros */
    int64_t group;
} copy;

/* A tile that was asked for and did not arrive yet. */
typedef struct {
    char *tile;
    const mdl_emulated_map *map;
    int column, head;
    int64_t row;
    mdl_barrier_state *barrier;
} load;

enum { MOST_PRODUCTS = 64, MOST_LOADS = 64 }; /* of a thread, and of a block, under way at once */

typedef struct {
    mdl_fiber *fiber;
    place place;
    mdl_lane lane; /* its part of the collective that it waits at */
    copy *copies;
    int n_copies, max_copies;
    int64_t groups; /* closed so far */
    mdl_wgmma products[MOST_PRODUCTS];
    int n_products;
    int64_t product_groups;
} thread;

typedef struct {
    mdl_emulator_abi abi; /* first: kernels know the emulator by it */
    mdl_fibers *fibers;
    thread *threads;
    const mdl_emulated_launch *launch;
    int64_t shared_room;
    load loads[MOST_LOADS];
    int n_loads;
    bool moved; /* something happened in this round */
    mdl_status error;
} emulator;

static emulator *of(mdl_emulator_abi *abi) { return (emulator *)(void *)abi; }
static thread *current(emulator *e) { return &e->threads[e->abi.thread]; }

/* ---- called by kernels, on their fibers ---- */
static void wait_at(emulator *e, place where) {
    thread *self = current(e);
    self->place = where;
    mdl_fiber_leave(self->fiber);
}

/* Never returns: the launch is over. */
static void fail(emulator *e, mdl_status error) {
    e->error = error;
    wait_at(e, ENDED);
}

static mdl_lane *collect(emulator *e, mdl_lane part) {
    thread *self = current(e);
    self->lane = part;
    wait_at(e, AT_COLLECTIVE);
    return &self->lane;
}

static void sync_block(mdl_emulator_abi *abi) { wait_at(of(abi), AT_SYNC); }

static void sync_warp(mdl_emulator_abi *abi) { collect(of(abi), (mdl_lane){.kind = MDL_COLLECTIVE_SYNC_WARP}); }

static uint32_t shuffle_xor(mdl_emulator_abi *abi, uint32_t word, int mask) {
    return collect(of(abi), (mdl_lane){.kind = MDL_COLLECTIVE_SHUFFLE_XOR, .word = word, .lane = mask})->got;
}

static uint32_t shuffle(mdl_emulator_abi *abi, uint32_t word, int lane) {
    return collect(of(abi), (mdl_lane){.kind = MDL_COLLECTIVE_SHUFFLE, .word = word, .lane = lane})->got;
}

static void ldmatrix(mdl_emulator_abi *abi, uint32_t *r, const void *row, int matrices, bool transposed) {
    static const mdl_collective kinds[2][2] = {{MDL_COLLECTIVE_LDMATRIX2, MDL_COLLECTIVE_LDMATRIX2_TRANSPOSED},
                                               {MDL_COLLECTIVE_LDMATRIX4, MDL_COLLECTIVE_LDMATRIX4_TRANSPOSED}};
    collect(of(abi), (mdl_lane){.kind = kinds[matrices == 4][transposed], .r = r, .row = row});
}

static void mma(mdl_emulator_abi *abi, float *d, const uint32_t *a, const uint32_t *b, int k) {
    mdl_collective kind = k == 16 ? MDL_COLLECTIVE_MMA_K16 : MDL_COLLECTIVE_MMA_K8;
    collect(of(abi), (mdl_lane){.kind = kind, .d = d, .a = a, .b = b});
}

static void add_copy(emulator *e, copy c) {
    thread *self = current(e);
    if (self->n_copies == self->max_copies) {
        int room = self->max_copies ? 2 * self->max_copies : 64;
        copy *larger = realloc(self->copies, (size_t)room * sizeof *larger);
        if (!larger) fail(e, mdl_fail(MDL_SYSTEM, "not enough memory for %d copies of a thread", room));
        self->copies = larger;
        self->max_copies = room;
    }
    self->copies[self->n_copies++] = c;
}

/* Until the copy arrives its place holds NaN: who reads too early sees it, and so does who still reads what was there before. */
static void copy_async(mdl_emulator_abi *abi, void *shared, const void *global, bool there) {
    emulator *e = of(abi);
    if ((uintptr_t)shared % PIECE || (there && (uintptr_t)global % PIECE))
        fail(e, mdl_fail(MDL_BAD_INPUT, "thread %d copies %s an address that is not aligned to 16 bytes", abi->thread,
                         (uintptr_t)shared % PIECE ? "to" : "from"));
    add_copy(e, (copy){shared, there ? global : NULL, current(e)->groups});
    memset(shared, POISON, PIECE);
}

static void copy_commit(mdl_emulator_abi *abi) { current(of(abi))->groups++; }

static void copy_wait(mdl_emulator_abi *abi, int n) {
    thread *self = current(of(abi));
    int kept = 0;
    for (int i = 0; i < self->n_copies; i++) {
        const copy *c = &self->copies[i];
        if (c->group >= self->groups - n)
            self->copies[kept++] = *c;
        else if (c->from)
            memcpy(c->to, c->from, PIECE);
        else
            memset(c->to, 0, PIECE);
    }
    self->n_copies = kept;
}

/* ---- barriers and tiles ---- */
static void count(emulator *e, mdl_barrier_state *b, int arrivals, int bytes) {
    mdl_status status = mdl_barrier_count(b, arrivals, bytes);
    if (status) fail(e, mdl_context(status, "thread %d", e->abi.thread));
    e->moved = true;
}

static void barrier_init(mdl_emulator_abi *abi, void *barrier, int arrivals) {
    (void)abi;
    mdl_barrier_make(barrier, arrivals);
}

static void barrier_arrive(mdl_emulator_abi *abi, void *barrier, int bytes) { count(of(abi), barrier, 1, bytes); }

static void map_load(mdl_emulator_abi *abi, void *tile, const void *map, int column, int head, int64_t row, void *barrier) {
    emulator *e = of(abi);
    if (((char *)tile - abi->shared) % MDL_TILE_ALIGN) fail(e, mdl_fail(MDL_BAD_INPUT, "a tile that is not aligned to 1024 bytes"));
    if (e->n_loads == MOST_LOADS) fail(e, mdl_fail(MDL_BAD_INPUT, "more than %d tiles under way", MOST_LOADS));
    e->loads[e->n_loads++] = (load){tile, map, column, head, row, barrier};
    memset(tile, POISON, MDL_TILE_SIZE);
}

/* Tiles arrive when somebody waits for them. */
static void finish_loads(emulator *e, mdl_barrier_state *b) {
    int kept = 0;
    for (int i = 0; i < e->n_loads; i++) {
        load l = e->loads[i];
        if (l.barrier != b) {
            e->loads[kept++] = l;
            continue;
        }
        mdl_map_copy(l.map, l.column, l.head, l.row, l.tile);
        count(e, b, 0, -MDL_TILE_SIZE);
    }
    e->n_loads = kept;
}

static void barrier_wait(mdl_emulator_abi *abi, void *barrier, int parity) {
    emulator *e = of(abi);
    mdl_barrier_state *b = barrier;
    finish_loads(e, b);
    for (; b->parity == parity; finish_loads(e, b)) wait_at(e, AT_BARRIER);
    if (b->parity > 1) fail(e, mdl_fail(MDL_BAD_INPUT, "thread %d waits at a barrier that was not made", abi->thread));
    e->moved = true;
}

/* ---- products of a warpgroup ---- */
static void wgmma(mdl_emulator_abi *abi, float *d, const uint32_t *a, const void *a_tile, const void *b, bool columns, bool keep) {
    thread *self = current(of(abi));
    if (self->n_products == MOST_PRODUCTS) fail(of(abi), mdl_fail(MDL_BAD_INPUT, "more than %d products under way", MOST_PRODUCTS));
    mdl_wgmma *p = &self->products[self->n_products++];
    *p = (mdl_wgmma){.d = d, .a_tile = a_tile, .b = b, .columns = columns, .keep = keep, .group = self->product_groups};
    if (a) memcpy(p->a, a, sizeof p->a);
}

static void wgmma_commit(mdl_emulator_abi *abi) { current(of(abi))->product_groups++; }

static void wgmma_wait(mdl_emulator_abi *abi, int n) {
    thread *self = current(of(abi));
    int done = 0;
    while (done < self->n_products && self->products[done].group < self->product_groups - n) done++;
    collect(of(abi), (mdl_lane){.kind = MDL_COLLECTIVE_WGMMA_WAIT,
                                .shared = abi->shared,
                                .warp = abi->thread / MDL_WARP,
                                .n_products = done,
                                .products = self->products});
    self->n_products -= done;
    memmove(self->products, self->products + done, (size_t)self->n_products * sizeof *self->products);
}

/* As ex2.approx.ftz: denormals are 0, going in and coming out. */
static float exp2_fast(float x) {
    float y = fpclassify(x) == FP_SUBNORMAL ? 1.0f : exp2f(x);
    return fpclassify(y) == FP_SUBNORMAL ? 0.0f : y;
}

static void run_thread(void *data) {
    emulator *e = data;
    e->launch->kernel(e->launch->args);
    wait_at(e, ENDED);
}

/* ---- the rounds ---- */
static const char *where(const thread *t) {
    static const char *const places[] = {"running", NULL, "mdl_sync", "a barrier", "the end"};
    return t->place == AT_COLLECTIVE ? mdl_collective_name(t->lane.kind) : places[t->place];
}

static bool together(const thread *a, const thread *b) {
    return a->place == b->place && (a->place != AT_COLLECTIVE || a->lane.kind == b->lane.kind);
}

/* All lanes of the warp wait, at least one of them at a collective. */
static mdl_status run_collective(thread *warp, int first, int lanes) {
    mdl_lane *parts[MDL_WARP];
    if (lanes < MDL_WARP) return mdl_fail(MDL_BAD_INPUT, "%s in a block of less than a warp", where(&warp[0]));
    for (int i = 0; i < MDL_WARP; i++) {
        if (!together(&warp[0], &warp[i]))
            return mdl_fail(MDL_BAD_INPUT, "lanes of warp %d are at different collectives: lane 0 at %s, lane %d at %s",
                            first / MDL_WARP, where(&warp[0]), i, where(&warp[i]));
        parts[i] = &warp[i].lane;
    }
    MDL_TRY(mdl_collective_run(parts), "warp %d", first / MDL_WARP);
    for (int i = 0; i < MDL_WARP; i++) warp[i].place = RUNS;
    return MDL_OK;
}

/* Runs each lane until it waits. A collective waits for lanes that are at a barrier. */
static mdl_status advance_warp(emulator *e, int first, int lanes) {
    thread *warp = &e->threads[first];
    bool collective = false, held = false;
    for (int i = 0; i < lanes; i++) {
        e->abi.thread = first + i;
        e->moved |= warp[i].place == RUNS;
        if (warp[i].place == RUNS || warp[i].place == AT_BARRIER) mdl_fiber_enter(warp[i].fiber);
        if (e->error) return e->error;
        collective |= warp[i].place == AT_COLLECTIVE;
        held |= warp[i].place == AT_BARRIER;
    }
    if (!collective || held) return MDL_OK;
    e->moved = true;
    return run_collective(warp, first, lanes);
}

/* How many threads are there. */
static int count_at(const emulator *e, place where) {
    int n = 0;
    for (int i = 0; i < e->launch->threads; i++) n += e->threads[i].place == where;
    return n;
}

static mdl_status pass_sync(emulator *e) {
    int n = e->launch->threads, waiting = count_at(e, AT_SYNC), ended = count_at(e, ENDED);
    if (waiting && waiting + ended == n && ended)
        return mdl_fail(MDL_BAD_INPUT, "%d of %d threads have ended, the others wait at mdl_sync", ended, n);
    if (waiting < n) return MDL_OK;
    for (int i = 0; i < n; i++) e->threads[i].place = RUNS;
    e->moved = true;
    return MDL_OK;
}

static void begin_block(emulator *e, int64_t block) {
    e->abi.block = block;
    memset(e->abi.shared, POISON, (size_t)e->launch->shared_bytes + GUARD);
    if (e->abi.static_shared) memset(e->abi.static_shared, POISON, (size_t)(e->abi.static_end - e->abi.static_shared));
    for (int i = 0; i < e->launch->threads; i++) {
        thread *t = &e->threads[i];
        t->fiber = mdl_fiber_reset(e->fibers, i, run_thread, e);
        t->place = RUNS;
        t->n_copies = t->n_products = 0;
        t->groups = t->product_groups = 0;
    }
    e->n_loads = 0;
}

static mdl_status check_guard(const emulator *e) {
    const unsigned char *guard = (const unsigned char *)e->abi.shared + e->launch->shared_bytes;
    for (int i = 0; i < GUARD; i++)
        if (guard[i] != POISON)
            return mdl_fail(MDL_BAD_INPUT, "writes behind its %" PRId64 " bytes of shared memory", e->launch->shared_bytes);
    return MDL_OK;
}

static mdl_status run_block(emulator *e, int64_t block) {
    int n = e->launch->threads;
    begin_block(e, block);
    while (count_at(e, ENDED) < n) {
        e->moved = false;
        for (int first = 0; first < n; first += MDL_WARP)
            MDL_TRY(advance_warp(e, first, n < MDL_WARP ? n : MDL_WARP), "block %" PRId64, block);
        MDL_TRY(pass_sync(e), "block %" PRId64, block);
        if (!e->moved)
            return mdl_fail(MDL_BAD_INPUT, "block %" PRId64 ": %d of %d threads wait at barriers that nobody completes", block,
                            count_at(e, AT_BARRIER), n);
    }
    return check_guard(e);
}

static mdl_status check_launch(const mdl_emulated_launch *l) {
    bool whole = l->threads % MDL_WARP == 0 || (l->threads > 0 && l->threads < MDL_WARP);
    if (l->threads < 1 || l->threads > MDL_EMULATOR_THREADS || !whole)
        return mdl_fail(MDL_BAD_INPUT, "blocks of %d threads: expected less than a warp, or whole warps up to %d threads",
                        l->threads, MDL_EMULATOR_THREADS);
    if (l->blocks < 0 || l->shared_bytes < 0) return mdl_fail(MDL_BAD_INPUT, "a negative number of blocks or shared bytes");
    return MDL_OK;
}

static mdl_status make_room(emulator *e, int64_t bytes) {
    if (bytes <= e->shared_room) return MDL_OK;
    size_t room = ((size_t)bytes + GUARD + SHARED_ALIGN - 1) & ~(size_t)(SHARED_ALIGN - 1);
    free(e->abi.shared);
    e->abi.shared = aligned_alloc(SHARED_ALIGN, room);
    e->shared_room = e->abi.shared ? bytes : -1;
    return e->abi.shared ? MDL_OK : mdl_fail(MDL_SYSTEM, "not enough memory for %" PRId64 " shared bytes", bytes);
}

mdl_status mdl_emulator_run(mdl_emulator_abi *abi, const mdl_emulated_launch *launch) {
    emulator *e = of(abi);
    MDL_TRY(check_launch(launch), "kernel %s", launch->name);
    MDL_TRY(make_room(e, launch->shared_bytes), "kernel %s", launch->name);
    e->launch = launch;
    e->error = MDL_OK;
    for (int64_t block = 0; block < launch->blocks; block++) MDL_TRY(run_block(e, block), "kernel %s", launch->name);
    return MDL_OK;
}

/* ---- making one ---- */
mdl_status mdl_emulator_new(mdl_emulator_abi **to) {
    emulator *e = calloc(1, sizeof *e);
    *to = NULL;
    if (!e) return mdl_fail(MDL_SYSTEM, "not enough memory for the emulator");
    e->abi = (mdl_emulator_abi){.sync = sync_block,
                                .sync_warp = sync_warp,
                                .shuffle_xor = shuffle_xor,
                                .shuffle = shuffle,
                                .ldmatrix = ldmatrix,
                                .mma = mma,
                                .copy_async = copy_async,
                                .copy_commit = copy_commit,
                                .copy_wait = copy_wait,
                                .barrier_init = barrier_init,
                                .barrier_arrive = barrier_arrive,
                                .barrier_wait = barrier_wait,
                                .map_load = map_load,
                                .wgmma = wgmma,
                                .wgmma_commit = wgmma_commit,
                                .wgmma_wait = wgmma_wait,
                                .exp2_fast = exp2_fast};
    e->shared_room = -1;
    e->threads = calloc(MDL_EMULATOR_THREADS, sizeof *e->threads);
    mdl_status status =
        e->threads ? mdl_fibers_new(MDL_EMULATOR_THREADS, &e->fibers) : mdl_fail(MDL_SYSTEM, "not enough memory for the emulator");
    if (status)
        mdl_emulator_free(&e->abi);
    else
        *to = &e->abi;
    return status;
}

void mdl_emulator_free(mdl_emulator_abi *abi) {
    if (!abi) return;
    emulator *e = of(abi);
    for (int i = 0; e->threads && i < MDL_EMULATOR_THREADS; i++) free(e->threads[i].copies);
    mdl_fibers_free(e->fibers);
    free(e->threads);
    free(e->abi.shared);
    free(e);
}
