/* Affine index expressions, and what views do to them. */
#include "compiler/kernel/affine.h"

#include "compiler/op/op.h"
#include "runtime/base/status.h"

mdl_affine mdl_affine_const(int64_t c) { return (mdl_affine){.c = c}; }
mdl_affine mdl_affine_var(int var) { return (mdl_affine){.n = 1, .term = {{var, 1}}}; }

static void add_term(mdl_affine *a, int var, int64_t k) {
    int i = 0;
    while (i < a->n && a->term[i].var < var) i++;
    if (i < a->n && a->term[i].var == var) {
        if ((a->term[i].k += k)) return;
        for (a->n--; i < a->n; i++) a->term[i] = a->term[i + 1];
        return;
    }
    if (!k) return;
    MDL_ASSERT(a->n < MDL_TERMS);
    for (int j = a->n++; j > i; j--) a->term[j] = a->term[j - 1];
    a->term[i].var = var;
    a->term[i].k = k;
}

mdl_affine mdl_affine_add(mdl_affine a, mdl_affine b) {
    a.c += b.c;
    for (int i = 0; i < b.n; i++) add_term(&a, b.term[i].var, b.term[i].k);
    return a;
}

mdl_affine mdl_affine_scale(mdl_affine a, int64_t k) {
    if (!k) return mdl_affine_const(0);
    a.c *= k;
    for (int i = 0; i < a.n; i++) a.term[i].k *= k;
    return a;
}

mdl_affine mdl_affine_substitute(mdl_affine a, int var, mdl_affine by) {
    for (int i = 0; i < a.n; i++) {
        if (a.term[i].var != var) continue;
        int64_t k = a.term[i].k;
        add_term(&a, var, -k);
        return mdl_affine_add(a, mdl_affine_scale(by, k));
    }
    return a;
}

bool mdl_affine_equal(const mdl_affine *a, const mdl_affine *b) {
    if (a->c != b->c || a->n != b->n) return false;
    for (int i = 0; i < a->n; i++)
        if (a->term[i].var != b->term[i].var || a->term[i].k != b->term[i].k) return false;
    return true;
}

int mdl_affine_depth(const mdl_affine *a) { return a->n ? a->term[a->n - 1].var : -1; }

void mdl_affine_range(const mdl_affine *a, const mdl_loop_var *vars, int64_t *low, int64_t *high) {
    *low = *high = a->c;
    for (int i = 0; i < a->n; i++) {
        int64_t far = a->term[i].k * (vars[a->term[i].var].extent - 1);
        *(far < 0 ? low : high) += far;
    }
}

mdl_affine mdl_affine_position(const mdl_type *t, const mdl_affine *idx) {
    mdl_affine at = mdl_affine_const(0);
    for (int i = 0; i < t->rank; i++) at = mdl_affine_add(mdl_affine_scale(at, t->dim[i]), idx[i]);
    return at;
}

static const mdl_demand fine = {MDL_FINE, 0, 0}, impossible = {MDL_IMPOSSIBLE, 0, 0};

/* a = quotient * size + remainder with 0 <= remainder < size, or the loop tiling that makes it so. */
static mdl_demand divide(mdl_affine a, int64_t size, const mdl_loop_var *vars, mdl_affine *quotient, mdl_affine *remainder) {
    *quotient = mdl_affine_const(a.c / size);
    *remainder = mdl_affine_const(a.c % size);
    for (int i = 0; i < a.n; i++) {
        bool multiple = a.term[i].k % size == 0;
        add_term(multiple ? quotient : remainder, a.term[i].var, multiple ? a.term[i].k / size : a.term[i].k);
    }
    int64_t low, high;
    mdl_affine_range(remainder, vars, &low, &high);
    if (low >= 0 && high < size) return fine;
    for (int i = 0; i < remainder->n; i++) {
        int64_t k = remainder->term[i].k, extent = vars[remainder->term[i].var].extent;
        if (k > 0 && size % k == 0 && extent > size / k && extent % (size / k) == 0)
            return (mdl_demand){MDL_TILE_LOOP, remainder->term[i].var, size / k};
    }
    return impossible;
}

