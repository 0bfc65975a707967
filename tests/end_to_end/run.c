/* Running mdlc and mdlrun as a user does, and reading back what they wrote. */
#include "tests/end_to_end/run.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/compare.h"

mdl_e2e mdl_e2e_begin(mdl_test *t, const char *name) {
    mdl_e2e e = {.t = t, .memory = mdl_arena_new(), .target = ""};
    e.folder = mdl_printf(e.memory, "%s/%s", mdl_test_scratch(t), name);
    mdl_shell(t, NULL, "mkdir -p '%s' && cd '%s' && for i in models data configs; do ln -s \"%s/$i\" .; done", e.folder, e.folder,
              mdl_test_source(t));
    return e;
}

mdl_e2e mdl_e2e_begin_cuda(mdl_test *t, const char *name) {
    mdl_e2e e = mdl_e2e_begin(t, name);
    const char *arch = getenv("MDL_TEST_ARCH");
    e.emulated = !arch || !*arch || !strcmp(arch, "host");
    e.target = mdl_printf(e.memory, "--target cuda --arch %s", e.emulated ? "host" : arch);
    return e;
}

void mdl_e2e_end(mdl_e2e *e) {
    mdl_shell(e->t, NULL, "rm -rf '%s'", e->folder);
    mdl_arena_free(e->memory);
}

static const char *run(mdl_e2e *e, int *status, const char *command) {
    const char *output = "";
    *status = mdl_shell(e->t, &output, "export GOMP_SPINCOUNT=0; cd '%s' || exit 99; { %s\n}", e->folder, command);
    return mdl_strdup(e->memory, output);
}

const char *mdl_e2e_try(mdl_e2e *e, int *status, const char *format, ...) {
    int ignored;
    va_list args;
    va_start(args, format);
    const char *command = mdl_vprintf(e->memory, format, args);
    va_end(args);
    return run(e, status ? status : &ignored, command);
}

const char *mdl_e2e_run(mdl_e2e *e, int status, const char *format, ...) {
    int got;
    va_list args;
    va_start(args, format);
    const char *command = mdl_vprintf(e->memory, format, args);
    va_end(args);
    const char *output = run(e, &got, command);
    CHECK(e->t, got == status, "exit status %d, expected %d\n$ %s\n%s", got, status, command, output);
    return output;
}

const char *mdl_e2e_train(mdl_e2e *e, int status, const char *plan, const char *fasta, const char *output, const char *settings) {
    return mdl_e2e_run(e, status, "mdlrun train %s data.files=%s trainer.output_dir=%s trainer.logging_steps=1 %s", plan, fasta,
                       output, settings);
}

const char *mdl_e2e_python(mdl_e2e *e) {
    static const char *const places[] = {"${MDL_PYTHON:-/}/bin/python", "$HOME/.local/share/mdl/python/bin/python", "python3"};
    for (int i = 0; i < 3; i++) {
        int status;
        mdl_e2e_try(e, &status, "%s -c 'import torch, transformers, safetensors, tensorboard' 2>/dev/null", places[i]);
        if (!status) return places[i];
    }
    return NULL;
}

void mdl_e2e_write(mdl_e2e *e, const char *name, const char *text) {
    FILE *f = fopen(mdl_printf(e->memory, "%s/%s", e->folder, name), "w");
    bool ok = f && fputs(text, f) >= 0;
    if (f) ok = !fclose(f) && ok;
    CHECK(e->t, ok, "cannot write %s", name);
}

const char *mdl_e2e_read(mdl_e2e *e, const char *name) {
    mdl_text text = {.arena = e->memory};
    FILE *f = fopen(mdl_printf(e->memory, "%s/%s", e->folder, name), "r");
    char block[4096];
    mdl_text_append(&text, "", 0);
    for (size_t n; f && (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    if (f) fclose(f);
    return text.at;
}

bool mdl_e2e_exists(mdl_e2e *e, const char *name) { return !access(mdl_printf(e->memory, "%s/%s", e->folder, name), F_OK); }

void mdl_e2e_fasta(mdl_e2e *e, const char *name, int n, int length) {
    static const char residues[] = "LAGVSERTIDPKQNFYMHWC";
    mdl_text text = {.arena = e->memory};
    unsigned state = 1;
    for (int i = 0; i < n; i++) {
        mdl_text_printf(&text, ">s%d\n", i);
        for (int k = 0; k < length; k++) {
            state = state * 1103515245u + 12345u;
            mdl_text_append(&text, &residues[(state >> 16) % 20], 1);
        }
        mdl_text_append(&text, "\n", 1);
    }
    mdl_e2e_write(e, name, text.at);
}

int mdl_e2e_metrics(mdl_e2e *e, const char *output, const char *key, double **values) {
    MDL_VEC(double) numbers = {0};
    char *text = mdl_strdup(e->memory, mdl_e2e_read(e, mdl_printf(e->memory, "%s/metrics.jsonl", output)));
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *root = json_loads(line, 0, NULL), *value = json_object_get(root, key);
        MDL_PUSH(e->memory, numbers, json_is_number(value) ? json_number_value(value) : (double)NAN);
        json_decref(root);
    }
    *values = numbers.at;
    return numbers.n;
}

void mdl_e2e_check_finite(mdl_e2e *e, const char *output, int lines) {
    static const char *const keys[] = {"loss", "grad_norm"};
    for (int k = 0; k < 2; k++) {
        double *values;
        int n = mdl_e2e_metrics(e, output, keys[k], &values);
        CHECK(e->t, n == lines, "%s: %d lines of metrics, expected %d", output, n, lines);
        for (int i = 0; i < n; i++) CHECK(e->t, isfinite(values[i]), "%s: %s of line %d is %g", output, keys[k], i, values[i]);
    }
}

float *mdl_e2e_weights(mdl_e2e *e, const char *output, int64_t *n) {
    mdl_safetensors *file = NULL;
    mdl_status status = mdl_safetensors_open(mdl_printf(e->memory, "%s/%s/model.safetensors", e->folder, output), &file);
    CHECK(e->t, !status, "%s", mdl_message(status));
    *n = 0;
    if (status) return mdl_status_free(status), NULL;
    for (int i = 0; i < mdl_safetensors_count(file); i++) *n += mdl_type_count(&mdl_safetensors_at(file, i)->type);
    float *all = MDL_NEW_ARRAY(e->memory, float, *n), *to = all;
    for (int i = 0; i < mdl_safetensors_count(file); i++) {
        const mdl_tensor *tensor = mdl_safetensors_at(file, i);
        memcpy(to, tensor->bytes, (size_t)mdl_type_bytes(&tensor->type));
        to += mdl_type_count(&tensor->type);
    }
    mdl_safetensors_close(file);
    return all;
}

double mdl_e2e_distance(int64_t n, const float *a, const float *b) {
    mdl_comparison c = mdl_compare_floats(n, a, b);
    return c.bad ? (double)NAN : sqrt(c.difference);
}
