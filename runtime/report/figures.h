/* Named numbers, and JSON made of them. */
#ifndef MDL_REPORT_FIGURES_H
#define MDL_REPORT_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct {
    const char *name;
    double value; /* not finite: null in JSON */
} mdl_figure;

/* A list of figures of fixed room; nothing is allocated. Names must outlive it. */
enum { MDL_MAX_FIGURES = 64 };
typedef struct {
    int n;
    mdl_figure at[MDL_MAX_FIGURES];
} mdl_figures;

void mdl_figures_add(mdl_figures *figures, const char *name, double value); /* further ones than fit are dropped */
const mdl_figure *mdl_figures_find(const mdl_figures *figures, const char *name);

/* The shortest text of at least 6 digits that reads back as the same double; "null" when not finite. size >= 32. */
void mdl_figure_text(char *text, size_t size, double value);

/* One JSON object with these texts before, between and behind its pairs, into line[0 .. size-1]; what does not fit is cut. Returns
 * the length that it has; MDL_FIGURES_LINE is room enough for names of usual lengths. */
enum { MDL_FIGURES_LINE = MDL_MAX_FIGURES * 128 };
size_t mdl_figures_print(char *line, size_t size, const mdl_figures *figures, const char *open, const char *between,
                         const char *close);

/* One JSON object, sorted by name, indented by 4, written atomically: train_results.json as Hugging Face writes it. */
mdl_status mdl_results_write(const char *path, const mdl_figures *figures);

#endif
