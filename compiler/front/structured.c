/* Contraction, indexing, segments, attention and cross-entropy. */
#include <string.h>

#include "compiler/front/elab.h"

static bool listed(const fe_site *s, const fe_dim *dim) {
    for (int i = 0; i < s->n_left; i++)
        if (s->left[i] == dim) return true;
    return false;
}

/* dot[I](a, b): contracts the listed dims; shared dims that are not listed are batch. */
fe_value fe_dot(fe *e, fe_site *s) {
    if (!fe_want_tensor(e, s, 0, MDL_F32) || !fe_want_tensor(e, s, 1, MDL_F32)) return fe_poison();
    const fe_value *a = &s->v[0], *b = &s->v[1];
    int64_t left[MDL_MAX_RANK], right[MDL_MAX_RANK], left_batch[MDL_MAX_RANK], right_batch[MDL_MAX_RANK];
    const fe_dim *dims[2 * MDL_MAX_RANK];
    int n = 0, batch = 0, rank = 0;
    for (int i = 0; i < s->n_left; i++) {
        int bad = fe_axis(a, s->left[i]) < 0 ? 0 : fe_axis(b, s->left[i]) < 0 ? 1 : -1;
        if (bad >= 0)
            return fe_fail(e, s->loc[bad], NULL, "'dot': %s has no dim %s to contract", fe_type_text(e, &s->v[bad]),
                           s->left[i]->name);
    }
    for (int i = 0; i < fe_rank(a); i++) {
        int k = fe_axis(b, a->dims[i]);
        if (listed(s, a->dims[i]))
            left[n] = i, right[n++] = k;
        else
            dims[rank++] = a->dims[i];
        if (!listed(s, a->dims[i]) && k >= 0) left_batch[batch] = i, right_batch[batch++] = k;
    }
    for (int k = 0; k < fe_rank(b); k++)
        if (fe_axis(a, b->dims[k]) < 0) dims[rank++] = b->dims[k];
    if (!fe_shape_ok(e, s->ast->loc, rank, dims)) return fe_poison();
    mdl_value *in[] = {a->tensor, b->tensor};
    mdl_attr attr[] = {mdl_ints(e->arena, "left", n, left), mdl_ints(e->arena, "right", n, right),
                       mdl_ints(e->arena, "left_batch", batch, left_batch), mdl_ints(e->arena, "right_batch", batch, right_batch)};
    return fe_tensor(e, fe_build(e, s->ast->loc, MDL_OP_DOT, 2, in, batch ? 4 : 2, attr, NULL), rank, dims);
}

/* ---- gather: the index must be known to be in range ---- */
typedef struct {
    int64_t low, high; /* inclusive */
} range;
static const range any = {INT32_MIN, INT32_MAX};

static range between_or_any(int64_t low, int64_t high) { return low < INT32_MIN || high > INT32_MAX ? any : (range){low, high}; }

/* What the loader promises: ids of tokens are lines of the vocabulary, labels are such ids or -100. */
static range range_of_input(const fe *e, const char *name) {
    for (int i = 0; i < e->module->inputs.n && e->vocab_size; i++) {
        const mdl_input_decl *input = &e->module->inputs.at[i];
        if (strcmp(input->name, name)) continue;
        if (!strcmp(input->source, "tokens")) return (range){0, e->vocab_size - 1};
        if (!strcmp(input->source, "masked") || !strcmp(input->source, "next")) return (range){-100, e->vocab_size - 1};
    }
    return any;
}

