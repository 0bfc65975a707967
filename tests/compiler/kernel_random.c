/* Random programs. Every value stays below LIMIT, so that f32 and f64 can be compared; what is discontinuous (comparisons, indices)
 * is applied to inputs only, which both hold exactly. */
#include "tests/compiler/kernels.h"

enum { LIMIT = 4, MAX_POOL = 64, STEPS = 14 };

typedef struct {
    mdl_builder b;
    uint64_t state;
    int64_t rows, columns;
    mdl_value *pool[MAX_POOL];
    double bound[MAX_POOL];
    int n, inputs;
} maker;

static uint64_t next(maker *m) { /* splitmix64 */
    uint64_t z = (m->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}
static int64_t below(maker *m, int64_t n) { return (int64_t)(next(m) % (uint64_t)n); }

static mdl_value *unary(maker *m, mdl_opcode code, mdl_value *x) { return mdl_unary(&m->b, code, x); }
static mdl_value *binary(maker *m, mdl_opcode code, mdl_value *x, mdl_value *y) { return mdl_binary(&m->b, code, x, y); }
static mdl_value *scaled(maker *m, mdl_value *x, double c) { return binary(m, MDL_OP_MUL, x, mdl_const_like(&m->b, &x->type, c)); }
static mdl_value *plus(maker *m, mdl_value *x, double c) { return binary(m, MDL_OP_ADD, x, mdl_const_like(&m->b, &x->type, c)); }

static void keep(maker *m, mdl_value *v, double bound) {
    if (m->n == MAX_POOL) return;
    m->pool[m->n] = bound > LIMIT ? unary(m, MDL_OP_TANH, v) : v;
    m->bound[m->n++] = bound > LIMIT ? 1 : bound;
}

static mdl_value *input(maker *m, mdl_dtype dtype, int rank, const int64_t *dim) {
    const char *kind = dtype == MDL_I32 ? "index.5" : "x";
    mdl_type type = mdl_type_make(dtype, rank, dim);
    return mdl_input(&m->b, mdl_printf(m->b.arena, "%s.%d", kind, m->inputs++), type);
}

/* A value of x's shape: one of the pool, or x from a row or a column vector. */
static int partner(maker *m, const mdl_value *x) {
    int start = (int)below(m, m->n);
    for (int i = 0; i < m->n; i++) {
        int k = (start + i) % m->n;
        if (mdl_type_equal(&m->pool[k]->type, &x->type)) return k;
    }
    return 0; /* x itself is there */
}

static void step_unary(maker *m, int i) {
    mdl_value *x = m->pool[i];
    double bound = m->bound[i];
    switch (below(m, 9)) {
        case 0: keep(m, unary(m, MDL_OP_TANH, x), 1); break;
        case 1: keep(m, unary(m, MDL_OP_SIN, x), 1); break;
        case 2: keep(m, unary(m, MDL_OP_ERF, x), 1); break;
        case 3: keep(m, unary(m, MDL_OP_EXP, scaled(m, x, 1 / bound)), 2.8); break;
        case 4: keep(m, unary(m, MDL_OP_ABS, x), bound); break;
        case 5: keep(m, unary(m, MDL_OP_RSQRT, plus(m, binary(m, MDL_OP_MUL, x, x), 0.5)), 1.5); break;
        case 6: keep(m, unary(m, MDL_OP_LN, plus(m, unary(m, MDL_OP_ABS, x), 0.5)), 1.6); break;
        case 7: keep(m, unary(m, MDL_OP_NEG, x), bound); break;
        default: keep(m, scaled(m, x, 0.75), bound); break;
    }
}

static void step_binary(maker *m, int i) {
    int k = partner(m, m->pool[i]);
    mdl_value *x = m->pool[i], *y = m->pool[k];
    double a = m->bound[i], b = m->bound[k];
    switch (below(m, 6)) {
        case 0: keep(m, binary(m, MDL_OP_ADD, x, y), a + b); break;
        case 1: keep(m, binary(m, MDL_OP_SUB, x, y), a + b); break;
        case 2: keep(m, binary(m, MDL_OP_MUL, x, y), a * b); break;
        case 3: keep(m, binary(m, MDL_OP_MAX, x, y), a > b ? a : b); break;
        case 4: keep(m, binary(m, MDL_OP_DIV, x, plus(m, unary(m, MDL_OP_COS, y), 1.75)), a * 4 / 3); break;
        default: {
            mdl_value *p = input(m, MDL_F32, x->type.rank, x->type.dim), *q = input(m, MDL_F32, x->type.rank, x->type.dim);
            keep(m, mdl_select(&m->b, binary(m, MDL_OP_LT, p, q), x, y), a > b ? a : b);
        }
    }
}

static void step_broadcast(maker *m, int i) {
    mdl_value *x = m->pool[i];
    mdl_type wide = x->type;
    int64_t axes[MDL_MAX_RANK];
    if (wide.rank > 2) return;
    int64_t at = 1 + below(m, wide.rank); /* behind the rows */
    for (int k = 0; k < x->type.rank; k++) axes[k] = k + (k >= at);
    for (int k = wide.rank++; k > at; k--) wide.dim[k] = wide.dim[k - 1];
    wide.dim[at] = wide.rank == 2 ? m->columns : 2;
    keep(m, mdl_broadcast(&m->b, x, x->type.rank, axes, &wide), m->bound[i]);
}

static void step_reduce(maker *m, int i) {
    mdl_value *x = m->pool[i];
    if (x->type.rank < 2) return;
    int64_t axis = below(m, x->type.rank), n = x->type.dim[axis];
    mdl_type full = x->type;
    bool rows = axis == 0, largest = !rows && below(m, 2);
    mdl_value *r =
        mdl_reduce(&m->b, largest ? MDL_OP_REDUCE_MAX : MDL_OP_SUM, largest ? x : scaled(m, x, 1.0 / (double)n), 1, &axis);
    if (!rows) {
        keep(m, r, m->bound[i]);
        return;
    }
    int64_t kept[MDL_MAX_RANK]; /* a column sum comes back as a row of its own kernel */
    for (int k = 1; k < full.rank; k++) kept[k - 1] = k;
    keep(m, mdl_broadcast(&m->b, r, full.rank - 1, kept, &full), m->bound[i]);
}

static void step_view(maker *m, int i) {
    mdl_value *x = m->pool[i];
    int rank = x->type.rank;
    if (rank < 2) return;
    int axis = 1 + (int)below(m, rank - 1);
    int64_t n = x->type.dim[axis], cut = 1 + below(m, n);
    switch (below(m, 4)) {
        case 0: keep(m, mdl_slice(&m->b, x, axis, below(m, n - cut + 1), cut), m->bound[i]); break;
        case 1: {
            if (n > 1000) break;
            mdl_value *y = m->pool[partner(m, x)], *parts[] = {x, y};
            keep(m, mdl_concat(&m->b, 2, parts, axis), LIMIT);
            break;
        }
        case 2: {
            int64_t dim[] = {x->type.dim[0], mdl_type_count(&x->type) / x->type.dim[0]};
            keep(m, mdl_reshape(&m->b, x, 2, dim), m->bound[i]);
            break;
        }
        default:
            if (rank == 3) keep(m, mdl_permute(&m->b, x, (const int64_t[]){0, 2, 1}), m->bound[i]);
    }
}

static void step_split_columns(maker *m, int i) { /* [T, C] -> [T, C/p, p] */
    mdl_value *x = m->pool[i];
    if (x->type.rank != 2) return;
    for (int64_t p = 2; p <= 5; p++) {
        if (x->type.dim[1] % p) continue;
        int64_t dim[] = {x->type.dim[0], x->type.dim[1] / p, p};
        keep(m, mdl_reshape(&m->b, x, 3, dim), m->bound[i]);
        return;
    }
}

static void step_gather(maker *m) {
    int64_t table[] = {5, m->columns};
    mdl_value *in[] = {input(m, MDL_F32, 2, table), input(m, MDL_I32, 1, &m->rows)};
    keep(m, mdl_build(&m->b, MDL_OP_GATHER, 2, in, 0, NULL, NULL, NULL)->out[0], 1.3);
}

static void step(maker *m) {
    int i = (int)below(m, m->n);
    switch (below(m, 12)) {
        case 0:
        case 1:
        case 2: step_unary(m, i); break;
        case 3:
        case 4:
        case 5: step_binary(m, i); break;
        case 6: step_broadcast(m, i); break;
        case 7:
        case 8: step_reduce(m, i); break;
        case 9: step_view(m, i); break;
        case 10: step_split_columns(m, i); break;
        default: step_gather(m);
    }
}

mdl_region *mdl_random_program(mdl_arena *arena, uint64_t seed, int64_t rows, int64_t columns) {
    maker m = {.b = {.arena = arena, .region = mdl_region_new(arena, "random")}, .state = seed, .rows = rows, .columns = columns};
    int64_t dim[] = {rows, columns, 0};
    keep(&m, input(&m, MDL_F32, 2, dim), 1.3);
    keep(&m, input(&m, MDL_F32, 1, dim), 1.3);
    for (int i = 0; i < STEPS; i++) step(&m);
    for (int i = 0, from = m.n > 4 ? m.n - 4 : 0; from + i < m.n; i++)
        mdl_result(&m.b, mdl_printf(arena, "y%d", i), m.pool[from + i]);
    int64_t row = 0; /* and a column sum */
    mdl_result(&m.b, "sum", mdl_reduce(&m.b, MDL_OP_SUM, scaled(&m, m.pool[m.n - 1], 1 / (double)rows), 1, &row));
    return m.b.region;
}
