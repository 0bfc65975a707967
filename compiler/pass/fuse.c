/* needs: primitives, anchors with their accumulators. keeps: every value. breaks: afterwards every op is an anchor, a memory leaf,
 * a reshape of memory, a kernel or a sink.
 *
 * Everything that is not an anchor becomes row kernels, by demand:
 *   1. level(v): how many anchors and column sums lie before v at least. Values of one level and row count can share a kernel.
 *   2. roots: values that must be in memory, for an anchor, a sink, another kernel's gather table, or because several kernels need
 *      them and computing them again would cost more than a load (see worth_storing). All else is computed where it is used.
 *   3. roots of one level and row count that share work or a large operand form one kernel. */
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/rows.h"
#include "compiler/pass/pass.h"
#include "runtime/base/status.h"

typedef enum { OUTSIDE, MEMORY, FUSABLE } place;

/* What is known of a value, by id. */
typedef struct {
    place place;
    int level;
    bool root;
    bool anywhere;      /* can be computed at any index: no row reduction in it */
    bool reduces;       /* a row reduction that is not in memory lies in it */
    bool heavy, spread; /* a transcendental; used through a broadcast */
    bool varies;        /* depends on memory: not a constant */
    int fanout;
    int big[2], n_big;       /* large operands that computing it again would load; n_big 2 means two or more */
    int needed[2], n_needed; /* levels of the kernels that use it; 2 means two or more */
    int group;               /* union-find parent, by id */
} fact;

typedef struct {
    mdl_pass_context *c;
    mdl_region *in;
    fact *of;
} fusion;

static fact *fact_of(fusion *f, const mdl_value *v) { return &f->of[v->id]; }
static mdl_value *result(const mdl_op *op) { return op->out[0]; }

static int64_t rows_of(const mdl_value *v) {
    if (mdl_is_column_sum(v->def)) v = v->def->in[0];
    return v->type.rank ? v->type.dim[0] : 1;
}
static bool is_large(const mdl_value *v) { return v->type.rank >= 2 && mdl_type_count(&v->type) > v->type.dim[0]; }

static void add_to_set(int *set, int *n, int item) {
    for (int i = 0; i < *n && i < 2; i++)
        if (set[i] == item) return;
    if (*n < 2) set[(*n)++] = item;
}

/* ---- 1. places and levels, forward ---- */
/* A reshape whose rows are parts of its operand's rows: no affine index reaches them, so it is only ever a view of memory. */
static bool splits_rows(const mdl_op *op) {
    if (op->code != MDL_OP_RESHAPE) return false;
    const mdl_type *in = &op->in[0]->type, *out = &op->out[0]->type;
    if (!in->rank || !out->rank) return false;
    return mdl_type_count(out) / out->dim[0] % (mdl_type_count(in) / in->dim[0]) != 0;
}

static place place_of(fusion *f, const mdl_op *op) {
    switch (mdl_ops[op->code].class) {
        case MDL_SINK: return OUTSIDE;
        case MDL_SEGMENT:
        case MDL_CONTRACT:
        case MDL_STRUCTURED: return MEMORY;
        case MDL_LEAF: return op->code == MDL_OP_CONST || op->code == MDL_OP_IOTA || op->code == MDL_OP_RANDOM ? FUSABLE : MEMORY;
        case MDL_INDEX: return op->code == MDL_OP_GATHER ? FUSABLE : MEMORY;
        case MDL_VIEW:
            return op->code == MDL_OP_RESHAPE && (fact_of(f, op->in[0])->place == MEMORY || splits_rows(op)) ? MEMORY : FUSABLE;
        default: return FUSABLE;
    }
}

static bool is_anchor(const mdl_op *op) {
    mdl_class class = mdl_ops[op->code].class;
    return class == MDL_SEGMENT || class == MDL_CONTRACT || class == MDL_STRUCTURED || op->code == MDL_OP_SCATTER_ADD;
}

