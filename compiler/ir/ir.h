/* Tensor IR and kernel IR: ops in SSA form, in execution order, over typed values.
 *
 * One data structure and one text syntax serve both levels; a kernel is an op with a region (its body). Dims are
 * positional: names of dims exist in the front end only. A region and all it points to (but names of regions and files, and keys of
 * attributes, which live as long as the compilation) lies in one arena: that of the pass that made it.
 *
 *   program train {
 *     %0 = input {name="ids"} : i32[2048] @ models/tiny.mdl:14:1
 *     %1 = read {state="param", of=["layer.0.weight"]} : f32[33,320] @ models/tiny.mdl:20:3 in "layer.0" as "f32" id 7
 *     %2 = gather %1, %0 : f32[2048,320]
 *     result %2 {name="x"}
 *   }
 */
#ifndef MDL_IR_H
#define MDL_IR_H

#include <stdbool.h>
#include <stdio.h>

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"

typedef enum {
#define POINTWISE(id, name, arity, rule, cost, emit) MDL_OP_##id,
#define OP(id, name, arity, results, class, pure) MDL_OP_##id,
#include "compiler/ir/ops.def"
#undef POINTWISE
#undef OP
    MDL_OP_COUNT
} mdl_opcode;

typedef enum {
    MDL_POINTWISE,
    MDL_LEAF,
    MDL_VIEW,
    MDL_REDUCE,
    MDL_INDEX,
    MDL_SEGMENT,
    MDL_CONTRACT,
    MDL_STRUCTURED,
    MDL_SINK,
    MDL_REGION
} mdl_class;

/* A scope of the model: the names that `scope` and `as` gave on the way to it, and the precision asked for in it. */
typedef struct {
    const char *path;      /* "encoder.layer.3"; "" outside every scope */
    const char *precision; /* "auto", "f32", "bf16", "fp8": of the nearest `precision(...)` around */
} mdl_scope;

/* Where in the user's source an op comes from: a place, and the scope in force there. Whoever builds an op for another one gives it
 * the other's span, so a gradient op is in the scope of the op that it derives from. */
typedef struct {
    const char *file; /* NULL when unknown */
    int line, column;
    const mdl_scope *scope; /* NULL: outside every scope, precision "auto" */
} mdl_span;

const char *mdl_scope_path(const mdl_span *span);      /* never NULL */
const char *mdl_scope_precision(const mdl_span *span); /* never NULL */

/* An attribute: one of an integer, a real, a string, a list of integers, a list of strings. */
typedef struct {
    const char *key;
    enum { MDL_ATTR_INT, MDL_ATTR_REAL, MDL_ATTR_STR, MDL_ATTR_INTS, MDL_ATTR_STRS } kind;
    int n; /* length of a list */
    union {
        int64_t i;
        double f;
        const char *s;
        const int64_t *is;
        const char *const *ss;
    };
} mdl_attr;

typedef struct mdl_op mdl_op;
typedef struct mdl_value mdl_value;
typedef struct mdl_region mdl_region;

struct mdl_value {
    mdl_op *def;
    int index;  /* which result of def */
    int id;     /* %id in text */
    int stable; /* given once, at the end of elaborate, from 1; kept by whatever stands for the value later. 0: of a pass's making
                 */
    mdl_type type;
    void *scratch; /* free for the running pass; NULL at its start (mdl_region_clear_scratch) */
};

struct mdl_op {
    mdl_opcode code;
    int n_in, n_out, n_attr;
    mdl_value **in, **out;
    mdl_attr *attr;
    mdl_region *body; /* of REGION ops */
    mdl_span span;
    void *scratch;
};

struct mdl_region {
    const char *name; /* of a program */
    MDL_VEC(mdl_op *) ops;
    int next_id;
};

/* ---- the op table ---- */
typedef struct {
    const char *name;
    int arity, results; /* -1: any */
    mdl_class class;
    bool pure, heavy; /* heavy: a transcendental, dearer than a load */
    const char *emit; /* pointwise only */
} mdl_op_info;
extern const mdl_op_info mdl_ops[MDL_OP_COUNT];
bool mdl_opcode_parse(const char *name, mdl_opcode *code);

/* ---- building ---- */
typedef struct {
    mdl_arena *arena;
    mdl_region *region;
    mdl_span span; /* given to every op built */
} mdl_builder;

mdl_region *mdl_region_new(mdl_arena *arena, const char *name);

mdl_attr mdl_int(const char *key, int64_t i);
mdl_attr mdl_real(const char *key, double f);
mdl_attr mdl_str(const char *key, const char *s);
mdl_attr mdl_ints(mdl_arena *arena, const char *key, int n, const int64_t *is);
mdl_attr mdl_strs(mdl_arena *arena, const char *key, int n, const char *const *ss);

