/* needs: the marks of store. keeps: every value. breaks: afterwards every op is an anchor, a memory leaf, a view of memory, a
 * kernel or a sink; the marks are gone.
 *
 * Everything that is not an anchor becomes row kernels. What is stored is a root: roots of one level and row count that share work
 * or a large operand form one kernel; all else is computed in each kernel that uses it. */
#include <stdlib.h>

#include "compiler/kernel/levels.h"
#include "compiler/kernel/rows.h"
#include "compiler/pass/pass.h"
#include "runtime/base/status.h"

typedef struct {
    mdl_pass_context *c;
    mdl_region *in;
    const mdl_fact *facts; /* by value id */
    int *group;            /* union-find parent, by value id */
} fusion;

static const mdl_fact *fact_of(const fusion *f, const mdl_value *v) { return &f->facts[v->id]; }
static mdl_value *result(const mdl_op *op) { return op->out[0]; }
static bool is_fusable(const fusion *f, const mdl_value *v) { return fact_of(f, v)->place == MDL_PLACE_FUSABLE; }

/* ---- groups ---- */
static int find(fusion *f, int id) {
    while (f->group[id] != id) id = f->group[id] = f->group[f->group[id]];
    return id;
}
static void join(fusion *f, int a, int b) {
    a = find(f, a), b = find(f, b);
    f->group[a < b ? b : a] = a < b ? a : b;
}

static bool same_kernel(fusion *f, const mdl_value *a, const mdl_value *b) {
    return fact_of(f, a)->level == fact_of(f, b)->level && mdl_rows_of(a) == mdl_rows_of(b);
}

typedef MDL_VEC(mdl_value *) value_list;

/* Walks what a root computes. Of the roots that reach a value, one of each level and row count is noted with it: the next of its
 * kind joins it, whatever the order they come in. */
typedef struct {
    fusion *f;
    int *seen;      /* by value id: the last root that visited it, + 1 */
    value_list *by; /* by value id */
} walk;

static void meet(walk *w, mdl_value *v, mdl_value *root) {
    if (fact_of(w->f, v)->stored) {
        if (same_kernel(w->f, v, root)) join(w->f, v->id, root->id);
        return;
    }
    value_list *by = &w->by[v->id];
    int i = 0;
    while (i < by->n && !same_kernel(w->f, by->at[i], root)) i++;
    if (i < by->n)
        join(w->f, by->at[i]->id, root->id);
    else
        MDL_PUSH(w->f->c->arena, *by, root);
}

static void reach(walk *w, mdl_value *root, mdl_value *v) {
    while (mdl_is(v, MDL_OP_RESHAPE) && !is_fusable(w->f, v)) v = v->def->in[0];
    const mdl_fact *x = fact_of(w->f, v);
    if (w->seen[v->id] == root->id + 1) return;
    w->seen[v->id] = root->id + 1;
    bool fusable = is_fusable(w->f, v);
    bool inside = fusable && (v == root || !x->stored || mdl_computed_again(w->f->facts, v, root));
    if (fusable ? x->varies : mdl_is_large(v) && v->type.dim[0] == mdl_rows_of(root)) meet(w, v, root);
    for (int i = 0; inside && i < v->def->n_in; i++) reach(w, root, v->def->in[i]);
}

static bool is_root(const fusion *f, const mdl_op *op) { return op->n_out && fact_of(f, result(op))->stored; }

static void make_groups(fusion *f) {
    int n = f->in->next_id + 1;
    walk w = {f, MDL_NEW_ARRAY(f->c->arena, int, n), MDL_NEW_ARRAY(f->c->arena, value_list, n)};
    f->group = MDL_NEW_ARRAY(f->c->arena, int, n);
    for (int i = 0; i < n; i++) f->group[i] = i;
    for (int i = 0; i < f->in->ops.n; i++)
        if (is_root(f, f->in->ops.at[i])) reach(&w, result(f->in->ops.at[i]), result(f->in->ops.at[i]));
}

/* ---- building kernels ---- */
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

static mdl_op *body_op(body_builder *bb, const mdl_op *old, mdl_value *const *in) {
    mdl_op *op = mdl_clone(&bb->b, old, in);
    mdl_drop_attr(op, MDL_STORED);
    mdl_drop_attr(op, MDL_LOADED);
    return op;
}

static bool in_group(fusion *f, const mdl_value *v, const group *g) {
    return fact_of(f, v)->stored && find(f, v->id) == find(f, g->roots.at[0]->id);
}

