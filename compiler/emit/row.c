/* Row kernels as C.
 *
 * A block owns a chunk of rows. For each row the body runs in phases: phase 0 reads operands only, phase p may use row reductions
 * whose inputs are of phase p-1. In a phase, everything with the same columns (stores, row reductions, column sums) shares one loop
 * nest. Views are gone: indices are affine (affine.h); where a concat or a split needs it, a loop is cut or tiled first.
 *
 * A temporary is declared as far out as its loop variables allow: in the block, in the row, or in a loop. A value that an earlier
 * phase stored is loaded again instead of computed. */
#include "compiler/emit/row.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compiler/emit/affine.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "runtime/base/status.h"

enum { ROW = 0, MAX_VARS = 4096, MAX_LOOPS = 12 };

typedef struct {
    const mdl_value *value;
    mdl_affine idx[MDL_MAX_RANK];
    const char *name;
    int depth;
} memo;

/* One thing that a loop nest does for each point of its domain. */
typedef struct {
    enum { STORE, REDUCE, COLUMN } kind;
    const mdl_value *value; /* STORE, COLUMN: what is yielded; REDUCE: the reduction's result */
    int output;             /* which yield, for STORE and COLUMN */
    int phase;
} item;

typedef struct {
    mdl_arena *arena;
    const mdl_op *kernel;
    mdl_text block, row; /* text of the prologue and of the row body so far */
    mdl_text *loop;      /* of the nest being generated, by loop */
    int n_loops, loops[MAX_LOOPS];
    mdl_loop_var vars[MAX_VARS];
    int n_vars, n_temps;
    MDL_VEC(memo) memos;
    MDL_VEC(item) items;
    int *phase;       /* by body value id */
    int *stored;      /* by body value id: yield index + 1 */
    int current;      /* phase */
    mdl_text clauses; /* reduction(...) of the innermost loop */
    bool simd;
    const char *error;
} emitter;

static const char *c_type(mdl_dtype d) { return d == MDL_F32 ? "float" : "int32_t"; }
static const char *memory_type(mdl_dtype d) { return d == MDL_F32 ? "float" : d == MDL_BOOL ? "uint8_t" : "int32_t"; }
static const mdl_op *yield_of(const mdl_op *kernel) { return kernel->body->ops.at[kernel->body->ops.n - 1]; }

/* ---- phases ---- */
static int find_phase(emitter *e, const mdl_value *v) {
    int *p = &e->phase[v->id];
    if (*p >= 0) return *p;
    int latest = 0;
    for (int i = 0; i < v->def->n_in; i++) {
        int of = find_phase(e, v->def->in[i]);
        if (of > latest) latest = of;
    }
    return *p = latest + mdl_is_row_reduction(v->def);
}

static void collect_items(emitter *e) {
    const mdl_region *body = e->kernel->body;
    for (int i = 0; i < body->ops.n; i++) {
        const mdl_op *op = body->ops.at[i];
        if (!op->n_out) continue;
        int phase = find_phase(e, op->out[0]);
        if (mdl_is_row_reduction(op)) MDL_PUSH(e->arena, e->items, ((item){REDUCE, op->out[0], -1, phase - 1}));
    }
    const mdl_op *yield = yield_of(e->kernel);
    for (int i = 0; i < yield->n_in; i++) {
        const mdl_value *v = yield->in[i];
        bool column = mdl_is_column_sum(v->def);
        if (!column) e->stored[v->id] = i + 1;
        MDL_PUSH(e->arena, e->items, ((item){column ? COLUMN : STORE, v, i, e->phase[v->id]}));
    }
}

/* The value whose columns an item walks. */
static const mdl_value *walked(const item *it) { return it->kind == STORE ? it->value : it->value->def->in[0]; }

/* ---- text ---- */
static void print_affine(mdl_text *t, const mdl_affine *a) {
    bool first = true;
    for (int i = 0; i < a->n; i++) {
        if (a->term[i].k != 1) mdl_text_printf(t, "%s%" PRId64 " * ", first ? "" : " + ", a->term[i].k);
        if (a->term[i].k == 1 && !first) mdl_text_printf(t, " + ");
        if (a->term[i].var == ROW)
            mdl_text_printf(t, "row");
        else
            mdl_text_printf(t, "i%d", a->term[i].var);
        first = false;
    }
    if (a->c || first) mdl_text_printf(t, "%s%" PRId64, first ? "" : " + ", a->c);
}

