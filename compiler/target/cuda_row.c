/* Loop IR as CUDA C: what a thread of a block does. Which lanes share what is decided in cuda_lanes.c; nothing is decided here. */
#include <inttypes.h>

#include "compiler/target/c_expr.h"
#include "compiler/target/cuda.h"
#include "compiler/target/cuda_lanes.h"
#include "runtime/base/status.h"

/* What one statement folds into a partial sum: registers that each thread keeps over its rows, added to memory at the end. */
typedef struct {
    const mdl_loop_stmt *fold;
    const mdl_lane_walk *walk; /* that it moves with; NULL: it does not */
} column_sum;

typedef struct {
    mdl_arena *arena;
    const mdl_loop_kernel *k;
    mdl_lanes l;
    mdl_text *t;
    const char **reg;          /* text by register: a name, or a constant */
    const mdl_lane_walk *walk; /* being printed, or NULL */
    bool *wide;                /* by register: element v of a vector p<reg> */
    bool *inner;               /* by register: made in the walk's innermost loop */
    MDL_VEC(column_sum) sums;
    int depth;
} printer;

/* ---- text ---- */
static void line(printer *p, const char *text) { mdl_text_printf(p->t, "%*s%s\n", 4 * p->depth, "", text); }
#define LINE(...) line(p, mdl_printf(p->arena, __VA_ARGS__))

static char letter(mdl_mem_space space) { return "aocrtl"[space]; }
static const mdl_loop_array *array_of(const printer *p, const mdl_loop_stmt *s) { return &p->k->arrays.at[s->array]; }
static mdl_array_home home_of(const printer *p, const mdl_loop_stmt *s) { return p->l.home[s->array]; }
static const char *name_of(printer *p, int array) {
    return mdl_printf(p->arena, "%c%d", letter(p->k->arrays.at[array].space), array);
}
static bool vectors(const printer *p) { return p->walk && p->walk->vector > 1; }
static int moved(const printer *p) { return vectors(p) ? mdl_lane_var(p->walk) : -1; }
static const char *there(const printer *p) { return p->l.groups > 1 ? "if (there) " : ""; }
static const char *sync(const printer *p) { return p->l.lanes > 32 ? "mdl_sync();" : "mdl_sync_warp();"; }

static bool packed(const printer *p, int array) {
    return p->k->arrays.at[array].dtype == MDL_BF16 && p->l.of[array]->vector % 8 == 0;
}

/* The place of the element at hand among those that a lane has of a walk. */
static const char *own_place(printer *p) { return vectors(p) ? mdl_printf(p->arena, "%d * n + v", p->walk->vector) : "n"; }

/* ---- elements ---- */
/* The variable that a statement stores to, folds into or loads from, one element. */
static const char *element(printer *p, const mdl_loop_stmt *s) {
    const mdl_loop_array *a = array_of(p, s);
    const char *name = name_of(p, s->array), *col = mdl_c_affine(p->arena, &s->col, moved(p));
    mdl_affine at = mdl_lane_offset(p->k, s);
    switch (home_of(p, s)) {
        case MDL_HOME_ALIKE: return a->width == 1 ? name : mdl_printf(p->arena, "%s[%s]", name, col);
        case MDL_HOME_LANE: return mdl_printf(p->arena, "%s[%s]", name, own_place(p));
        case MDL_HOME_SHARED: return mdl_printf(p->arena, "%s[group * %" PRId64 " + %s]", name, a->width, col);
        default: return mdl_printf(p->arena, "%s[%s]", name, mdl_c_affine(p->arena, &at, moved(p)));
    }
}

/* ---- vectors ---- */
static const char *vector_kind(mdl_dtype dtype) {
    return mdl_dtype_bits(dtype) == 8 ? "u8" : dtype == MDL_BF16 ? "bf16" : dtype == MDL_F32 ? "f32" : "i32";
}
/* Accesses of a vector, and the bytes of each. */
static int64_t pieces(const printer *p, const mdl_loop_array *a) {
    int64_t bits = p->walk->vector * mdl_dtype_bits(a->dtype);
    return bits < 128 ? 1 : bits / 128;
}
static int piece_bytes(const printer *p, const mdl_loop_array *a) {
    return p->walk->vector * mdl_dtype_bits(a->dtype) < 128 ? 8 : 16;
}