/* Dims are matched in groups of equal product; within a group the position is computed and taken apart again. */
static mdl_demand reshape_index(const mdl_type *to, const mdl_type *from, const mdl_loop_var *vars, const mdl_affine *out,
                                mdl_affine *in) {
    int o = 0, i = 0;
    while (o < to->rank && i < from->rank) {
        int o1 = o + 1, i1 = i + 1;
        int64_t po = to->dim[o], pi = from->dim[i];
        while (po != pi) {
            if (po < pi)
                po *= to->dim[o1++];
            else
                pi *= from->dim[i1++];
        }
        mdl_affine at = mdl_affine_const(0);
        for (int k = o; k < o1; k++) at = mdl_affine_add(mdl_affine_scale(at, to->dim[k]), out[k]);
        for (int k = i1 - 1; k >= i; k--) {
            mdl_affine quotient = at;
            mdl_demand d = k > i ? divide(at, from->dim[k], vars, &quotient, &in[k]) : fine;
            if (d.kind != MDL_FINE) return d;
            if (k == i) in[k] = at;
            at = quotient;
        }
        o = o1, i = i1;
    }
    for (; i < from->rank; i++) in[i] = mdl_affine_const(0); /* left-over dims are 1 */
    return fine;
}

/* The loop that an index must be cut at to stay below or reach `boundary`. */
static mdl_demand cut(const mdl_affine *e, int64_t boundary, const mdl_loop_var *vars) {
    for (int i = e->n - 1; i >= 0; i--) {
        int64_t k = e->term[i].k, rest = 0;
        for (int j = 0; j < e->n; j++)
            if (j != i) rest += e->term[j].k * (vars[e->term[j].var].extent - 1);
        if (k > rest && (boundary - e->c) % k == 0) return (mdl_demand){MDL_CUT_LOOP, e->term[i].var, (boundary - e->c) / k};
    }
    return impossible;
}

static mdl_demand concat_index(const mdl_op *op, const mdl_loop_var *vars, const mdl_affine *out, mdl_affine *in, int *part) {
    int axis = (int)mdl_attr_int(op, "axis");
    int64_t low, high, start = 0;
    mdl_affine_range(&out[axis], vars, &low, &high);
    for (*part = 0; *part < op->n_in; (*part)++) {
        int64_t end = start + op->in[*part]->type.dim[axis];
        if (low >= start && high < end) {
            in[axis] = mdl_affine_add(out[axis], mdl_affine_const(-start));
            return fine;
        }
        if (low < end && high >= end) return cut(&out[axis], end, vars);
        start = end;
    }
    return impossible;
}

mdl_demand mdl_view_index(const mdl_op *op, const mdl_loop_var *vars, const mdl_affine *out, mdl_affine *in, int *part) {
    const mdl_type *to = &op->out[0]->type, *from = &op->in[0]->type;
    const mdl_attr *list = mdl_find_attr(op, op->code == MDL_OP_PERMUTE ? "perm" : "axes");
    *part = 0;
    if (op->code == MDL_OP_RESHAPE) return reshape_index(to, from, vars, out, in);
    for (int i = 0; i < from->rank; i++) {
        if (op->code == MDL_OP_PERMUTE)
            in[list->is[i]] = out[i];
        else
            in[i] = out[op->code == MDL_OP_BROADCAST ? list->is[i] : i];
    }
    if (op->code == MDL_OP_CONCAT) return concat_index(op, vars, out, in, part);
    if (op->code == MDL_OP_SLICE) {
        int axis = (int)mdl_attr_int(op, "axis");
        in[axis] = mdl_affine_add(in[axis], mdl_affine_const(mdl_attr_int(op, "start")));
    }
    return fine;
}
