/* Inside runtime/weights: what names in files stand for. */
#ifndef MDL_WEIGHTS_NAMES_H
#define MDL_WEIGHTS_NAMES_H

#include "runtime/plan/plan.h"

typedef struct {
    const char *name; /* in files */
    const mdl_plan_param *param;
    const mdl_plan_name_map *map; /* NULL: the parameter's own name, or a tie's */
} mdl_spelling;
typedef MDL_VEC(mdl_spelling) mdl_spellings;

/* One way to read the names of a folder. */
typedef struct {
    const mdl_plan *plan;
    const char *layout, *prefix;
    mdl_spellings full, bare; /* sorted by name; bare: without the segments of wrappers */
} mdl_weight_names;

mdl_weight_names mdl_weight_names_make(mdl_arena *arena, const mdl_plan *plan, const char *layout, const char *prefix);
/* The layout and prefix under which most of the names are known; of equals "hf", and no prefix. */
mdl_weight_names mdl_weight_names_choose(mdl_arena *arena, const mdl_plan *plan, int n, const char *const *names);
/* What a name stands for: *n spellings, of several parameters where a file has them in one tensor; NULL: unknown. */
const mdl_spelling *mdl_weight_names_find(const mdl_weight_names *names, const char *name, int *n);
bool mdl_weight_names_ignored(const mdl_weight_names *names, const char *name);

#endif
