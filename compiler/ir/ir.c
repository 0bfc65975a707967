/* Building and reading IR. */
#include "compiler/ir/ir.h"

#include <string.h>

#include "compiler/op/op.h"
#include "runtime/base/status.h"

const mdl_op_info mdl_ops[MDL_OP_COUNT] = {
#define LIGHT false
#define HEAVY true
#define POINTWISE(id, name, arity, rule, cost, emit) {name, arity, 1, MDL_POINTWISE, true, cost, emit},
#define OP(id, name, arity, results, class, pure) {name, arity, results, MDL_##class, pure, MDL_OP_##id == MDL_OP_RANDOM, NULL},
#include "compiler/ir/ops.def"
#undef POINTWISE
#undef OP
};

bool mdl_opcode_parse(const char *name, mdl_opcode *code) {
    for (int i = 0; i < MDL_OP_COUNT; i++) {
        if (strcmp(mdl_ops[i].name, name)) continue;
        *code = (mdl_opcode)i;
        return true;
    }
    return false;
}

mdl_region *mdl_region_new(mdl_arena *arena, const char *name) {
    mdl_region *region = MDL_NEW(arena, mdl_region);
    region->name = name;
    return region;
}

/* ---- attributes ---- */
mdl_attr mdl_int(const char *key, int64_t i) { return (mdl_attr){.key = key, .kind = MDL_ATTR_INT, .i = i}; }
mdl_attr mdl_real(const char *key, double f) { return (mdl_attr){.key = key, .kind = MDL_ATTR_REAL, .f = f}; }
mdl_attr mdl_str(const char *key, const char *s) { return (mdl_attr){.key = key, .kind = MDL_ATTR_STR, .s = s}; }

mdl_attr mdl_ints(mdl_arena *arena, const char *key, int n, const int64_t *is) {
    return (mdl_attr){.key = key, .kind = MDL_ATTR_INTS, .n = n, .is = mdl_copy(arena, is, sizeof *is * (size_t)n)};
}

mdl_attr mdl_strs(mdl_arena *arena, const char *key, int n, const char *const *ss) {
    return (mdl_attr){.key = key, .kind = MDL_ATTR_STRS, .n = n, .ss = mdl_copy(arena, ss, sizeof *ss * (size_t)n)};
}

const mdl_attr *mdl_find_attr(const mdl_op *op, const char *key) {
    for (int i = 0; i < op->n_attr; i++)
        if (!strcmp(op->attr[i].key, key)) return &op->attr[i];
    return NULL;
}

static const mdl_attr *need(const mdl_op *op, const char *key) {
    const mdl_attr *attr = mdl_find_attr(op, key);
    if (!attr) mdl_bug("%s has no attribute '%s'", mdl_ops[op->code].name, key);
    return attr;
}

int64_t mdl_attr_int(const mdl_op *op, const char *key) { return need(op, key)->i; }
const char *mdl_attr_str(const mdl_op *op, const char *key) { return need(op, key)->s; }

int64_t mdl_attr_int_or(const mdl_op *op, const char *key, int64_t otherwise) {
    const mdl_attr *attr = mdl_find_attr(op, key);
    return attr ? attr->i : otherwise;
}

double mdl_attr_real(const mdl_op *op, const char *key) {
    const mdl_attr *attr = need(op, key);
    return attr->kind == MDL_ATTR_INT ? (double)attr->i : attr->f;
}

void mdl_add_attr(mdl_arena *arena, mdl_op *op, mdl_attr attr) {
    mdl_attr *attrs = MDL_NEW_ARRAY(arena, mdl_attr, op->n_attr + 1);
    for (int i = 0; i < op->n_attr; i++) attrs[i] = op->attr[i];
    attrs[op->n_attr++] = attr;
    op->attr = attrs;
}

void mdl_drop_attr(mdl_op *op, const char *key) {
    int kept = 0;
    for (int i = 0; i < op->n_attr; i++)
        if (strcmp(op->attr[i].key, key)) op->attr[kept++] = op->attr[i];
    op->n_attr = kept;
}

/* ---- building ---- */
static mdl_attr copy_attr(mdl_arena *arena, mdl_attr a) {
    if (a.kind == MDL_ATTR_STR) a.s = mdl_strdup(arena, a.s);
    if (a.kind == MDL_ATTR_INTS) a.is = mdl_copy(arena, a.is, sizeof *a.is * (size_t)a.n);
    if (a.kind != MDL_ATTR_STRS) return a;
    const char **ss = MDL_NEW_ARRAY(arena, const char *, a.n);
    for (int i = 0; i < a.n; i++) ss[i] = mdl_strdup(arena, a.ss[i]);
    a.ss = ss;
    return a;
}

static mdl_op *new_op(mdl_builder *b, mdl_opcode code, int n_in, mdl_value *const *in, int n_attr, const mdl_attr *attr) {
    mdl_op *op = MDL_NEW(b->arena, mdl_op);
    op->code = code;
    op->n_in = n_in;
    op->in = mdl_copy(b->arena, in, sizeof *in * (size_t)n_in);
    op->n_attr = n_attr;
    op->attr = MDL_NEW_ARRAY(b->arena, mdl_attr, n_attr);
    for (int i = 0; i < n_attr; i++) op->attr[i] = copy_attr(b->arena, attr[i]);
    op->span = b->span;
    return op;
}

