/* A run's figures, line by line. */
#include "runtime/report/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/file.h"
#include "runtime/report/tensorboard.h"

struct mdl_metrics {
    int fd;     /* of metrics.jsonl */
    char *path; /* NULL: there is none */
    int64_t bytes;
    mdl_events *events;
    char line[MDL_FIGURES_LINE];
};

static mdl_status open_file(mdl_metrics *metrics, const char *path, bool empty) {
    struct stat facts;
    mdl_status status = mdl_log_open(path, empty, &metrics->fd);
    if (status) return status;
    metrics->path = strdup(path);
    metrics->bytes = fstat(metrics->fd, &facts) ? 0 : facts.st_size;
    return metrics->path ? MDL_OK : mdl_fail(MDL_SYSTEM, "no memory for metrics");
}

mdl_status mdl_metrics_open(const char *path, bool empty, mdl_metrics **out) {
    mdl_metrics *metrics = calloc(1, sizeof *metrics);
    *out = NULL;
    if (!metrics) return mdl_fail(MDL_SYSTEM, "no memory for metrics");
    mdl_status status = path ? open_file(metrics, path, empty) : MDL_OK;
    if (status)
        free(metrics);
    else
        *out = metrics;
    return status;
}

mdl_status mdl_metrics_to_tensorboard(mdl_metrics *metrics, const char *folder) {
    return mdl_events_open(folder, &metrics->events);
}

mdl_status mdl_metrics_write(mdl_metrics *metrics, const mdl_figures *figures) {
    size_t n = mdl_figures_print(metrics->line, MDL_FIGURES_LINE, figures, "{", ", ", "}\n");
    if (n >= MDL_FIGURES_LINE)
        return mdl_fail(MDL_SYSTEM, "%s: a line of metrics is longer than %d bytes", metrics->path ? metrics->path : "metrics",
                        MDL_FIGURES_LINE);
    mdl_status status = metrics->path ? mdl_log_add(metrics->fd, metrics->path, metrics->line, n) : MDL_OK;
    if (!status && metrics->path) metrics->bytes += (int64_t)n;
    return status || !metrics->events ? status : mdl_events_write(metrics->events, figures);
}

int64_t mdl_metrics_bytes(const mdl_metrics *metrics) { return metrics->bytes; }

mdl_status mdl_metrics_close(mdl_metrics *metrics) {
    if (!metrics) return MDL_OK;
    mdl_status status = metrics->path ? mdl_log_close(metrics->fd, metrics->path) : MDL_OK;
    mdl_events_close(metrics->events);
    free(metrics->path);
    free(metrics);
    return status;
}
