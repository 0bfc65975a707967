/* Functions that change dims (view, split, concat, stack, at, outer), reductions, and iota. */
#include "compiler/front/elab.h"

static int64_t product(int n, const fe_dim *const *dims) {
    int64_t p = 1;
    for (int i = 0; i < n; i++)
        if (__builtin_mul_overflow(p, dims[i]->size, &p)) return -1;
    return p;
}

static fe_value no_dim(fe *e, fe_site *s, int i, const fe_dim *dim) {
    return fe_fail(e, s->ast->loc, NULL, "'%s': %s has no dim %s", s->ast->text, fe_type_text(e, &s->v[i]), dim->name);
}

/* Replaces dims from .. from+n-1 of v by `with` and reshapes. */
static fe_value replace_dims(fe *e, mdl_loc loc, const fe_value *v, int from, int n, int n_with, const fe_dim *const *with) {
    const fe_dim *dims[2 * FE_MAX_ARGS];
    int rank = 0;
    for (int i = 0; i < from; i++) dims[rank++] = v->dims[i];
    for (int i = 0; i < n_with; i++) dims[rank++] = with[i];
    for (int i = from + n; i < fe_rank(v); i++) dims[rank++] = v->dims[i];
    if (!fe_shape_ok(e, loc, rank, dims)) return fe_poison();
    mdl_type shape = fe_shape(fe_dtype(v), rank, dims);
    if (e->dead) return fe_stand_in(e, shape.dtype, rank, dims);
    fe_at(e, loc);
    return fe_tensor(e, mdl_reshape(&e->b, v->tensor, rank, shape.dim), rank, dims);
}

fe_value fe_view(fe *e, fe_site *s) {
    if (!fe_want_tensor(e, s, 0, MDL_DTYPE_COUNT)) return fe_poison();
    const fe_value *v = &s->v[0];
    int from = fe_axis(v, s->left[0]);
    if (from < 0) return no_dim(e, s, 0, s->left[0]);
    for (int i = 1; i < s->n_left; i++) {
        if (fe_axis(v, s->left[i]) < 0) return no_dim(e, s, 0, s->left[i]);
        if (fe_axis(v, s->left[i]) != from + i)
            return fe_fail(e, s->ast->loc, mdl_printf(e->arena, "got %s", fe_type_text(e, v)),
                           "'view': the dims on the left must be adjacent and in order");
    }
    if (product(s->n_left, s->left) != product(s->n_right, s->right) && !e->dead)
        return fe_fail(e, s->ast->a->loc,
                       mdl_printf(e->arena, "expected a product of %lld, got %lld: %s -> %s",
                                  (long long)product(s->n_left, s->left), (long long)product(s->n_right, s->right),
                                  fe_dims_text(e, s->n_left, s->left), fe_dims_text(e, s->n_right, s->right)),
                       "'view': the sizes differ");
    return replace_dims(e, s->ast->loc, v, from, s->n_left, s->n_right, s->right);
}

/* Do the parts add up to the whole? */
static bool sums_to(fe *e, fe_site *s, const fe_dim *whole, int n, const fe_dim *const *parts) {
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        if (__builtin_add_overflow(sum, parts[i]->size, &sum)) sum = -1;
    if (sum == whole->size || e->dead) return true;
    const char *detail = mdl_printf(e->arena, "expected a sum of %s = %lld, got %lld: %s", whole->name, (long long)whole->size,
                                    (long long)sum, fe_dims_text(e, n, parts));
    fe_fail(e, s->ast->a->loc, detail, "'%s': the sizes differ", s->ast->text);
    return false;
}

fe_value fe_split(fe *e, fe_site *s) {
    if (!fe_want_tensor(e, s, 0, MDL_DTYPE_COUNT)) return fe_poison();
    if (s->n_left != 1) return fe_fail(e, s->ast->a->loc, NULL, "'split' divides one dim");
    const fe_value *v = &s->v[0];
    int axis = fe_axis(v, s->left[0]);
    if (axis < 0) return no_dim(e, s, 0, s->left[0]);
    if (!sums_to(e, s, s->left[0], s->n_right, s->right)) return fe_poison();
    fe_value *parts = MDL_NEW_ARRAY(e->arena, fe_value, s->n_right);
    int64_t start = 0;
    for (int i = 0; i < s->n_right; i++) {
        fe_value part = *v;
        part.dims[axis] = s->right[i];
        if (!fe_shape_ok(e, s->ast->loc, fe_rank(v), part.dims)) return fe_poison();
        fe_at(e, s->ast->loc);
        parts[i] = e->dead ? fe_stand_in(e, fe_dtype(v), fe_rank(v), part.dims)
                           : fe_tensor(e, mdl_slice(&e->b, v->tensor, axis, start, s->right[i]->size), fe_rank(v), part.dims);
        start += s->right[i]->size;
    }
    return s->n_right == 1 ? parts[0] : (fe_value){.kind = FE_TUPLE, .n = s->n_right, .items = parts};
}