static bool is_wide(const printer *p, const mdl_loop_stmt *s) {
    if (!vectors(p) || home_of(p, s) != MDL_HOME_MEMORY || !mdl_lane_contiguous(p->k, p->walk, s)) return false;
    return s->code != MDL_LOOP_GATHER || !p->inner[s->in[0]];
}

static const char *vector_address(printer *p, const mdl_loop_stmt *s, int64_t piece) {
    const mdl_loop_array *a = array_of(p, s);
    mdl_affine at = mdl_lane_offset(p->k, s);
    at.c += piece * 128 / mdl_dtype_bits(a->dtype);
    const char *text = mdl_c_affine(p->arena, &at, -1);
    if (s->code != MDL_LOOP_GATHER) return mdl_printf(p->arena, "%s + %s", name_of(p, s->array), text);
    return mdl_printf(p->arena, "%s + (int64_t)%s * %" PRId64 " + %s", name_of(p, s->array), p->reg[s->in[0]], a->row_stride, text);
}

static void print_vector_load(printer *p, const mdl_loop_stmt *s) {
    mdl_text t = {.arena = p->arena};
    for (int64_t i = 0; i < pieces(p, array_of(p, s)); i++) {
        const char *how = array_of(p, s)->space == MDL_MEM_OPERAND ? "read" : "load";
        const char *load = mdl_printf(p->arena, "mdl_%s_%d(%s)", how, piece_bytes(p, array_of(p, s)), vector_address(p, s, i));
        if (s->code == MDL_LOOP_GATHER) load = mdl_printf(p->arena, "%s < 0 ? mdl_zero_16() : %s", p->reg[s->in[0]], load);
        mdl_text_printf(&t, "%s%s", i ? ", " : "", load);
    }
    LINE("const mdl_16 p%d[] = {%s};", s->reg, t.at);
}

static void print_vector_store(printer *p, const mdl_loop_stmt *s, int i) {
    for (int64_t k = 0; k < pieces(p, array_of(p, s)); k++)
        LINE("%smdl_store_%d(%s, w%d[%" PRId64 "]);", there(p), piece_bytes(p, array_of(p, s)), vector_address(p, s, k), i, k);
}

/* ---- registers ---- */
static const char *gathered(printer *p, const mdl_loop_stmt *s) {
    const mdl_loop_array *a = array_of(p, s);
    const char *row = p->reg[s->in[0]];
    return mdl_printf(p->arena, "%s < 0 ? 0 : %s[(int64_t)%s * %" PRId64 " + %s]", row, name_of(p, s->array), row, a->row_stride,
                      mdl_c_affine(p->arena, &s->col, moved(p)));
}

static const char *random_text(printer *p, const mdl_loop_stmt *s) {
    const char *seed = name_of(p, s->array);
    return mdl_printf(p->arena, "mdl_philox_%s((uint32_t)%s[0], (uint32_t)%s[1], (uint32_t)%s, (uint64_t)(%s))",
                      s->normal ? "normal" : "uniform", seed, seed, p->reg[s->in[0]], mdl_c_affine(p->arena, &s->col, moved(p)));
}

static const char *loaded(printer *p, const mdl_loop_stmt *s) {
    if (p->wide[s->reg]) return mdl_printf(p->arena, "mdl_%s_at(p%d, v)", vector_kind(array_of(p, s)->dtype), s->reg);
    if (home_of(p, s) == MDL_HOME_LANE && packed(p, s->array))
        return mdl_printf(p->arena, "mdl_bf16_at(%s, %s)", name_of(p, s->array), own_place(p));
    return s->code == MDL_LOOP_GATHER ? gathered(p, s) : element(p, s);
}

static const char *value_text(printer *p, const mdl_loop_stmt *s) {
    switch (s->code) {
        case MDL_LOOP_INDEX: return mdl_printf(p->arena, "(int32_t)(%s)", mdl_c_affine(p->arena, &s->col, moved(p)));
        case MDL_LOOP_LOAD:
        case MDL_LOOP_GATHER: return loaded(p, s);
        case MDL_LOOP_RANDOM: return random_text(p, s);
        default: return mdl_c_compute(p->arena, p->k, p->reg, s);
    }
}

