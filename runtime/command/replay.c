/* mdlrun replay PLAN [CONFIG] --step N [section.key=value ...] */
#include <limits.h>
#include <stdlib.h>

#include "runtime/base/file.h"
#include "runtime/command/arguments.h"
#include "runtime/command/command.h"
#include "runtime/train/train.h"

#define USAGE "mdlrun replay PLAN [CONFIG] --step N [section.key=value ...]"

static void help(void) {
    puts("usage: " USAGE
         "\n"
         "\n"
         "Runs step N of a training run again, from the last checkpoint before it in trainer.output_dir (without one, from the\n"
         "beginning), with the run's plan and settings: its numbers, bit for bit. Prints them for each step on the way. Nothing\n"
         "is written. Where the run has kept the step's batch, because the step left the finite numbers, compares it.\n"
         "\n"
         "  --step N   the step, counted from 1\n"
         "  --help     print this");
}

static mdl_status run(const mdl_arguments *a, int step) {
    mdl_config *config = NULL;
    if (a->help) return help(), mdl_file_flush_stdout();
    if (!step) return mdl_fail(MDL_USAGE, "replay: which step? usage: " USAGE);
    mdl_status status = mdl_config_read(a->config, a->n_settings, a->settings, &config);
    if (!status && step > config->max_steps)
        status = mdl_fail(MDL_USAGE, "replay: there is no step %d: trainer.max_steps is %lld", step, (long long)config->max_steps);
    if (!status) status = mdl_replay(a->plan[0], config, step);
    mdl_config_free(config);
    return status ? status : mdl_file_flush_stdout();
}

mdl_status mdl_command_replay(int argc, char **argv) {
    int step = 0;
    const mdl_option table[] = {{"--step", .number = &step, .most = INT_MAX}, {0}};
    mdl_arguments a = {.command = "replay", .usage = USAGE, .options = table, .plans = 1};
    a.settings = calloc((size_t)argc + 1, sizeof(char *));
    if (!a.settings) return mdl_fail(MDL_SYSTEM, "no memory");
    mdl_status status = mdl_arguments_parse(&a, argc, argv);
    if (!status) status = run(&a, step);
    free(a.settings);
    return status;
}