/* Must operand i of a fusable op be in memory? */
static bool from_memory(fusion *f, const mdl_op *op, int i) {
    const fact *u = fact_of(f, op->in[i]);
    if (u->place == MEMORY) return false; /* it is */
    if (mdl_is_column_sum(op->in[i]->def)) return true;
    if (op->code == MDL_OP_GATHER && i == 0) return true;
    return (op->code == MDL_OP_RANDOM && i == 0) || (!mdl_keeps_row(op, i) && !u->anywhere) || (i == 1 && op->code == MDL_OP_SUM);
}

static bool is_heavy(const mdl_op *op) {
    return op->code == MDL_OP_EXP || op->code == MDL_OP_LN || op->code == MDL_OP_SIN || op->code == MDL_OP_COS ||
           op->code == MDL_OP_ERF || op->code == MDL_OP_TANH || op->code == MDL_OP_RANDOM;
}

/* Of the two sides of a cast that widens, the narrow one is stored: what is said of the wide side is said of it. */
static bool widens(const mdl_op *op) {
    return op->code == MDL_OP_CAST && mdl_dtype_is_narrow(op->in[0]->type.dtype) && mdl_dtype_is_real(result(op)->type.dtype);
}

static void describe_fusable(fusion *f, const mdl_op *op, fact *v) {
    v->anywhere = !mdl_is_row_reduction(op);
    v->reduces = mdl_is_row_reduction(op);
    v->heavy = is_heavy(op);
    for (int i = 0; i < op->n_in; i++) {
        const fact *u = fact_of(f, op->in[i]);
        bool memory = u->place == MEMORY || from_memory(f, op, i);
        int level = u->level + from_memory(f, op, i);
        if (level > v->level) v->level = level;
        if (memory && is_large(op->in[i])) add_to_set(v->big, &v->n_big, op->in[i]->id);
        v->varies |= memory || u->varies;
        if (memory) continue;
        v->anywhere &= u->anywhere;
        v->reduces |= u->reduces;
        v->heavy |= u->heavy;
        for (int k = 0; k < u->n_big; k++) add_to_set(v->big, &v->n_big, u->big[k]);
    }
}

static void describe(fusion *f, const mdl_op *op, int *write_level) {
    place where = place_of(f, op);
    int level = 0;
    for (int i = 0; i < op->n_in; i++)
        if (fact_of(f, op->in[i])->level > level) level = fact_of(f, op->in[i])->level;
    if (op->code == MDL_OP_WRITE && level >= *write_level) *write_level = level + 1;
    if (op->code == MDL_OP_READ && mdl_find_attr(op, "state")->ss[0][0] == '@') level = *write_level;
    if (where == OUTSIDE) return;
    bool waits = is_anchor(op) || (splits_rows(op) && fact_of(f, op->in[0])->place == FUSABLE);
    for (int i = 0; i < op->n_out; i++) {
        fact *v = fact_of(f, op->out[i]);
        *v = (fact){.place = where, .level = level + waits, .anywhere = true, .fanout = v->fanout, .group = op->out[i]->id};
        if (where == FUSABLE) describe_fusable(f, op, v);
    }
    /* joins two streams and is used again: if it is ever needed twice it will be in memory */
    fact *v = fact_of(f, result(op));
    if (where == FUSABLE && v->n_big > 1 && v->fanout > 1 && is_large(result(op))) v->n_big = 1, v->big[0] = result(op)->id;
}

/* ---- 2. roots, backward ---- */
/* Needed by several kernels: is a load cheaper than computing it again? Row statistics always; a sum of several large operands;
 * a transcendental that is used through a broadcast, where it would be computed once for each copy. */
static bool worth_storing(const fusion *f, const mdl_op *op) {
    const fact *v = &f->of[result(op)->id];
    if (widens(op)) return false;
    if (!v->n_big && !v->reduces) return v->heavy && v->spread;
    if (mdl_type_count(&result(op)->type) <= rows_of(result(op))) return v->reduces;
    return (v->n_big && v->big[0] == result(op)->id) || (v->heavy && v->spread);
}

