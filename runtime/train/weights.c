/* Reading: match every tensor to a parameter, complain about all that does not fit at once, then upload. */
#include "runtime/train/weights.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 8 }; /* names in one message */

typedef struct {
    mdl_arena *memory;
    const mdl_plan *plan;
    const mdl_weight **first; /* by parameter: the tensor that fills it, or NULL */
    mdl_text unexpected, wrong, missing;
    int n_unexpected, n_wrong, n_missing;
} match;

static void list(mdl_text *text, int *n, const char *line) {
    if ((*n)++ < LISTED) mdl_text_printf(text, "\n    %s", line);
    if (*n == LISTED + 1) mdl_text_printf(text, "\n    ...");
}

static bool is_hf(const mdl_plan_name_map *map) { return !strcmp(map->layout, "hf"); }

static bool is_ignored(const mdl_plan *plan, const char *name) {
    for (int i = 0; i < plan->layouts.n; i++) {
        const mdl_plan_name_map *map = &plan->layouts.at[i];
        if (is_hf(map) && !strcmp(map->kind, "ignore") && !fnmatch(map->theirs, name, 0)) return true;
    }
    return false;
}

const mdl_plan_param *mdl_weights_param(const mdl_plan *plan, const char *name) {
    const mdl_plan_param *param = mdl_plan_find_param(plan, name);
    for (int i = 0; i < plan->layouts.n && !param; i++) {
        const mdl_plan_name_map *map = &plan->layouts.at[i];
        if (is_hf(map) && map->ours && !strcmp(map->theirs, name)) param = mdl_plan_find_param(plan, map->ours);
    }
    return param;
}

static bool same_dims(const mdl_type *a, const mdl_type *b) {
    return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof a->dim[0] * (size_t)a->rank);
}

static bool same_values(const mdl_tensor *a, const mdl_tensor *b) {
    return a->type.dtype == b->type.dtype && same_dims(&a->type, &b->type) &&
           !memcmp(a->bytes, b->bytes, (size_t)mdl_type_bytes(&a->type));
}

/* The complaint about numbers that no parameter may have, or NULL. */
static const char *find_bad(const match *m, const mdl_weight *weight) {
    int64_t n = mdl_type_count(&weight->tensor->type);
    float *values = malloc((size_t)n * sizeof *values + 1);
    if (!values) return mdl_printf(m->memory, "%s: no memory to look at it", weight->name);
    mdl_status_free(mdl_weights_floats(weight->tensor, values)); /* its type fits */
    int64_t bad = mdl_weights_bad(n, values);
    free(values);
    return bad ? mdl_printf(m->memory, "%s: %" PRId64 " of its %" PRId64 " numbers are not finite", weight->name, bad, n) : NULL;
}

static void match_one(match *m, const mdl_weight *weight) {
    const mdl_plan_param *param = mdl_weights_param(m->plan, weight->name);
    if (!param) {
        if (!is_ignored(m->plan, weight->name)) list(&m->unexpected, &m->n_unexpected, weight->name);
        return;
    }
    const mdl_weight **first = &m->first[param - m->plan->params.at];
    const mdl_type *type = &weight->tensor->type;
    const char *text = mdl_type_text(m->memory, type);
    bool fits = same_dims(type, &param->type) && mdl_dtype_is_real(type->dtype);
    if (!fits)
        list(&m->wrong, &m->n_wrong,
             mdl_printf(m->memory, "%s is %s, the plan has %s", weight->name, text, mdl_type_text(m->memory, &param->type)));
    const char *bad = fits ? find_bad(m, weight) : NULL;
    if (bad) list(&m->wrong, &m->n_wrong, bad);
    if (!*first)
        *first = weight; /* also one that does not fit: it is there, and the complaint keeps it from being used */
    else if (fits && !same_values((*first)->tensor, weight->tensor))
        list(&m->wrong, &m->n_wrong,
             mdl_printf(m->memory, "%s and %s are one parameter but hold different values", (*first)->name, weight->name));
}

