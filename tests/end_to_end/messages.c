/* Messages as a user meets them. Each file in tests/end_to_end/messages is a transcript: lines that begin with "$ " are commands,
 * what follows is what they print, and "[N]" is an exit status other than 0. --update rewrites all but the commands. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/isa.h"
#include "runtime/plan/plan.h"
#include "tests/end_to_end/run.h"

/* What depends on the machine: the folder of the test and the instruction set. */
static const char *masked(mdl_e2e *e, const char *text) {
    const char *const hidden[][2] = {{e->folder, "FOLDER"}, {mdl_cpu_isa(), "THIS-ISA"}};
    for (int i = 0; i < 2; i++) {
        mdl_text out = {.arena = e->memory};
        mdl_text_append(&out, "", 0);
        for (const char *at; (at = strstr(text, hidden[i][0])); text = at + strlen(hidden[i][0])) {
            mdl_text_append(&out, text, (size_t)(at - text));
            mdl_text_append(&out, hidden[i][1], strlen(hidden[i][1]));
        }
        mdl_text_append(&out, text, strlen(text));
        text = out.at;
    }
    return text;
}

static void one_command(mdl_e2e *e, const char *line, mdl_text *to) {
    int status;
    const char *said = masked(e, mdl_e2e_try(e, &status, "%s", line + 2));
    mdl_text_printf(to, "%s\n%s", line, said);
    if (*said && said[strlen(said) - 1] != '\n') mdl_text_append(to, "\n", 1);
    if (status) mdl_text_printf(to, "[%d]\n", status);
    CHECK(e->t, status < 128 && !strstr(said, "Sanitizer") && !strstr(said, "runtime error"), "it crashed: %s\n%s", line, said);
}

static void transcript(mdl_e2e *e, const char *name) {
    const char *path = mdl_printf(e->memory, "end_to_end/messages/%s", name), *source;
    mdl_text actual = {.arena = e->memory};
    mdl_shell(e->t, &source, "cat tests/%s", path);
    char *text = mdl_strdup(e->memory, source);
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (!strncmp(line, "$ ", 2)) one_command(e, line, &actual);
    CHECK(e->t, actual.n, "%s has no command", name);
    if (actual.n) mdl_golden(e->t, path, actual.at);
}

/* A good plan, and one whose native code is for another processor. */
static void make_plans(mdl_e2e *e) {
    mdl_plan *plan = NULL;
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 64 --seqs 4 -o good.plan");
    mdl_status status = mdl_plan_read(mdl_printf(e->memory, "%s/good.plan", e->folder), &plan);
    if (!status) {
        plan->isa = strcmp(mdl_cpu_isa(), "aarch64") ? "aarch64" : "x86-64-v4";
        status = mdl_plan_write(plan, mdl_printf(e->memory, "%s/foreign.plan", e->folder));
    }
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_plan_free(plan);
}

/* Weights that a run wrote, then with a tensor left out, and with one of another shape. */
static void make_weights(mdl_e2e *e) {
    mdl_safetensors *file = NULL;
    mdl_e2e_write(e, "ok.fasta", ">a\nMKTAYIAKQRQISFVKSHFSRQ\n>b\nLEERLGLIEVQAPILSRVGD\n");
    mdl_e2e_train(e, 0, "good.plan", "ok.fasta", "good", "trainer.max_steps=1");
    mdl_e2e_run(e, 0, "mkdir missing reshaped");
    mdl_status status = mdl_safetensors_open(mdl_printf(e->memory, "%s/good/model.safetensors", e->folder), &file);
    CHECK(e->t, !status, "%s", mdl_message(status));
    if (status) {
        mdl_status_free(status);
        return;
    }
    int n = mdl_safetensors_count(file), bias = 0, kept = 0;
    mdl_tensor *all = MDL_NEW_ARRAY(e->memory, mdl_tensor, n), *fewer = MDL_NEW_ARRAY(e->memory, mdl_tensor, n);
    for (int i = 0; i < n; i++) all[i] = *mdl_safetensors_at(file, i);
    for (int i = 0; i < n; i++)
        if (!strcmp(all[i].name, "lm_head.bias")) bias = i;
    for (int i = 0; i < n; i++)
        if (i != bias) fewer[kept++] = all[i];
    all[bias].type.dim[0] = 32;
    status = mdl_safetensors_write(mdl_printf(e->memory, "%s/missing/model.safetensors", e->folder), kept, fewer);
    if (!status) status = mdl_safetensors_write(mdl_printf(e->memory, "%s/reshaped/model.safetensors", e->folder), n, all);
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_safetensors_close(file);
}

static int is_text(const struct dirent *entry) { return strstr(entry->d_name, ".txt") != NULL; }

void suite_messages(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "messages");
    struct dirent **names = NULL;
    if (mdl_case(t, "messages: a plan, weights and sequences to start from")) make_plans(&e), make_weights(&e);
    int n = scandir(mdl_printf(e.memory, "%s/tests/end_to_end/messages", mdl_test_source(t)), &names, is_text, alphasort);
    CHECK(t, n > 0, "there are no transcripts");
    for (int i = 0; i < n; i++) {
        if (mdl_case(t, "messages: %s", names[i]->d_name)) transcript(&e, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    mdl_e2e_end(&e);
}
