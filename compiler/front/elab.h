/* What the files of the front end share: values, names, frames, and the elaborator itself.
 *
 * Elaboration walks the syntax tree with environments, as an interpreter does. A value is either known at compile time or a tensor:
 * an IR value whose axes carry named dims. A dim is an object; two dims are equal when they are the same object, never by size.
 * Inside a block its formal dims are fresh objects that remember the caller's (`outer`); on return they are mapped back. */
#ifndef MDL_FRONT_ELAB_H
#define MDL_FRONT_ELAB_H

#include "compiler/front/front.h"
#include "grammar/ast.h"

enum { FE_MAX_DEPTH = 100, FE_MAX_NESTING = 600, FE_MAX_STEPS = 600000, FE_MAX_ARGS = 32 };

typedef struct fe_dim {
    const char *name; /* NULL: unnamed, only in parameters */
    int64_t size;
    const struct fe_dim *outer; /* of a formal dim: what the caller passed */
    int frame;                  /* the frame that made it; 0 for a file */
    bool batch;                 /* of `batch`, or bound to one */
} fe_dim;

typedef struct fe_env fe_env;
typedef struct fe_value fe_value;

/* An initial value: drawn, constant, or an expression kept with its names. */
typedef struct {
    enum { FE_INIT_NORMAL, FE_INIT_TRUNC_NORMAL, FE_INIT_UNIFORM, FE_INIT_CONSTANT, FE_INIT_VALUE } kind;
    double a, b, c; /* mean, deviation and bound; low and high; or the constant */
    const mdl_ast *expr;
    fe_env *env;
    const char *text; /* as shown to users */
} fe_init;

/* POISON is the value of what was already reported: it silences what follows from it. */
typedef enum { FE_POISON, FE_ABSENT, FE_INT, FE_REAL, FE_BOOL, FE_STR, FE_NULL, FE_LIST, FE_INIT, FE_TENSOR, FE_TUPLE } fe_kind;

struct fe_value {
    fe_kind kind;
    int64_t i; /* INT, BOOL */
    double f;  /* REAL */
    const char *s;
    const fe_dim *dim; /* of an INT that names a dim */
    int n;             /* LIST, TUPLE */
    const fe_value *items;
    const fe_init *init;
    mdl_value *tensor;
    const fe_dim *dims[MDL_MAX_RANK];
    const mdl_region *region; /* where `tensor` is computed */
};

typedef enum { FE_FIXED, FE_LET, FE_LOOP, FE_FORMAL, FE_PARAM, FE_CARRY, FE_FUNCTION } fe_role;

typedef struct {
    const char *name;
    mdl_loc loc;
    fe_role role;
    fe_value value;
    const mdl_ast *decl; /* of a function */
    fe_env *home;        /* the file a function was declared in */
} fe_symbol;

struct fe_env {
    fe_env *parent;
    MDL_VEC(fe_symbol) symbols;
};

/* A function, block or model being elaborated. */
typedef struct fe_frame {
    struct fe_frame *up;
    const mdl_ast *decl;
    mdl_loc call;
    int id;
    MDL_VEC(fe_symbol) loops; /* the loop variables in force */
    bool has_rest;            /* `..` is bound to rest[0 .. n_rest-1] */
    int n_rest;
    const fe_dim *rest[MDL_MAX_RANK];
    bool uncalled; /* checked by uncalled.c: `call` is the declaration itself */
    bool returned;
    mdl_loc result_loc;
    fe_value result;
} fe_frame;

typedef struct {
    const char *name; /* as written in `use` */
    const char *path;
    const mdl_file *file;
    mdl_ast *ast;
    fe_env *env;
    bool loading;
} fe_source;

typedef struct {
    const char *name, *text;
    bool used;
} fe_set;

typedef struct {
    mdl_arena *arena;
    mdl_diagnostics *d;
    const mdl_front_options *options;
    mdl_module *module;
    mdl_builder b; /* its region is where ops go: forward, init, or scratch in a branch that is not taken; span.scope is in force */
    mdl_region *scratch;
    fe_frame *frame;
    int frames, depth, nesting, steps;
    int dead; /* > 0 in a branch that is not taken: types are checked, values are not */
    MDL_VEC(fe_source *) sources;
    MDL_VEC(const char *) words; /* what the language itself names, for suggestions */
    MDL_VEC(fe_set) sets;
    MDL_VEC(const char *) settable;        /* names that --set accepts */
    MDL_VEC(fe_symbol) configs;            /* string configs, shown in notes */
    MDL_VEC(mdl_loc) param_locs, tie_locs; /* beside module->params and ties */
    MDL_VEC(const char *) sinks;           /* names of losses, metrics and outputs already taken */
    mdl_value *seed;                       /* of the init region */
    int64_t vocab_size;                    /* lines of the vocabulary, or 0 */
    MDL_VEC(const mdl_ast *) called;       /* functions that were elaborated */
    bool endless;                          /* a recursion without end was reported */
    bool has_model, has_batch;
} fe;

