/* Curves of runs: read from their metrics.jsonl, drawn as a picture. */
#ifndef MDL_REPORT_CURVES_H
#define MDL_REPORT_CURVES_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

typedef struct {
    double step, value; /* value: NAN where the run logged null */
} mdl_point;

typedef struct {
    const char *name; /* for the legend */
    MDL_VEC(mdl_point) points;
} mdl_series;

typedef struct {
    mdl_arena *memory;
    const char *metric;
    MDL_VEC(mdl_series) series;
} mdl_curves;

/* Adds the metric of a run, a folder with metrics.jsonl or such a file. A resumed run takes back the steps that it repeats; the
 * last line may be cut, as a killed run leaves it. Lines without the metric are passed over; MDL_BAD_INPUT when none has it. */
mdl_status mdl_curves_add(mdl_curves *curves, const char *run);

/* Draws all series over the step: SVG or PNG, by the end of the path. */
mdl_status mdl_curves_write(const mdl_curves *curves, const char *path);

#endif
