/* See cuda_lanes.h: which loops the lanes share, where arrays live, and how many lanes a row has. */
#include "compiler/target/cuda_lanes.h"

#include "runtime/base/status.h"

/* Threads of a block where rows are narrow; registers of a processor; what a thread needs beside its arrays and the vectors it
 * loads; what its arrays and its vectors in flight may
 * take. At most 5 vectors an operand keep loads in flight without filling the registers. */
enum { THREADS = 128, MOST_LANES = 512, REGISTERS = 65536, OTHER_REGISTERS = 56, LANE_REGISTERS = 96, FLIGHT = 64 };
enum { FEW_ITERATIONS = 5, LEAST_LANES = 8, WARP = 32, WIDEST_ALIKE = 256, MOST_RESIDENT = 16, SHARED_BYTES = 24 << 10 };

typedef struct {
    mdl_arena *arena;
    const mdl_loop_kernel *k;
    mdl_lanes *l;
    int want;                     /* columns of an access: 8 where enough arrays are of a dtype below f32, else 4 */
    bool *shared, *lane, *memory; /* by array: some access asks for it */
    int *folds;                   /* by array of partial sums: statements that fold into it, each into registers of its own */
} analysis;

static int64_t bytes_of(const mdl_loop_array *a) { return mdl_dtype_bits(a->dtype) / 8; }
static bool is_private(const mdl_loop_array *a) { return a->space == MDL_MEM_ROW || a->space == MDL_MEM_TILE; }

/* ---- walks ---- */
bool mdl_lane_moves(const mdl_affine *a, const mdl_lane_walk *w) {
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < w->n; k++)
            if (a->term[i].var == w->vars[k]) return true;
    return false;
}

/* Is a lane loop the last of the loop's statements, behind such that only make registers? */
static const mdl_loop_stmt *only_loop_of(const mdl_loop_stmt *s) {
    const mdl_loop_list *body = s->body;
    for (int i = 0; i + 1 < body->n; i++)
        if (body->at[i].reg < 0) return NULL;
    const mdl_loop_stmt *last = body->n ? &body->at[body->n - 1] : NULL;
    return last && last->code == MDL_LOOP_FOR ? last : NULL;
}

/* What is folded for a row must not move within the walk, or be reached at every point of its own. */
static bool folds_allow(const mdl_loop_kernel *k, const mdl_lane_walk *w, const mdl_loop_list *body) {
    for (int i = 0; i < body->n; i++) {
        const mdl_loop_stmt *s = &body->at[i];
        if (s->code == MDL_LOOP_FOR || s->code == MDL_LOOP_CLEAR) return false;
        bool row = s->code == MDL_LOOP_FOLD && k->arrays.at[s->array].space == MDL_MEM_ROW;
        if (row && w->n > 1 && mdl_lane_moves(&s->col, w) && !mdl_affine_equal(&s->col, &w->place)) return false;
    }
    return true;
}

static mdl_lane_walk *walk_from(analysis *a, const mdl_loop_stmt *s, bool nested) {
    mdl_lane_walk *w = MDL_NEW(a->arena, mdl_lane_walk);
    *w = (mdl_lane_walk){.extent = 1, .nested = nested, .place = mdl_affine_const(0)};
    for (const mdl_loop_stmt *at = s; at; at = at->lanes ? NULL : only_loop_of(at)) {
        if (w->n == MDL_MAX_NEST) return NULL;
        w->vars[w->n] = at->var, w->extents[w->n++] = at->extent;
        w->extent *= at->extent;
        w->place = mdl_affine_add(mdl_affine_scale(w->place, at->extent), mdl_affine_var(at->var));
        if (at->lanes) return folds_allow(a->k, w, at->body) ? w : NULL;
    }
    return NULL;
}

static void find_walks(analysis *a, const mdl_loop_list *list, bool nested) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->code != MDL_LOOP_FOR) continue;
        mdl_lane_walk *w = walk_from(a, s, nested);
        if (w)
            a->l->walk[mdl_lane_var(w)] = w;
        else
            find_walks(a, s->body, true);
    }
}

mdl_lane_walk *mdl_walk_of(const mdl_lanes *l, const mdl_loop_stmt *loop) {
    const mdl_loop_stmt *s = loop;
    while (s && !s->lanes) s = only_loop_of(s);
    mdl_lane_walk *w = s ? l->walk[s->var] : NULL;
    return w && w->vars[0] == loop->var ? w : NULL;
}