static const char *affine_text(emitter *e, const mdl_affine *a) {
    mdl_text t = {.arena = e->arena};
    print_affine(&t, a);
    return t.at;
}

/* Depth -1: block, 0: row, 1..: loop. A variable's depth is the place of its loop in the nest. */
static int depth_of_var(emitter *e, int var) {
    if (var == ROW) return 0;
    for (int i = 0; i < e->n_loops; i++)
        if (e->loops[i] == var) return i + 1;
    mdl_bug("a loop variable outside its nest");
}

static int depth_of(emitter *e, const mdl_affine *idx, int rank) {
    int depth = -1;
    for (int i = 0; i < rank; i++)
        for (int k = 0; k < idx[i].n; k++) {
            int d = depth_of_var(e, idx[i].term[k].var);
            if (d > depth) depth = d;
        }
    return depth;
}

static mdl_text *text_at(emitter *e, int depth) { return depth < 0 ? &e->block : depth == 0 ? &e->row : &e->loop[depth - 1]; }
static int indent_at(int depth) { return 4 * (depth + 2); }

/* ---- values ---- */
typedef struct {
    const char *name;
    int depth;
} expr;

static expr generate(emitter *e, const mdl_value *v, const mdl_affine *idx);

static expr constant(emitter *e, const mdl_value *v) {
    double x = mdl_attr_real(v->def, "value");
    const char *text;
    if (v->type.dtype == MDL_F32) x = (double)(float)x; /* beyond f32: an infinity */
    if (v->type.dtype != MDL_F32)
        text = mdl_printf(e->arena, "%" PRId64, (int64_t)x);
    else if (isinf(x) || isnan(x))
        text = isnan(x) ? "__builtin_nanf(\"\")" : x < 0 ? "(-__builtin_inff())" : "__builtin_inff()";
    else {
        char digits[64];
        snprintf(digits, sizeof digits, "%.9g", x);
        text = mdl_printf(e->arena, x < 0 ? "(%s%sf)" : "%s%sf", digits, strpbrk(digits, ".en") ? "" : ".0");
    }
    return (expr){text, -1};
}

static expr declare(emitter *e, mdl_dtype dtype, int depth, const char *value) {
    const char *name = mdl_printf(e->arena, "v%d", e->n_temps++);
    mdl_text_printf(text_at(e, depth), "%*s%s %s = %s;\n", indent_at(depth), "", c_type(dtype), name, value);
    return (expr){name, depth};
}

static expr load(emitter *e, const mdl_value *v, const char *array, const mdl_affine *idx) {
    mdl_affine at = mdl_affine_position(&v->type, idx);
    return declare(e, v->type.dtype, depth_of(e, idx, v->type.rank), mdl_printf(e->arena, "%s[%s]", array, affine_text(e, &at)));
}

static int imm_slot(const mdl_op *kernel, int64_t index) {
    int slot = 2;
    for (int64_t i = 0; i < index; i++) slot += mdl_is(kernel->in[i], MDL_OP_IMM);
    return slot;
}

static expr argument(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    int64_t index = mdl_attr_int(v->def, "index");
    if (mdl_is(e->kernel->in[index], MDL_OP_IMM))
        return (expr){mdl_printf(e->arena, "(int32_t)immediate[%d]", imm_slot(e->kernel, index)), -1};
    return load(e, v, mdl_printf(e->arena, "a%" PRId64, index), idx);
}

