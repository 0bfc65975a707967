/* JSON of numbers: printed here, since every number must read back exactly and a step may not allocate. */
#include "runtime/report/figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/file.h"

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

size_t mdl_figures_print(char *line, size_t size, const mdl_figures *figures, const char *open, const char *between,
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

static int by_name(const void *a, const void *b) { return strcmp(((const mdl_figure *)a)->name, ((const mdl_figure *)b)->name); }

mdl_status mdl_results_write(const char *path, const mdl_figures *figures) {
    char text[MDL_FIGURES_LINE];
    mdl_figures sorted = *figures;
    if (sorted.n) qsort(sorted.at, (size_t)sorted.n, sizeof *sorted.at, by_name);
    size_t n = mdl_figures_print(text, sizeof text, &sorted, "{\n    ", ",\n    ", "\n}\n");
    if (n >= sizeof text) return mdl_fail(MDL_SYSTEM, "%s: more than %zu bytes of results", path, sizeof text);
    return mdl_file_write(path, text, n);
}