/* A reshape is never a root: what it reshapes is, and the reshape is a view of that memory. */
static void make_root(fusion *f, const mdl_value *v) {
    fact *x = fact_of(f, v);
    if (x->place != FUSABLE) return;
    if (mdl_is(v, MDL_OP_RESHAPE)) {
        x->place = MEMORY;
        make_root(f, v->def->in[0]);
        return;
    }
    x->root = true;
}

static void use(fusion *f, const mdl_op *user, int i) {
    fact *u = fact_of(f, user->in[i]);
    if (u->place != FUSABLE) return;
    const fact *v = user->n_out ? fact_of(f, result(user)) : NULL;
    if (!v || v->place != FUSABLE || from_memory(f, user, i)) {
        make_root(f, user->in[i]);
        return;
    }
    if (user->code == MDL_OP_BROADCAST && mdl_type_count(&result(user)->type) > mdl_type_count(&user->in[i]->type))
        u->spread = true;
    u->spread |= v->spread && !v->root;
    if (v->root)
        add_to_set(u->needed, &u->n_needed, v->level);
    else
        for (int k = 0; k < v->n_needed; k++) add_to_set(u->needed, &u->n_needed, v->needed[k]);
}

static void choose_roots(fusion *f) {
    for (int i = f->in->ops.n - 1; i >= 0; i--) {
        mdl_op *op = f->in->ops.at[i];
        if (op->n_out && fact_of(f, result(op))->place == FUSABLE) {
            fact *v = fact_of(f, result(op));
            if (mdl_is_column_sum(op)) v->root = true;
            if (v->heavy && v->spread && is_heavy(op) && is_large(result(op)) && !v->reduces) v->root = true;
            if (v->n_needed > 1 && worth_storing(f, op)) make_root(f, result(op));
        }
        for (int k = 0; k < op->n_in; k++) use(f, op, k);
    }
}

/* ---- 3. groups ---- */
static int find(fusion *f, int id) {
    while (f->of[id].group != id) id = f->of[id].group = f->of[f->of[id].group].group;
    return id;
}
static void join(fusion *f, int a, int b) {
    a = find(f, a), b = find(f, b);
    if (a == b) return;
    f->of[a < b ? b : a].group = a < b ? a : b;
}

static bool same_kernel(fusion *f, const mdl_value *a, const mdl_value *b) {
    return fact_of(f, a)->level == fact_of(f, b)->level && rows_of(a) == rows_of(b);
}

/* A root of the same level but another number of rows, reached across rows: computed again rather than loaded, so that kernels of
 * one level never wait for each other. */
static bool computed_again(fusion *f, const mdl_value *v, const mdl_value *root) {
    const fact *x = fact_of(f, v);
    return x->place == FUSABLE && x->root && x->anywhere && !mdl_is_column_sum(v->def) && x->level == fact_of(f, root)->level &&
           rows_of(v) != rows_of(root);
}

/* Walks what a root computes; `touch` is called for every root and large memory operand in reach. */
typedef struct {
    fusion *f;
    int *seen; /* by value id: the last root that visited it, + 1 */
    int *by;   /* by value id: a root that uses it, + 1 */
    mdl_value **values;
} walk;

static void reach(walk *w, mdl_value *root, mdl_value *v) {
    while (mdl_is(v, MDL_OP_RESHAPE) && fact_of(w->f, v)->place == MEMORY) v = v->def->in[0];
    fact *x = fact_of(w->f, v);
    if (w->seen[v->id] == root->id + 1) return;
    w->seen[v->id] = root->id + 1;
    bool inside = x->place == FUSABLE && (v == root || !x->root || computed_again(w->f, v, root));
    bool shared = x->place == FUSABLE ? x->varies : is_large(v) && v->type.dim[0] == rows_of(root);
    if (shared) {
        mdl_value *other = x->root ? v : w->by[v->id] ? w->values[w->by[v->id] - 1] : NULL;
        if (other && same_kernel(w->f, other, root)) join(w->f, other->id, root->id);
        w->by[v->id] = root->id + 1;
    }
    for (int i = 0; inside && i < v->def->n_in; i++) reach(w, root, v->def->in[i]);
}

