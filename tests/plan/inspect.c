/* mdlrun inspect on the hand-made plan: every view against its golden text. */
#include <stdio.h>
#include <stdlib.h>
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

/* As if compiled for two arches, on one of which the first kernel spills, and there is room for 3 blocks of the second. */
static void make_cuda(mdl_plan *plan) {
    plan->target = "cuda";
    plan->isa = "sm_80,sm_90a";
    for (int k = 0; k < plan->kernels.n; k++) {
        MDL_PUSH(plan->memory, plan->kernels.at[k].resources, ((mdl_plan_resources){"sm_80", 32 + k, 0, 0, 512, 0}));
        MDL_PUSH(plan->memory, plan->kernels.at[k].resources,
                 ((mdl_plan_resources){"sm_90a", 168, k ? 0 : 48, k ? 0 : 64, 512, k == 1 ? 3 : 0}));
    }
    plan->programs.at[0].launches.at[0].shared_bytes = 4096; /* on top of 512 */
}

static void add_code(mdl_plan *plan, const char *arch, const char *text) {
    for (int k = 0; k < plan->kernels.n; k++)
        mdl_fixture_file(plan, mdl_plan_code_path(plan->memory, &plan->kernels.at[k], arch), text, (int64_t)strlen(text));
}

/* A disassembler that shows what it was given. */
static void make_disassembler(mdl_test *t, mdl_arena *memory) {
    const char *folder = mdl_test_scratch(t);
    mdl_shell(
        t, NULL,
        "mkdir -p '%s/toolkit/bin' && cd '%s/toolkit/bin' && printf '#!/bin/sh\\necho \"/* $(cat \"$2\") */\"\\n' > nvdisasm && "
        "chmod +x nvdisasm",
        folder, folder);
    setenv("CUDA_HOME", mdl_printf(memory, "%s/toolkit", folder), 1);
}

static void put_back(const char *name, const char *value) {
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static const char *kept(mdl_arena *memory, const char *name) {
    const char *value = getenv(name);
    return value ? mdl_strdup(memory, value) : NULL;
}

/* Code of a plan that make_cuda has changed. */
static void inspect_code(mdl_test *t, mdl_arena *memory, mdl_plan *plan, const char *path, mdl_text *all) {
    static const char *const arches[] = {"sm_80,sm_90a", "sm_80,compute_80", "compute_80", "host"};
    const char *toolkit = kept(memory, "CUDA_HOME");
    make_disassembler(t, memory);
    add_code(plan, "sm_80", "code 80");
    add_code(plan, "sm_90a", "code 90a");
    add_code(plan, "compute_80", "// PTX\n");
    for (int i = 0; i < 4; i++) {
        plan->isa = arches[i];
        for (int k = 0; k < plan->kernels.n; k++) plan->kernels.at[k].resources.n = 0;
        mdl_status status = mdl_plan_write(plan, path);
        CHECK(t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
        for (int k = 0; k < 2; k++) {
            const char *view = k ? "sass" : "ptx";
            mdl_text_printf(all, "\n$ inspect PLAN %s k_sum, of a plan for %s\n%s", view, arches[i],
                            inspect(t, memory, path, view, "k_sum"));
        }
    }
    put_back("CUDA_HOME", toolkit);
}

/* Nobody has put one where only root can, or there is nothing to see. */
static void inspect_without_disassembler(mdl_test *t, mdl_arena *memory, mdl_plan *plan, const char *file) {
    const char *const names[] = {"CUDA_HOME", "PATH", "MDL_CUDA"};
    const char *values[3];
    if (!access("/usr/local/cuda/bin/nvdisasm", X_OK)) return;
    plan->isa = "sm_80";
    mdl_status_free(mdl_plan_write(plan, file));
    for (int i = 0; i < 3; i++) values[i] = kept(memory, names[i]);
    for (int i = 0; i < 3; i++) setenv(names[i], "/nowhere", 1);
    char *argv[] = {"inspect", (char *)file, "sass", "k_sum", NULL};
    mdl_status status = mdl_command_inspect(4, argv);
    for (int i = 0; i < 3; i++) put_back(names[i], values[i]);
    CHECK(t, strstr(mdl_message(status), "there is no nvdisasm in $CUDA_HOME/bin, $PATH, /usr/local/cuda/bin"), "%s",
          mdl_message(status));
    mdl_status_free(status);
}

void mdl_test_inspect(mdl_test *t) {
    static const char *const calls[][2] = {
        {"list", NULL},     {"source", "1"},      {"source", "k_sum"}, {"launches", "eval"}, {"buffers", "eval"}, {"params", NULL},
        {"units", NULL},    {"dims", NULL},       {"files", NULL},     {"source", "k_none"}, {"source", "3"},     {"source", NULL},
        {"buffers", NULL},  {"buffers", "train"}, {"dims", "eval"},    {"everything", NULL}, {"programs", NULL},  {"memory", NULL},
        {"memory", "eval"}, {"memory", "train"},  {"ptx", "1"},        {"sass", "1"}};
    mdl_arena *memory = mdl_arena_new();
    mdl_text all = {.arena = memory};
    const char *path = mdl_printf(memory, "%s/inspect.plan", mdl_test_scratch(t));
    mdl_plan *plan = mdl_fixture_plan();
    plan->programs.at[0].buffers.at[3].value = 7;
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
    inspect_code(t, memory, plan, path, &all);
    mdl_golden(t, "plan/inspect.txt", all.at);
    inspect_without_disassembler(t, memory, plan, path);
    mdl_plan_free(plan);
    mdl_arena_free(memory);
}