static void print_register(printer *p, const mdl_loop_stmt *s) {
    if (s->code == MDL_LOOP_CONST) {
        p->reg[s->reg] = mdl_c_constant(p->arena, s->dtype, s->value);
    } else if (s->code == MDL_LOOP_IMM) {
        p->reg[s->reg] = mdl_printf(p->arena, "(int32_t)args.immediate[%d]", (int)s->value);
    } else {
        const char *value = value_text(p, s);
        p->reg[s->reg] = mdl_printf(p->arena, "v%d", s->reg);
        LINE("const %s v%d = %s;", mdl_c_types[s->dtype].reg, s->reg, value);
    }
}

/* ---- folds ---- */
static bool moves(const mdl_loop_stmt *s, const mdl_lane_walk *w) { return w && mdl_lane_moves(&s->col, w); }

/* The registers of a column sum: q<number>. */
static int sum_of(const printer *p, const mdl_loop_stmt *s) {
    for (int i = 0; i < p->sums.n; i++)
        if (p->sums.at[i].fold == s) return i;
    return -1;
}

static const char *sum_element(printer *p, int sum) {
    const column_sum *q = &p->sums.at[sum];
    if (q->walk) return mdl_printf(p->arena, "q%d[%s]", sum, own_place(p));
    return q->fold->col.n ? mdl_printf(p->arena, "q%d[%s]", sum, mdl_c_affine(p->arena, &q->fold->col, -1))
                          : mdl_printf(p->arena, "q%d", sum);
}

/* A fold that all lanes do alike. */
static void print_uniform_fold(printer *p, const mdl_loop_stmt *s, const char *x) {
    int sum = sum_of(p, s);
    mdl_array_home home = home_of(p, s);
    if (sum >= 0) {
        LINE("%s%s;", there(p), mdl_c_fold(p->arena, s->op, sum_element(p, sum), x));
    } else if (home == MDL_HOME_ALIKE) {
        LINE("%s;", mdl_c_fold(p->arena, s->op, element(p, s), x));
    } else {
        line(p, sync(p));
        LINE("if (lane == 0) %s;", mdl_c_fold(p->arena, s->op, element(p, s), x));
        line(p, sync(p));
    }
}

/* What a lane folds by itself, where that does not move with the walk. */
static const char *own_fold(printer *p, const mdl_loop_stmt *s, const mdl_lane_walk *w) {
    return mdl_printf(p->arena, "x%d_%d", s->array, mdl_lane_var(w));
}

/* One in a walk. */
static void print_lane_fold(printer *p, const mdl_loop_stmt *s) {
    int sum = sum_of(p, s);
    const char *x = p->reg[s->in[0]];
    if (!moves(s, p->walk))
        LINE("%s;", mdl_c_fold(p->arena, s->op, own_fold(p, s, p->walk), x));
    else
        LINE("%s%s;", sum >= 0 ? there(p) : "", mdl_c_fold(p->arena, s->op, sum >= 0 ? sum_element(p, sum) : element(p, s), x));
}

static const char *over_lanes(printer *p, const mdl_loop_stmt *s, const mdl_lane_walk *w) {
    const char *op = s->op == MDL_OP_SUM ? "sum" : "max", *own = own_fold(p, s, w);
    const char *kind = mdl_dtype_is_real(array_of(p, s)->dtype) ? "f32" : "i32";
    if (p->l.lanes <= 32) return mdl_printf(p->arena, "mdl_lanes_%s_%s(%s, LANES)", op, kind, own);
    return mdl_printf(p->arena, "mdl_block_%s_%s(%s, LANES / 32, warps_%s)", op, kind, own, kind);
}

/* ---- walks ---- */
/* The statements of each loop of the walk, outermost first; the innermost list last. */
static int lists_of(const mdl_loop_stmt *s, const mdl_lane_walk *w, const mdl_loop_list **lists) {
    for (int i = 0; i < w->n; i++) {
        lists[i] = s->body;
        s = i + 1 < w->n ? &s->body->at[s->body->n - 1] : s;
    }
    return w->n;
}

