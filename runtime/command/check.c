/* mdlrun check PLAN REFERENCE: replays the plan's programs on a reference's weights and batches and compares the numbers. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/check_run.h"
#include "runtime/command/command.h"
#include "runtime/device/device.h"

typedef struct {
    const char *plan, *reference, *weights;
    int64_t steps; /* 0: all */
    int threads;
    bool help;
    mdl_check_table table;
} options;

static void help(void) {
    puts(
        "usage: mdlrun check PLAN REFERENCE.safetensors [options]\n"
        "\n"
        "Loads the reference's weights into the plan, runs its batch, and compares logits, loss, every gradient, the\n"
        "optimizer alone, and three optimizer steps; or, for a file with a trajectory, every step's loss and gradient\n"
        "norm. Before every program the activations are filled with NaN. Exit code 1 when a row is over tolerance.\n"
        "\n"
        "  --weights DIR the weights of a folder, or of a file *.safetensors, in place of the reference's\n"
        "  --steps N     of a trajectory: only the first N\n"
        "  --threads N   0, the default: all cores\n"
        "  --no-graph    on a GPU: launch by launch, each to its end, instead of one graph a program\n"
        "  --verbose     print every item's error\n"
        "  --help        print this\n"
        "\n"
        "Tolerances in f32 and in bf16, and how to change one for a run:");
    mdl_check_table_help(stdout);
}

static mdl_status number(const char *option, const char *text, double lower, double upper, double *value) {
    char *end = NULL;
    errno = 0;
    *value = text ? strtod(text, &end) : 0;
    if (text && end != text && !*end && !errno && *value >= lower && *value <= upper) return MDL_OK;
    return mdl_fail(MDL_USAGE, "check: %s: expected a number from %g to %g, got %s%s%s", option, lower, upper,
                    text ? "\"" : "nothing", text ? text : "", text ? "\"" : "");
}

/* One option with a value, given as "--name value" or "--name=value". */
static mdl_status value_option(options *o, const char *name, const char *text) {
    double value = 0;
    mdl_status status = MDL_OK;
    if (!strcmp(name, "--weights")) {
        o->weights = text;
        if (!text || !*text) status = mdl_fail(MDL_USAGE, "check: --weights: expected a folder");
    } else if (!strcmp(name, "--steps")) {
        status = number(name, text, 1, 1e9, &value);
        o->steps = (int64_t)value;
    } else if (!strcmp(name, "--threads")) {
        status = number(name, text, 0, 4096, &value);
        o->threads = (int)value;
    } else if (!strncmp(name, "--tol-", 6)) {
        status = number(name, text, 0, 1e9, &value);
        if (!status && !mdl_check_table_set_tolerance(&o->table, name + 6, value))
            status = mdl_fail(MDL_USAGE, "check: there is no tolerance '%s'; see mdlrun check --help", name + 6);
    } else {
        status = mdl_fail(MDL_USAGE, "check: unknown option '%s'; see mdlrun check --help", name);
    }
    return status;
}

static mdl_status long_option(options *o, int argc, char **argv, int *i) {
    char name[64];
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : strlen(arg);
    snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), arg);
    if (equals) return value_option(o, name, equals + 1);
    if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) return o->help = true, MDL_OK;
    if (!strcmp(arg, "--no-graph")) return mdl_cuda_set_graphs(false), MDL_OK;
    if (!strcmp(arg, "--verbose")) return o->table.verbose = true, MDL_OK;
    const char *value = *i + 1 < argc ? argv[++*i] : NULL;
    return value_option(o, name, value);
}

static mdl_status parse(int argc, char **argv, options *o) {
    mdl_status status = MDL_OK;
    for (int i = 1; i < argc && !status; i++) {
        if (argv[i][0] == '-')
            status = long_option(o, argc, argv, &i);
        else if (!o->plan)
            o->plan = argv[i];
        else if (!o->reference)
            o->reference = argv[i];
        else
            status = mdl_fail(MDL_USAGE, "check: what is '%s'? PLAN is %s and REFERENCE %s", argv[i], o->plan, o->reference);
    }
    if (!status && !o->help && !o->reference)
        status = mdl_fail(MDL_USAGE, "check: usage: mdlrun check PLAN REFERENCE.safetensors [options]");
    return status;
}

static mdl_status run(mdl_check *check, const options *o) {
    mdl_status status = mdl_reference_open(o->reference, &check->reference);
    check->reference.weights = o->weights;
    if (!status) status = mdl_session_open(o->plan, o->threads, &check->session);
    if (!status) check->session->poison = true;
    if (!status) mdl_check_table_for(&check->table, check->session->plan->precision);
    if (!status) status = mdl_reference_make_batch(&check->reference, check->session->plan, &check->batch);
    if (!status) status = mdl_check_no_decay(check);
    if (status) return status;
    return check->reference.trajectory ? mdl_check_trajectory(check, o->steps) : mdl_check_batch(check);
}

mdl_status mdl_command_check(int argc, char **argv) {
    options o = {0};
    mdl_check_table_init(&o.table);
    mdl_status status = parse(argc, argv, &o);
    if (status) return status;
    if (o.help) return help(), mdl_file_flush_stdout();
    mdl_check check = {.table = o.table};
    status = run(&check, &o);
    if (!status) {
        mdl_check_table_print(stdout, &check.table);
        for (int i = 0; i < check.skipped.n; i++) printf("skipped: %s\n", check.skipped.at[i]);
        status = mdl_file_flush_stdout();
        if (!status) status = mdl_check_table_result(&check.table);
    }
    mdl_session_close(check.session);
    mdl_reference_close(&check.reference);
    return status;
}