/* table[index[row], ...], 0 for a negative index; the table is an operand. */
static expr gather(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    const mdl_value *table = v->def->in[0];
    expr row = generate(e, v->def->in[1], idx);
    mdl_affine rest[MDL_MAX_RANK];
    rest[0] = mdl_affine_const(0);
    for (int i = 1; i < table->type.rank; i++) rest[i] = idx[i];
    mdl_affine at = mdl_affine_position(&table->type, rest);
    int depth = depth_of(e, rest, table->type.rank);
    const char *value = mdl_printf(e->arena, "%s < 0 ? 0 : a%" PRId64 "[(int64_t)%s * %" PRId64 " + %s]", row.name,
                                   mdl_attr_int(table->def, "index"), row.name, mdl_span_product(&table->type, 1, table->type.rank),
                                   affine_text(e, &at));
    return declare(e, v->type.dtype, depth > row.depth ? depth : row.depth, value);
}

static expr random_number(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    const mdl_op *op = v->def;
    mdl_affine at = mdl_affine_position(&v->type, idx), none = mdl_affine_const(0);
    expr stream = generate(e, op->in[1], &none);
    int64_t seed = mdl_attr_int(op->in[0]->def, "index");
    const char *value =
        mdl_printf(e->arena, "mdl_philox_%s((uint32_t)a%" PRId64 "[0], (uint32_t)a%" PRId64 "[1], (uint32_t)%s, (uint64_t)(%s))",
                   mdl_attr_str(op, "dist"), seed, seed, stream.name, affine_text(e, &at));
    return declare(e, v->type.dtype, depth_of(e, idx, v->type.rank), value);
}

/* The op's `emit` text with operands in place of $0 $1 $2 and the result's C type in place of $T. */
static const char *expand(emitter *e, const mdl_op *op, const expr *in) {
    if (op->code == MDL_OP_CAST && op->out[0]->type.dtype == MDL_BOOL) return mdl_printf(e->arena, "%s != 0", in[0].name);
    mdl_text t = {.arena = e->arena};
    for (const char *c = mdl_ops[op->code].emit; *c; c++) {
        if (*c != '$')
            mdl_text_append(&t, c, 1);
        else if (*++c == 'T')
            mdl_text_printf(&t, "%s", c_type(op->out[0]->type.dtype));
        else
            mdl_text_printf(&t, "%s", in[*c - '0'].name);
    }
    return t.at;
}

static expr pointwise(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    expr in[3];
    int depth = -1;
    for (int i = 0; i < v->def->n_in; i++) {
        in[i] = generate(e, v->def->in[i], idx);
        if (in[i].depth > depth) depth = in[i].depth;
    }
    return declare(e, v->type.dtype, depth, expand(e, v->def, in));
}

static expr reduced(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    if (v->type.rank == 1) return (expr){mdl_printf(e->arena, "r%d", v->id), 0};
    mdl_affine kept[MDL_MAX_RANK];
    memcpy(kept, idx, sizeof kept);
    kept[0] = mdl_affine_const(0);
    mdl_affine at = mdl_affine_position(&v->type, kept);
    int depth = depth_of(e, idx, v->type.rank);
    return declare(e, v->type.dtype, depth, mdl_printf(e->arena, "r%d[%s]", v->id, affine_text(e, &at)));
}

/* Is v at idx, in this very row, in an output that an earlier phase stored? */
static bool is_stored(const emitter *e, const mdl_value *v, const mdl_affine *idx) {
    mdl_affine row = mdl_affine_var(ROW);
    return e->stored[v->id] && e->phase[v->id] < e->current && !mdl_is(v, MDL_OP_ARG) && v->type.rank &&
           mdl_affine_equal(&idx[0], &row);
}

static expr compute(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    const mdl_op *op = v->def;
    if (is_stored(e, v, idx)) return load(e, v, mdl_printf(e->arena, "o%d", e->stored[v->id] - 1), idx);
    if (mdl_is_row_reduction(op)) return reduced(e, v, idx);
    switch (op->code) {
        case MDL_OP_CONST: return constant(e, v);
        case MDL_OP_ARG: return argument(e, v, idx);
        case MDL_OP_GATHER: return gather(e, v, idx);
        case MDL_OP_RANDOM: return random_number(e, v, idx);
        case MDL_OP_IOTA: {
            const mdl_affine *axis = &idx[mdl_attr_int(op, "axis")];
            return declare(e, MDL_I32, depth_of(e, axis, 1), mdl_printf(e->arena, "(int32_t)(%s)", affine_text(e, axis)));
        }
        default: break;
    }
    if (mdl_ops[op->code].class == MDL_POINTWISE) return pointwise(e, v, idx);
    if (mdl_ops[op->code].class != MDL_VIEW) { /* a reduction that crosses rows and is no sum */
        e->error = mdl_printf(e->arena, "'%s' over rows", mdl_ops[op->code].name);
        return (expr){"0", 0};
    }
    mdl_affine in[MDL_MAX_RANK];
    int part;
    mdl_view_index(op, e->vars, idx, in, &part);
    return generate(e, op->in[part], in);
}