/* Does the list write what other lanes may read? */
static bool shares(const printer *p, const mdl_loop_list *list) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        bool writes = s->code == MDL_LOOP_STORE || s->code == MDL_LOOP_FOLD;
        if (writes && home_of(p, s) == MDL_HOME_SHARED) return true;
        if (writes && array_of(p, s)->space == MDL_MEM_PARTIAL && home_of(p, s) == MDL_HOME_MEMORY) return true;
    }
    return false;
}

static void open_walk(printer *p, const mdl_lane_walk *w) {
    const char *step = w->vector > 1 ? mdl_printf(p->arena, "%d * ", w->vector) : "";
    const char *at = w->n == 1 ? mdl_printf(p->arena, "i%d", w->vars[0]) : "at";
    int64_t inner = w->extent;
    LINE("MDL_UNROLL(%" PRId64 ")", w->unrolled);
    LINE("for (int n = 0; n < %" PRId64 "; n++) {", w->iterations);
    p->depth++;
    LINE("const int %s = %s(lane + LANES * n);", at, step);
    if (w->iterations * w->vector * p->l.lanes != w->extent) LINE("if (%s >= %" PRId64 ") break;", at, w->extent);
    for (int i = 0; w->n > 1 && i < w->n; i++) {
        const char *rest = i ? mdl_printf(p->arena, "at %% %" PRId64, inner) : "at";
        inner /= w->extents[i];
        LINE(inner > 1 ? "const int i%d = %s / %" PRId64 ";" : "const int i%d = %s;", w->vars[i], rest, inner);
    }
}

static void close_braces(printer *p) {
    p->depth--;
    line(p, "}");
}

/* What the walk folded, over lanes: first into the lane's own, as every lane must come by a collective once. */
static void print_reduced(printer *p, const mdl_loop_list *list) {
    const mdl_lane_walk *w = p->walk;
    p->walk = NULL;
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->code != MDL_LOOP_FOLD || moves(s, w)) continue;
        LINE("%s = %s;", own_fold(p, s, w), over_lanes(p, s, w));
        print_uniform_fold(p, s, own_fold(p, s, w));
    }
}

static void print_lane_store(printer *p, const mdl_loop_stmt *s, int i) {
    const char *x = p->reg[s->in[0]];
    if (is_wide(p, s))
        LINE("mdl_%s_put(w%d, v, %s);", vector_kind(array_of(p, s)->dtype), i, x);
    else if (home_of(p, s) == MDL_HOME_LANE && packed(p, s->array))
        LINE("mdl_bf16_put(%s, %s, %s);", name_of(p, s->array), own_place(p), x);
    else
        LINE("%s%s = %s;", home_of(p, s) == MDL_HOME_MEMORY ? there(p) : "", element(p, s), x);
}

static void print_elements(printer *p, const mdl_loop_list *list) {
    if (vectors(p)) {
        LINE("MDL_UNROLL(%d)", p->walk->vector);
        LINE("for (int v = 0; v < %d; v++) {", p->walk->vector);
        p->depth++;
    }
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->reg >= 0) print_register(p, s);
        if (s->code == MDL_LOOP_FOLD) print_lane_fold(p, s);
        if (s->code == MDL_LOOP_STORE) print_lane_store(p, s, i);
    }
    if (vectors(p)) close_braces(p);
}

static void print_innermost(printer *p, const mdl_loop_list *list) {
    for (int i = 0; i < list->n; i++)
        if (list->at[i].reg >= 0) p->inner[list->at[i].reg] = true;
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        bool loads = s->code == MDL_LOOP_LOAD || s->code == MDL_LOOP_GATHER;
        if (loads && is_wide(p, s)) print_vector_load(p, s), p->wide[s->reg] = true;
        if (s->code == MDL_LOOP_STORE && is_wide(p, s)) LINE("mdl_16 w%d[%" PRId64 "];", i, pieces(p, array_of(p, s)));
    }
    print_elements(p, list);
    for (int i = 0; i < list->n; i++)
        if (list->at[i].code == MDL_LOOP_STORE && is_wide(p, &list->at[i])) print_vector_store(p, &list->at[i], i);
}

