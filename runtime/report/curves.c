/* Reading metrics.jsonl, line by line. */
#include "runtime/report/curves.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/nearest.h"

/* The keys of the last line, for a metric that no line has. */
static mdl_status no_metric(const mdl_curves *c, const char *path, json_t *line) {
    MDL_VEC(const char *) names = {0};
    const char *key;
    json_t *value;
    json_object_foreach(line, key, value) MDL_PUSH(c->memory, names, key);
    const char *near = mdl_nearest(c->metric, names.n, names.at);
    if (near) return mdl_fail(MDL_BAD_INPUT, "%s: no line has '%s'; did you mean '%s'?", path, c->metric, near);
    mdl_text text = {.arena = c->memory};
    for (int i = 0; i < names.n; i++) mdl_text_printf(&text, "%s %s", i ? "," : "", names.at[i]);
    return mdl_fail(MDL_BAD_INPUT, "%s: no line has '%s'; they have%s", path, c->metric, text.at ? text.at : " nothing");
}

static void add_point(const mdl_curves *c, mdl_series *series, json_t *line) {
    json_t *step = json_object_get(line, "step"), *value = json_object_get(line, c->metric);
    if (!json_is_number(step) || !value) return;
    mdl_point point = {json_number_value(step), json_is_number(value) ? json_number_value(value) : NAN};
    while (series->points.n && series->points.at[series->points.n - 1].step >= point.step) series->points.n--;
    MDL_PUSH(c->memory, series->points, point);
}

static mdl_status read_lines(const mdl_curves *c, FILE *file, const char *path, mdl_series *series) {
    char *text = NULL;
    size_t room = 0;
    json_t *last = NULL;
    mdl_status status = MDL_OK;
    ssize_t n;
    for (int number = 1; !status && (n = getline(&text, &room, file)) > 0; number++) {
        json_error_t error;
        json_t *line = json_loadb(text, (size_t)n, 0, &error);
        bool cut = text[n - 1] != '\n';
        if (!json_is_object(line) && !cut)
            status = mdl_fail(MDL_BAD_INPUT, "%s:%d: not a line of metrics: %s", path, number, line ? "not an object" : error.text);
        if (!json_is_object(line)) {
            json_decref(line);
            continue;
        }
        add_point(c, series, line);
        json_decref(last);
        last = line;
    }
    if (!status && !series->points.n) status = no_metric(c, path, last);
    json_decref(last);
    free(text);
    return status;
}

mdl_status mdl_curves_add(mdl_curves *c, const char *run) {
    struct stat facts;
    bool folder = !stat(run, &facts) && S_ISDIR(facts.st_mode);
    const char *path = folder ? mdl_printf(c->memory, "%s/metrics.jsonl", run) : run;
    mdl_series series = {.name = mdl_strdup(c->memory, run)};
    FILE *file = fopen(path, "re");
    if (!file) return mdl_fail(MDL_BAD_INPUT, "%s: cannot open it: %s", path, strerror(errno));
    mdl_status status = read_lines(c, file, path, &series);
    fclose(file);
    if (!status) MDL_PUSH(c->memory, c->series, series);
    return status;
}
