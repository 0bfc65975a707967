/* mdlrun: finds the command, runs it, prints its error and turns it into the exit code. */
#include <stdio.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/base/nearest.h"
#include "runtime/command/command.h"
#include "runtime/device/cuda/arch.h"

static const struct {
    const char *name, *about;
    mdl_status (*run)(int argc, char **argv);
} commands[] = {
    {"train", "train a plan on sequences", mdl_command_train},
    {"replay", "run one step of a training run again", mdl_command_replay},
    {"eval", "evaluate weights on sequences: loss, perplexity, metrics", mdl_command_eval},
    {"inspect", "show what is in a plan: programs, kernels, buffers, memory", mdl_command_inspect},
    {"profile", "tell where the time of a step goes, by class, kernel and launch", mdl_command_profile},
    {"diff", "run two plans of one model on one batch and show where they part", mdl_command_diff},
    {"plot", "draw the loss of runs, or another metric, as SVG and PNG", mdl_command_plot},
    {"data", "tell what is in data files: counts, lengths, letters, how full batches get", mdl_command_data},
    {"check", "compare a plan with reference numbers", mdl_command_check},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(void) {
    puts("usage: mdlrun COMMAND ...\n\nRuns the plans that mdlc compiles.\n");
    for (int i = 0; i < COMMANDS; i++) printf("  %-10s %s\n", commands[i].name, commands[i].about);
    puts(
        "\n  --help      print this; mdlrun COMMAND --help tells more\n"
        "  --version   print the version\n"
        "  --gpu-arch  print what mdlc's --arch is for this machine's GPU\n"
        "\n"
        "A plan holds native code: trust it like a program.\n"
        "Exit codes: 0 success, 1 a check failed, 2 wrong usage or configuration, 3 a file is missing or malformed,\n"
        "4 the system refused, 130 interrupted.");
}

static mdl_status unknown(const char *name) {
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *near = mdl_nearest(name, COMMANDS, names);
    if (near) return mdl_fail(MDL_USAGE, "unknown command '%s'; did you mean '%s'?", name, near);
    return mdl_fail(MDL_USAGE, "unknown command '%s'; mdlrun --help lists the commands", name);
}

static mdl_status gpu_arch(void) {
    char arch[MDL_ARCH_LETTERS];
    mdl_status status = mdl_cuda_gpu_arch(arch);
    if (status) return status;
    puts(arch);
    return mdl_file_flush_stdout();
}

static mdl_status dispatch(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name) return mdl_fail(MDL_USAGE, "which command? mdlrun --help lists them");
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) return help(), mdl_file_flush_stdout();
    if (!strcmp(name, "--version")) return puts("mdlrun " MDL_VERSION), mdl_file_flush_stdout();
    if (!strcmp(name, "--gpu-arch")) return gpu_arch();
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return commands[i].run(argc - 1, argv + 1);
    return unknown(name);
}

int main(int argc, char **argv) {
    mdl_status status = dispatch(argc, argv);
    if (!status) return 0;
    int code = (int)mdl_status_code(status);
    fflush(stdout);
    fprintf(stderr, "mdlrun: %s%s\n", code == MDL_INTERRUPTED ? "" : "error: ", mdl_message(status));
    mdl_status_free(status);
    return code;
}
