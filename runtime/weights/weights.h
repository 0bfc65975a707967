/* Weights in folders of Hugging Face's kind. Nothing here knows a device: a store gives and takes the numbers of a parameter, be it
 * a session or a snapshot that a thread of its own writes. */
#ifndef MDL_WEIGHTS_H
#define MDL_WEIGHTS_H

#include "runtime/base/safetensors.h"
#include "runtime/plan/plan.h"

/* All numbers of a parameter, f32, in its logical shape. */
typedef struct {
    const mdl_plan *plan;
    void *context;
    mdl_status (*get)(void *context, const mdl_plan_param *param, float *to);
    mdl_status (*set)(void *context, const mdl_plan_param *param, const float *from);
} mdl_weight_store;

/* ---- reading: names.c, match.c, folder.c ---- */
typedef struct {
    const char *name; /* as the file has it */
    const mdl_tensor *tensor;
    const char *unsupported; /* the dtype, of one without `tensor` */
} mdl_weight;

typedef struct {
    bool strict;      /* frozen and carried parameters must be there too */
    const char *from; /* what messages begin with */
    int n_allowed;    /* patterns (fnmatch) of parameters that may be missing and then begin from their initial values */
    const char *const *allowed;
} mdl_weight_rules;

typedef struct {
    mdl_arena *memory;           /* the caller's */
    MDL_VEC(const char *) fresh; /* missing, as `allowed` lets them: they keep their values */
    int kept;                    /* missing as is usual, carried or computed: they keep their values */
    const char *layout, *prefix; /* how names were read */
    MDL_VEC(const char *) notes; /* what else a person should know, a sentence each */
} mdl_weight_report;

/* Gives the store n tensors. A name is a parameter's, a tie's, or one that a layout of the plan maps to a parameter; the folder's
 * layout is the one that knows most of its names. Segments that wrappers add (module, _orig_mod, base_layer, ...) do not count, and
 * a first segment that all names lack is put before them. Tensors that the layout ignores are skipped. Several tensors of one
 * parameter must be equal. Errors (MDL_BAD_INPUT) list unexpected tensors, wrong shapes, unsupported dtypes, numbers that are not
 * finite and missing parameters, and leave the store as it was; MDL_USAGE: a pattern that no parameter has. */
mdl_status mdl_weights_fill(const mdl_weight_store *store, const mdl_weight_rules *rules, int n, const mdl_weight *weights,
                            mdl_weight_report *report);

/* The same of a folder with model.safetensors or shards and model.safetensors.index.json, or of one file *.safetensors. Notes tell
 * where the folder's configuration differs from what the plan exports. */
mdl_status mdl_weights_read(const mdl_weight_store *store, const char *path, const mdl_weight_rules *rules,
                            mdl_weight_report *report);

/* The parameter of exactly this name, or of this name in layout "hf"; NULL when there is none. */
const mdl_plan_param *mdl_weights_param(const mdl_plan *plan, const char *name);

/* All numbers of a tensor (F32, F64, BF16 or F16) as floats. */
mdl_status mdl_weights_floats(const mdl_tensor *tensor, float *to);
/* How many of n numbers are infinite or NaN. */
int64_t mdl_weights_bad(int64_t n, const float *values);

/* ---- writing: export.c ---- */
#define MDL_SHARD_BYTES 5000000000

/* Writes a model's folder into `dir`, which exists: model.safetensors, or shards of at most max_shard_bytes (a larger tensor has
 * one alone) and model.safetensors.index.json; f32, logical shapes, names of the layout "hf", ties left out; then the plan's
 * assets: the exported configuration, the vocabulary as vocab.txt, any other file beside the model. Room on the disk is checked
 * first. One tensor is in memory at a time. A number that is not finite is refused with its tensor's name (MDL_MISMATCH). Every
 * file appears whole, and none before all weights are written; an index, or a single file, that lies there and would be read
 * instead is then removed. Reaches the disk. */
mdl_status mdl_weights_export(const mdl_weight_store *store, const char *dir, int64_t max_shard_bytes);

/* A file in `dir` that mdl_weights_export would replace, or a model's of another program; NULL: there is none. */
const char *mdl_weights_there(mdl_arena *arena, const mdl_plan *plan, const char *dir);

/* "5GB", "200MB", "64KB", "1000": a number of bytes, with units of 1000 as Hugging Face has them. False: it is none. */
bool mdl_weights_parse_size(const char *text, int64_t *bytes);

#endif