static void make_groups(fusion *f) {
    int n = f->in->next_id + 1;
    walk w = {f, MDL_NEW_ARRAY(f->c->arena, int, n), MDL_NEW_ARRAY(f->c->arena, int, n),
              MDL_NEW_ARRAY(f->c->arena, mdl_value *, n)};
    for (int i = 0; i < f->in->ops.n; i++)
        for (int k = 0; k < f->in->ops.at[i]->n_out; k++) w.values[f->in->ops.at[i]->out[k]->id] = f->in->ops.at[i]->out[k];
    for (int i = 0; i < f->in->ops.n; i++) {
        mdl_op *op = f->in->ops.at[i];
        if (op->n_out && fact_of(f, result(op))->root) reach(&w, result(op), result(op));
    }
}

/* ---- building kernels ---- */
typedef MDL_VEC(mdl_value *) value_list;
typedef struct {
    value_list roots, args; /* args: values of the old region */
    int last;               /* index of the latest root's op */
} group;

typedef struct {
    fusion *f;
    group *g;
    mdl_builder b;
    mdl_value **made; /* by old value id, in the body */
} body_builder;

static mdl_value *body_arg(body_builder *bb, mdl_value *old) {
    mdl_attr attr = mdl_int("index", bb->g->args.n);
    MDL_PUSH(bb->b.arena, bb->g->args, old);
    return result(mdl_build(&bb->b, MDL_OP_ARG, 0, NULL, 1, &attr, &old->type, NULL));
}

static bool in_group(fusion *f, const mdl_value *v, const group *g) {
    return fact_of(f, v)->root && find(f, v->id) == find(f, g->roots.at[0]->id);
}

static mdl_value *body_value(body_builder *bb, mdl_value *old) {
    mdl_value **made = &bb->made[old->id];
    if (*made) return *made;
    fact *x = fact_of(bb->f, old);
    if (splits_rows(old->def)) return *made = body_arg(bb, old);
    if (mdl_is(old, MDL_OP_RESHAPE)) { /* also of memory, which may be a root of this very kernel */
        mdl_value *x0 = body_value(bb, old->def->in[0]);
        return *made = result(mdl_clone(&bb->b, old->def, &x0));
    }
    bool computed = x->place == FUSABLE && (!x->root || (in_group(bb->f, old, bb->g) && !mdl_is_column_sum(old->def)) ||
                                            computed_again(bb->f, old, bb->g->roots.at[0]));
    if (!computed) return *made = body_arg(bb, old);
    mdl_value *in[3], **many = old->def->n_in > 3 ? MDL_NEW_ARRAY(bb->b.arena, mdl_value *, old->def->n_in) : in;
    for (int i = 0; i < old->def->n_in; i++)
        many[i] = i == 0 && mdl_is(old, MDL_OP_GATHER) ? body_arg(bb, old->def->in[0]) : body_value(bb, old->def->in[i]);
    return *made = mdl_clone(&bb->b, old->def, many)->out[old->index];
}

static mdl_value *column_sum(body_builder *bb, mdl_value *old) {
    mdl_value *in[2];
    for (int i = 0; i < old->def->n_in; i++) in[i] = body_value(bb, old->def->in[i]);
    return result(mdl_clone(&bb->b, old->def, in));
}

static mdl_region *make_body(fusion *f, group *g) {
    body_builder bb = {.f = f, .g = g, .b = {.arena = f->c->arena, .region = mdl_region_new(f->c->arena, "")}};
    bb.made = calloc((size_t)f->in->next_id + 1, sizeof *bb.made);
    value_list yields = {0};
    for (int i = 0; i < g->roots.n; i++) {
        mdl_value *root = g->roots.at[i];
        MDL_PUSH(f->c->arena, yields, mdl_is_column_sum(root->def) ? column_sum(&bb, root) : body_value(&bb, root));
    }
    free(bb.made);
    mdl_build(&bb.b, MDL_OP_YIELD, yields.n, yields.at, 0, NULL, NULL, NULL);
    return bb.b.region;
}

