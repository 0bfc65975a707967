/* Opening a reference file: its shapes, its metadata, its weights. */
#include "runtime/command/check_reference.h"

#include <jansson.h>
#include <string.h>

#include "runtime/train/weights.h"

static mdl_status need(const mdl_reference *r, const char *name, mdl_dtype dtype, const mdl_tensor **tensor) {
    *tensor = mdl_safetensors_find(r->file, name);
    if (!*tensor) return mdl_fail(MDL_BAD_INPUT, "%s: there is no tensor '%s'", r->path, name);
    if ((*tensor)->type.dtype != dtype)
        return mdl_fail(MDL_BAD_INPUT, "%s: tensor '%s': expected %s, got %s", r->path, name, mdl_dtype_name(dtype),
                        mdl_dtype_name((*tensor)->type.dtype));
    return MDL_OK;
}

/* [n] or [batches, n]: the first one seen decides which. */
static mdl_status need_rows(mdl_reference *r, const char *name, int64_t *n) {
    const mdl_tensor *tensor;
    mdl_status status = need(r, name, MDL_I32, &tensor);
    if (status) return status;
    const mdl_type *type = &tensor->type;
    int64_t batches = type->rank == 2 ? type->dim[0] : 1;
    bool fits = (type->rank == 1 || type->rank == 2) && batches > 0 && (!r->batches || r->batches == batches);
    if (fits && *n && *n != type->dim[type->rank - 1]) fits = false;
    if (!fits)
        return mdl_fail(MDL_BAD_INPUT, "%s: tensor '%s' is %s, which does not go with the other inputs", r->path, name,
                        mdl_type_text(r->memory, type));
    r->batches = batches;
    *n = type->dim[type->rank - 1];
    return MDL_OK;
}

static mdl_status read_shapes(mdl_reference *r) {
    mdl_status status = need_rows(r, "ids", &r->tokens);
    if (!status) status = need_rows(r, "labels", &r->tokens);
    if (!status) status = need_rows(r, "cu_seqlens", &r->offsets);
    if (!status && (!r->tokens || r->offsets < 2)) status = mdl_fail(MDL_BAD_INPUT, "%s: the batch is empty", r->path);
    return status;
}

static mdl_status read_adamw(mdl_reference *r, const char *text) {
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    double *const to[] = {&r->adamw.eps, &r->adamw.weight_decay, &r->adamw.max_grad_norm, &r->lr};
    static const char *const names[] = {"eps", "weight_decay", "max_grad_norm", "lr"};
    json_t *betas = json_object_get(root, "betas");
    bool good = json_is_object(root) && (!betas || json_array_size(betas) == 2);
    for (int i = 0; i < 4 && good; i++) {
        json_t *value = json_object_get(root, names[i]);
        good = !value || json_is_number(value);
        if (value && good) *to[i] = json_number_value(value);
    }
    if (good && betas) r->adamw.beta1 = json_number_value(json_array_get(betas, 0));
    if (good && betas) r->adamw.beta2 = json_number_value(json_array_get(betas, 1));
    good = good && r->adamw.beta1 >= 0 && r->adamw.beta1 < 1 && r->adamw.beta2 >= 0 && r->adamw.beta2 < 1;
    json_decref(root);
    if (good) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "%s: metadata 'adamw': expected {\"betas\": [b1, b2], \"eps\": ..., ...}, got %.80s", r->path,
                    text);
}

static mdl_status read_no_decay(mdl_reference *r, const char *text) {
    json_error_t error;
    json_t *root = json_loads(text, 0, &error), *name;
    bool good = json_is_array(root);
    size_t i;
    json_array_foreach(root, i, name) {
        good = good && json_is_string(name);
        if (good) MDL_PUSH(r->memory, r->no_decay, mdl_strdup(r->memory, json_string_value(name)));
    }
    r->has_no_decay = true;
    json_decref(root);
    return good ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "%s: metadata 'no_decay': expected a list of names, got %.80s", r->path, text);
}

static mdl_status read_metadata(mdl_reference *r) {
    const char *adamw = mdl_safetensors_metadata(r->file, "adamw"), *no_decay = mdl_safetensors_metadata(r->file, "no_decay");
    r->adamw = (mdl_adamw){.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.01, .max_grad_norm = 1};
    r->lr = 1e-3;
    mdl_status status = adamw ? read_adamw(r, adamw) : MDL_OK;
    return status || !no_decay ? status : read_no_decay(r, no_decay);
}

mdl_status mdl_reference_open(const char *path, mdl_reference *r) {
    *r = (mdl_reference){.path = path, .memory = mdl_arena_new()};
    mdl_status status = mdl_safetensors_open(path, &r->file);
    if (status) return status;
    r->trajectory = mdl_safetensors_find(r->file, "losses") != NULL;
    status = read_shapes(r);
    return status ? status : read_metadata(r);
}

void mdl_reference_close(mdl_reference *r) {
    if (r->file) mdl_safetensors_close(r->file);
    mdl_arena_free(r->memory);
}

mdl_status mdl_reference_floats(mdl_reference *r, const char *name, int64_t count, float **values, int64_t *n) {
    const mdl_tensor *tensor = mdl_safetensors_find(r->file, name);
    if (!tensor) return mdl_fail(MDL_BAD_INPUT, "%s: there is no tensor '%s'", r->path, name);
    int64_t got = mdl_type_count(&tensor->type);
    if (count >= 0 && got != count)
        return mdl_fail(MDL_BAD_INPUT, "%s: tensor '%s': expected %lld numbers, got %s", r->path, name, (long long)count,
                        mdl_type_text(r->memory, &tensor->type));
    *values = MDL_NEW_ARRAY(r->memory, float, got + 1);
    if (n) *n = got;
    return mdl_context(mdl_weights_floats(tensor, *values), "%s", r->path);
}

bool mdl_reference_has_any(const mdl_reference *r, const char *prefix) {
    for (int i = 0; i < mdl_safetensors_count(r->file); i++)
        if (!strncmp(mdl_safetensors_at(r->file, i)->name, prefix, strlen(prefix))) return true;
    return false;
}

mdl_status mdl_reference_load_weights(mdl_reference *r, mdl_session *s) {
    MDL_VEC(mdl_weight) weights = {0};
    for (int i = 0; i < mdl_safetensors_count(r->file); i++) {
        const mdl_tensor *tensor = mdl_safetensors_at(r->file, i);
        mdl_weight weight = {.name = tensor->name + strlen("weight."), .tensor = tensor};
        if (!strncmp(tensor->name, "weight.", strlen("weight."))) MDL_PUSH(r->memory, weights, weight);
    }
    mdl_weight_store store = mdl_weights_of(s);
    mdl_weight_report report = {.memory = r->memory};
    mdl_weight_rules all = {.strict = true, .from = r->path}, usual = {0};
    mdl_status status = r->weights ? mdl_session_init(s, 0) : MDL_OK; /* for what a folder need not have */
    if (!status)
        status = r->weights ? mdl_weights_read(&store, r->weights, &usual, &report)
                            : mdl_weights_fill(&store, &all, weights.n, weights.at, &report);
    return status ? status : mdl_session_zero_moments(s);
}