/* Appends an op and infers its results' types. `hint` gives the result type of ops whose type is not a function of their
 * operands (const, iota, input, read, random, arg, reshape, broadcast) and may be NULL otherwise. On a type error returns NULL and
 * sets *error to a message in the arena, or is an internal error when `error` is NULL. */
mdl_op *mdl_build(mdl_builder *b, mdl_opcode code, int n_in, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                  const mdl_type *hint, const char **error);

/* A region op (kernel, finish): its results are what the body yields. */
mdl_op *mdl_build_region(mdl_builder *b, mdl_opcode code, int n_in, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                         mdl_region *body);

/* Shorthands that return the first result. */
mdl_value *mdl_unary(mdl_builder *b, mdl_opcode code, mdl_value *x);
mdl_value *mdl_binary(mdl_builder *b, mdl_opcode code, mdl_value *x, mdl_value *y);
mdl_value *mdl_select(mdl_builder *b, mdl_value *cond, mdl_value *yes, mdl_value *no);
mdl_value *mdl_cast(mdl_builder *b, mdl_value *x, mdl_dtype to);
mdl_value *mdl_const(mdl_builder *b, mdl_dtype dtype, double value);           /* rank 0 */
mdl_value *mdl_const_like(mdl_builder *b, const mdl_type *type, double value); /* const + broadcast to the type's shape and dtype */
mdl_value *mdl_input(mdl_builder *b, const char *name, mdl_type type);
void mdl_result(mdl_builder *b, const char *name, mdl_value *x);
mdl_value *mdl_reshape(mdl_builder *b, mdl_value *x, int rank, const int64_t *dim);
mdl_value *mdl_broadcast(mdl_builder *b, mdl_value *x, int n_axes, const int64_t *axes, const mdl_type *shape);
mdl_value *mdl_broadcast_scalar(mdl_builder *b, mdl_value *x, const mdl_type *shape);
mdl_value *mdl_slice(mdl_builder *b, mdl_value *x, int axis, int64_t start, int64_t size);
mdl_value *mdl_concat(mdl_builder *b, int n, mdl_value *const *x, int axis);
mdl_value *mdl_permute(mdl_builder *b, mdl_value *x, const int64_t *perm);
mdl_value *mdl_reduce(mdl_builder *b, mdl_opcode code, mdl_value *x, int n_axes, const int64_t *axes);
mdl_value *mdl_dot(mdl_builder *b, mdl_value *x, mdl_value *y, int n, const int64_t *left, const int64_t *right);

/* Copies an op, its attributes and its body into b->region with other operands (which are the caller's business). */
mdl_op *mdl_clone(mdl_builder *b, const mdl_op *op, mdl_value *const *in);

void mdl_add_attr(mdl_arena *arena, mdl_op *op, mdl_attr attr);
void mdl_drop_attr(mdl_op *op, const char *key); /* nothing where there is none */

/* ---- reading ---- */
const mdl_attr *mdl_find_attr(const mdl_op *op, const char *key);
int64_t mdl_attr_int(const mdl_op *op, const char *key); /* missing: internal error */
int64_t mdl_attr_int_or(const mdl_op *op, const char *key, int64_t otherwise);
double mdl_attr_real(const mdl_op *op, const char *key);
const char *mdl_attr_str(const mdl_op *op, const char *key);
bool mdl_is(const mdl_value *v, mdl_opcode code);
bool mdl_is_const(const mdl_value *v, double *value); /* a const, or a broadcast of one */
void mdl_region_clear_scratch(mdl_region *region);
void mdl_region_renumber(mdl_region *region);
int mdl_region_give_stable_ids(mdl_region *region, int next); /* returns the next one free */

/* ---- text (print(parse(x)) == x) ----
 * `spans` also prints what does not change what a program computes: spans, scopes and stable ids. */
void mdl_print_op(mdl_text *text, const mdl_op *op, int indent, bool spans);
void mdl_print_region(mdl_text *text, const mdl_region *region, bool spans);
/* Parses one or more `program NAME { ... }`. Returns NULL, or a message with a line number. */
typedef MDL_VEC(mdl_region *) mdl_regions;
const char *mdl_parse_ir(mdl_arena *arena, const char *source, mdl_regions *programs);

/* ---- checking ---- */
/* NULL, or what is wrong with the region: defs before uses, arities, re-inferred types, bodies that fit their ops. */
const char *mdl_verify(mdl_arena *arena, const mdl_region *region);

#endif
