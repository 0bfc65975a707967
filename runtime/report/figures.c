/* JSON of numbers: printed here, since every number must read back exactly and a step may not allocate. */
#include "runtime/report/figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/file.h"

enum { LINE = MDL_MAX_FIGURES * 128 };

struct mdl_metrics {
    int fd;
    char *path;
    int64_t bytes;
    char line[LINE];
};

void mdl_figures_add(mdl_figures *figures, const char *name, double value) {
    if (figures->n < MDL_MAX_FIGURES) figures->at[figures->n++] = (mdl_figure){name, value};
}

const mdl_figure *mdl_figures_find(const mdl_figures *figures, const char *name) {
    for (int i = 0; i < figures->n; i++)
        if (!strcmp(figures->at[i].name, name)) return &figures->at[i];
    return NULL;
}

void mdl_figure_text(char *text, size_t size, double value) {
    if (!isfinite(value)) {
        snprintf(text, size, "null");
        return;
    }
    int digits = 6;
    do snprintf(text, size, "%.*g", digits, value);
    while (strtod(text, NULL) != value && ++digits <= 17);
}

/* Appends to line[0 .. n-1]; what does not fit is cut, which the caller sees by the length. */
static size_t append(char *line, size_t size, size_t n, const char *text) {
    size_t length = strlen(text);
    if (n + length < size) memcpy(line + n, text, length + 1);
    return n + length;
}

static size_t append_name(char *line, size_t size, size_t n, const char *name) {
    char letter[8];
    n = append(line, size, n, "\"");
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        snprintf(letter, sizeof letter, c < 32 || c == '"' || c == '\\' ? "\\u%04x" : "%c", c);
        n = append(line, size, n, letter);
    }
    return append(line, size, n, "\": ");
}

static size_t print_object(char *line, size_t size, const mdl_figures *figures, const char *open, const char *between,
                           const char *close) {
    char number[32];
    size_t n = append(line, size, 0, open);
    for (int i = 0; i < figures->n; i++) {
        mdl_figure_text(number, sizeof number, figures->at[i].value);
        if (i) n = append(line, size, n, between);
        n = append_name(line, size, n, figures->at[i].name);
        n = append(line, size, n, number);
    }
    return append(line, size, n, close);
}

mdl_status mdl_metrics_open(const char *path, bool empty, mdl_metrics **out) {
    mdl_metrics *metrics = malloc(sizeof *metrics);
    *out = NULL;
    if (!metrics) return mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    *metrics = (mdl_metrics){.path = strdup(path)};
    mdl_status status = metrics->path ? mdl_log_open(path, empty, &metrics->fd) : mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    struct stat facts;
    if (!status) metrics->bytes = fstat(metrics->fd, &facts) ? 0 : facts.st_size;
    if (!status) return *out = metrics, MDL_OK;
    free(metrics->path);
    free(metrics);
    return status;
}

mdl_status mdl_metrics_write(mdl_metrics *metrics, const mdl_figures *figures) {
    size_t n = print_object(metrics->line, LINE, figures, "{", ", ", "}\n");
    if (n >= LINE) return mdl_fail(MDL_SYSTEM, "%s: a line of metrics is longer than %d bytes", metrics->path, LINE);
    metrics->bytes += (int64_t)n;
    return mdl_log_add(metrics->fd, metrics->path, metrics->line, n);
}

int64_t mdl_metrics_bytes(const mdl_metrics *metrics) { return metrics->bytes; }

mdl_status mdl_metrics_close(mdl_metrics *metrics) {
    if (!metrics) return MDL_OK;
    mdl_status status = mdl_log_close(metrics->fd, metrics->path);
    free(metrics->path);
    free(metrics);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(((const mdl_figure *)a)->name, ((const mdl_figure *)b)->name); }

mdl_status mdl_results_write(const char *path, const mdl_figures *figures) {
    char text[LINE];
    mdl_figures sorted = *figures;
    if (sorted.n) qsort(sorted.at, (size_t)sorted.n, sizeof *sorted.at, by_name);
    size_t n = print_object(text, sizeof text, &sorted, "{\n    ", ",\n    ", "\n}\n");
    if (n >= sizeof text) return mdl_fail(MDL_SYSTEM, "%s: more than %zu bytes of results", path, sizeof text);
    return mdl_file_write(path, text, n);
}