/* ---- env.c: names and messages ---- */
fe_env *fe_env_new(fe *e, fe_env *parent);
fe_symbol *fe_lookup(const fe_env *env, const char *name); /* NULL when unknown */
/* Declares a name; one already visible is an error unless `hides`, which formals may. */
void fe_define(fe *e, fe_env *env, fe_symbol symbol, bool hides);
/* Reports an error at `loc` with its chain of instantiations, after an optional line of detail; returns POISON. */
fe_value fe_fail(fe *e, mdl_loc loc, const char *detail, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same, but nothing in a branch that is not taken: for what depends on values. */
fe_value fe_fail_value(fe *e, mdl_loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* " (did you mean 'x'?)", or "". */
const char *fe_suggest(fe *e, const char *name, int n, const char *const *names);
const char *fe_suggest_visible(fe *e, const fe_env *env, const char *name);
void fe_at(fe *e, mdl_loc loc); /* the span of the ops that follow */

/* ---- value.c ---- */
fe_value fe_poison(void);
fe_value fe_int(int64_t i);
fe_value fe_real(double f);
fe_value fe_bool(bool b);
fe_value fe_str(const char *s);
fe_value fe_of_init(fe *e, fe_init init);
/* A tensor in the current region. */
fe_value fe_tensor(fe *e, mdl_value *tensor, int rank, const fe_dim *const *dims);
/* A tensor of these dims that nothing computes, where sizes do not count: in a branch that is not taken. */
fe_value fe_stand_in(fe *e, mdl_dtype dtype, int rank, const fe_dim *const *dims);
bool fe_is_constant(const fe_value *v); /* a number or bool known at compile time */
double fe_number(const fe_value *v);    /* of INT, REAL or BOOL */
bool fe_is_number(const fe_value *v);   /* INT or REAL */
int fe_rank(const fe_value *v);
int fe_axis(const fe_value *v, const fe_dim *dim); /* -1 when absent */
mdl_dtype fe_dtype(const fe_value *v);
const char *fe_real_text(fe *e, double f);           /* the shortest that reads back */
const char *fe_value_text(fe *e, const fe_value *v); /* for strings: "640", "650M" */
const char *fe_type_text(fe *e, const fe_value *v);  /* for messages: "i32[T = 2048]", "the integer 3" */
const char *fe_dims_text(fe *e, int n, const fe_dim *const *dims);
const fe_dim *fe_dim_new(fe *e, const char *name, int64_t size);
mdl_type fe_shape(mdl_dtype dtype, int n, const fe_dim *const *dims);

/* ---- fold.c: arithmetic at compile time ---- */
fe_value fe_fold(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, const fe_value *v);
fe_value fe_fold_modulo(fe *e, mdl_loc loc, fe_value a, fe_value b);
/* Replaces {name} by compile-time values. */
const char *fe_interpolate(fe *e, const fe_env *env, mdl_loc loc, const char *text);

/* ---- pointwise.c ---- */
fe_value fe_pointwise(fe *e, mdl_loc loc, const char *shown, mdl_opcode code, int n, fe_value *v);
bool fe_pointwise_name(const char *name, mdl_opcode *code); /* functions of the language that are rows of the op table */
/* Broadcasts to the dims of `like` when these hold v's as an ordered subset, else reports and returns false. */
bool fe_broadcast(fe *e, mdl_loc loc, const char *shown, fe_value *v, const fe_value *like);

/* ---- expr.c ---- */
bool fe_steps(fe *e, mdl_loc loc, int n); /* counts work; false, reported once, when the model is too large */
fe_value fe_eval(fe *e, fe_env *env, const mdl_ast *ast);
fe_value fe_eval_condition(fe *e, fe_env *env, const mdl_ast *ast, const char *of); /* BOOL, else reports and returns POISON */
const fe_dim *fe_eval_dim(fe *e, fe_env *env, const mdl_ast *ast); /* a named dim; reports and returns NULL otherwise */
int fe_eval_dims(fe *e, fe_env *env, const mdl_asts *list, const fe_dim **dims); /* their number, -1 after an error */
/* Evaluates in a branch that is not taken. */
void fe_enter_dead(fe *e, mdl_region **saved);
void fe_leave_dead(fe *e, mdl_region *saved);

/* ---- call.c: functions and blocks of the language; types.c: their signatures ---- */
fe_value fe_call(fe *e, fe_env *env, const mdl_ast *call, const fe_symbol *function);
fe_value fe_run(fe *e, fe_env *inner, const mdl_ast *decl); /* its formals are bound; e->frame is its frame */
/* A formal dim: a fresh one inside, standing for the caller's. */
const fe_dim *fe_bind_dim(fe *e, fe_env *inner, const mdl_ast *name, const fe_dim *actual);
bool fe_bind_formal(fe *e, fe_env *inner, const mdl_ast *formal, fe_value actual, mdl_loc loc, const char *callee);
bool fe_check_return(fe *e, fe_env *inner, const mdl_ast *type, const fe_value *v, mdl_loc loc, const char *callee);
fe_value fe_any_constant(fe *e, const mdl_ast *type); /* a value that a compile-time parameter of this type may have */
/* Dims of a declared tensor type; unnamed ones only when allowed. Their number, or -1 after an error. */
int fe_type_dims(fe *e, fe_env *env, const mdl_ast *type, bool unnamed, const fe_dim **dims);
bool fe_type_dtype(fe *e, const mdl_ast *type, mdl_dtype *dtype);

/* ---- builtin.c, shape.c, structured.c: what the language provides ---- */
typedef struct {
    fe_env *env;
    const mdl_ast *ast;
    int n;
    fe_value v[FE_MAX_ARGS];
    mdl_loc loc[FE_MAX_ARGS];
    const char *arg[FE_MAX_ARGS]; /* names, for messages */
    int n_left, n_right;          /* the bracket: [left -> right], or [left] */
    const fe_dim *left[FE_MAX_ARGS], *right[FE_MAX_ARGS];
    int64_t at; /* of [P = at] */
} fe_site;
typedef fe_value fe_builtin_run(fe *e, fe_site *s);
/* What stands in the bracket after the name. */
typedef enum { FE_NO_DIMS, FE_DIMS, FE_ONE_DIM, FE_ARROW, FE_EQUALS } fe_bracket;
typedef struct {
    const char *name;
    fe_bracket bracket;
    int required;
    const char *args; /* names separated by commas; NULL: any number of tensors */
    fe_builtin_run *run;
} fe_builtin;
const fe_builtin *fe_builtin_find(const char *name, bool bracket); /* NULL: no such name, with or without a bracket */
/* What the language offers instead of something that it leaves out; NULL when it says nothing of it. */
const char *fe_instead_of(const char *name);
bool fe_builtin_constant(fe *e, const char *name, fe_value *value);
void fe_builtin_words(fe *e); /* adds what it names to e->words */
fe_builtin_run fe_view, fe_split, fe_concat, fe_stack, fe_at_index, fe_outer, fe_reduce_sum, fe_reduce_max, fe_reduce_mean,
    fe_argmax, fe_iota;
fe_builtin_run fe_dot, fe_gather, fe_position, fe_seglen, fe_first, fe_segsum, fe_spread, fe_attention, fe_xent;

/* ---- build.c: what all that makes ops shares ---- */
/* No dim twice, at most six, and a product that fits; reports otherwise. */
bool fe_shape_ok(fe *e, mdl_loc loc, int n, const fe_dim *const *dims);
/* Checks argument i: a tensor of `dtype` (MDL_DTYPE_COUNT: any but segments). */
bool fe_want_tensor(fe *e, fe_site *s, int i, mdl_dtype dtype);
mdl_value *fe_build(fe *e, mdl_loc loc, mdl_opcode code, int n, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                    const mdl_type *hint); /* first result; NULL after an error */

/* ---- uncalled.c ---- */
void fe_check_uncalled(fe *e);

/* ---- stmt.c, param.c ---- */
void fe_exec_body(fe *e, fe_env *env, const mdl_ast *body);
void fe_exec_param(fe *e, fe_env *env, const mdl_ast *param);
void fe_exec_sink(fe *e, fe_env *env, const mdl_ast *sink); /* loss, metric, output */
void fe_exec_check(fe *e, fe_env *env, const mdl_ast *check);
void fe_exec_consts(fe *e, fe_env *env, const mdl_ast *consts);
void fe_exec_dims(fe *e, fe_env *env, const mdl_ast *dims);
/* Makes a scope inside the one in force; who enters restores b.span.scope. NULL: no name of its own, the precision around. */
void fe_enter_scope(fe *e, const char *name, const char *precision);
void fe_check_unused(fe *e);

/* ---- decl.c, set.c, vocab.c, layout.c, export.c: the top level of a file ---- */
void fe_declare_all(fe *e, fe_source *source, bool library); /* and the files that it uses */
void fe_sets_begin(fe *e);
const char *fe_set_text(fe *e, const char *name); /* the overriding text, or NULL; also notes that the name exists */
void fe_sets_end(fe *e);
void fe_vocab(fe *e, fe_env *env, const mdl_ast *vocab);
void fe_layout(fe *e, fe_env *env, const mdl_ast *layout);
void fe_export(fe *e, fe_env *env, const mdl_ast *export);

/* ---- source.c ---- */
/* A file beside the model, or else in the library's folder; reports and returns NULL when there is none. */
const mdl_file *fe_read_beside(fe *e, const char *name, mdl_loc loc, bool library);
fe_source *fe_source_new(fe *e, const char *name, const mdl_file *file); /* parsed; its `ast` is NULL after errors */

#endif