static void print_walk(printer *p, const mdl_loop_stmt *s) {
    const mdl_lane_walk *w = mdl_walk_of(&p->l, s);
    const mdl_loop_list *lists[MDL_MAX_NEST];
    int n = lists_of(s, w, lists);
    const mdl_loop_list *body = lists[n - 1];
    for (int i = 0; i < body->n; i++) {
        const mdl_loop_stmt *f = &body->at[i];
        if (f->code == MDL_LOOP_FOLD && !moves(f, w))
            LINE("%s %s = %s;", mdl_c_types[array_of(p, f)->dtype].reg, own_fold(p, f, w),
                 mdl_c_neutral(f->op, array_of(p, f)->dtype));
    }
    if (shares(p, body)) line(p, sync(p));
    p->walk = w;
    open_walk(p, w);
    for (int i = 0; i + 1 < n; i++)
        for (int k = 0; k + 1 < lists[i]->n; k++) print_register(p, &lists[i]->at[k]);
    print_innermost(p, body);
    close_braces(p);
    print_reduced(p, body);
    if (shares(p, body)) line(p, sync(p));
}

/* ---- what all lanes do alike ---- */
static void print_list(printer *p, const mdl_loop_list *list);

static void print_clear(printer *p, const mdl_loop_stmt *s) {
    const mdl_loop_array *a = array_of(p, s);
    const char *name = name_of(p, s->array), *type = mdl_c_types[a->dtype].reg, *start = mdl_c_neutral(s->op, a->dtype);
    mdl_array_home home = home_of(p, s);
    int64_t width = home == MDL_HOME_LANE ? mdl_lane_elements(p->l.of[s->array]) : a->width;
    if (home == MDL_HOME_SHARED) {
        line(p, sync(p));
        LINE("for (int k = lane; k < %" PRId64 "; k += LANES) %s[group * %" PRId64 " + k] = %s;", width, name, width, start);
        line(p, sync(p));
    } else if (home == MDL_HOME_ALIKE && width == 1) {
        LINE("%s %s = %s;", type, name, start);
    } else {
        LINE("%s %s[%" PRId64 "];", type, name, width);
        if (width <= MDL_UNROLLED * 8) LINE("MDL_UNROLL(%" PRId64 ")", width);
        LINE("for (int k = 0; k < %" PRId64 "; k++) %s[k] = %s;", width, name, start);
    }
}

static void print_store(printer *p, const mdl_loop_stmt *s) {
    bool shared = home_of(p, s) == MDL_HOME_SHARED;
    if (shared) line(p, sync(p));
    if (home_of(p, s) == MDL_HOME_ALIKE)
        LINE("%s = %s;", element(p, s), p->reg[s->in[0]]);
    else
        LINE("%sif (lane == 0) %s = %s;", shared ? "" : there(p), element(p, s), p->reg[s->in[0]]);
    if (shared) line(p, sync(p));
}

static void print_for(printer *p, const mdl_loop_stmt *s) {
    if (mdl_walk_of(&p->l, s)) {
        print_walk(p, s);
        return;
    }
    LINE("for (int i%d = 0; i%d < %" PRId64 "; i%d++) {", s->var, s->var, s->extent, s->var);
    p->depth++;
    print_list(p, s->body);
    close_braces(p);
}

static void print_list(printer *p, const mdl_loop_list *list) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        switch (s->code) {
            case MDL_LOOP_CLEAR: print_clear(p, s); break;
            case MDL_LOOP_FOLD: print_uniform_fold(p, s, p->reg[s->in[0]]); break;
            case MDL_LOOP_STORE: print_store(p, s); break;
            case MDL_LOOP_FOR: print_for(p, s); break;
            default: print_register(p, s);
        }
    }
}

