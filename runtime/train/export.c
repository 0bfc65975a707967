/* Writing: the weights under the names of the layout "hf", and the plan's assets beside them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/train/weights.h"

typedef MDL_VEC(mdl_tensor) tensor_list;

/* A parameter goes out under every name that the layout maps to it, else under its own. */
static void add_names(mdl_arena *memory, const mdl_plan *plan, const mdl_plan_param *param, const float *values, tensor_list *out) {
    int before = out->n;
    for (int i = 0; i < plan->layouts.n; i++) {
        const mdl_plan_name_map *map = &plan->layouts.at[i];
        if (strcmp(map->layout, "hf") || strcmp(map->kind, "name") || strcmp(map->ours, param->name)) continue;
        mdl_tensor tensor = {map->theirs, param->type, values};
        MDL_PUSH(memory, *out, tensor);
    }
    mdl_tensor tensor = {param->name, param->type, values};
    if (out->n == before) MDL_PUSH(memory, *out, tensor);
}

static int by_name(const void *a, const void *b) { return strcmp(((const mdl_tensor *)a)->name, ((const mdl_tensor *)b)->name); }

static mdl_status write_weights(mdl_session *s, mdl_arena *memory, const char *path) {
    tensor_list tensors = {0};
    for (int i = 0; i < s->plan->params.n; i++) {
        const mdl_plan_param *param = &s->plan->params.at[i];
        float *values = mdl_alloc(memory, (size_t)mdl_type_bytes(&param->type));
        mdl_status status = mdl_session_get_param(s, param->arena, param, values);
        if (status) return status;
        add_names(memory, s->plan, param, values, &tensors);
    }
    if (tensors.n) qsort(tensors.at, (size_t)tensors.n, sizeof *tensors.at, by_name);
    return mdl_safetensors_write(path, tensors.n, tensors.at);
}

/* Assets lie under assets/ in the plan and leave under their base name; the vocabulary leaves as vocab.txt. */
static mdl_status write_assets(const mdl_plan *plan, mdl_arena *memory, const char *dir) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < plan->files.n && !status; i++) {
        const mdl_plan_file *file = &plan->files.at[i];
        bool vocab = plan->vocab && !strcmp(file->path, plan->vocab);
        bool own = !strcmp(file->path, MDL_PLAN_CONSTANTS); /* of the plan itself */
        if (own || (!vocab && strncmp(file->path, "assets/", 7))) continue;
        const char *slash = strrchr(file->path, '/');
        const char *name = vocab ? "vocab.txt" : slash + 1;
        if (!*name || name[0] == '.') continue;
        status = mdl_file_write(mdl_printf(memory, "%s/%s", dir, name), file->bytes, (size_t)file->size);
    }
    return status;
}

static mdl_status count_bad(mdl_session *s, const mdl_plan_param *param, int64_t *bad) {
    int64_t n = mdl_type_count(&param->type);
    float *values = malloc((size_t)mdl_type_bytes(&param->type) + 1);
    if (!values) return mdl_fail(MDL_SYSTEM, "no memory for parameter '%s'", param->name);
    mdl_status status = mdl_session_get_param(s, param->arena, param, values);
    if (!status) *bad = mdl_weights_bad(n, values);
    free(values);
    return status;
}

mdl_status mdl_weights_check_finite(mdl_session *s) {
    const mdl_plan_param *first = NULL;
    int64_t bad = 0, bad_first = 0, all = 0;
    for (int i = 0; i < s->plan->params.n; i++) {
        const mdl_plan_param *param = &s->plan->params.at[i];
        int64_t here = 0;
        mdl_status status = count_bad(s, param, &here);
        if (status) return status;
        if (here && !first) first = param, bad_first = here;
        bad += here;
        all += mdl_type_count(&param->type);
    }
    if (!first) return MDL_OK;
    return mdl_fail(MDL_MISMATCH,
                    "%" PRId64 " of %" PRId64 " weights are not finite, the first in '%s' (%" PRId64 " of %" PRId64
                    "); no weights are written",
                    bad, all, first->name, bad_first, mdl_type_count(&first->type));
}

/* The weights first: they take longest, and what lies beside them belongs to them. */
mdl_status mdl_weights_write_folder(mdl_session *s, const char *dir) {
    mdl_arena *memory = mdl_arena_new();
    mdl_status status = write_weights(s, memory, mdl_printf(memory, "%s/model.safetensors", dir));
    if (!status) status = write_assets(s->plan, memory, dir);
    mdl_arena_free(memory);
    return status;
}
