/* The front end: a model file becomes a module of tensor IR. Names, shapes and types are resolved here, blocks and loops unrolled;
 * dimension names end here. */
#ifndef MDL_FRONT_H
#define MDL_FRONT_H

#include "compiler/ir/module.h"
#include "grammar/diagnostics.h"

typedef struct {
    const char *path;    /* the model file */
    const char *library; /* folder searched by `use` after the model's own folder; may be NULL */
    int n_sets;
    const char *const *sets;  /* "size=650M", "L=2": configs, table entries and dims, set before derived values are computed */
    int64_t tokens, segments; /* override the sizes of `batch`; 0: as in the model */
} mdl_front_options;

/* Elaborates a model. The module lives in `arena`. Returns NULL when there were errors: they are in `d`, which may also hold
 * warnings on success. */
mdl_module *mdl_front(mdl_arena *arena, const mdl_front_options *options, mdl_diagnostics *d);

#endif