static mdl_status complain(const match *m, const char *from) {
    mdl_text text = {.arena = m->memory};
    if (m->n_missing) mdl_text_printf(&text, "\n  %d missing:%s", m->n_missing, m->missing.at);
    if (m->n_wrong) mdl_text_printf(&text, "\n  %d that do not fit:%s", m->n_wrong, m->wrong.at);
    if (m->n_unexpected) mdl_text_printf(&text, "\n  %d unexpected:%s", m->n_unexpected, m->unexpected.at);
    if (!text.at) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "%s: the tensors are not those of the plan's model '%s'%s", from, m->plan->model, text.at);
}

static float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

mdl_status mdl_weights_floats(const mdl_tensor *tensor, float *to) {
    size_t n = (size_t)mdl_type_count(&tensor->type);
    const char *from = tensor->bytes; /* not always aligned */
    double wide;
    uint16_t half;
    switch (tensor->type.dtype) {
        case MDL_F32: memcpy(to, from, n * sizeof *to); return MDL_OK;
        case MDL_F64:
            for (size_t i = 0; i < n; i++) memcpy(&wide, from + 8 * i, 8), to[i] = (float)wide;
            return MDL_OK;
        case MDL_BF16:
            for (size_t i = 0; i < n; i++) memcpy(&half, from + 2 * i, 2), to[i] = from_bf16(half);
            return MDL_OK;
        default:
            return mdl_fail(MDL_BAD_INPUT, "tensor '%s': expected f32, bf16 or f64, got %s", tensor->name,
                            mdl_dtype_name(tensor->type.dtype));
    }
}

int64_t mdl_weights_bad(int64_t n, const float *values) {
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad += !isfinite(values[i]);
    return bad;
}

static mdl_status upload_all(mdl_session *s, const match *m) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < m->plan->params.n && !status; i++) {
        const mdl_plan_param *param = &m->plan->params.at[i];
        if (!m->first[i]) continue;
        float *values = malloc((size_t)mdl_type_bytes(&param->type) + 1);
        if (!values) return mdl_fail(MDL_SYSTEM, "no memory for parameter '%s'", param->name);
        status = mdl_weights_floats(m->first[i]->tensor, values);
        if (!status) status = mdl_session_set_param(s, param->arena, param, values);
        free(values);
    }
    return status;
}

mdl_status mdl_weights_load(mdl_session *s, const char *from, int n, const mdl_weight *weights, bool strict, int *kept) {
    mdl_arena *memory = mdl_arena_new();
    match m = {.memory = memory, .plan = s->plan, .unexpected.arena = memory, .wrong.arena = memory, .missing.arena = memory};
    m.first = MDL_NEW_ARRAY(memory, const mdl_weight *, s->plan->params.n + 1);
    int left = 0;
    for (int i = 0; i < n; i++) match_one(&m, &weights[i]);
    for (int i = 0; i < s->plan->params.n; i++) {
        const mdl_plan_param *param = &s->plan->params.at[i];
        if (m.first[i]) continue;
        if (strict || param->arena == MDL_ARENA_PARAM)
            list(&m.missing, &m.n_missing, param->name);
        else
            left++;
    }
    mdl_status status = complain(&m, from);
    if (!status) status = upload_all(s, &m);
    if (kept) *kept = left;
    mdl_arena_free(memory);
    return status;
}

mdl_status mdl_weights_read_folder(mdl_session *s, const char *dir, int *kept) {
    mdl_safetensors *file = NULL;
    mdl_arena *memory = mdl_arena_new();
    const char *path = mdl_printf(memory, "%s/model.safetensors", dir);
    mdl_status status = mdl_safetensors_open(path, &file);
    int n = status ? 0 : mdl_safetensors_count(file);
    mdl_weight *weights = MDL_NEW_ARRAY(memory, mdl_weight, n + 1);
    for (int i = 0; i < n; i++) weights[i] = (mdl_weight){mdl_safetensors_at(file, i)->name, mdl_safetensors_at(file, i)};
    if (!status) status = mdl_weights_load(s, path, n, weights, false, kept);
    if (file) mdl_safetensors_close(file);
    mdl_arena_free(memory);
    return status;
}