/* All arguments of one dtype and rank, with the dims of the first except at `axis` (-1: no exception). */
static bool alike(fe *e, fe_site *s, int axis) {
    for (int i = 0; i < s->n; i++) {
        if (!fe_want_tensor(e, s, i, MDL_DTYPE_COUNT)) return false;
        bool same = fe_dtype(&s->v[i]) == fe_dtype(&s->v[0]) && fe_rank(&s->v[i]) == fe_rank(&s->v[0]);
        for (int k = 0; same && k < fe_rank(&s->v[0]); k++) same = k == axis || s->v[i].dims[k] == s->v[0].dims[k];
        if (same) continue;
        fe_fail(e, s->loc[i], mdl_printf(e->arena, "expected %s, got %s", fe_type_text(e, &s->v[0]), fe_type_text(e, &s->v[i])),
                "'%s': dims differ", s->ast->text);
        return false;
    }
    return true;
}

fe_value fe_concat(fe *e, fe_site *s) {
    if (s->n_right != 1) return fe_fail(e, s->ast->a->loc, NULL, "'concat' makes one dim");
    if (s->n_left != s->n) return fe_fail(e, s->ast->loc, NULL, "'concat' names %d dims for %d arguments", s->n_left, s->n);
    if (!fe_want_tensor(e, s, 0, MDL_DTYPE_COUNT)) return fe_poison();
    int axis = fe_axis(&s->v[0], s->left[0]);
    if (axis < 0) return no_dim(e, s, 0, s->left[0]);
    if (!alike(e, s, axis)) return fe_poison();
    mdl_value *in[FE_MAX_ARGS];
    for (int i = 0; i < s->n; i++) {
        if (s->v[i].dims[axis] != s->left[i]) return no_dim(e, s, i, s->left[i]);
        in[i] = s->v[i].tensor;
    }
    if (!sums_to(e, s, s->right[0], s->n_left, s->left)) return fe_poison();
    fe_value shape = s->v[0];
    shape.dims[axis] = s->right[0];
    if (!fe_shape_ok(e, s->ast->loc, fe_rank(&shape), shape.dims)) return fe_poison();
    if (e->dead) return fe_stand_in(e, fe_dtype(&shape), fe_rank(&shape), shape.dims);
    fe_at(e, s->ast->loc);
    return fe_tensor(e, mdl_concat(&e->b, s->n, in, axis), fe_rank(&shape), shape.dims);
}

/* [P](u, v): a new last dim, one slice an argument. */
fe_value fe_stack(fe *e, fe_site *s) {
    if (!alike(e, s, -1)) return fe_poison();
    if (s->left[0]->size != s->n && !e->dead)
        return fe_fail_value(e, s->ast->loc, "'stack': %s = %lld, but there are %d arguments", s->left[0]->name,
                             (long long)s->left[0]->size, s->n);
    int rank = fe_rank(&s->v[0]);
    fe_value shape = s->v[0];
    const fe_dim *dims[MDL_MAX_RANK + 1];
    for (int i = 0; i < rank; i++) dims[i] = shape.dims[i];
    dims[rank] = s->left[0];
    if (!fe_shape_ok(e, s->ast->loc, rank + 1, dims)) return fe_poison();
    if (e->dead) return fe_stand_in(e, fe_dtype(&shape), rank + 1, dims);
    mdl_type one = fe_shape(fe_dtype(&shape), rank, dims);
    one.dim[rank] = 1;
    mdl_value *in[FE_MAX_ARGS];
    fe_at(e, s->ast->loc);
    for (int i = 0; i < s->n; i++) in[i] = mdl_reshape(&e->b, s->v[i].tensor, rank + 1, one.dim);
    return fe_tensor(e, mdl_concat(&e->b, s->n, in, rank), rank + 1, dims);
}

