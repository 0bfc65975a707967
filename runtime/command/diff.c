/* mdlrun diff A.plan B.plan [CONFIG] [section.key=value ...] */
#include "runtime/diff/diff.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/arguments.h"
#include "runtime/command/command.h"
#include "runtime/report/table.h"
#include "runtime/train/start.h"

#define USAGE "mdlrun diff A.plan B.plan [CONFIG] [section.key=value ...] [options]"
enum { SHOWN = 10 };

typedef struct {
    mdl_arguments arguments;
    const char *program, *tolerance;
    bool all;
} options;

static void help(void) {
    puts("usage: " USAGE
         "\n"
         "\n"
         "Runs a program of two plans of one model, of any targets and precisions, from equal weights on one batch of the\n"
         "configuration's data, launch by launch, and compares what both have: values of the model, states, results. Shows the\n"
         "first that part and those that differ most, with their model lines. Exit code 1 when any part.\n"
         "\n"
         "  --program NAME  the program (train_only)\n"
         "  --tolerance X   part beyond this relative error, |a - b| / |a| in L2 norms; without: 6.1e-05, or 6.2e-02 where one\n"
         "                  of the plans is in bf16; whole numbers must be equal\n"
         "  --all           show everything that is compared\n"
         "  --help          print this");
}

/* ---- showing ---- */
static void head(mdl_table *table) {
    static const char *const names[] = {"value", "type",  "launch of A", "of B", "relative error", "largest difference",
                                        "",      "label", "model line"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) mdl_table_cell(table, "%s", names[i]);
}

static void cells(const mdl_diff *d, mdl_table *table, const mdl_diff_pair *p) {
    const mdl_plan_buffer *a = &d->program[0]->buffers.at[p->buffer[0]], *b = &d->program[1]->buffers.at[p->buffer[1]];
    const mdl_plan_launch *l = &d->program[0]->launches.at[p->launch[0]];
    bool same = a->type.dtype == b->type.dtype;
    mdl_table_cell(table, "%s", a->name);
    mdl_table_cell(table, "%s%s%s", mdl_type_text(d->memory, &a->type), same ? "" : ", B ",
                   same ? "" : mdl_dtype_name(b->type.dtype));
    mdl_table_cell(table, "%d", p->launch[0]);
    mdl_table_cell(table, "%d", p->launch[1]);
    if (p->compared.bad)
        mdl_table_cell(table, "%" PRId64 " not finite", p->compared.bad);
    else
        mdl_table_cell(table, "%.1e", p->error);
    mdl_table_cell(table, "%.1e at %" PRId64, p->compared.worst, p->compared.at);
    mdl_table_cell(table, "%s", p->parts ? "parts" : "");
    mdl_table_cell(table, "%s", l->label);
    mdl_table_cell(table, "%s", l->span);
}

static void show_rows(const mdl_diff *d, int n, mdl_diff_pair *const *rows, const char *title) {
    mdl_table table = {.arena = d->memory, .align = "llrrrrlll"};
    head(&table);
    for (int i = 0; i < n; i++) cells(d, &table, rows[i]);
    printf("\n%s\n", title);
    mdl_table_print(&table, stdout);
}

/* Parting ones first, of these what is not finite. */
static int worse_first(const void *a, const void *b) {
    const mdl_diff_pair *x = *(mdl_diff_pair *const *)a, *y = *(mdl_diff_pair *const *)b;
    double u = isnan(x->error) ? HUGE_VAL : x->error, v = isnan(y->error) ? HUGE_VAL : y->error;
    if (x->parts != y->parts) return x->parts ? -1 : 1;
    return u != v ? (u < v ? 1 : -1) : x->launch[0] - y->launch[0];
}

static void show_plan(const mdl_diff *d, int side) {
    const mdl_plan *p = d->session[side]->plan;
    printf("%c  %s for %s (%s), %s: %d launches of %s, %d buffers without a counterpart\n", "AB"[side], p -> model, p -> target,
           p -> isa, p -> precision, d -> program[side] -> launches.n, d->program[side]->name, d->alone[side]);
}