mdl_affine mdl_lane_offset(const mdl_loop_kernel *k, const mdl_loop_stmt *s) {
    const mdl_loop_array *a = &k->arrays.at[s->array];
    bool rows = a->space == MDL_MEM_OPERAND || a->space == MDL_MEM_RESULT;
    return rows ? mdl_affine_add(mdl_affine_scale(s->row, a->row_stride), s->col) : s->col;
}

static bool moved_at_once(int64_t bytes) { return bytes == 8 || (bytes && bytes % 16 == 0); }

bool mdl_lane_contiguous(const mdl_loop_kernel *k, const mdl_lane_walk *w, const mdl_loop_stmt *s) {
    const mdl_loop_array *a = &k->arrays.at[s->array];
    bool accesses = s->code == MDL_LOOP_LOAD || s->code == MDL_LOOP_STORE || s->code == MDL_LOOP_GATHER;
    if (!accesses || is_private(a) || a->column_major || !moved_at_once(w->vector * bytes_of(a))) return false;
    mdl_affine at = mdl_lane_offset(k, s);
    bool moves = false, aligned = at.c % w->vector == 0 && a->first % w->vector == 0;
    if (s->code == MDL_LOOP_GATHER) aligned &= a->row_stride % w->vector == 0;
    for (int i = 0; i < at.n; i++) {
        bool innermost = at.term[i].var == mdl_lane_var(w);
        moves |= innermost && at.term[i].k == 1;
        aligned &= innermost || at.term[i].k % w->vector == 0;
    }
    return moves && aligned;
}

static void choose_vectors(analysis *a) {
    int narrow = 0, wide = 0;
    for (int i = 0; i < a->k->arrays.n; i++) {
        const mdl_loop_array *array = &a->k->arrays.at[i];
        if (is_private(array) || array->space == MDL_MEM_PARTIAL || array->width < 8) continue;
        narrow += bytes_of(array) == 2 || mdl_dtype_is_narrow(array->dtype), wide += bytes_of(array) == 4;
    }
    a->want = narrow && 2 * narrow >= wide ? 8 : 4;
    for (int v = 0; v < a->k->vars; v++) {
        mdl_lane_walk *w = a->l->walk[v];
        if (!w) continue;
        w->vector = a->want;
        while (w->extents[w->n - 1] % w->vector) w->vector /= 2;
    }
}

/* ---- homes ---- */
static bool same_shape(const mdl_lane_walk *a, const mdl_lane_walk *b) {
    return a->extent == b->extent && a->vector == b->vector && a->extents[a->n - 1] == b->extents[b->n - 1];
}

/* A row's own array, reached in a walk. */
static void note_private(analysis *a, const mdl_loop_stmt *s, mdl_lane_walk *w) {
    mdl_lane_walk **of = &a->l->of[s->array];
    if (s->code == MDL_LOOP_FOLD && !mdl_lane_moves(&s->col, w)) return; /* lanes fold into variables of their own */
    if (mdl_affine_equal(&s->col, &w->place) && (!*of || same_shape(*of, w))) {
        a->lane[s->array] = true;
        *of = w;
    } else if (s->code != MDL_LOOP_LOAD || a->lane[s->array]) {
        a->shared[s->array] = true;
    }
}

/* Folds that do not move with the walk go to a variable; those that do to registers, where the walk has a fixed place for them. */
static void note_partial(analysis *a, const mdl_loop_stmt *s, mdl_lane_walk *w, bool nested) {
    mdl_lane_walk **of = &a->l->of[s->array];
    bool moves = w && mdl_lane_moves(&s->col, w);
    if (moves && (!*of || (*of)->extent < w->extent)) *of = w;
    if (moves) a->lane[s->array] = true, a->folds[s->array]++;
    if (moves ? nested : s->col.n && a->k->arrays.at[s->array].width > WIDEST_ALIKE) a->memory[s->array] = true;
}

static void note_access(analysis *a, const mdl_loop_stmt *s, mdl_lane_walk *w, bool nested) {
    const mdl_loop_array *array = &a->k->arrays.at[s->array];
    a->l->used[s->array] = true;
    if (array->space == MDL_MEM_PARTIAL) {
        note_partial(a, s, w, nested);
    } else if (is_private(array) && w) {
        note_private(a, s, w);
    } else if (is_private(array)) {
        a->memory[s->array] = true; /* reached outside walks */
    }
}

static bool accesses(const mdl_loop_stmt *s) {
    return s->code == MDL_LOOP_LOAD || s->code == MDL_LOOP_STORE || s->code == MDL_LOOP_FOLD;
}