fe_value fe_at_index(fe *e, fe_site *s) {
    if (!fe_want_tensor(e, s, 0, MDL_DTYPE_COUNT)) return fe_poison();
    fe_value *v = &s->v[0];
    int axis = fe_axis(v, s->left[0]);
    if (axis < 0) return no_dim(e, s, 0, s->left[0]);
    if ((s->at < 0 || s->at >= s->left[0]->size) && !e->dead)
        return fe_fail_value(e, s->ast->a->loc, "index %lld is outside %s = %lld", (long long)s->at, s->left[0]->name,
                             (long long)s->left[0]->size);
    fe_at(e, s->ast->loc);
    fe_value slice = *v;
    if (!e->dead) slice.tensor = mdl_slice(&e->b, v->tensor, axis, s->at, 1);
    return replace_dims(e, s->ast->loc, &slice, axis, 1, 0, NULL);
}

fe_value fe_outer(fe *e, fe_site *s) {
    const fe_dim *dims[2 * MDL_MAX_RANK];
    int64_t axes[2 * MDL_MAX_RANK];
    if (!fe_want_tensor(e, s, 0, MDL_F32) || !fe_want_tensor(e, s, 1, MDL_F32)) return fe_poison();
    int m = fe_rank(&s->v[0]), n = fe_rank(&s->v[1]);
    for (int i = 0; i < m; i++) dims[i] = s->v[0].dims[i];
    for (int i = 0; i < n; i++) dims[m + i] = s->v[1].dims[i];
    if (!fe_shape_ok(e, s->ast->loc, m + n, dims)) return fe_poison();
    for (int i = 0; i < m + n; i++) axes[i] = i;
    mdl_type shape = fe_shape(MDL_F32, m + n, dims);
    fe_at(e, s->ast->loc);
    mdl_value *x = mdl_broadcast(&e->b, s->v[0].tensor, m, axes, &shape),
              *y = mdl_broadcast(&e->b, s->v[1].tensor, n, axes + m, &shape);
    return fe_tensor(e, mdl_binary(&e->b, MDL_OP_MUL, x, y), m + n, dims);
}

/* ---- reductions ---- */
static fe_value reduce(fe *e, fe_site *s, mdl_opcode code) {
    int64_t axes[MDL_MAX_RANK];
    const fe_dim *dims[MDL_MAX_RANK];
    bool gone[MDL_MAX_RANK] = {false};
    const fe_value *v = &s->v[0];
    if (!fe_want_tensor(e, s, 0, MDL_F32)) return fe_poison();
    for (int i = 0; i < s->n_left; i++) {
        int axis = fe_axis(v, s->left[i]);
        if (axis < 0) return no_dim(e, s, 0, s->left[i]);
        if (gone[axis]) return fe_fail(e, s->ast->a->loc, NULL, "'%s' names %s twice", s->ast->text, s->left[i]->name);
        gone[axis] = true;
    }
    int rank = 0, n = 0;
    for (int i = 0; i < fe_rank(v); i++) {
        if (gone[i])
            axes[n++] = i;
        else
            dims[rank++] = v->dims[i];
    }
    mdl_attr attr = code == MDL_OP_ARGMAX ? mdl_int("axis", axes[0]) : mdl_ints(e->arena, "axes", n, axes);
    return fe_tensor(e, fe_build(e, s->ast->loc, code, 1, &v->tensor, 1, &attr, NULL), rank, dims);
}
fe_value fe_reduce_sum(fe *e, fe_site *s) { return reduce(e, s, MDL_OP_SUM); }
fe_value fe_reduce_max(fe *e, fe_site *s) { return reduce(e, s, MDL_OP_REDUCE_MAX); }
fe_value fe_reduce_mean(fe *e, fe_site *s) { return reduce(e, s, MDL_OP_MEAN); }
fe_value fe_argmax(fe *e, fe_site *s) { return reduce(e, s, MDL_OP_ARGMAX); }

fe_value fe_iota(fe *e, fe_site *s) {
    mdl_type type = fe_shape(MDL_I32, 1, s->left);
    mdl_attr axis = mdl_int("axis", 0);
    if (s->left[0]->size > INT32_MAX) return fe_fail_value(e, s->ast->loc, "'iota': %s is too large", s->left[0]->name);
    return fe_tensor(e, fe_build(e, s->ast->loc, MDL_OP_IOTA, 0, NULL, 1, &axis, &type), 1, s->left);
}