static range range_of_leaf(const fe *e, const mdl_op *op) {
    const mdl_type *type = &op->out[0]->type;
    double value;
    switch (op->code) {
        case MDL_OP_INPUT: return range_of_input(e, mdl_attr_str(op, "name"));
        case MDL_OP_POSITION: return e->module->max_length ? between_or_any(0, e->module->max_length - 1) : any;
        case MDL_OP_FIRST: return between_or_any(-1, op->in[0]->type.dim[1] - 1);
        case MDL_OP_IOTA: return between_or_any(0, type->dim[mdl_attr_int(op, "axis")] - 1);
        case MDL_OP_ARGMAX: return between_or_any(0, op->in[0]->type.dim[mdl_attr_int(op, "axis")] - 1);
        case MDL_OP_CAST: return op->in[0]->type.dtype == MDL_BOOL ? (range){0, 1} : any;
        default: break;
    }
    if (mdl_is_const(op->out[0], &value)) return (range){(int64_t)value, (int64_t)value};
    return any;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static range product(range a, range b) {
    int64_t w = a.low * b.low, x = a.low * b.high, y = a.high * b.low, z = a.high * b.high;
    return between_or_any(least(least(w, x), least(y, z)), most(most(w, x), most(y, z)));
}

/* Deep expressions are not followed: nothing is then known. */
enum { RANGE_DEPTH = 10 };

static range range_of(const fe *e, const mdl_value *v, int depth) {
    const mdl_op *op = v->def;
    int first = op->code == MDL_OP_SELECT, n = op->n_in - first;
    if (depth > RANGE_DEPTH) return any;
    if (mdl_ops[op->code].class == MDL_VIEW && n == 1) return range_of(e, op->in[0], depth + 1);
    if (mdl_ops[op->code].class != MDL_POINTWISE || op->code == MDL_OP_CAST) return range_of_leaf(e, op);
    range a = range_of(e, op->in[first], depth + 1), b = n > 1 ? range_of(e, op->in[first + 1], depth + 1) : a;
    switch (op->code) {
        case MDL_OP_MIN: return (range){least(a.low, b.low), least(a.high, b.high)};
        case MDL_OP_MAX: return (range){most(a.low, b.low), most(a.high, b.high)};
        case MDL_OP_ADD: return between_or_any(a.low + b.low, a.high + b.high);
        case MDL_OP_SUB: return between_or_any(a.low - b.high, a.high - b.low);
        case MDL_OP_MUL: return product(a, b);
        case MDL_OP_NEG: return between_or_any(-a.high, -a.low);
        case MDL_OP_SELECT: return (range){least(a.low, b.low), most(a.high, b.high)};
        default: return any;
    }
}

/* Without a vocabulary the loader has the table itself to check ids against. */
static bool is_ids(const fe *e, const mdl_value *v) {
    for (int i = 0; i < e->module->inputs.n && mdl_is(v, MDL_OP_INPUT) && !e->vocab_size; i++)
        if (!strcmp(e->module->inputs.at[i].name, mdl_attr_str(v->def, "name")))
            return !strcmp(e->module->inputs.at[i].source, "tokens");
    return false;
}

static bool in_range(fe *e, fe_site *s) {
    const fe_dim *rows = s->left[0];
    const mdl_value *index = s->v[1].tensor;
    range r = range_of(e, index, 0);
    if (is_ids(e, index) || e->dead || (r.low >= -1 && r.high < rows->size)) return true;
    const char *clamp = mdl_printf(e->arena, "clamp it: min(max(x, 0), %s - 1)", rows->name);
    bool known = r.low > INT32_MIN && r.high < INT32_MAX;
    if (mdl_is(index, MDL_OP_POSITION) && !known)
        fe_fail(e, s->loc[1], "say so at the input: segments[S, T] maxlen(P)",
                "'gather': positions have no known limit, the table has %s = %lld rows", rows->name, (long long)rows->size);
    else if (known)
        fe_fail(e, s->loc[1], clamp, "'gather': the index goes from %lld to %lld, the table has %s = %lld rows", (long long)r.low,
                (long long)r.high, rows->name, (long long)rows->size);
    else
        fe_fail(e, s->loc[1],
                mdl_printf(e->arena,
                           "%s; known are token ids, position, first, iota, argmax, constants, and + - * max min select of these",
                           clamp),
                "'gather': the index is not known to be in range");
    return false;
}

fe_value fe_gather(fe *e, fe_site *s) {
    if (!fe_want_tensor(e, s, 0, MDL_F32) || !fe_want_tensor(e, s, 1, MDL_I32)) return fe_poison();
    const fe_value *table = &s->v[0], *index = &s->v[1];
    if (fe_axis(table, s->left[0]) != 0)
        return fe_fail(e, s->loc[0], NULL,
                       "'gather' takes rows along the first dim of the table: %s has %s elsewhere or not at all",
                       fe_type_text(e, table), s->left[0]->name);
    if (fe_rank(index) != 1)
        return fe_fail(e, s->loc[1], NULL, "the index of 'gather' has one dim, not %s", fe_type_text(e, index));
    if (!in_range(e, s)) return fe_poison();
    const fe_dim *dims[MDL_MAX_RANK] = {index->dims[0]};
    for (int i = 1; i < fe_rank(table); i++) dims[i] = table->dims[i];
    if (!fe_shape_ok(e, s->ast->loc, fe_rank(table), dims)) return fe_poison();
    mdl_value *in[] = {table->tensor, index->tensor};
    return fe_tensor(e, fe_build(e, s->ast->loc, MDL_OP_GATHER, 2, in, 0, NULL, NULL), fe_rank(table), dims);
}

/* ---- per sequence ---- */
static fe_value per(fe *e, fe_site *s, mdl_opcode code, int dim) {
    if (!fe_want_tensor(e, s, 0, MDL_SEG)) return fe_poison();
    return fe_tensor(e, fe_build(e, s->ast->loc, code, 1, &s->v[0].tensor, 0, NULL, NULL), 1, &s->v[0].dims[dim]);
}
fe_value fe_position(fe *e, fe_site *s) { return per(e, s, MDL_OP_POSITION, 1); }
fe_value fe_seglen(fe *e, fe_site *s) { return per(e, s, MDL_OP_SEGLEN, 0); }
fe_value fe_first(fe *e, fe_site *s) { return per(e, s, MDL_OP_FIRST, 0); }

/* Rows along one dim of the segments become rows along the other. */
static fe_value between(fe *e, fe_site *s, mdl_opcode code, int from) {
    if (!fe_want_tensor(e, s, 0, MDL_F32) || !fe_want_tensor(e, s, 1, MDL_SEG)) return fe_poison();
    fe_value *x = &s->v[0], *seq = &s->v[1];
    if (fe_axis(x, seq->dims[from]) != 0)
        return fe_fail(e, s->loc[0], mdl_printf(e->arena, "got %s and %s", fe_type_text(e, x), fe_type_text(e, seq)),
                       "'%s': the first dim of '%s' must be %s of the segments", s->ast->text, s->arg[0], seq->dims[from]->name);
    fe_value shape = *x;
    shape.dims[0] = seq->dims[1 - from];
    if (!fe_shape_ok(e, s->ast->loc, fe_rank(x), shape.dims)) return fe_poison();
    mdl_value *in[] = {x->tensor, seq->tensor};
    return fe_tensor(e, fe_build(e, s->ast->loc, code, 2, in, 0, NULL, NULL), fe_rank(x), shape.dims);
}
fe_value fe_segsum(fe *e, fe_site *s) { return between(e, s, MDL_OP_SEGSUM, 1); }
fe_value fe_spread(fe *e, fe_site *s) { return between(e, s, MDL_OP_SPREAD, 0); }

/* ---- attention(q [T,H,K], k [T,G,K], v [T,G,K], seq, causal, left, right, scale, softcap) ---- */
static bool heads_ok(fe *e, fe_site *s) {
    fe_value *q = &s->v[0], *k = &s->v[1], *v = &s->v[2], *seq = &s->v[3];
    for (int i = 0; i < 3; i++) {
        if (!fe_want_tensor(e, s, i, MDL_F32)) return false;
        if (fe_rank(&s->v[i]) == 3) continue;
        fe_fail(e, s->loc[i], mdl_printf(e->arena, "expected [tokens, heads, head dim], got %s", fe_type_text(e, &s->v[i])),
                "'attention': '%s' has three dims", s->arg[i]);
        return false;
    }
    if (!fe_want_tensor(e, s, 3, MDL_SEG)) return false;
    const char *both = mdl_printf(e->arena, "got q %s, k %s and v %s", fe_type_text(e, q), fe_type_text(e, k), fe_type_text(e, v));
    const char *wrong = NULL;
    if (k->dims[0] != v->dims[0] || k->dims[1] != v->dims[1] || k->dims[2] != v->dims[2]) wrong = "k and v must have the same dims";
    if (q->dims[0] != k->dims[0] || q->dims[2] != k->dims[2]) wrong = "q and k must agree in tokens and head dim";
    if (q->dims[0] != seq->dims[1]) wrong = "the segments must be of q's tokens";
    if (!wrong && q->dims[1]->size % k->dims[1]->size && !e->dead)
        wrong = "the number of key heads must divide the number of query heads";
    if (wrong) fe_fail(e, s->ast->loc, both, "'attention': %s", wrong);
    return !wrong;
}

static bool window(fe *e, fe_site *s, int i, int64_t *value) {
    *value = -1;
    if (s->v[i].kind == FE_ABSENT) return true;
    if (s->v[i].kind == FE_INT && s->v[i].i >= -1) return *value = s->v[i].i, true;
    fe_fail(e, s->loc[i], NULL, "'%s' is a number of tokens, or -1 for all; not %s", s->arg[i], fe_type_text(e, &s->v[i]));
    return false;
}

static bool real_arg(fe *e, fe_site *s, int i, double otherwise, double *value) {
    *value = s->v[i].kind == FE_ABSENT ? otherwise : fe_number(&s->v[i]);
    if (s->v[i].kind == FE_ABSENT || (fe_is_number(&s->v[i]) && *value >= 0)) return true;
    fe_fail(e, s->loc[i], NULL, "'%s' is a number >= 0 known at compile time, not %s", s->arg[i], fe_type_text(e, &s->v[i]));
    return false;
}

fe_value fe_attention(fe *e, fe_site *s) {
    enum { CAUSAL = 4, LEFT, RIGHT, SCALE, SOFTCAP };
    int64_t left, right;
    double scale, softcap;
    if (!heads_ok(e, s) || !window(e, s, LEFT, &left) || !window(e, s, RIGHT, &right)) return fe_poison();
    if (!real_arg(e, s, SCALE, 0, &scale) || !real_arg(e, s, SOFTCAP, 0, &softcap)) return fe_poison();
    if (s->v[SCALE].kind == FE_ABSENT) return fe_fail(e, s->ast->loc, "often scale = rsqrt(K)", "'attention' needs 'scale'");
    if (s->v[CAUSAL].kind != FE_ABSENT && s->v[CAUSAL].kind != FE_BOOL)
        return fe_fail(e, s->loc[CAUSAL], NULL, "'causal' is true or false, not %s", fe_type_text(e, &s->v[CAUSAL]));
    mdl_value *in[] = {s->v[0].tensor, s->v[1].tensor, s->v[2].tensor, s->v[3].tensor};
    bool causal = s->v[CAUSAL].kind == FE_BOOL && s->v[CAUSAL].i;
    mdl_attr attr[] = {mdl_int("causal", causal), mdl_int("left", left), mdl_int("right", right), mdl_real("scale", scale),
                       mdl_real("softcap", softcap)};
    return fe_tensor(e, fe_build(e, s->ast->loc, MDL_OP_ATTENTION, 4, in, 5, attr, NULL), 3, s->v[0].dims);
}

/* xent[V](z [T,V], labels i32[T]) -> [T] */
fe_value fe_xent(fe *e, fe_site *s) {
    if (!fe_want_tensor(e, s, 0, MDL_F32) || !fe_want_tensor(e, s, 1, MDL_I32)) return fe_poison();
    fe_value *z = &s->v[0], *labels = &s->v[1];
    if (fe_rank(z) != 2 || z->dims[1] != s->left[0])
        return fe_fail(e, s->loc[0],
                       mdl_printf(e->arena, "expected [rows, %s = %lld], got %s", s->left[0]->name, (long long)s->left[0]->size,
                                  fe_type_text(e, z)),
                       "'xent': dims differ");
    if (fe_rank(labels) != 1 || labels->dims[0] != z->dims[0])
        return fe_fail(e, s->loc[1],
                       mdl_printf(e->arena, "expected i32%s, got %s", fe_dims_text(e, 1, z->dims), fe_type_text(e, labels)),
                       "'xent': dims differ");
    mdl_value *in[] = {z->tensor, labels->tensor};
    return fe_tensor(e, fe_build(e, s->ast->loc, MDL_OP_XENT, 2, in, 0, NULL, NULL), 1, z->dims);
}
