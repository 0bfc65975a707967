/* What a run reports: the plot, the progress line, metrics and results as JSON, and the table of `check`. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/command/check_table.h"
#include "runtime/report/metrics.h"
#include "runtime/base/file.h"
#include "runtime/report/plot.h"
#include "runtime/report/progress.h"
#include "tests/check.h"

static void plot_into(FILE *out, const char *title, int64_t n, double (*loss)(int64_t)) {
    mdl_curve *curve = calloc(1, sizeof *curve);
    if (!curve) return;
    for (int64_t i = 0; i < n; i++) mdl_curve_add(curve, loss(i));
    mdl_plot(out, curve, title, 48, 8);
    fputc('\n', out);
    free(curve);
}

static double falling(int64_t i) { return 2.5 + exp(-(double)i / 50); }
static double waves(int64_t i) { return 3 + sin((double)i / 40) / 2; }
static double flat(int64_t i) { return i >= 0 ? 1.5 : 0; }
static double line(int64_t i) { return (double)i; }

static void test_plot(mdl_test *t) {
    char *text = NULL;
    size_t size;
    mdl_case(t, "plots");
    FILE *out = open_memstream(&text, &size);
    plot_into(out, "falling, 250 steps", 250, falling);
    plot_into(out, "waves, 1000 steps", 1000, waves);
    plot_into(out, "flat, 30 steps", 30, flat);
    plot_into(out, "one step", 1, falling);
    plot_into(out, "nothing", 0, falling);
    plot_into(out, "a line over more steps than the curve holds", 100000, line);
    fclose(out);
    mdl_golden(t, "train/plot.txt", text);
    free(text);
}

static void test_curve(mdl_test *t) {
    mdl_curve *curve = calloc(1, sizeof *curve);
    double sum = 0;
    mdl_case(t, "a full curve merges neighbours and loses nothing");
    for (int i = 0; i < 5000 && curve; i++) mdl_curve_add(curve, i);
    for (int i = 0; i < MDL_CURVE_ROOM && curve; i++) sum += curve->sum[i];
    CHECK(t, curve && curve->stride == 8 && curve->count == 5000, "stride or count");
    CHECK(t, sum == 5000.0 * 4999 / 2, "sum %g", sum); /* whole numbers below 2^53: exact */
    CHECK(t, curve && curve->sum[1] == 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15, "second mean");
    free(curve);
}

static void test_progress(mdl_test *t) {
    static const struct {
        mdl_progress_view view;
        char line[96];
    } lines[] = {
        {{120, 250, 2.87312, 1.2345, 4e-4, 5123, 83.2}, "step 120/250  loss 2.8731  lr 4.00e-04  grad 1.23  5.1k tok/s  ETA 1:23"},
        {{7, 500000, 3.5, 0, 0, 1234567, 200000},
         "step      7/500000  loss 3.5000  lr 0.00e+00  grad 0  1.2M tok/s  ETA 2d 07:33:20"},
        {{1, 1, 0, 12345, 1e-3, 999.4, NAN}, "step 1/1  loss 0.0000  lr 1.00e-03  grad 1.23e+04  999 tok/s  ETA n/a"},
        {{1, 9, 1, 1, 1, 99960, 3723}, "step 1/9  loss 1.0000  lr 1.00e+00  grad 1  100k tok/s  ETA 1:02:03"},
    };
    char text[256];
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        mdl_progress_view view = lines[i].view;
        mdl_case(t, "progress line %zu", i);
        int n = mdl_progress_line(text, sizeof text, &view);
        CHECK(t, !strcmp(text, lines[i].line), "expected %s\n        got      %s", lines[i].line, text);
        CHECK(t, n == (int)strlen(lines[i].line), "length %d", n);
    }
}

/* Without a terminal: a line when one is logged, and only then. */
static void test_plain(mdl_test *t) {
    char path[512], text[512] = "";
    mdl_progress_view view = {10, 20, 2, 1, 1e-3, 100, 1};
    mdl_case(t, "progress without a terminal");
    snprintf(path, sizeof path, "%s/progress.txt", mdl_test_scratch(t));
    FILE *file = fopen(path, "w+");
    if (!file) return;
    mdl_progress progress = mdl_progress_begin(file);
    CHECK(t, !progress.terminal, "a file is not a terminal");
    mdl_progress_step(&progress, &view, true, 0);
    mdl_progress_step(&progress, &view, false, 100);
    mdl_progress_end(&progress);
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = 0;
    fclose(file);
    CHECK(t, !strcmp(text, "step 10/20  loss 2.0000  lr 1.00e-03  grad 1  100 tok/s  ETA 0:01\n"), "got %s", text);
}