/* ---- column sums ---- */
static void find_sums(printer *p, const mdl_loop_list *list, const mdl_lane_walk *w) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->code == MDL_LOOP_FOR) find_sums(p, s->body, w ? w : mdl_walk_of(&p->l, s));
        if (s->code != MDL_LOOP_FOLD || array_of(p, s)->space != MDL_MEM_PARTIAL || home_of(p, s) == MDL_HOME_MEMORY) continue;
        MDL_PUSH(p->arena, p->sums, ((column_sum){s, moves(s, w) ? w : NULL}));
    }
}

static int64_t width_of(const printer *p, const column_sum *q) {
    if (q->walk) return q->walk->extent;
    return q->fold->col.n ? array_of(p, q->fold)->width : 1;
}

static void print_sum_registers(printer *p) {
    for (int i = 0; i < p->sums.n; i++) {
        const column_sum *q = &p->sums.at[i];
        int64_t n = q->walk ? mdl_lane_elements(q->walk) : width_of(p, q);
        const char *type = mdl_c_types[array_of(p, q->fold)->dtype].reg;
        LINE(!q->walk && !q->fold->col.n ? "%s q%d = 0;" : "%s q%d[%" PRId64 "] = {0};", type, i, n);
    }
}

/* Is this the only sum that goes to its array, and does it reach every column of it, in order? */
static bool covers(const printer *p, int sum) {
    const column_sum *q = &p->sums.at[sum];
    for (int i = 0; i < p->sums.n; i++)
        if (i != sum && p->sums.at[i].fold->array == q->fold->array) return false;
    if (q->walk && !mdl_affine_equal(&q->fold->col, &q->walk->place)) return false;
    return width_of(p, q) == array_of(p, q->fold)->width;
}

/* Adds x, the sum of column k of what the statement reaches, to its place in memory. */
static void print_add(printer *p, int sum, const char *x) {
    const column_sum *q = &p->sums.at[sum];
    const char *name = name_of(p, q->fold->array), *to = "=";
    int64_t inner = width_of(p, q);
    if (!covers(p, sum)) to = "+=";
    if (!q->walk && q->fold->col.n) {
        LINE("%s[k] %s %s;", name, to, x);
        return;
    }
    for (int i = 0; q->walk && i < q->walk->n; i++) {
        const char *rest = i ? mdl_printf(p->arena, "k %% %" PRId64, inner) : "k";
        inner /= q->walk->extents[i];
        LINE(inner > 1 ? "const int i%d = %s / %" PRId64 ";" : "const int i%d = %s;", q->walk->vars[i], rest, inner);
    }
    LINE("%s[%s] %s %s;", name, mdl_c_affine(p->arena, &q->fold->col, -1), to, x);
}

/* Every lane stores what it has, row group by row group, to `to`: places from `first` on. */
static void print_own(printer *p, int sum, const char *to) {
    const column_sum *q = &p->sums.at[sum];
    if (!q->walk) {
        const char *own = q->fold->col.n ? mdl_printf(p->arena, "q%d[k]", sum) : mdl_printf(p->arena, "q%d", sum);
        LINE("for (int k = lane; k < %" PRId64 "; k += LANES) %s%s;", width_of(p, q), to, own);
        return;
    }
    int64_t own = mdl_lane_elements(q->walk);
    int vector = q->walk->vector;
    LINE("MDL_UNROLL(%" PRId64 ")", own);
    LINE("for (int m = 0; m < %" PRId64 "; m++) {", own);
    LINE("    const int k = %d * (lane + LANES * (m / %d)) + m %% %d;", vector, vector, vector);
    LINE("    if (k < %" PRId64 ") %sq%d[m];", q->walk->extent, to, sum);
    line(p, "}");
}

/* Of a block that has one row at a time: every lane has the sums of its own columns. */
static void print_own_columns(printer *p, int sum) {
    const mdl_lane_walk *w = p->sums.at[sum].walk;
    LINE("MDL_UNROLL(%" PRId64 ")", mdl_lane_elements(w));
    LINE("for (int m = 0; m < %" PRId64 "; m++) {", mdl_lane_elements(w));
    p->depth++;
    LINE("const int k = %d * (lane + LANES * (m / %d)) + m %% %d;", w->vector, w->vector, w->vector);
    LINE("if (k >= %" PRId64 ") break;", w->extent);
    print_add(p, sum, mdl_printf(p->arena, "q%d[m]", sum));
    close_braces(p);
    if (!covers(p, sum)) line(p, "mdl_sync();");
}