static expr generate(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    for (int i = e->memos.n - 1; i >= 0; i--) {
        const memo *m = &e->memos.at[i];
        bool same = m->value == v;
        for (int k = 0; same && k < v->type.rank; k++) same = mdl_affine_equal(&m->idx[k], &idx[k]);
        if (same) return (expr){m->name, m->depth};
    }
    expr x = compute(e, v, idx);
    memo m = {.value = v, .name = x.name, .depth = x.depth};
    memcpy(m.idx, idx, sizeof *idx * (size_t)v->type.rank);
    MDL_PUSH(e->arena, e->memos, m);
    return x;
}

/* ---- loops ---- */
/* The first cut or tiling that v at idx asks for. */
static mdl_demand demand(emitter *e, const mdl_value *v, const mdl_affine *idx) {
    const mdl_op *op = v->def;
    mdl_demand d = {MDL_FINE, 0, 0};
    if (is_stored(e, v, idx) || mdl_is_row_reduction(op) || op->code == MDL_OP_ARG || op->code == MDL_OP_RANDOM || !op->n_in)
        return d;
    if (op->code == MDL_OP_GATHER) return demand(e, op->in[1], idx);
    if (mdl_ops[op->code].class == MDL_VIEW) {
        mdl_affine in[MDL_MAX_RANK];
        int part;
        d = mdl_view_index(op, e->vars, idx, in, &part);
        return d.kind == MDL_FINE ? demand(e, op->in[part], in) : d;
    }
    for (int i = 0; i < op->n_in && d.kind == MDL_FINE; i++) d = demand(e, op->in[i], idx);
    return d;
}

static int new_var(emitter *e, int64_t extent) {
    if (e->n_vars == MAX_VARS) mdl_bug("too many loops in a kernel");
    e->vars[e->n_vars].extent = extent;
    return e->n_vars++;
}

typedef struct {
    int n_loops, loops[MAX_LOOPS];
    int rank;
    mdl_affine idx[MDL_MAX_RANK]; /* of the domain: row, then columns */
} nest;

static void substitute(nest *n, int var, mdl_affine by) {
    for (int i = 0; i < n->rank; i++) n->idx[i] = mdl_affine_substitute(n->idx[i], var, by);
}

static int loop_place(const nest *n, int var) {
    for (int i = 0; i < n->n_loops; i++)
        if (n->loops[i] == var) return i;
    return -1;
}

/* var = size * outer + inner */
static bool tile(emitter *e, nest *n, int var, int64_t size) {
    int at = loop_place(n, var);
    if (at < 0 || n->n_loops == MAX_LOOPS) return false;
    int outer = new_var(e, e->vars[var].extent / size), inner = new_var(e, size);
    memmove(n->loops + at + 2, n->loops + at + 1, sizeof *n->loops * (size_t)(n->n_loops - at - 1));
    n->n_loops++;
    n->loops[at] = outer, n->loops[at + 1] = inner;
    substitute(n, var, mdl_affine_add(mdl_affine_scale(mdl_affine_var(outer), size), mdl_affine_var(inner)));
    return true;
}

/* The part of the nest where var runs from `from` over `extent` values. */
static nest part_of(emitter *e, const nest *n, int var, int64_t from, int64_t extent) {
    nest p = *n;
    int at = loop_place(n, var), fresh = new_var(e, extent);
    p.loops[at] = fresh;
    substitute(&p, var, mdl_affine_add(mdl_affine_var(fresh), mdl_affine_const(from)));
    return p;
}

static int64_t outputs_stride(const mdl_value *v) { return mdl_span_product(&v->type, 1, v->type.rank); }

