/* needs: primitives. keeps: every result to rounding, narrow dtypes (below f32) and casts to them exactly, for their rounding is
 * meant; IR of the same program gives the same IR. breaks: nothing.
 * Algebra on the way, common subexpressions by hash, then dead code from the end. */
#include <string.h>
#include <xxhash.h>

#include "compiler/op/pointwise.h"
#include "compiler/pass/pass.h"

/* ---- algebra: returns a replacement for the op with mapped operands, or NULL ---- */
static bool is(const mdl_value *v, double c) {
    double value;
    return mdl_is_const(v, &value) && value == c;
}

static mdl_value *fold(mdl_builder *b, const mdl_op *op, mdl_value **in) {
    double x[3] = {0};
    for (int i = 0; i < op->n_in; i++) {
        if (!mdl_is_const(in[i], &x[i])) return NULL;
        if (mdl_dtype_is_narrow(in[i]->type.dtype)) x[i] = mdl_dtype_round(in[i]->type.dtype, x[i]);
    }
    mdl_dtype dtype = op->out[0]->type.dtype;
    double y = mdl_pointwise_eval(op->code, x[0], x[1], x[2]);
    if (dtype == MDL_I32 || mdl_dtype_is_narrow(dtype)) y = mdl_dtype_round(dtype, y);
    return mdl_const_like(b, &op->out[0]->type, y);
}

static mdl_value *add_sub(mdl_builder *b, mdl_opcode code, mdl_value **in) {
    if (is(in[1], 0)) return in[0];
    if (code == MDL_OP_ADD && is(in[0], 0)) return in[1];
    if (mdl_is(in[1], MDL_OP_NEG)) return mdl_binary(b, code == MDL_OP_ADD ? MDL_OP_SUB : MDL_OP_ADD, in[0], in[1]->def->in[0]);
    if (code == MDL_OP_ADD && mdl_is(in[0], MDL_OP_NEG)) return mdl_binary(b, MDL_OP_SUB, in[1], in[0]->def->in[0]);
    return NULL;
}

static mdl_value *multiply(mdl_builder *b, mdl_value **in) {
    double c, d;
    if (is(in[1], 1)) return in[0];
    if (is(in[0], 1)) return in[1];
    if (is(in[1], -1)) return mdl_unary(b, MDL_OP_NEG, in[0]);
    if (mdl_dtype_is_narrow(in[0]->type.dtype)) return NULL; /* each product rounds */
    if (!mdl_is_const(in[1], &c) || !mdl_is(in[0], MDL_OP_MUL) || !mdl_is_const(in[0]->def->in[1], &d)) return NULL;
    return mdl_binary(b, MDL_OP_MUL, in[0]->def->in[0], mdl_const_like(b, &in[0]->type, c * d));
}

/* A constant operand of add or mul goes to the right, where the rules look for it. */
static bool swapped(const mdl_op *op, mdl_value **in) {
    double c;
    if ((op->code != MDL_OP_ADD && op->code != MDL_OP_MUL) || !mdl_is_const(in[0], &c) || mdl_is_const(in[1], &c)) return false;
    mdl_value *constant = in[0];
    in[0] = in[1];
    in[1] = constant;
    return true;
}

/* A cast to the same dtype, and a cast after one that lost nothing. */
static mdl_value *cast(mdl_builder *b, mdl_value *x, mdl_dtype to) {
    if (x->type.dtype == to) return x;
    if (!mdl_is(x, MDL_OP_CAST) || !mdl_dtype_holds(x->type.dtype, x->def->in[0]->type.dtype)) return NULL;
    return mdl_cast(b, x->def->in[0], to);
}

static mdl_value *algebra(mdl_builder *b, const mdl_op *op, mdl_value **in) {
    switch (op->code) {
        case MDL_OP_ADD:
        case MDL_OP_SUB: return add_sub(b, op->code, in);
        case MDL_OP_MUL: return multiply(b, in);
        case MDL_OP_DIV: return is(in[1], 1) ? in[0] : NULL;
        case MDL_OP_NEG: return mdl_is(in[0], MDL_OP_NEG) ? in[0]->def->in[0] : NULL;
        case MDL_OP_CAST: return cast(b, in[0], op->out[0]->type.dtype);
        case MDL_OP_SELECT: return in[1] == in[2] ? in[1] : is(in[0], 1) ? in[1] : is(in[0], 0) ? in[2] : NULL;
        default: return NULL;
    }
}

