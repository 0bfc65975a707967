/* What a run reports as it goes. */
#ifndef MDL_REPORT_METRICS_H
#define MDL_REPORT_METRICS_H

#include "runtime/report/figures.h"

/* Where a run's figures go line by line: metrics.jsonl, one JSON object a line, written as a whole; TensorBoard's event files. */
typedef struct mdl_metrics mdl_metrics;
/* path NULL: no metrics.jsonl. empty: what is there goes; else lines follow those that are there. */
mdl_status mdl_metrics_open(const char *path, bool empty, mdl_metrics **metrics);
/* Event files in this folder too. */
mdl_status mdl_metrics_to_tensorboard(mdl_metrics *metrics, const char *folder);
mdl_status mdl_metrics_write(mdl_metrics *metrics, const mdl_figures *figures);
int64_t mdl_metrics_bytes(const mdl_metrics *metrics); /* of metrics.jsonl, up to now */
mdl_status mdl_metrics_close(mdl_metrics *metrics);    /* after fsync; NULL is allowed */

#endif