static void emit_store(emitter *e, const nest *n, const item *it) {
    expr x = generate(e, it->value, n->idx);
    mdl_affine at = mdl_affine_position(&it->value->type, n->idx);
    mdl_text_printf(text_at(e, n->n_loops), "%*so%d[%s] = %s;\n", indent_at(n->n_loops), "", it->output, affine_text(e, &at),
                    x.name);
}

static void emit_column(emitter *e, const nest *n, const item *it) {
    expr x = generate(e, walked(it), n->idx);
    mdl_affine cols[MDL_MAX_RANK];
    memcpy(cols, n->idx, sizeof cols);
    cols[0] = mdl_affine_const(0);
    mdl_affine at = mdl_affine_position(&walked(it)->type, cols);
    mdl_text_printf(text_at(e, n->n_loops), "%*sc%d[%s] += %s;\n", indent_at(n->n_loops), "", it->output, affine_text(e, &at),
                    x.name);
}

static const char *reduce_step(emitter *e, const mdl_value *v, const char *to, const char *x) {
    if (v->def->code == MDL_OP_SUM) return mdl_printf(e->arena, "%s += %s;", to, x);
    return mdl_printf(e->arena, "%s = %s > %s ? %s : %s;", to, x, to, x, to);
}

static const char *reduce_start(const mdl_value *v) {
    bool real = v->type.dtype == MDL_F32;
    return v->def->code == MDL_OP_SUM ? (real ? "0.0f" : "0") : real ? "-__builtin_inff()" : "INT32_MIN";
}

/* Whole rows reduce into a scalar, which the innermost loop may keep in vector lanes; others into an array by their kept columns.
 */
static void emit_reduce(emitter *e, const nest *n, const item *it) {
    const mdl_value *v = it->value;
    expr x = generate(e, walked(it), n->idx);
    mdl_text *t = text_at(e, n->n_loops);
    int indent = indent_at(n->n_loops);
    if (v->type.rank == 1) {
        mdl_text_printf(t, "%*s%s\n", indent, "", reduce_step(e, v, mdl_printf(e->arena, "r%d", v->id), x.name));
        mdl_text_printf(&e->clauses, " reduction(%s:r%d)", v->def->code == MDL_OP_SUM ? "+" : "max", v->id);
        return;
    }
    const mdl_attr *axes = mdl_find_attr(v->def, "axes");
    mdl_affine kept[MDL_MAX_RANK] = {{0}};
    for (int i = 1, k = 1; i < n->rank; i++)
        if (!mdl_attr_has_axis(axes, i)) kept[k++] = n->idx[i];
    mdl_affine at = mdl_affine_position(&v->type, kept);
    int inner = n->n_loops ? n->loops[n->n_loops - 1] : -1;
    bool moves = false;
    for (int i = 0; i < at.n; i++) moves |= at.term[i].var == inner;
    const char *to = mdl_printf(e->arena, "r%d[%s]", v->id, affine_text(e, &at));
    if (moves || n->n_loops < 2) {
        e->simd &= moves;
        mdl_text_printf(t, "%*s%s\n", indent, "", reduce_step(e, v, to, x.name));
        return;
    }
    int temp = e->n_temps++; /* a scalar for the innermost loop */
    mdl_text *outer = text_at(e, n->n_loops - 1);
    mdl_text_printf(outer, "%*s%s q%d = %s;\n", indent - 4, "", c_type(v->type.dtype), temp, reduce_start(v));
    mdl_text_printf(t, "%*s%s\n", indent, "", reduce_step(e, v, mdl_printf(e->arena, "q%d", temp), x.name));
    mdl_text_printf(&e->clauses, " reduction(%s:q%d)", v->def->code == MDL_OP_SUM ? "+" : "max", temp);
    mdl_text_printf(&e->loop[n->n_loops], "%*s%s\n", indent - 4, "", reduce_step(e, v, to, mdl_printf(e->arena, "q%d", temp)));
}

/* Drops what was remembered of temporaries inside loops. */
static void forget_loops(emitter *e) {
    int kept = 0;
    for (int i = 0; i < e->memos.n; i++)
        if (e->memos.at[i].depth <= 0) e->memos.at[kept++] = e->memos.at[i];
    e->memos.n = kept;
}