static mdl_value *body_value(body_builder *bb, mdl_value *old) {
    mdl_value **made = &bb->made[old->id];
    if (*made) return *made;
    const mdl_fact *x = fact_of(bb->f, old);
    if (mdl_is_apart(old->def)) return *made = body_arg(bb, old);
    if (mdl_is(old, MDL_OP_RESHAPE)) { /* also of memory, which may be a root of this very kernel */
        mdl_value *x0 = body_value(bb, old->def->in[0]);
        return *made = result(body_op(bb, old->def, &x0));
    }
    bool computed = is_fusable(bb->f, old) && (!x->stored || (in_group(bb->f, old, bb->g) && !mdl_is_column_sum(old->def)) ||
                                               mdl_computed_again(bb->f->facts, old, bb->g->roots.at[0]));
    if (!computed) return *made = body_arg(bb, old);
    mdl_value *in[3], **many = old->def->n_in > 3 ? MDL_NEW_ARRAY(bb->b.arena, mdl_value *, old->def->n_in) : in;
    for (int i = 0; i < old->def->n_in; i++)
        many[i] = i == 0 && mdl_is(old, MDL_OP_GATHER) ? body_arg(bb, old->def->in[0]) : body_value(bb, old->def->in[i]);
    return *made = body_op(bb, old->def, many)->out[old->index];
}

static mdl_value *column_sum(body_builder *bb, mdl_value *old) {
    mdl_value *in[2];
    for (int i = 0; i < old->def->n_in; i++) in[i] = body_value(bb, old->def->in[i]);
    return result(body_op(bb, old->def, in));
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
    mdl_attr rows = mdl_int("rows", mdl_rows_of(g->roots.at[0]));
    mdl_op *kernel = mdl_build_region(&a->r.b, MDL_OP_KERNEL, g->args.n, in, 1, &rows, body);
    for (int i = 0; i < g->roots.n; i++) mdl_map(g->roots.at[i], kernel->out[i]);
}

static void emit(assembly *a, mdl_op *op) {
    if (is_root(a->f, op)) emit_group(a, a->group_of[find(a->f, result(op)->id)]);
    if (op->n_out && is_fusable(a->f, result(op))) return;
    for (int i = 0; i < op->n_in; i++) need(a, op->in[i]);
    mdl_op *kept = mdl_keep(&a->r, op);
    mdl_drop_attr(kept, MDL_STORED);
    mdl_drop_attr(kept, MDL_LOADED);
}

static group **collect_groups(fusion *f) {
    group **of = MDL_NEW_ARRAY(f->c->arena, group *, f->in->next_id + 1);
    for (int i = 0; i < f->in->ops.n; i++) {
        mdl_op *op = f->in->ops.at[i];
        if (!is_root(f, op)) continue;
        group **g = &of[find(f, result(op)->id)];
        if (!*g) *g = MDL_NEW(f->c->arena, group);
        MDL_PUSH(f->c->arena, (*g)->roots, result(op));
        (*g)->last = i;
    }
    return of;
}

/* Cuts groups that the target's kernels cannot hold, in the order of their roots: a later part may take what an earlier one stored.
 */
static void split_groups(fusion *f) {
    group **of = collect_groups(f);
    int n = f->in->next_id + 1;
    mdl_kernel_size size = {.facts = f->facts, .mark = MDL_NEW_ARRAY(f->c->arena, int, n)};
    for (int id = 0; id < n; id++)
        for (int i = 0, first = 0; of[id] && i < of[id]->roots.n; i++) {
            const mdl_value *root = of[id]->roots.at[i];
            mdl_add_to_kernel(&size, root);
            bool full = size.args + i - first + 1 > f->c->target->limits.args || size.ops > f->c->target->limits.ops;
            if (!i || full) {
                first = i;
                size.stamp++, size.args = size.ops = 0;
                mdl_add_to_kernel(&size, root);
            }
            f->group[root->id] = of[id]->roots.at[first]->id;
        }
}

/* A kernel stands where its last root stood, or earlier if something needs it. */
mdl_region *mdl_pass_fuse(mdl_pass_context *c, mdl_region *in) {
    fusion f = {.c = c, .in = in, .facts = mdl_facts_of(c->arena, in)};
    make_groups(&f);
    if (c->target->limits.args) split_groups(&f);
    assembly a = {&f, mdl_rewrite_begin(c, in), collect_groups(&f)};
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        bool made = op->n_out && result(op)->scratch;
        bool waits = is_root(&f, op) && a.group_of[find(&f, result(op)->id)]->last != i;
        if (!made && !waits) emit(&a, op);
    }
    return mdl_rewrite_end(&a.r);
}
