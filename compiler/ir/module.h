/* What the front end makes of a model file: one forward region, one init region, and tables. */
#ifndef MDL_IR_MODULE_H
#define MDL_IR_MODULE_H

#include "compiler/ir/ir.h"

/* TRAINED: has a gradient and moments. FROZEN: used, never updated. CARRY: not used, kept in files. */
typedef enum { MDL_TRAINED, MDL_FROZEN, MDL_CARRY } mdl_role;

typedef struct {
    const char *name; /* checkpoint name; the state's name in IR */
    mdl_type type;    /* f32 */
    mdl_role role;
    bool decay;        /* weight decay applies */
    const char *group; /* "" or group("head") */
    const char *scope; /* "encoder.layer.3": the blocks it is declared in; "" or NULL: none known */
    const char *init;  /* as shown to users: "normal(0, 0.02)" */
    mdl_span span;
} mdl_param;

/* A checkpoint name that is another parameter: `tied`. */
typedef struct {
    const char *name, *target;
} mdl_tie;

/* source: "tokens" "masked" "next" "column" "present" "segments" */
typedef struct {
    const char *name, *source;
    mdl_type type;
    mdl_span span;
} mdl_input_decl;

/* One line of a `layout` block after its loops are unrolled: name = right side. */
typedef struct {
    const char *layout;                                       /* "hf" */
    enum { MDL_MAP_NAME, MDL_MAP_ALSO, MDL_MAP_IGNORE } kind; /* written and read | read only | skipped when read */
    const char *theirs, *ours;                                /* ours: NULL for ignore */
    int64_t rows, groups, first;                              /* as in the plan: runtime/plan/plan.h */
} mdl_name_map;

typedef struct {
    const char *name;
    int64_t value;
} mdl_dim_value;

/* A file written beside the weights. */
typedef struct {
    const char *name, *json; /* "config.json", its evaluated text */
} mdl_export;

typedef struct {
    const char *name; /* path as written in `use`, or the model file's base name */
    const char *text;
} mdl_source;

typedef struct {
    const char *name;          /* of the model block */
    mdl_region *forward;       /* ends in loss, metric and output ops */
    mdl_region *init;          /* writes every parameter; reads input "seed" i32[2] */
    MDL_VEC(mdl_param) params; /* in declaration order of the unrolled forward */
    MDL_VEC(mdl_tie) ties;
    MDL_VEC(mdl_input_decl) inputs;
    MDL_VEC(mdl_dim_value) dims;     /* every global dim, config and table cell that is an integer, for inspect */
    MDL_VEC(mdl_dim_value) specials; /* vocabulary constants: bos eos pad unk mask -> id */
    MDL_VEC(mdl_source) sources;     /* the model file first, then what it uses */
    MDL_VEC(mdl_name_map) layouts;
    const char *vocab_name, *vocab_text; /* NULL without a vocab */
    MDL_VEC(mdl_export) exports;         /* the first is the configuration */
    int64_t tokens, segments;            /* T and S of `batch` */
    int64_t max_length;                  /* of `maxlen(P)`, or 0 */
} mdl_module;

#endif
