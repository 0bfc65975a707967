/* Named numbers, and the JSON files made of them: metrics.jsonl line by line, results in one piece. */
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

/* metrics.jsonl: one JSON object a line, written as a whole. */
typedef struct mdl_metrics mdl_metrics;
/* empty: what is there goes; else lines follow those that are there. */
mdl_status mdl_metrics_open(const char *path, bool empty, mdl_metrics **metrics);
mdl_status mdl_metrics_write(mdl_metrics *metrics, const mdl_figures *figures);
int64_t mdl_metrics_bytes(const mdl_metrics *metrics); /* of the file, up to now */
mdl_status mdl_metrics_close(mdl_metrics *metrics);    /* after fsync; NULL is allowed */

/* One JSON object, sorted by name, indented by 4, written atomically: train_results.json as Hugging Face writes it. */
mdl_status mdl_results_write(const char *path, const mdl_figures *figures);

#endif
