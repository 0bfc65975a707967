/* mdlrun inspect on the hand-made plan: every view against its golden text. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/command/inspect.h"
#include "tests/check.h"
#include "tests/plan/fixture.h"

/* Runs the command with stdout in a file; returns what it printed, or its message. */
static const char *inspect(mdl_test *t, mdl_arena *memory, const char *plan, const char *view, const char *argument) {
    const char *path = mdl_printf(memory, "%s/inspect.txt", mdl_test_scratch(t)), *output = NULL;
    char *argv[] = {"inspect", (char *)plan, (char *)view, (char *)argument, NULL};
    int argc = 1;
    while (argv[argc]) argc++;
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    FILE *f = freopen(path, "w", stdout);
    mdl_status status = mdl_command_inspect(argc, argv);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    if (!f) return "cannot redirect";
    mdl_shell(t, &output, "cat '%s'", path);
    const char *text = status ? mdl_printf(memory, "error: %s\n", mdl_message(status)) : mdl_strdup(memory, output);
    mdl_status_free(status);
    return text;
}

/* As if compiled for two arches, on one of which the first kernel spills. */
static void make_cuda(mdl_plan *plan) {
    plan->target = "cuda";
    plan->isa = "sm_80,sm_90a";
    for (int k = 0; k < plan->kernels.n; k++) {
        MDL_PUSH(plan->memory, plan->kernels.at[k].resources, ((mdl_plan_resources){"sm_80", 32 + k, 0, 0, 512}));
        MDL_PUSH(plan->memory, plan->kernels.at[k].resources, ((mdl_plan_resources){"sm_90a", 168, k ? 0 : 48, k ? 0 : 64, 512}));
    }
    plan->programs.at[0].launches.at[0].shared_bytes = 4096; /* on top of 512 */
}

void mdl_test_inspect(mdl_test *t) {
    static const char *const calls[][2] = {
        {"list", NULL},    {"source", "1"},      {"source", "k_sum"}, {"launches", "eval"}, {"buffers", "eval"}, {"params", NULL},
        {"units", NULL},   {"dims", NULL},       {"files", NULL},     {"source", "k_none"}, {"source", "3"},     {"source", NULL},
        {"buffers", NULL}, {"buffers", "train"}, {"dims", "eval"},    {"everything", NULL}, {"programs", NULL}};
    mdl_arena *memory = mdl_arena_new();
    mdl_text all = {.arena = memory};
    const char *path = mdl_printf(memory, "%s/inspect.plan", mdl_test_scratch(t));
    mdl_plan *plan = mdl_fixture_plan();
    plan->programs.at[0].launches.at[0].label = "embed\033[31m"; /* must not reach a terminal */
    mdl_case(t, "inspect");
    mdl_status status = mdl_plan_write(plan, path);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const char *text = inspect(t, memory, path, calls[i][0], calls[i][1]);
        mdl_text_printf(&all, "$ inspect PLAN %s %s\n%s\n", calls[i][0], calls[i][1] ? calls[i][1] : "", text);
    }
    mdl_text_printf(&all, "$ inspect --help\n%s\n", inspect(t, memory, "--help", NULL, NULL));
    mdl_text_printf(&all, "$ inspect\n%s", inspect(t, memory, NULL, NULL, NULL));
    make_cuda(plan);
    status = mdl_plan_write(plan, path);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_text_printf(&all, "\n$ inspect PLAN kernels, of a plan for CUDA\n%s", inspect(t, memory, path, "kernels", NULL));
    mdl_golden(t, "plan/inspect.txt", all.at);
    mdl_plan_free(plan);
    mdl_arena_free(memory);
}
