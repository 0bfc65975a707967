/* What a run reports as it goes. */
#ifndef MDL_REPORT_METRICS_H
#define MDL_REPORT_METRICS_H

#include "runtime/report/figures.h"

/* Where a run's figures go line by line: metrics.jsonl, one JSON object a line, flushed as a whole; TensorBoard's event files. */
typedef struct mdl_metrics mdl_metrics;
mdl_status mdl_metrics_open(const char *path, mdl_metrics **metrics); /* truncates; NULL: no metrics.jsonl */
/* Event files in this folder too. */
mdl_status mdl_metrics_to_tensorboard(mdl_metrics *metrics, const char *folder);
mdl_status mdl_metrics_write(mdl_metrics *metrics, const mdl_figures *figures);
void mdl_metrics_close(mdl_metrics *metrics); /* NULL is allowed */

#endif