static void append(mdl_builder *b, mdl_op *op, int n_out, const mdl_type *types) {
    op->n_out = n_out;
    op->out = MDL_NEW_ARRAY(b->arena, mdl_value *, n_out);
    for (int i = 0; i < n_out; i++) {
        op->out[i] = MDL_NEW(b->arena, mdl_value);
        *op->out[i] = (mdl_value){.def = op, .index = i, .id = b->region->next_id++, .type = types[i]};
    }
    MDL_PUSH(b->arena, b->region->ops, op);
}

mdl_op *mdl_build(mdl_builder *b, mdl_opcode code, int n_in, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                  const mdl_type *hint, const char **error) {
    mdl_op *op = new_op(b, code, n_in, in, n_attr, attr);
    mdl_type types[4] = {{0}};
    const char *wrong = NULL;
    const mdl_op_info *info = &mdl_ops[code];
    if (info->arity >= 0 && info->arity != n_in)
        wrong = mdl_printf(b->arena, "%s takes %d operands, not %d", info->name, info->arity, n_in);
    else
        wrong = mdl_rules[code].type(b->arena, op, hint, types);
    if (wrong && !error)
        mdl_bug("%s: %s (%s:%d:%d)", info->name, wrong, b->span.file ? b->span.file : "?", b->span.line, b->span.column);
    if (error) *error = wrong;
    if (wrong) return NULL;
    append(b, op, info->results, types);
    return op;
}

mdl_op *mdl_build_region(mdl_builder *b, mdl_opcode code, int n_in, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                         mdl_region *body) {
    mdl_op *op = new_op(b, code, n_in, in, n_attr, attr);
    op->body = body;
    const mdl_op *yield = body->ops.at[body->ops.n - 1];
    mdl_type *types = MDL_NEW_ARRAY(b->arena, mdl_type, yield->n_in);
    for (int i = 0; i < yield->n_in; i++) types[i] = yield->in[i]->type;
    append(b, op, yield->n_in, types);
    return op;
}

static mdl_region *clone_region(mdl_arena *arena, mdl_region *old) {
    mdl_builder b = {.arena = arena, .region = mdl_region_new(arena, old->name)};
    mdl_region_clear_scratch(old);
    for (int i = 0; i < old->ops.n; i++) {
        mdl_op *op = old->ops.at[i];
        mdl_value **in = MDL_NEW_ARRAY(arena, mdl_value *, op->n_in);
        for (int k = 0; k < op->n_in; k++) in[k] = op->in[k]->scratch;
        mdl_op *copy = mdl_clone(&b, op, in);
        for (int k = 0; k < op->n_out; k++) op->out[k]->scratch = copy->out[k];
    }
    mdl_region_clear_scratch(old);
    return b.region;
}

mdl_op *mdl_clone(mdl_builder *b, const mdl_op *old, mdl_value *const *in) {
    mdl_op *op = new_op(b, old->code, old->n_in, in, old->n_attr, old->attr);
    op->span = old->span;
    op->body = old->body ? clone_region(b->arena, old->body) : NULL;
    mdl_type *types = MDL_NEW_ARRAY(b->arena, mdl_type, old->n_out);
    for (int i = 0; i < old->n_out; i++) types[i] = old->out[i]->type;
    append(b, op, old->n_out, types);
    for (int i = 0; i < old->n_out; i++) op->out[i]->stable = old->out[i]->stable;
    return op;
}

static mdl_value *first(mdl_op *op) { return op->out[0]; }

mdl_value *mdl_unary(mdl_builder *b, mdl_opcode code, mdl_value *x) {
    return first(mdl_build(b, code, 1, &x, 0, NULL, NULL, NULL));
}

mdl_value *mdl_binary(mdl_builder *b, mdl_opcode code, mdl_value *x, mdl_value *y) {
    mdl_value *in[] = {x, y};
    return first(mdl_build(b, code, 2, in, 0, NULL, NULL, NULL));
}

mdl_value *mdl_select(mdl_builder *b, mdl_value *cond, mdl_value *yes, mdl_value *no) {
    mdl_value *in[] = {cond, yes, no};
    return first(mdl_build(b, MDL_OP_SELECT, 3, in, 0, NULL, NULL, NULL));
}

mdl_value *mdl_cast(mdl_builder *b, mdl_value *x, mdl_dtype to) {
    if (x->type.dtype == to) return x;
    mdl_attr attr = mdl_str("to", mdl_dtype_name(to));
    return first(mdl_build(b, MDL_OP_CAST, 1, &x, 1, &attr, NULL, NULL));
}

mdl_value *mdl_const(mdl_builder *b, mdl_dtype dtype, double value) {
    mdl_type type = {.dtype = dtype};
    mdl_attr attr = mdl_real("value", value);
    return first(mdl_build(b, MDL_OP_CONST, 0, NULL, 1, &attr, &type, NULL));
}