static mdl_value *pointwise(mdl_builder *b, const mdl_op *op, mdl_value **in) {
    mdl_value *folded = fold(b, op, in);
    if (folded) return folded;
    bool turned = swapped(op, in);
    mdl_value *instead = algebra(b, op, in);
    return instead || !turned ? instead : mdl_binary(b, op->code, in[0], in[1]);
}

static mdl_value *broadcast_twice(mdl_builder *b, const mdl_op *op, mdl_value *x) {
    const mdl_attr *outer = mdl_find_attr(op, "axes"), *inner = mdl_find_attr(x->def, "axes");
    int64_t axes[MDL_MAX_RANK];
    for (int i = 0; i < inner->n; i++) axes[i] = outer->is[inner->is[i]];
    return mdl_broadcast(b, x->def->in[0], inner->n, axes, &op->out[0]->type);
}

/* A slice that is exactly one part of a concat. */
static mdl_value *part_of(const mdl_op *op, mdl_value *x) {
    int axis = (int)mdl_attr_int(op, "axis");
    if (mdl_attr_int(x->def, "axis") != axis) return NULL;
    int64_t at = 0, start = mdl_attr_int(op, "start"), size = mdl_attr_int(op, "size");
    for (int i = 0; i < x->def->n_in; at += x->def->in[i]->type.dim[axis], i++)
        if (at == start && x->def->in[i]->type.dim[axis] == size) return x->def->in[i];
    return NULL;
}

static mdl_value *view(mdl_builder *b, const mdl_op *op, mdl_value *x) {
    if (mdl_type_equal(&x->type, &op->out[0]->type) && op->code != MDL_OP_PERMUTE) return x;
    if (op->code == MDL_OP_RESHAPE && mdl_is(x, MDL_OP_RESHAPE))
        return mdl_reshape(b, x->def->in[0], op->out[0]->type.rank, op->out[0]->type.dim);
    if (op->code == MDL_OP_BROADCAST && mdl_is(x, MDL_OP_BROADCAST)) return broadcast_twice(b, op, x);
    if (op->code == MDL_OP_SLICE && mdl_is(x, MDL_OP_CONCAT)) return part_of(op, x);
    return NULL;
}

static mdl_value *replacement(mdl_builder *b, const mdl_op *op, mdl_value **in) {
    mdl_class class = mdl_ops[op->code].class;
    if (class == MDL_POINTWISE) return pointwise(b, op, in);
    return class == MDL_VIEW && op->n_in == 1 ? view(b, op, in[0]) : NULL;
}

/* ---- common subexpressions: a table of ops by the hash of their text without results ---- */
typedef struct {
    mdl_op **slot;
    size_t mask;
} table;

static bool same_attr(const mdl_attr *a, const mdl_attr *b) {
    if (strcmp(a->key, b->key) || a->kind != b->kind || a->n != b->n) return false;
    switch (a->kind) {
        case MDL_ATTR_INT: return a->i == b->i;
        case MDL_ATTR_REAL: return !memcmp(&a->f, &b->f, sizeof a->f); /* 0.0 and -0.0 differ */
        case MDL_ATTR_STR: return !strcmp(a->s, b->s);
        case MDL_ATTR_INTS: return !memcmp(a->is, b->is, sizeof *a->is * (size_t)a->n);
        case MDL_ATTR_STRS:
            for (int i = 0; i < a->n; i++)
                if (strcmp(a->ss[i], b->ss[i])) return false;
    }
    return true;
}

static bool same(const mdl_op *a, const mdl_op *b) {
    if (a->code != b->code || a->n_in != b->n_in || a->n_attr != b->n_attr || a->n_out != b->n_out) return false;
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] != b->in[i]) return false;
    for (int i = 0; i < a->n_attr; i++)
        if (!same_attr(&a->attr[i], &b->attr[i])) return false;
    for (int i = 0; i < a->n_out; i++)
        if (!mdl_type_equal(&a->out[i]->type, &b->out[i]->type)) return false;
    return true;
}