/* ---- the new region: kernels, anchors, views of memory and sinks in an order that respects their operands ---- */
typedef struct {
    fusion *f;
    mdl_rewrite r;
    group **group_of; /* by value id of a root */
} assembly;

static void emit(assembly *a, mdl_op *op);

static void need(assembly *a, mdl_value *v) {
    if (!v->scratch) emit(a, v->def);
}

static void emit_group(assembly *a, group *g) {
    mdl_region *body = make_body(a->f, g);
    mdl_value **in = MDL_NEW_ARRAY(a->r.b.arena, mdl_value *, g->args.n);
    for (int i = 0; i < g->args.n; i++) need(a, g->args.at[i]);
    for (int i = 0; i < g->args.n; i++) in[i] = mdl_mapped(g->args.at[i]);
    a->r.b.span = g->roots.at[0]->def->span;
    mdl_attr rows = mdl_int("rows", rows_of(g->roots.at[0]));
    mdl_op *kernel = mdl_build_region(&a->r.b, MDL_OP_KERNEL, g->args.n, in, 1, &rows, body);
    for (int i = 0; i < g->roots.n; i++) mdl_map(g->roots.at[i], kernel->out[i]);
}

static void emit(assembly *a, mdl_op *op) {
    if (op->n_out && fact_of(a->f, result(op))->place == FUSABLE) {
        if (fact_of(a->f, result(op))->root) emit_group(a, a->group_of[find(a->f, result(op)->id)]);
        return;
    }
    for (int i = 0; i < op->n_in; i++) need(a, op->in[i]);
    mdl_keep(&a->r, op);
}

static group **collect_groups(fusion *f) {
    group **of = MDL_NEW_ARRAY(f->c->arena, group *, f->in->next_id + 1);
    for (int i = 0; i < f->in->ops.n; i++) {
        mdl_op *op = f->in->ops.at[i];
        if (!op->n_out || !fact_of(f, result(op))->root) continue;
        group **g = &of[find(f, result(op)->id)];
        if (!*g) *g = MDL_NEW(f->c->arena, group);
        MDL_PUSH(f->c->arena, (*g)->roots, result(op));
        (*g)->last = i;
    }
    return of;
}

/* A kernel stands where its last root stood, or earlier if something needs it; reads of whole arenas stay behind the writes. */
mdl_region *mdl_pass_fuse(mdl_pass_context *c, mdl_region *in) {
    fusion f = {c, in, MDL_NEW_ARRAY(c->arena, fact, in->next_id + 1)};
    int write_level = 0;
    for (int i = 0; i < in->ops.n; i++)
        for (int k = 0; k < in->ops.at[i]->n_in; k++) fact_of(&f, in->ops.at[i]->in[k])->fanout++;
    for (int i = in->ops.n - 1; i >= 0; i--)
        if (widens(in->ops.at[i])) fact_of(&f, in->ops.at[i]->in[0])->fanout += fact_of(&f, result(in->ops.at[i]))->fanout - 1;
    for (int i = 0; i < in->ops.n; i++) describe(&f, in->ops.at[i], &write_level);
    choose_roots(&f);
    make_groups(&f);
    assembly a = {&f, mdl_rewrite_begin(c, in), collect_groups(&f)};
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        bool fusable = op->n_out && fact_of(&f, result(op))->place == FUSABLE;
        if (!fusable) {
            if (!op->n_out || !result(op)->scratch) emit(&a, op);
        } else if (fact_of(&f, result(op))->root && !result(op)->scratch && a.group_of[find(&f, result(op)->id)]->last == i) {
            emit(&a, op);
        }
    }
    return mdl_rewrite_end(&a.r);
}
