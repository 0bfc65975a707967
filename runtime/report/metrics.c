/* A run's figures, line by line. */
#include "runtime/report/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/report/tensorboard.h"

struct mdl_metrics {
    FILE *file; /* NULL: none */
    mdl_events *events;
    const char *path;
    char line[MDL_FIGURES_LINE];
};

mdl_status mdl_metrics_open(const char *path, mdl_metrics **out) {
    mdl_metrics *metrics = malloc(sizeof *metrics);
    *out = NULL;
    if (!metrics) return mdl_fail(MDL_SYSTEM, "no memory for metrics");
    *metrics = (mdl_metrics){.file = path ? fopen(path, "w") : NULL, .path = strdup(path ? path : "")};
    if (path && !metrics->file) {
        mdl_status status = mdl_fail_errno("%s", path);
        mdl_metrics_close(metrics);
        return status;
    }
    *out = metrics;
    return MDL_OK;
}

mdl_status mdl_metrics_to_tensorboard(mdl_metrics *metrics, const char *folder) {
    return mdl_events_open(folder, &metrics->events);
}

mdl_status mdl_metrics_write(mdl_metrics *metrics, const mdl_figures *figures) {
    size_t n = mdl_figures_print(metrics->line, MDL_FIGURES_LINE, figures, "{", ", ", "}\n");
    if (n >= MDL_FIGURES_LINE)
        return mdl_fail(MDL_SYSTEM, "%s: a line of metrics is longer than %d bytes", metrics->path, MDL_FIGURES_LINE);
    if (metrics->file && (fwrite(metrics->line, 1, n, metrics->file) != n || fflush(metrics->file)))
        return mdl_fail_errno("%s", metrics->path);
    return metrics->events ? mdl_events_write(metrics->events, figures) : MDL_OK;
}

void mdl_metrics_close(mdl_metrics *metrics) {
    if (!metrics) return;
    if (metrics->file) fclose(metrics->file);
    mdl_events_close(metrics->events);
    free((char *)metrics->path);
    free(metrics);
}