/* The block's sum of each column: over its rows' groups, in order. */
static void print_flush(printer *p, int sum) {
    if (p->l.groups == 1 && p->sums.at[sum].walk) {
        print_own_columns(p, sum);
        return;
    }
    int64_t width = width_of(p, &p->sums.at[sum]);
    print_own(p, sum, mdl_printf(p->arena, "sums[group * %" PRId64 " + k] = ", width));
    line(p, "mdl_sync();");
    LINE("for (int k = mdl_thread(); k < %" PRId64 "; k += LANES * ROWS) {", width);
    p->depth++;
    LINE("%s x = sums[k];", mdl_c_types[array_of(p, p->sums.at[sum].fold)->dtype].reg);
    LINE("for (int g = 1; g < ROWS; g++) x += sums[g * %" PRId64 " + k];", width);
    print_add(p, sum, "x");
    close_braces(p);
    line(p, "mdl_sync();");
}

static void print_sums(printer *p) {
    if (p->sums.n) line(p, "/* the block's column sums: rows that ran side by side, in order */");
    for (int i = 0; i < p->sums.n; i++) {
        const mdl_loop_stmt *s = p->sums.at[i].fold;
        bool first = true;
        for (int k = 0; k < i; k++) first &= p->sums.at[k].fold->array != s->array;
        if (!first || covers(p, i)) continue;
        LINE("for (int k = mdl_thread(); k < %" PRId64 "; k += LANES * ROWS) %s[k] = 0;", array_of(p, s)->width,
             name_of(p, s->array));
        line(p, "mdl_sync();");
    }
    for (int i = 0; i < p->sums.n; i++) print_flush(p, i);
}

/* ---- the function ---- */
static void print_pointers(printer *p) {
    for (int i = 0; i < p->k->arrays.n; i++) {
        const mdl_loop_array *a = &p->k->arrays.at[i];
        if (a->space > MDL_MEM_PARTIAL) continue;
        const char *type = mdl_c_types[a->dtype].memory, *read = a->space == MDL_MEM_OPERAND ? "const " : "";
        const char *chunk = a->space == MDL_MEM_PARTIAL ? mdl_printf(p->arena, " + mdl_block() * %" PRId64, a->row_stride) : "";
        const char *first = a->first ? mdl_printf(p->arena, " + %" PRId64, a->first) : "";
        LINE("%s%s *%s = (%s%s *)args.buffer[%d]%s%s;", read, type, name_of(p, i), read, type, a->index, chunk, first);
    }
}

static bool any_reduced(const printer *p, const mdl_loop_list *list, const mdl_lane_walk *w, bool real) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->code == MDL_LOOP_FOR && any_reduced(p, s->body, w ? w : mdl_walk_of(&p->l, s), real)) return true;
        if (s->code == MDL_LOOP_FOLD && w && !moves(s, w) && mdl_dtype_is_real(array_of(p, s)->dtype) == real) return true;
    }
    return false;
}

static void print_shared(printer *p) {
    int64_t widest = 0;
    for (int real = 0; real < 2; real++)
        for (int i = 0; p->l.lanes > 32 && i < p->k->phases.n; i++)
            if (any_reduced(p, &p->k->phases.at[i].body, NULL, real)) {
                LINE("MDL_SHARED %s warps_%s[LANES / 32];", real ? "float" : "int32_t", real ? "f32" : "i32");
                break;
            }
    for (int i = 0; i < p->k->arrays.n; i++)
        if (p->l.home[i] == MDL_HOME_SHARED)
            LINE("MDL_SHARED %s %s[ROWS * %" PRId64 "];", mdl_c_types[p->k->arrays.at[i].dtype].reg, name_of(p, i),
                 p->k->arrays.at[i].width);
    for (int i = 0; i < p->sums.n; i++)
        if ((p->l.groups > 1 || !p->sums.at[i].walk) && width_of(p, &p->sums.at[i]) > widest) widest = width_of(p, &p->sums.at[i]);
    if (widest) LINE("MDL_SHARED float sums[ROWS * %" PRId64 "];", widest);
}