mdl_value *mdl_const_like(mdl_builder *b, const mdl_type *type, double value) {
    return mdl_broadcast_scalar(b, mdl_const(b, type->dtype, value), type);
}

mdl_value *mdl_input(mdl_builder *b, const char *name, mdl_type type) {
    mdl_attr attr = mdl_str("name", name);
    return first(mdl_build(b, MDL_OP_INPUT, 0, NULL, 1, &attr, &type, NULL));
}

void mdl_result(mdl_builder *b, const char *name, mdl_value *x) {
    mdl_attr attr = mdl_str("name", name);
    mdl_build(b, MDL_OP_RESULT, 1, &x, 1, &attr, NULL, NULL);
}

mdl_value *mdl_reshape(mdl_builder *b, mdl_value *x, int rank, const int64_t *dim) {
    mdl_type type = mdl_type_make(x->type.dtype, rank, dim);
    if (mdl_type_equal(&type, &x->type)) return x;
    return first(mdl_build(b, MDL_OP_RESHAPE, 1, &x, 0, NULL, &type, NULL));
}

mdl_value *mdl_broadcast(mdl_builder *b, mdl_value *x, int n_axes, const int64_t *axes, const mdl_type *shape) {
    mdl_type type = mdl_type_make(x->type.dtype, shape->rank, shape->dim);
    if (mdl_type_equal(&type, &x->type)) return x;
    mdl_attr attr = mdl_ints(b->arena, "axes", n_axes, axes);
    return first(mdl_build(b, MDL_OP_BROADCAST, 1, &x, 1, &attr, &type, NULL));
}

mdl_value *mdl_broadcast_scalar(mdl_builder *b, mdl_value *x, const mdl_type *shape) { return mdl_broadcast(b, x, 0, NULL, shape); }

mdl_value *mdl_slice(mdl_builder *b, mdl_value *x, int axis, int64_t start, int64_t size) {
    if (start == 0 && size == x->type.dim[axis]) return x;
    mdl_attr attr[] = {mdl_int("axis", axis), mdl_int("start", start), mdl_int("size", size)};
    return first(mdl_build(b, MDL_OP_SLICE, 1, &x, 3, attr, NULL, NULL));
}

mdl_value *mdl_concat(mdl_builder *b, int n, mdl_value *const *x, int axis) {
    mdl_attr attr = mdl_int("axis", axis);
    return n == 1 ? x[0] : first(mdl_build(b, MDL_OP_CONCAT, n, x, 1, &attr, NULL, NULL));
}

mdl_value *mdl_permute(mdl_builder *b, mdl_value *x, const int64_t *perm) {
    mdl_attr attr = mdl_ints(b->arena, "perm", x->type.rank, perm);
    return first(mdl_build(b, MDL_OP_PERMUTE, 1, &x, 1, &attr, NULL, NULL));
}

mdl_value *mdl_reduce(mdl_builder *b, mdl_opcode code, mdl_value *x, int n_axes, const int64_t *axes) {
    if (!n_axes) return x;
    mdl_attr attr = mdl_ints(b->arena, "axes", n_axes, axes);
    return first(mdl_build(b, code, 1, &x, 1, &attr, NULL, NULL));
}

mdl_value *mdl_dot(mdl_builder *b, mdl_value *x, mdl_value *y, int n, const int64_t *left, const int64_t *right) {
    mdl_value *in[] = {x, y};
    mdl_attr attr[] = {mdl_ints(b->arena, "left", n, left), mdl_ints(b->arena, "right", n, right)};
    return first(mdl_build(b, MDL_OP_DOT, 2, in, 2, attr, NULL, NULL));
}

/* ---- reading ---- */
bool mdl_is(const mdl_value *v, mdl_opcode code) { return v->def->code == code; }

bool mdl_is_const(const mdl_value *v, double *value) {
    while (mdl_is(v, MDL_OP_BROADCAST)) v = v->def->in[0];
    if (!mdl_is(v, MDL_OP_CONST)) return false;
    *value = mdl_attr_real(v->def, "value");
    return true;
}

const char *mdl_scope_path(const mdl_span *span) { return span->scope ? span->scope->path : ""; }
const char *mdl_scope_precision(const mdl_span *span) { return span->scope ? span->scope->precision : "auto"; }

void mdl_region_clear_scratch(mdl_region *region) {
    for (int i = 0; i < region->ops.n; i++) {
        mdl_op *op = region->ops.at[i];
        op->scratch = NULL;
        for (int k = 0; k < op->n_out; k++) op->out[k]->scratch = NULL;
        if (op->body) mdl_region_clear_scratch(op->body);
    }
}

void mdl_region_renumber(mdl_region *region) {
    region->next_id = 0;
    for (int i = 0; i < region->ops.n; i++)
        for (int k = 0; k < region->ops.at[i]->n_out; k++) region->ops.at[i]->out[k]->id = region->next_id++;
}

int mdl_region_give_stable_ids(mdl_region *region, int next) {
    for (int i = 0; i < region->ops.n; i++)
        for (int k = 0; k < region->ops.at[i]->n_out; k++) region->ops.at[i]->out[k]->stable = next++;
    return next;
}