static void test_numbers(mdl_test *t) {
    static const double values[] = {0, 1, -2.5, 0.1, 0.30000000000000004, 1e-300, 451813, 2.8731234567890123, 1e22, -0.0, 5e-324};
    char text[32];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        mdl_case(t, "the number %g reads back", values[i]);
        mdl_figure_text(text, sizeof text, values[i]);
        CHECK(t, strtod(text, NULL) == values[i], "%s", text);
    }
    mdl_case(t, "numbers that JSON has not");
    mdl_figure_text(text, sizeof text, NAN);
    CHECK(t, !strcmp(text, "null"), "%s", text);
    mdl_figure_text(text, sizeof text, -INFINITY);
    CHECK(t, !strcmp(text, "null"), "%s", text);
}

static void test_metrics(mdl_test *t) {
    char path[512], line[512] = "";
    mdl_metrics *metrics = NULL;
    mdl_case(t, "metrics.jsonl: a whole line at once, JSON that reads back");
    snprintf(path, sizeof path, "%s/metrics.jsonl", mdl_test_scratch(t));
    mdl_status status = mdl_metrics_open(path, true, &metrics);
    mdl_figures figures = {0};
    mdl_figures_add(&figures, "step", 10);
    mdl_figures_add(&figures, "loss", 2.8731234567890123);
    mdl_figures_add(&figures, "odd \"name\"\n", NAN);
    if (!status) status = mdl_metrics_write(metrics, &figures);
    FILE *file = fopen(path, "r");
    if (file && fgets(line, sizeof line, file)) fclose(file);
    json_t *root = json_loads(line, 0, NULL);
    CHECK(t, !status, "%s", mdl_message(status));
    CHECK(t, json_integer_value(json_object_get(root, "step")) == 10, "step in %s", line);
    CHECK(t, json_real_value(json_object_get(root, "loss")) == 2.8731234567890123, "loss in %s", line);
    CHECK(t, json_is_null(json_object_get(root, "odd \"name\"\n")), "the odd name in %s", line);
    json_decref(root);
    mdl_status_free(mdl_metrics_close(metrics));
    mdl_status_free(status);
}

static void test_results(mdl_test *t) {
    char path[512], text[512] = "";
    mdl_figures figures = {0};
    mdl_case(t, "train_results.json");
    snprintf(path, sizeof path, "%s/a/b/results.json", mdl_test_scratch(t));
    mdl_figures_add(&figures, "train_runtime", 12.5);
    mdl_figures_add(&figures, "epoch", 0.25);
    mdl_figures_add(&figures, "train_loss", 2.9);
    mdl_status status = mdl_results_write(path, &figures);
    CHECK(t, status && strstr(mdl_message(status), path), "a folder that is not there: %s", mdl_message(status));
    mdl_status_free(status);
    snprintf(text, sizeof text, "%s/a/b", mdl_test_scratch(t));
    status = mdl_file_make_folder(text);
    if (!status) status = mdl_results_write(path, &figures);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = 0;
    if (file) fclose(file);
    CHECK(t, !strcmp(text, "{\n    \"epoch\": 0.25,\n    \"train_loss\": 2.9,\n    \"train_runtime\": 12.5\n}\n"), "got %s", text);
}

static void test_table(mdl_test *t) {
    char *text = NULL;
    size_t size;
    mdl_check_table table;
    mdl_case(t, "the table of check passes, fails, and fails on NaN");
    FILE *out = open_memstream(&text, &size);
    mdl_check_table_init(&table);
    mdl_status nothing = mdl_check_table_result(&table);
    mdl_check_table_note(&table, MDL_ROW_LOSS, "", 1e-5);
    mdl_check_table_note(&table, MDL_ROW_GRADIENT, "a", 1e-7);
    mdl_check_table_note(&table, MDL_ROW_GRADIENT, "b", 9e-6);
    mdl_check_table_note(&table, MDL_ROW_GRADIENT, "c", 1e-6);
    mdl_status good = mdl_check_table_result(&table);
    mdl_check_table_note(&table, MDL_ROW_GRADIENT, "d", NAN);
    mdl_check_table_note(&table, MDL_ROW_GRADIENT, "e", 1e-6);
    mdl_check_table_note(&table, MDL_ROW_LOGITS, "", 1.1e-5);
    mdl_status bad = mdl_check_table_result(&table);
    mdl_check_table_print(out, &table);
    fprintf(out, "%s\n%s\n", mdl_message(nothing), mdl_message(bad));
    fclose(out);
    CHECK(t, nothing && !good && bad && mdl_status_code(bad) == MDL_MISMATCH, "%s", mdl_message(good));
    mdl_golden(t, "train/table.txt", text);
    CHECK(t, mdl_check_table_set_tolerance(&table, "logits", 1) && !mdl_check_table_set_tolerance(&table, "logit", 1), "options");
    mdl_status_free(nothing);
    mdl_status_free(good);
    mdl_status_free(bad);
    free(text);
}

void suite_report(mdl_test *t) {
    test_plot(t);
    test_curve(t);
    test_progress(t);
    test_plain(t);
    test_numbers(t);
    test_metrics(t);
    test_results(t);
    test_table(t);
}
