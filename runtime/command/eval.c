/* mdlrun eval PLAN --weights DIR FILE ... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/arguments.h"
#include "runtime/command/command.h"
#include "runtime/device/device.h"
#include "runtime/train/evaluate.h"
#include "runtime/train/start.h"
#include "runtime/train/weights.h"

#define USAGE "mdlrun eval PLAN --weights DIR FILE ... [options] [section.key=value ...]"

typedef struct {
    mdl_arguments arguments;
    const char *config, *weights, *format, *sequence_column, *folder;
    int max_seq_length, threads;
    bool json, no_graph;
} options;

static void help(void) {
    puts("usage: " USAGE
         "\n"
         "\n"
         "Evaluates weights on all sequences of the files, in their order: loss and metrics are means over all labelled tokens,\n"
         "masks come from a fixed seed. These are the figures that training gives (trainer.eval_strategy) with the same\n"
         "settings under data.\n"
         "\n"
         "  --weights DIR         folder of weights: of a run, a checkpoint, or one of Hugging Face's\n"
         "  --config FILE         a run's configuration; without FILE ... its data for evaluation\n"
         "  --max-seq-length N    tokens of a sequence, longer ones are cut (1024)\n"
         "  --format NAME         fasta, csv, tsv, lines or parquet (by the files' names)\n"
         "  --sequence-column NAME  of tables (sequence)\n"
         "  --cache-dir DIR       where decoded data are kept (beside the files, or in ~/.cache/mdl/data)\n"
         "  --threads N           all cores without it; results do not depend on it\n"
         "  --no-graph            on a GPU: launch by launch, each to its end, instead of one graph a program\n"
         "  --json                the figures as JSON\n"
         "  --help                print this\n"
         "\n"
         "Settings are those of mdlrun train, such as data.mlm_probability=0.2 or data.columns=[dg]. Exit code 1: the loss is not\n"
         "a finite number.");
}

/* Options and files are settings by other names. */
static void settle(const options *o, mdl_config *c) {
    const mdl_arguments *a = &o->arguments;
    if (a->n_files) c->validation_files = (mdl_config_list){(const char *const *)a->files, a->n_files};
    if (o->weights) c->init_from = o->weights;
    if (o->format) c->format = o->format;
    if (o->sequence_column) c->sequence_column = o->sequence_column;
    if (o->folder) c->cache_dir = o->folder;
    if (o->max_seq_length) c->max_seq_length = o->max_seq_length;
    if (o->threads) c->num_threads = o->threads;
}

static void print_json(const mdl_figures *f) {
    char line[MDL_FIGURES_LINE];
    mdl_figures_print(line, sizeof line, f, "{", ", ", "}\n");
    fputs(line, stdout);
}

static void print_text(const options *o, const mdl_evaluation *e, const mdl_figures *f) {
    const mdl_data_facts *facts = mdl_loader_facts(e->loader);
    printf("model       %s, from %s (%s, %s %s)\n", e->session->plan->model, o->arguments.plan[0], e->session->plan->precision,
           e->session->plan->target, e->session->plan->isa);
    printf("data        %lld sequences, %lld residues", (long long)facts->sequences, (long long)facts->residues);
    if (facts->truncated) printf("; %lld sequences cut", (long long)facts->truncated);
    if (facts->unknown) printf("; %lld residues unknown", (long long)facts->unknown);
    printf("\n\n");
    for (int i = 0; i < f->n; i++) printf("%-26s %.6g\n", f->at[i].name, f->at[i].value);
}

static mdl_status evaluate(const options *o, const mdl_config *config, mdl_session *session, mdl_evaluation *e) {
    mdl_weight_report report = {.memory = config->memory};
    mdl_figures figures = {0};
    bool done;
    mdl_status status = mdl_start_weights(config, session, &report);
    if (status) return status;
    if (!o->json) mdl_weights_print(stdout, config->init_from, &report);
    status = mdl_evaluate(e, NULL, &figures, &done);
    if (status) return status;
    if (o->json)
        print_json(&figures);
    else
        print_text(o, e, &figures);
    status = mdl_file_flush_stdout();
    double loss = mdl_figures_find(&figures, "eval_loss")->value;
    if (status || isfinite(loss)) return status;
    double labels = 0;
    for (int i = 0; i < session->plan->losses.n; i++) labels += e->count[i];
    return mdl_fail(MDL_MISMATCH, "eval: the loss is no finite number%s", labels > 0 ? "" : ": no token is labelled");
}

static mdl_status open_and_evaluate(const options *o, mdl_config *config) {
    mdl_session *session = NULL;
    mdl_evaluation *e = NULL;
    mdl_arena *memory = mdl_arena_new();
    mdl_cuda_set_graphs(!o->no_graph);
    settle(o, config);
    mdl_status status = mdl_session_open(o->arguments.plan[0], (int)config->num_threads, &session);
    if (!status) status = mdl_evaluation_open(config, session, memory, &e);
    if (!status) status = evaluate(o, config, session, e);
    mdl_evaluation_close(e);
    mdl_session_close(session);
    mdl_arena_free(memory);
    return status;
}

static mdl_status run(const options *o) {
    mdl_config *config = NULL;
    if (o->arguments.help) return help(), mdl_file_flush_stdout();
    if (!o->weights) return mdl_fail(MDL_USAGE, "eval: which weights? usage: %s", USAGE);
    if (!o->arguments.n_files && !o->config) return mdl_fail(MDL_USAGE, "eval: which files? usage: %s", USAGE);
    mdl_status status = mdl_config_read(o->config, o->arguments.n_settings, o->arguments.settings, &config);
    if (!status) status = open_and_evaluate(o, config);
    mdl_config_free(config);
    return status;
}

mdl_status mdl_command_eval(int argc, char **argv) {
    options o = {0};
    const mdl_option table[] = {{"--config", .text = &o.config},     {"--weights", .text = &o.weights},
                                {"--format", .text = &o.format},     {"--sequence-column", .text = &o.sequence_column},
                                {"--cache-dir", .text = &o.folder},  {"--max-seq-length", .number = &o.max_seq_length},
                                {"--threads", .number = &o.threads}, {"--no-graph", .flag = &o.no_graph},
                                {"--json", .flag = &o.json},         {0}};
    o.arguments = (mdl_arguments){.command = "eval", .usage = USAGE, .options = table, .plans = 1};
    o.arguments.files = calloc((size_t)argc + 1, sizeof(char *));
    o.arguments.settings = calloc((size_t)argc + 1, sizeof(char *));
    bool room = o.arguments.files && o.arguments.settings;
    mdl_status status = room ? mdl_arguments_parse(&o.arguments, argc, argv) : mdl_fail(MDL_SYSTEM, "no memory");
    if (!status) status = run(&o);
    free(o.arguments.files);
    free(o.arguments.settings);
    return status;
}
