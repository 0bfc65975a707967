/* Axes to matrices. Every label of a dot is a loop with a stride in each of A, B and D; loops of one role that lie in one another
 * as the axes of an array do are one loop. */
#include "compiler/op/matrices.h"

#include <string.h>

#include "compiler/op/dot.h"
#include "compiler/op/op.h"
#include "runtime/base/status.h"

enum { A, B, D, OPERANDS };
typedef enum { BATCH, ROW, COLUMN, SUM, ROLES } role;

typedef struct {
    int64_t size, stride[OPERANDS];
} loop;

/* Outermost first. */
typedef struct {
    int n;
    loop at[2 * MDL_MAX_RANK];
} nest;

static int position(int n, const int *labels, int label) {
    for (int i = 0; i < n; i++)
        if (labels[i] == label) return i;
    return -1;
}

static int64_t stride_of(const mdl_type *t, int axis) { return axis < 0 ? 0 : mdl_span_product(t, axis + 1, t->rank); }

static role role_of(const mdl_op *dot, const mdl_dot_axes *d, int label) {
    bool a = position(dot->in[0]->type.rank, d->a, label) >= 0, b = position(dot->in[1]->type.rank, d->b, label) >= 0;
    if (position(d->n_out, d->out, label) < 0) return SUM;
    return a && b ? BATCH : a ? ROW : COLUMN;
}

static void add_loop(const mdl_op *dot, const mdl_dot_axes *d, int label, nest nests[ROLES]) {
    const mdl_type *types[] = {&dot->in[0]->type, &dot->in[1]->type, &dot->out[0]->type};
    int axes[] = {position(types[A]->rank, d->a, label), position(types[B]->rank, d->b, label), position(d->n_out, d->out, label)};
    loop l = {.size = axes[A] >= 0 ? types[A]->dim[axes[A]] : types[B]->dim[axes[B]]};
    nest *to = &nests[role_of(dot, d, label)];
    for (int i = 0; i < OPERANDS; i++) l.stride[i] = stride_of(types[i], axes[i]);
    if (l.size > 1) to->at[to->n++] = l;
}

/* Loops that lie in one another become one. */
static void collapse(nest *x) {
    int n = 0;
    for (int i = 0; i < x->n; i++) {
        bool inside = n > 0;
        for (int k = 0; k < OPERANDS && inside; k++) inside = x->at[n - 1].stride[k] == x->at[i].size * x->at[i].stride[k];
        if (inside)
            x->at[i].size *= x->at[n - 1].size;
        else
            n++;
        x->at[n - 1] = x->at[i];
    }
    x->n = n;
}

/* All but the innermost go to the batch. */
static void move_to_batch(nest *from, nest *batch) {
    for (int i = 0; i + 1 < from->n; i++) batch->at[batch->n++] = from->at[i];
    if (from->n > 1) from->at[0] = from->at[from->n - 1], from->n = 1;
}

static loop only(const nest *x) { return x->n ? x->at[0] : (loop){.size = 1}; }

/* rows x cols in memory, as they are or transposed: whose columns lie side by side. */
static bool orient(const loop *rows, const loop *cols, int of, bool *transposed, int64_t *ld) {
    for (int i = 0; i < 2; i++) {
        const loop *outer = i ? cols : rows, *inner = i ? rows : cols;
        if (inner->size > 1 && inner->stride[of] != 1) continue;
        *transposed = i;
        *ld = outer->size > 1 ? outer->stride[of] : inner->size;
        if (*ld >= inner->size) return true;
    }
    return false;
}

bool mdl_dot_as_matrices(const mdl_op *dot, mdl_matrices *out) {
    mdl_dot_axes d;
    nest nests[ROLES] = {0};
    mdl_dot_axes_of(dot, &d);
    for (int i = 0; i < d.n_out; i++) add_loop(dot, &d, d.out[i], nests);
    for (int i = 0; i < dot->in[0]->type.rank; i++)
        if (role_of(dot, &d, d.a[i]) == SUM) add_loop(dot, &d, d.a[i], nests);
    for (int i = ROW; i < ROLES; i++) collapse(&nests[i]);
    move_to_batch(&nests[ROW], &nests[BATCH]);
    move_to_batch(&nests[COLUMN], &nests[BATCH]);
    collapse(&nests[BATCH]);
    if (nests[BATCH].n > 1 || nests[SUM].n > 1) return false;
    loop batch = only(&nests[BATCH]), m = only(&nests[ROW]), n = only(&nests[COLUMN]), k = only(&nests[SUM]);
    *out = (mdl_matrices){.m = m.size,
                          .n = n.size,
                          .k = k.size,
                          .batch = batch.size,
                          .stride_a = batch.stride[A],
                          .stride_b = batch.stride[B],
                          .stride_d = batch.stride[D]};
    bool across;
    return orient(&m, &k, A, &out->trans_a, &out->lda) && orient(&k, &n, B, &out->trans_b, &out->ldb) &&
           orient(&m, &n, D, &across, &out->ldd) && !across;
}