/* loop[i] is the body text of loop i; loop[n_loops] follows the innermost loop. */
static void print_nest(emitter *e, const nest *n) {
    for (int i = 0; i < n->n_loops; i++) {
        int64_t extent = e->vars[n->loops[i]].extent;
        bool innermost = i + 1 == n->n_loops;
        if (innermost && e->simd && extent > 1) mdl_text_printf(&e->row, "#pragma omp simd%s\n", e->clauses.n ? e->clauses.at : "");
        mdl_text_printf(&e->row, "%*sfor (int64_t i%d = 0; i%d < %" PRId64 "; i%d++) {\n", indent_at(i), "", n->loops[i],
                        n->loops[i], extent, n->loops[i]);
        if (e->loop[i].n) mdl_text_append(&e->row, e->loop[i].at, e->loop[i].n);
    }
    for (int i = n->n_loops - 1; i >= 0; i--) {
        mdl_text_printf(&e->row, "%*s}\n", indent_at(i), "");
        if (i + 1 == n->n_loops && e->loop[n->n_loops].n) mdl_text_append(&e->row, e->loop[n->n_loops].at, e->loop[n->n_loops].n);
    }
}

static void emit_nest(emitter *e, nest n, const item *const *items, int n_items) {
    mdl_demand d = {MDL_FINE, 0, 0};
    for (int i = 0; i < n_items && d.kind == MDL_FINE; i++) d = demand(e, walked(items[i]), n.idx);
    if (d.kind == MDL_IMPOSSIBLE || (d.kind == MDL_TILE_LOOP && !tile(e, &n, d.var, d.at)) ||
        (d.kind == MDL_CUT_LOOP && loop_place(&n, d.var) < 0)) {
        e->error = "a view whose index is not affine in the loops of its kernel";
        return;
    }
    if (d.kind == MDL_TILE_LOOP) {
        emit_nest(e, n, items, n_items);
        return;
    }
    if (d.kind == MDL_CUT_LOOP) {
        emit_nest(e, part_of(e, &n, d.var, 0, d.at), items, n_items);
        emit_nest(e, part_of(e, &n, d.var, d.at, e->vars[d.var].extent - d.at), items, n_items);
        return;
    }
    mdl_text loop[MAX_LOOPS + 1];
    for (int i = 0; i <= n.n_loops; i++) loop[i] = (mdl_text){.arena = e->arena};
    e->loop = loop;
    e->n_loops = n.n_loops;
    memcpy(e->loops, n.loops, sizeof e->loops);
    e->clauses = (mdl_text){.arena = e->arena};
    e->simd = true;
    for (int i = 0; i < n_items; i++) {
        if (items[i]->kind == STORE) emit_store(e, &n, items[i]);
        if (items[i]->kind == COLUMN) emit_column(e, &n, items[i]);
        if (items[i]->kind == REDUCE) emit_reduce(e, &n, items[i]);
    }
    print_nest(e, &n);
    forget_loops(e);
}

static void start_reductions(emitter *e, const item *const *items, int n) {
    for (int i = 0; i < n; i++) {
        const mdl_value *v = items[i]->value;
        if (items[i]->kind != REDUCE) continue;
        if (v->type.rank == 1) {
            mdl_text_printf(&e->row, "        %s r%d = %s;\n", c_type(v->type.dtype), v->id, reduce_start(v));
            continue;
        }
        mdl_text_printf(&e->row, "        %s r%d[%" PRId64 "];\n", c_type(v->type.dtype), v->id, outputs_stride(v));
        mdl_text_printf(&e->row, "        for (int64_t k = 0; k < %" PRId64 "; k++) r%d[k] = %s;\n", outputs_stride(v), v->id,
                        reduce_start(v));
    }
}

static bool same_columns(const item *a, const item *b) {
    const mdl_type *x = &walked(a)->type, *y = &walked(b)->type;
    if (x->rank != y->rank) return false;
    for (int i = 1; i < x->rank; i++)
        if (x->dim[i] != y->dim[i]) return false;
    return true;
}