static mdl_status show(const mdl_diff *d, bool all) {
    mdl_diff_pair **rows = MDL_NEW_ARRAY(d->memory, mdl_diff_pair *, d->pairs.n + 1);
    int part = 0, n = d->pairs.n;
    for (int side = 0; side < 2; side++) show_plan(d, side);
    for (int i = 0; i < n; i++)
        if (d->pairs.at[i].parts) rows[part++] = &d->pairs.at[i];
    printf("%d values compared: %d part\n", n, part);
    if (part) show_rows(d, part < SHOWN ? part : SHOWN, rows, "the first that part");
    for (int i = 0; i < n; i++) rows[i] = &d->pairs.at[i];
    if (n && !all) qsort(rows, (size_t)n, sizeof(mdl_diff_pair *), worse_first);
    if (n) show_rows(d, n < SHOWN || all ? n : SHOWN, rows, all ? "all, in A's order" : "the largest");
    mdl_status status = mdl_file_flush_stdout();
    return status || !part ? status : mdl_fail(MDL_MISMATCH, "%d of %d values part", part, n);
}

/* ---- running ---- */
static mdl_status prepare(mdl_session *s, const mdl_config *config, const mdl_batch *batch) {
    mdl_adamw adamw = mdl_start_adamw(config);
    mdl_status status = mdl_session_set_adamw(s, &adamw, 1, config->learning_rate);
    return status ? status : mdl_session_upload(s, batch);
}

/* In the loader's batch inputs stand in the order of A's; B's may be another. */
static mdl_batch in_order_of(mdl_arena *memory, const mdl_plan *from, const mdl_plan *to, const mdl_batch *batch) {
    mdl_batch other = *batch;
    other.input = MDL_NEW_ARRAY(memory, const void *, to->inputs.n + 1);
    for (int i = 0; i < from->inputs.n; i++) {
        const mdl_plan_input *input = mdl_plan_find_input(to, from->inputs.at[i].name);
        if (input) other.input[input - to->inputs.at] = batch->input[i];
    }
    return other;
}

static mdl_status compare(mdl_session *const *s, const mdl_config *config, const options *o, double tolerance) {
    mdl_loader *loader = NULL;
    mdl_diff diff = {0};
    const mdl_batch *batch = NULL;
    mdl_status status = mdl_diff_check_model(s[0]->plan, s[1]->plan);
    if (!status) status = mdl_start_data(config, s[0]->plan, 1, &loader);
    if (!status) status = mdl_start_weights(config, s[0], NULL);
    if (!status) status = mdl_diff_share_weights(s[0], s[1]);
    if (!status) status = mdl_diff_open(s[0], s[1], o->program, &diff);
    if (!status) status = mdl_loader_next(loader, &batch, NULL, NULL);
    if (!status) status = prepare(s[0], config, batch);
    if (!status) {
        mdl_batch other = in_order_of(diff.memory, s[0]->plan, s[1]->plan, batch);
        status = prepare(s[1], config, &other);
    }
    if (!status) status = mdl_diff_run(&diff, tolerance);
    if (!status) status = show(&diff, o->all);
    mdl_diff_close(&diff);
    mdl_loader_close(loader);
    return status;
}

static mdl_status parse_tolerance(const char *text, double *tolerance) {
    char *end = NULL;
    *tolerance = text ? strtod(text, &end) : 0;
    if (!text || (end != text && !*end && *tolerance > 0 && isfinite(*tolerance))) return MDL_OK;
    return mdl_fail(MDL_USAGE, "diff: --tolerance: expected a positive number, got '%s'", text);
}

static mdl_status run(const options *o) {
    mdl_config *config = NULL;
    mdl_session *session[2] = {NULL, NULL};
    double tolerance;
    const mdl_arguments *a = &o->arguments;
    if (a->help) return help(), mdl_file_flush_stdout();
    mdl_status status = parse_tolerance(o->tolerance, &tolerance);
    if (!status) status = mdl_config_read(a->config, a->n_settings, a->settings, &config);
    for (int i = 0; i < 2 && !status; i++) status = mdl_session_open(a->plan[i], (int)config->num_threads, &session[i]);
    if (!status) status = compare(session, config, o, tolerance);
    for (int i = 0; i < 2; i++) mdl_session_close(session[i]);
    mdl_config_free(config);
    return status;
}

mdl_status mdl_command_diff(int argc, char **argv) {
    options o = {.program = "train_only"};
    const mdl_option table[] = {
        {"--program", .text = &o.program}, {"--tolerance", .text = &o.tolerance}, {"--all", .flag = &o.all}, {0}};
    o.arguments = (mdl_arguments){.command = "diff", .usage = USAGE, .options = table, .plans = 2};
    o.arguments.settings = calloc((size_t)argc + 1, sizeof(char *));
    if (!o.arguments.settings) return mdl_fail(MDL_SYSTEM, "no memory");
    mdl_status status = mdl_arguments_parse(&o.arguments, argc, argv);
    if (!status) status = run(&o);
    free(o.arguments.settings);
    return status;
}