/* ---- by way of permuted operands ---- */
/* Appends the axes whose labels have the role, in the order of `labels`. */
static int axes_with(const mdl_op *dot, const mdl_dot_axes *d, role role, int n, const int *labels, int rank, const int *of,
                     int64_t *axes) {
    int count = 0;
    for (int i = 0; i < n; i++)
        if (role_of(dot, d, labels[i]) == role) axes[count++] = position(rank, of, labels[i]);
    return count;
}

static mdl_value *permuted(mdl_builder *b, mdl_value *x, const int64_t *perm) {
    for (int i = 0; i < x->type.rank; i++)
        if (perm[i] != i) return mdl_permute(b, x, perm);
    return x;
}

/* The dot's attributes, its axes replaced by: `batch` in front of both, then `sums` behind in x and first in y. */
static int new_attrs(mdl_builder *b, const mdl_op *dot, int rank, int batch, int sums, mdl_attr *attr) {
    int64_t left[MDL_MAX_RANK], right[MDL_MAX_RANK], both[MDL_MAX_RANK];
    int n = 0;
    for (int i = 0; i < sums; i++) left[i] = rank - sums + i, right[i] = batch + i;
    for (int i = 0; i < batch; i++) both[i] = i;
    attr[n++] = mdl_ints(b->arena, "left", sums, left);
    attr[n++] = mdl_ints(b->arena, "right", sums, right);
    if (batch) attr[n++] = mdl_ints(b->arena, "left_batch", batch, both);
    if (batch) attr[n++] = mdl_ints(b->arena, "right_batch", batch, both);
    for (int i = 0; i < dot->n_attr; i++)
        if (dot->attr[i].kind != MDL_ATTR_INTS) attr[n++] = dot->attr[i];
    return n;
}

mdl_value *mdl_dot_permuted(mdl_builder *b, const mdl_op *dot, mdl_value *x, mdl_value *y) {
    mdl_dot_axes d;
    mdl_dot_axes_of(dot, &d);
    int rank_x = x->type.rank, rank_y = y->type.rank, batch, rows, sums;
    int64_t px[MDL_MAX_RANK], py[MDL_MAX_RANK], back[2 * MDL_MAX_RANK];
    batch = axes_with(dot, &d, BATCH, rank_x, d.a, rank_x, d.a, px);
    rows = axes_with(dot, &d, ROW, rank_x, d.a, rank_x, d.a, px + batch);
    sums = axes_with(dot, &d, SUM, rank_x, d.a, rank_x, d.a, px + batch + rows);
    axes_with(dot, &d, BATCH, rank_x, d.a, rank_y, d.b, py);
    axes_with(dot, &d, SUM, rank_x, d.a, rank_y, d.b, py + batch);
    axes_with(dot, &d, COLUMN, rank_y, d.b, rank_y, d.b, py + batch + sums);
    mdl_attr *attr = MDL_NEW_ARRAY(b->arena, mdl_attr, dot->n_attr + 4);
    int n_attr = new_attrs(b, dot, rank_x, batch, sums, attr);
    mdl_value *in[] = {permuted(b, x, px), permuted(b, y, py)};
    mdl_value *z = mdl_build(b, MDL_OP_DOT, 2, in, n_attr, attr, NULL, NULL)->out[0];
    for (int i = 0; i < d.n_out; i++) { /* z has x's kept axes in the order of px, then y's */
        back[i] = i;
        for (int k = 0; k < batch + rows; k++)
            if (d.a[px[k]] == d.out[i]) back[i] = k;
    }
    return permuted(b, z, back);
}
