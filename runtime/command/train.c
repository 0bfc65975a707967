/* mdlrun train PLAN [CONFIG] [section.key=value ...] */
#include "runtime/train/train.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/arguments.h"
#include "runtime/command/command.h"
#include "runtime/device/device.h"

typedef struct {
    const char *plan, *config;
    bool help, print_config;
    mdl_train_how how;
    int n_overrides;
    char **overrides;
} options;

static void help(void) {
    puts(
        "usage: mdlrun train PLAN [CONFIG] [section.key=value ...]\n"
        "\n"
        "Trains the plan that mdlc compiled. CONFIG is a YAML file with the sections model, data and\n"
        "trainer; a setting on the command line wins over the environment (MDL_TRAINER_MAX_STEPS=3), that over the file,\n"
        "a later one over an earlier one.\n"
        "\n"
        "  --print-config  print the settings as YAML, with where they came from, and stop; PLAN is not needed\n"
        "  --dry-run       check plan, settings, data, weights, folder and memory, print what would happen, and stop; the\n"
        "                  output folder stays as it is\n"
        "  --no-graph      on a GPU: launch by launch, each to its end, instead of one graph a program; slower, and an\n"
        "                  error names the launch where it happens\n"
        "  --verbose       after the first step, where the time before it went\n"
        "  --help          print this\n"
        "\n"
        "A list is written [a,b]. The keys, with their defaults:\n");
    mdl_config_help(stdout);
    puts(
        "\nThe output folder gets metrics.jsonl and checkpoints; at the end checkpoint-last, train_results.json,\n"
        "all_results.json, model.safetensors and the files that travel with the model. A signal (Ctrl-C, SIGTERM, SIGHUP,\n"
        "SIGUSR1) ends the run after the current step with a checkpoint; a second Ctrl-C ends it at once.");
}

static bool is_yaml(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static mdl_status positional(options *o, char *arg) {
    if (!mdl_argument_is_path(arg)) {
        o->overrides[o->n_overrides++] = arg;
        return MDL_OK;
    }
    bool config_only = o->print_config && !o->plan && is_yaml(arg);
    const char **to = !o->plan && !config_only ? &o->plan : &o->config;
    if (*to)
        return mdl_fail(MDL_USAGE, "train: what is '%s'? PLAN is %s and CONFIG %s; settings are section.key=value", arg, o->plan,
                        o->config);
    *to = arg;
    return MDL_OK;
}

static mdl_status parse(int argc, char **argv, options *o) {
    mdl_status status = MDL_OK;
    for (int i = 1; i < argc; i++) o->print_config |= !strcmp(argv[i], "--print-config");
    for (int i = 1; i < argc && !status; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            o->help = true;
        else if (!strcmp(argv[i], "--print-config"))
            continue;
        else if (!strcmp(argv[i], "--verbose"))
            o->how.verbose = true;
        else if (!strcmp(argv[i], "--dry-run"))
            o->how.dry = true;
        else if (!strcmp(argv[i], "--no-graph"))
            mdl_cuda_set_graphs(false);
        else if (argv[i][0] == '-')
            status = mdl_fail(MDL_USAGE, "train: unknown option '%s'; see mdlrun train --help", argv[i]);
        else
            status = positional(o, argv[i]);
    }
    if (!status && !o->help && !o->plan && !o->print_config)
        status = mdl_fail(MDL_USAGE, "train: which plan? usage: mdlrun train PLAN [CONFIG] [section.key=value ...]");
    return status;
}

static mdl_status run(const options *o) {
    mdl_config *config = NULL;
    if (o->help) return help(), mdl_file_flush_stdout();
    mdl_status status = mdl_config_read(o->config, o->n_overrides, o->overrides, &config);
    if (!status && o->print_config) {
        mdl_config_print(stdout, config, true);
        status = mdl_file_flush_stdout();
    } else if (!status) {
        status = mdl_train(o->plan, config, o->how); /* what it prints is a log: nobody need read it */
    }
    mdl_config_free(config);
    return status;
}

mdl_status mdl_command_train(int argc, char **argv) {
    options o = {.overrides = calloc((size_t)argc + 1, sizeof(char *))};
    if (!o.overrides) return mdl_fail(MDL_SYSTEM, "no memory");
    mdl_status status = parse(argc, argv, &o);
    if (!status) status = run(&o);
    free(o.overrides);
    return status;
}