/* Statements of a walk's outer loops, which only make registers, and those of its innermost one. */
static void note_list(analysis *a, const mdl_loop_list *list, mdl_lane_walk *w, bool nested) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->code == MDL_LOOP_FOR) {
            mdl_lane_walk *inner = w ? w : mdl_walk_of(a->l, s);
            note_list(a, s->body, inner, nested || !inner);
        } else if (accesses(s)) {
            note_access(a, s, w, nested);
        }
    }
}

static mdl_array_home home_of(const analysis *a, int i) {
    const mdl_loop_array *array = &a->k->arrays.at[i];
    bool both = a->lane[i] && a->memory[i];
    if (array->space == MDL_MEM_PARTIAL) return a->memory[i] ? MDL_HOME_MEMORY : a->lane[i] ? MDL_HOME_LANE : MDL_HOME_ALIKE;
    if (!is_private(array)) return MDL_HOME_MEMORY;
    if (!a->l->used[i]) return MDL_HOME_ALIKE;
    if (a->shared[i] || both || (!a->lane[i] && array->width > WIDEST_ALIKE)) return MDL_HOME_SHARED;
    return a->lane[i] ? MDL_HOME_LANE : MDL_HOME_ALIKE;
}

static void find_homes(analysis *a) {
    for (int p = 0; p < a->k->phases.n; p++) note_list(a, &a->k->phases.at[p].body, NULL, false);
    for (int i = 0; i < a->k->arrays.n; i++) a->l->home[i] = home_of(a, i);
}

/* ---- lanes ---- */
/* Registers that a vector of every array at home in lanes takes. */
static int64_t registers_of_a_vector(const analysis *a) {
    int64_t registers = 0;
    for (int i = 0; i < a->k->arrays.n; i++) {
        const mdl_loop_array *array = &a->k->arrays.at[i];
        if (a->l->home[i] != MDL_HOME_LANE) continue;
        int64_t vector = a->l->of[i]->vector;
        registers += array->space == MDL_MEM_PARTIAL ? a->folds[i] * vector : vector * bytes_of(array) / 4;
    }
    return registers;
}

/* Registers of the vectors that an iteration of a walk has loaded or not stored yet; the most of any walk. Arrays in registers need
 * all iterations side by side; others as many as fill FLIGHT registers. */
static int64_t registers_in_flight(analysis *a, const mdl_loop_list *list, mdl_lane_walk *w) {
    int64_t most = 0, own = 0;
    bool lane = false;
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        int64_t inner = s->code == MDL_LOOP_FOR ? registers_in_flight(a, s->body, w ? w : mdl_walk_of(a->l, s)) : 0;
        if (inner > most) most = inner;
        if (w && mdl_lane_contiguous(a->k, w, s)) own += w->vector * bytes_of(&a->k->arrays.at[s->array]) / 4;
        lane |= accesses(s) && a->l->home[s->array] == MDL_HOME_LANE;
    }
    if (w && !most) {
        int64_t together = own ? FLIGHT / own : FLIGHT;
        together = together < 1 ? 1 : together;
        w->unrolled = lane && w->iterations <= MDL_UNROLLED ? w->iterations : together < w->iterations ? together : w->iterations;
    }
    return own > most ? own : most;
}

static int64_t power_of_two_from(int64_t n) {
    int64_t p = 1;
    while (p < n) p *= 2;
    return p;
}

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t most_vectors(const analysis *a) {
    int64_t most = 1;
    for (int v = 0; v < a->k->vars; v++) {
        const mdl_lane_walk *w = a->l->walk[v];
        if (w && divide_up(w->extent, w->vector) > most) most = divide_up(w->extent, w->vector);
    }
    return most;
}

/* One row at a time, where rows share something in memory. */
static bool alone(const analysis *a) {
    for (int i = 0; i < a->k->arrays.n; i++) {
        const mdl_loop_array *array = &a->k->arrays.at[i];
        if (array->space == MDL_MEM_PARTIAL && a->l->home[i] == MDL_HOME_MEMORY) return true;
    }
    return false;
}

static int64_t shared_bytes_of_a_row(const analysis *a) {
    int64_t bytes = 0;
    for (int i = 0; i < a->k->arrays.n; i++)
        if (a->l->home[i] == MDL_HOME_SHARED) bytes += a->k->arrays.at[i].width * 4;
    return bytes;
}

/* Places for vectors that so many lanes have over all walks: those beyond the vectors are idle. */
static int64_t places(const analysis *a, int64_t lanes) {
    int64_t n = 0;
    for (int v = 0; v < a->k->vars; v++)
        if (a->l->walk[v]) n += lanes * divide_up(divide_up(a->l->walk[v]->extent, a->l->walk[v]->vector), lanes);
    return n;
}