/* Partial sums in memory begin at zero. */
static void print_block(printer *p) {
    for (int i = 0; i < p->k->block.n; i++) {
        const mdl_loop_stmt *s = &p->k->block.at[i];
        if (s->code != MDL_LOOP_CLEAR) {
            print_register(p, s);
        } else if (home_of(p, s) == MDL_HOME_MEMORY) {
            LINE("for (int k = lane; k < %" PRId64 "; k += LANES) %s[k] = 0;", array_of(p, s)->width, name_of(p, s->array));
            line(p, sync(p));
        }
    }
}

static void print_tiles(printer *p) {
    for (int i = 0; i < p->k->arrays.n; i++) {
        const mdl_loop_array *a = &p->k->arrays.at[i];
        if (a->space != MDL_MEM_TILE || p->l.home[i] == MDL_HOME_SHARED || !p->l.used[i]) continue;
        int64_t n = p->l.home[i] == MDL_HOME_LANE ? mdl_lane_elements(p->l.of[i]) : a->width;
        if (p->l.home[i] == MDL_HOME_LANE && packed(p, i))
            LINE("mdl_16 %s[%" PRId64 "];", name_of(p, i), n / 8);
        else
            LINE("%s %s[%" PRId64 "];", mdl_c_types[a->dtype].reg, name_of(p, i), n);
    }
}

static bool loads_results(const printer *p, const mdl_loop_list *list) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i];
        if (s->body && loads_results(p, s->body)) return true;
        if (s->code == MDL_LOOP_LOAD && array_of(p, s)->space == MDL_MEM_RESULT) return true;
    }
    return false;
}

static void print_rows(printer *p) {
    line(p, "for (int64_t base = first; base < last; base += ROWS) {");
    p->depth++;
    if (p->l.groups > 1) {
        line(p, "const bool there = base + group < last; /* else the lanes only keep the others company */");
        line(p, "const int64_t row = there ? base + group : last - 1;");
    } else {
        line(p, "const int64_t row = base;");
    }
    print_tiles(p);
    for (int i = 0; i < p->k->phases.n; i++) {
        if (i && loads_results(p, &p->k->phases.at[i].body)) line(p, sync(p));
        print_list(p, &p->k->phases.at[i].body);
    }
    close_braces(p);
}

const char *mdl_cuda_print_row(mdl_arena *arena, const mdl_loop_kernel *k, int buffers, int integers, const char *symbol,
                               int *threads, const char **error) {
    if ((*error = mdl_c_unsupported(arena, k))) return NULL;
    mdl_text t = {.arena = arena};
    printer all = {.arena = arena, .k = k, .l = mdl_cuda_lanes(arena, k), .t = &t, .depth = 1}, *p = &all;
    p->reg = MDL_NEW_ARRAY(arena, const char *, k->regs.n + 1);
    p->wide = MDL_NEW_ARRAY(arena, bool, k->regs.n + 1);
    p->inner = MDL_NEW_ARRAY(arena, bool, k->regs.n + 1);
    for (int i = 0; i < k->phases.n; i++) find_sums(p, &k->phases.at[i].body, NULL);
    *threads = p->l.lanes * p->l.groups;
    mdl_text_printf(&t, "MDL_KERNEL(%s, %d, %d, %d, %d) {\n", symbol, buffers, integers, *threads, p->l.resident);
    LINE("enum { LANES = %d, ROWS = %d }; /* threads of a row; rows side by side */", p->l.lanes, p->l.groups);
    line(p, "const int lane = mdl_thread() % LANES, group = mdl_thread() / LANES;");
    line(p, "const int64_t first = mdl_block() * args.immediate[1], end = first + args.immediate[1];");
    line(p, "const int64_t last = end < args.immediate[0] ? end : args.immediate[0];");
    print_pointers(p);
    print_shared(p);
    print_block(p);
    print_sum_registers(p);
    print_rows(p);
    print_sums(p);
    mdl_text_printf(&t, "}\n");
    return t.at;
}
