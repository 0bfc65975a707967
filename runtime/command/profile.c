/* mdlrun profile PLAN [CONFIG] [section.key=value ...] */
#include "runtime/profile/profile.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/arguments.h"
#include "runtime/command/command.h"
#include "runtime/train/start.h"

#define USAGE "mdlrun profile PLAN [CONFIG] [section.key=value ...] [options]"
enum { KERNELS = 10 }; /* shown when no table is asked for */

typedef struct {
    mdl_arguments arguments;
    mdl_profile_options measure;
    const char *by, *svg;
    bool json;
} options;

static void help(void) {
    puts("usage: " USAGE
         "\n"
         "\n"
         "Runs a program of the plan on batches of the configuration's data, as training does, and tells where its time goes:\n"
         "first whole steps, then as many replays with a clock around every launch. Nothing is written but what is asked for.\n"
         "\n"
         "  --program NAME        the program (train_only)\n"
         "  --steps N             steps and replays (20)\n"
         "  --warmup N            steps before them that do not count (3)\n"
         "  --by class|kernel|launch  one table, of all of these; without: classes, then the ten longest kernels\n"
         "  --json                all tables as JSON\n"
         "  --svg FILE            the program as a timeline, coloured by class\n"
         "  --help                print this\n"
         "\n"
         "Columns: median and 95th percentile in ms; the share of all launches; operations and bytes a second by the plan's\n"
         "counts, which take data-dependent work at its most; 'of best' is the time that the device's rates would take (of a\n"
         "large copy and a large product, measured once) over the time taken; 'bound by' is which of the two it is, latency\n"
         "where it is far from both.");
}

static mdl_status parse_by(const char *text, mdl_profile_by *by) {
    static const char *const names[] = {"class", "kernel", "launch"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i])) return *by = (mdl_profile_by)i, MDL_OK;
    return mdl_fail(MDL_USAGE, "profile: --by: expected class, kernel or launch, got '%s'", text);
}

static void print_tables(const mdl_profile *p, const options *o, mdl_profile_by by) {
    mdl_profile_print_head(p, stdout);
    putchar('\n');
    mdl_profile_print_rows(p, by, p->program->launches.n, stdout);
    if (o->by) return;
    putchar('\n');
    mdl_profile_print_rows(p, MDL_BY_KERNEL, KERNELS, stdout);
}

static mdl_status show(const mdl_profile *p, const options *o, mdl_profile_by by) {
    mdl_status status = o->svg ? mdl_profile_write_svg(p, o->svg) : MDL_OK;
    if (!status && o->json) status = mdl_profile_print_json(p, stdout);
    if (!status && !o->json) print_tables(p, o, by);
    return status ? status : mdl_file_flush_stdout();
}

static mdl_status measure(mdl_session *session, const mdl_config *config, const options *o, mdl_profile_by by) {
    mdl_loader *loader = NULL;
    mdl_profile profile = {0};
    mdl_adamw adamw = mdl_start_adamw(config);
    const char *note = NULL;
    mdl_status status = mdl_start_data(config, session->plan, 1, &loader);
    if (!status) status = mdl_start_weights(config, session, NULL);
    if (!status) status = mdl_profile_measure(session, loader, &adamw, &o->measure, &profile);
    if (!status) status = mdl_profile_rate(session, &profile, &note);
    if (note) fprintf(stderr, "note: %s\n", note);
    if (!status) status = show(&profile, o, by);
    mdl_profile_free(&profile);
    mdl_loader_close(loader);
    return status;
}

static mdl_status run(options *o) {
    mdl_config *config = NULL;
    mdl_session *session = NULL;
    mdl_profile_by by = MDL_BY_CLASS;
    const mdl_arguments *a = &o->arguments;
    if (a->help) return help(), mdl_file_flush_stdout();
    mdl_status status = o->by ? parse_by(o->by, &by) : MDL_OK;
    if (!status) status = mdl_config_read(a->config, a->n_settings, a->settings, &config);
    if (!status) status = mdl_session_open(a->plan[0], (int)config->num_threads, &session);
    if (!status) o->measure.lr = config->learning_rate;
    if (!status) status = measure(session, config, o, by);
    mdl_session_close(session);
    mdl_config_free(config);
    return status;
}

mdl_status mdl_command_profile(int argc, char **argv) {
    options o = {.measure = {.program = "train_only", .steps = 20, .warmup = 3}};
    const mdl_option table[] = {{"--program", .text = &o.measure.program},
                                {"--steps", .number = &o.measure.steps},
                                {"--warmup", .number = &o.measure.warmup},
                                {"--by", .text = &o.by},
                                {"--json", .flag = &o.json},
                                {"--svg", .text = &o.svg},
                                {0}};
    o.arguments = (mdl_arguments){.command = "profile", .usage = USAGE, .options = table, .plans = 1};
    o.arguments.settings = calloc((size_t)argc + 1, sizeof(char *));
    if (!o.arguments.settings) return mdl_fail(MDL_SYSTEM, "no memory");
    mdl_status status = mdl_arguments_parse(&o.arguments, argc, argv);
    if (!status) status = run(&o);
    free(o.arguments.settings);
    return status;
}