/* The lanes that have the fewest idle, for at most `few` vectors each: a power of two within a warp, else whole warps. */
static int64_t lanes_for(const analysis *a, int64_t vectors, int64_t few) {
    int64_t best = 0;
    for (int64_t each = few; each >= 1; each--) {
        int64_t lanes = divide_up(vectors, each);
        lanes = lanes <= WARP ? power_of_two_from(lanes) : divide_up(lanes, WARP) * WARP;
        if (lanes < LEAST_LANES && vectors >= LEAST_LANES) lanes = LEAST_LANES;
        if (lanes <= MOST_LANES && (!best || places(a, lanes) < places(a, best))) best = lanes;
    }
    return best ? best : MOST_LANES;
}

static void choose_residents(analysis *a, int64_t arrays) {
    int64_t flight = 0, threads = a->l->lanes * a->l->groups;
    for (int p = 0; p < a->k->phases.n; p++) {
        int64_t of = registers_in_flight(a, &a->k->phases.at[p].body, NULL);
        if (of > flight) flight = of;
    }
    int64_t registers = OTHER_REGISTERS + arrays + 2 * flight; /* the next vectors are loaded while one is in work */
    int64_t resident = REGISTERS / (threads * (registers < 255 ? registers : 255));
    a->l->resident = (int)(resident < 1 ? 1 : resident > MOST_RESIDENT ? MOST_RESIDENT : resident);
}

static void choose_lanes(analysis *a) {
    int64_t vectors = most_vectors(a), cost = registers_of_a_vector(a), few = cost ? LANE_REGISTERS / cost : FEW_ITERATIONS;
    int64_t lanes = lanes_for(a, vectors, few < 1 ? 1 : few > FEW_ITERATIONS ? FEW_ITERATIONS : few);
    int64_t threads = lanes > THREADS ? lanes : lanes * WARP < THREADS ? lanes * WARP : THREADS;
    if (alone(a)) threads = lanes = lanes < WARP ? WARP : lanes;
    int64_t groups = lanes > WARP ? 1 : threads / lanes;
    while (groups > 1 && groups * shared_bytes_of_a_row(a) > SHARED_BYTES) groups = groups * lanes > WARP ? groups / 2 : 1;
    a->l->lanes = (int)(groups == 1 && lanes < WARP ? WARP : lanes);
    a->l->groups = (int)groups;
    for (int v = 0; v < a->k->vars; v++) {
        mdl_lane_walk *w = a->l->walk[v];
        if (w) w->iterations = divide_up(divide_up(w->extent, w->vector), a->l->lanes);
    }
    choose_residents(a, cost * divide_up(vectors, a->l->lanes));
}

/* Arrays that would take too many registers live elsewhere. */
static bool move_out(analysis *a) {
    bool moved = false;
    for (int i = 0; i < a->k->arrays.n; i++) {
        if (a->l->home[i] != MDL_HOME_LANE || a->l->of[i]->iterations <= MDL_UNROLLED) continue;
        a->l->home[i] = a->k->arrays.at[i].space == MDL_MEM_PARTIAL ? MDL_HOME_MEMORY : MDL_HOME_SHARED;
        moved = true;
    }
    return moved;
}

mdl_lanes mdl_cuda_lanes(mdl_arena *arena, const mdl_loop_kernel *k) {
    mdl_lanes l = {.home = MDL_NEW_ARRAY(arena, mdl_array_home, k->arrays.n + 1),
                   .walk = MDL_NEW_ARRAY(arena, mdl_lane_walk *, k->vars + 1),
                   .of = MDL_NEW_ARRAY(arena, mdl_lane_walk *, k->arrays.n + 1),
                   .used = MDL_NEW_ARRAY(arena, bool, k->arrays.n + 1)};
    analysis a = {.arena = arena, .k = k, .l = &l};
    bool **flags[] = {&a.shared, &a.lane, &a.memory};
    for (int i = 0; i < 3; i++) *flags[i] = MDL_NEW_ARRAY(arena, bool, k->arrays.n + 1);
    a.folds = MDL_NEW_ARRAY(arena, int, k->arrays.n + 1);
    for (int p = 0; p < k->phases.n; p++) find_walks(&a, &k->phases.at[p].body, false);
    choose_vectors(&a);
    find_homes(&a);
    choose_lanes(&a);
    if (move_out(&a)) choose_lanes(&a);
    return l;
}