static uint64_t hash(const mdl_op *op) {
    uint64_t h = XXH3_64bits(&op->code, sizeof op->code);
    for (int i = 0; i < op->n_in; i++) h = XXH3_64bits_withSeed(&op->in[i]->id, sizeof(int), h);
    for (int i = 0; i < op->n_attr; i++) {
        const mdl_attr *a = &op->attr[i];
        if (a->kind == MDL_ATTR_INT || a->kind == MDL_ATTR_REAL) h = XXH3_64bits_withSeed(&a->i, sizeof a->i, h);
        if (a->kind == MDL_ATTR_STR) h = XXH3_64bits_withSeed(a->s, strlen(a->s), h);
        if (a->kind == MDL_ATTR_INTS) h = XXH3_64bits_withSeed(a->is, sizeof *a->is * (size_t)a->n, h);
        if (a->kind == MDL_ATTR_STRS) h = XXH3_64bits_withSeed(a->ss[0], strlen(a->ss[0]), h);
    }
    return h;
}

/* A computation that scopes of different precisions share is as precise as the most demanding of them asks. */
static void share(mdl_op *kept, const mdl_op *other) {
    static const char *const rising[] = {"fp8", "auto", "bf16", "f32"};
    const char *mine = mdl_scope_precision(&kept->span), *theirs = mdl_scope_precision(&other->span);
    int i = 3;
    while (i && strcmp(rising[i], mine) && strcmp(rising[i], theirs)) i--;
    if (strcmp(rising[i], mine)) kept->span.scope = other->span.scope;
}

/* Returns an equal op already there, or adds this one. Two reads of one range that wait for the same tokens have the same value: a
 * write between them would be ordered against both. */
static mdl_op *intern(table *t, mdl_op *op) {
    bool mergeable = mdl_ops[op->code].pure || op->code == MDL_OP_READ;
    if (!mergeable || !op->n_out || op->body) return op;
    size_t at = hash(op) & t->mask;
    while (t->slot[at] && !same(t->slot[at], op)) at = (at + 1) & t->mask;
    if (!t->slot[at]) return t->slot[at] = op;
    share(t->slot[at], op);
    return t->slot[at];
}

/* Ops that the algebra built are interned too: everything appended since `from`. Operands are redirected through scratch. */
static void intern_since(table *t, mdl_region *region, int from) {
    int kept = from;
    for (int i = from; i < region->ops.n; i++) {
        mdl_op *op = region->ops.at[i];
        for (int k = 0; k < op->n_in; k++)
            if (op->in[k]->scratch) op->in[k] = op->in[k]->scratch;
        mdl_op *one = intern(t, op);
        for (int k = 0; one != op && k < op->n_out; k++) op->out[k]->scratch = one->out[k];
        if (one == op) region->ops.at[kept++] = op;
    }
    region->ops.n = kept;
}

static mdl_value *resolve(mdl_value *v) { return v->scratch ? v->scratch : v; }

/* ---- dead code ---- */
static mdl_region *live_only(mdl_pass_context *c, mdl_region *in) {
    char *live = MDL_NEW_ARRAY(c->arena, char, in->ops.n + 1);
    mdl_region_clear_scratch(in);
    for (int i = in->ops.n - 1; i >= 0; i--) {
        mdl_op *op = in->ops.at[i];
        live[i] = mdl_ops[op->code].class == MDL_SINK;
        for (int k = 0; k < op->n_out; k++) live[i] |= op->out[k]->scratch != NULL;
        for (int k = 0; live[i] && k < op->n_in; k++) op->in[k]->scratch = op;
    }
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    for (int i = 0; i < in->ops.n; i++)
        if (live[i]) mdl_keep(&r, in->ops.at[i]);
    return mdl_rewrite_end(&r);
}

mdl_region *mdl_pass_simplify(mdl_pass_context *c, mdl_region *in) {
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    table t = {.mask = 63};
    while (t.mask < (size_t)in->ops.n * 8) t.mask = t.mask * 2 + 1;
    t.slot = MDL_NEW_ARRAY(c->arena, mdl_op *, t.mask + 1);
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        mdl_value **operands = mdl_mapped_in(&r, op);
        int from = r.b.region->ops.n;
        mdl_value *instead = op->n_out == 1 ? replacement(&r.b, op, operands) : NULL;
        mdl_op *kept = instead ? NULL : mdl_keep(&r, op);
        intern_since(&t, r.b.region, from);
        if (instead) mdl_map(op->out[0], resolve(instead));
        for (int k = 0; kept && k < op->n_out; k++) mdl_map(op->out[k], resolve(kept->out[k]));
    }
    return live_only(c, mdl_rewrite_end(&r));
}
