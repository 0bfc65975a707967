/* What led to a step that is not finite: kept for a person, and for mdlrun replay. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/base/safetensors.h"
#include "runtime/data/position.h"
#include "runtime/train/run.h"

static const char *folder_of(const mdl_run *run, mdl_arena *memory) {
    return mdl_printf(memory, "%s/trouble-step-%lld", run->config->output_dir, (long long)run->step);
}

typedef MDL_VEC(mdl_tensor) tensors;

/* "0.ids": every input of every micro-batch. Where sequences begin is integers. */
static tensors batch_tensors(const mdl_run *run, mdl_arena *memory) {
    const mdl_plan *plan = run->session->plan;
    tensors list = {0};
    for (int b = 0; b < run->config->gradient_accumulation_steps; b++)
        for (int i = 0; i < plan->inputs.n; i++) {
            mdl_tensor tensor = {mdl_printf(memory, "%d.%s", b, plan->inputs.at[i].name), plan->inputs.at[i].type,
                                 run->batches[b].input[i]};
            int64_t n = mdl_type_count(&tensor.type);
            if (!tensor.bytes) continue;
            if (tensor.type.dtype == MDL_SEG) tensor.type = mdl_type_make(MDL_I32, 1, &n);
            MDL_PUSH(memory, list, tensor);
        }
    return list;
}

static json_t *sequence_ids(const mdl_run *run) {
    int64_t n = 0;
    for (int b = 0; b < run->config->gradient_accumulation_steps; b++) n += run->batches[b].sequences;
    int64_t *ids = calloc((size_t)n + 1, sizeof *ids);
    json_t *list = json_array();
    if (ids) mdl_loader_sequences(run->loader, run->position, n, ids);
    for (int64_t i = 0; i < n && ids; i++) json_array_append_new(list, json_integer(ids[i]));
    free(ids);
    return list;
}

static json_t *number(double x) {
    if (isfinite(x)) return json_real(x);
    return json_string(isnan(x) ? "nan" : "inf"); /* JSON has no such numbers */
}

static mdl_status write_facts(const mdl_run *run, const char *path) {
    json_t *root = json_pack("{s:I, s:o, s:o, s:f, s:o, s:o}", "step", (json_int_t)run->step, "loss", number(run->last.loss),
                             "grad_norm", number(run->last.grad_norm), "learning_rate", run->lr, "data",
                             mdl_data_position_save(&run->position), "sequences", sequence_ids(run));
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    mdl_status status = text ? mdl_file_write(path, text, strlen(text)) : mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    free(text);
    json_decref(root);
    return status;
}

mdl_status mdl_run_trouble(const mdl_run *run) {
    mdl_arena *memory = mdl_arena_new();
    const char *folder = folder_of(run, memory);
    tensors list = batch_tensors(run, memory);
    mdl_status status = mdl_file_make_folder(folder);
    if (!status) status = mdl_safetensors_write(mdl_printf(memory, "%s/batch.safetensors", folder), list.n, list.at);
    if (!status) status = write_facts(run, mdl_printf(memory, "%s/step.json", folder));
    mdl_arena_free(memory);
    return status;
}

int mdl_run_is_trouble(const mdl_run *run) {
    mdl_arena *memory = mdl_arena_new();
    mdl_safetensors *file = NULL;
    tensors list = batch_tensors(run, memory);
    mdl_status status = mdl_safetensors_open(mdl_printf(memory, "%s/batch.safetensors", folder_of(run, memory)), &file);
    int same = status ? -1 : 1;
    for (int i = 0; i < list.n && !status; i++) {
        const mdl_tensor *kept = mdl_safetensors_find(file, list.at[i].name);
        size_t bytes = (size_t)mdl_type_bytes(&list.at[i].type);
        if (!kept || !mdl_type_equal(&kept->type, &list.at[i].type) || memcmp(kept->bytes, list.at[i].bytes, bytes)) same = 0;
    }
    mdl_status_free(status);
    mdl_safetensors_close(file);
    mdl_arena_free(memory);
    return same;
}