static void emit_phase(emitter *e, int phase) {
    char *done = MDL_NEW_ARRAY(e->arena, char, e->items.n);
    const item **together = MDL_NEW_ARRAY(e->arena, const item *, e->items.n);
    e->current = phase;
    for (int i = 0; i < e->items.n; i++) {
        if (done[i] || e->items.at[i].phase != phase) continue;
        int n = 0;
        for (int k = i; k < e->items.n; k++) {
            if (done[k] || e->items.at[k].phase != phase || !same_columns(&e->items.at[i], &e->items.at[k])) continue;
            together[n++] = &e->items.at[k];
            done[k] = 1;
        }
        const mdl_type *t = &walked(together[0])->type;
        nest whole = {.rank = t->rank};
        if (t->rank) whole.idx[0] = mdl_affine_var(ROW);
        for (int k = 1; k < t->rank; k++) {
            whole.loops[whole.n_loops++] = new_var(e, t->dim[k]);
            whole.idx[k] = mdl_affine_var(e->n_vars - 1);
        }
        start_reductions(e, together, n);
        emit_nest(e, whole, together, n);
    }
}

/* ---- the function ---- */
static void print_pointers(emitter *e, mdl_text *t) {
    int slot = 0;
    for (int i = 0; i < e->kernel->n_in; i++) {
        if (mdl_is(e->kernel->in[i], MDL_OP_IMM)) continue;
        const char *type = memory_type(e->kernel->in[i]->type.dtype);
        mdl_text_printf(t, "    const %s *a%d = (const %s *)buffer[%d];\n", type, i, type, slot++);
    }
    const mdl_op *yield = yield_of(e->kernel);
    for (int i = 0; i < yield->n_in; i++, slot++) {
        const mdl_value *v = yield->in[i];
        const char *type = memory_type(v->type.dtype);
        if (!mdl_is_column_sum(v->def)) {
            mdl_text_printf(t, "    %s *o%d = (%s *)buffer[%d];\n", type, i, type, slot);
            continue;
        }
        int64_t cols = outputs_stride(v);
        mdl_text_printf(t, "    %s *c%d = (%s *)buffer[%d] + block * %" PRId64 ";\n", type, i, type, slot, cols);
        mdl_text_printf(t, "    for (int64_t k = 0; k < %" PRId64 "; k++) c%d[k] = 0;\n", cols, i);
    }
}

const char *mdl_emit_row(mdl_arena *arena, const mdl_op *kernel, const char *symbol, const char **error) {
    emitter *e = MDL_NEW(arena, emitter);
    *e = (emitter){.arena = arena, .kernel = kernel, .block = {.arena = arena}, .row = {.arena = arena}, .n_vars = 1};
    e->vars[ROW].extent = mdl_attr_int(kernel, "rows");
    int n = kernel->body->next_id + 1, last = 0;
    e->phase = MDL_NEW_ARRAY(arena, int, n);
    e->stored = MDL_NEW_ARRAY(arena, int, n);
    for (int i = 0; i < n; i++) e->phase[i] = -1;
    collect_items(e);
    for (int i = 0; i < e->items.n; i++)
        if (e->items.at[i].phase > last) last = e->items.at[i].phase;
    for (int p = 0; p <= last && !e->error; p++) emit_phase(e, p);
    *error = e->error;
    if (e->error) return NULL;
    mdl_text t = {.arena = arena};
    mdl_text_printf(&t, "void %s(void *const *buffer, const int64_t *immediate, int64_t block) {\n", symbol);
    print_pointers(e, &t);
    mdl_text_printf(&t, "    const int64_t first = block * immediate[1], end = first + immediate[1];\n");
    mdl_text_printf(&t, "    const int64_t last = end < immediate[0] ? end : immediate[0];\n");
    if (e->block.n) mdl_text_append(&t, e->block.at, e->block.n);
    mdl_text_printf(&t, "    for (int64_t row = first; row < last; row++) {\n");
    if (e->row.n) mdl_text_append(&t, e->row.at, e->row.n);
    mdl_text_printf(&t, "    }\n}\n");
    return t.at;
}
