/* mdlrun plot RUN...: curves of one metric of several runs. */
#include <stdio.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/command.h"
#include "runtime/report/curves.h"

typedef struct {
    mdl_arena *memory;
    const char *metric;
    MDL_VEC(const char *) runs, outputs;
    bool help;
} options;

static void help(void) {
    puts(
        "usage: mdlrun plot RUN... [options]\n"
        "\n"
        "Draws a metric of runs over their steps. A RUN is the output_dir of a run, or its metrics.jsonl.\n"
        "\n"
        "  --metric NAME   which: loss (the default), eval_loss, grad_norm, learning_rate, ... as in metrics.jsonl\n"
        "  -o FILE         the picture, SVG or PNG by its name; may be given again. By default NAME.svg and NAME.png\n"
        "  --help          print this");
}

static mdl_status parse(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes = !strcmp(arg, "-o") || !strcmp(arg, "--metric");
        if (takes && !value) return mdl_fail(MDL_USAGE, "plot: %s: expected a name", arg);
        if (!strcmp(arg, "--help") || !strcmp(arg, "-h"))
            o->help = true;
        else if (!strcmp(arg, "-o"))
            MDL_PUSH(o->memory, o->outputs, value);
        else if (takes)
            o->metric = value;
        else if (arg[0] == '-')
            return mdl_fail(MDL_USAGE, "plot: unknown option '%s'; see mdlrun plot --help", arg);
        else
            MDL_PUSH(o->memory, o->runs, arg);
        i += takes;
    }
    if (!o->help && !o->runs.n) return mdl_fail(MDL_USAGE, "plot: usage: mdlrun plot RUN... [-o FILE.svg] [--metric NAME]");
    return MDL_OK;
}

static mdl_status draw(options *o) {
    mdl_curves curves = {.memory = o->memory, .metric = o->metric};
    mdl_status status = MDL_OK;
    for (int i = 0; i < o->runs.n && !status; i++) status = mdl_curves_add(&curves, o->runs.at[i]);
    if (!o->outputs.n) {
        MDL_PUSH(o->memory, o->outputs, mdl_printf(o->memory, "%s.svg", o->metric));
        MDL_PUSH(o->memory, o->outputs, mdl_printf(o->memory, "%s.png", o->metric));
    }
    for (int i = 0; i < o->outputs.n && !status; i++) {
        status = mdl_curves_write(&curves, o->outputs.at[i]);
        if (!status) printf("wrote %s\n", o->outputs.at[i]);
    }
    return status ? status : mdl_file_flush_stdout();
}

mdl_status mdl_command_plot(int argc, char **argv) {
    options o = {.memory = mdl_arena_new(), .metric = "loss"};
    mdl_status status = parse(argc, argv, &o);
    if (!status && o.help) help(), status = mdl_file_flush_stdout();
    if (!status && !o.help) status = draw(&o);
    mdl_arena_free(o.memory);
    return status;
}
