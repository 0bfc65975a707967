/* A folder's files of weights, and its configuration beside the plan's. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/weights/weights.h"

enum { MAX_SHARDS = 10000 };

typedef struct {
    mdl_arena *memory;
    const char *path; /* of the folder */
    MDL_VEC(const char *) names;
    MDL_VEC(mdl_safetensors *) files;
    MDL_VEC(mdl_weight) weights;
} folder;

static mdl_status open_file(folder *f, const char *path) {
    mdl_safetensors *file = NULL;
    mdl_status status = mdl_safetensors_open(path, &file);
    if (status) return status;
    MDL_PUSH(f->memory, f->files, file);
    for (int i = 0; i < mdl_safetensors_count(file); i++) {
        const mdl_tensor *tensor = mdl_safetensors_at(file, i);
        MDL_PUSH(f->memory, f->weights, ((mdl_weight){.name = tensor->name, .tensor = tensor}));
    }
    const char *name, *dtype;
    for (int i = 0; (name = mdl_safetensors_other(file, i, &dtype)); i++)
        MDL_PUSH(f->memory, f->weights, ((mdl_weight){.name = name, .unsupported = dtype}));
    return MDL_OK;
}

/* ---- shards ---- */
/* Opens the shard, if it is new; *file is its index among files. */
static mdl_status need_shard(folder *f, const char *name, int *file) {
    for (*file = 0; *file < f->names.n; ++*file)
        if (!strcmp(f->names.at[*file], name)) return MDL_OK;
    if (!*name || strchr(name, '/') || name[0] == '.')
        return mdl_fail(MDL_BAD_INPUT, "shard '%s': not the name of a file beside it", name);
    if (f->names.n == MAX_SHARDS) return mdl_fail(MDL_BAD_INPUT, "more than %d shards", MAX_SHARDS);
    MDL_PUSH(f->memory, f->names, mdl_strdup(f->memory, name));
    return open_file(f, mdl_printf(f->memory, "%s/%s", f->path, name));
}

static bool has_tensor(const mdl_safetensors *file, const char *name) {
    const char *other, *dtype;
    if (mdl_safetensors_find(file, name)) return true;
    for (int i = 0; (other = mdl_safetensors_other(file, i, &dtype)); i++)
        if (!strcmp(other, name)) return true;
    return false;
}

static mdl_status open_shards(folder *f, json_t *map) {
    const char *name;
    json_t *value;
    if (!json_is_object(map)) return mdl_fail(MDL_BAD_INPUT, "\"weight_map\" is missing or is not an object");
    json_object_foreach(map, name, value) {
        int file;
        if (!json_is_string(value)) return mdl_fail(MDL_BAD_INPUT, "tensor \"%s\": its shard is not a string", name);
        MDL_TRY(need_shard(f, json_string_value(value), &file), "tensor \"%s\"", name);
        if (!has_tensor(f->files.at[file], name))
            return mdl_fail(MDL_BAD_INPUT, "tensor \"%s\" is not in its shard %s", name, json_string_value(value));
    }
    return MDL_OK;
}

static mdl_status open_index(folder *f, const char *path) {
    json_error_t error;
    json_t *index = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    mdl_status status = index ? open_shards(f, json_object_get(index, "weight_map"))
                              : mdl_fail(MDL_BAD_INPUT, "line %d: %s", error.line, error.text);
    json_decref(index);
    return mdl_context(status, "%s", path);
}

/* One file wins over shards, as Hugging Face has it. */
static mdl_status open_folder(folder *f) {
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    const char *one = mdl_printf(f->memory, "%s/model.safetensors", f->path), *index = mdl_printf(f->memory, "%s.index.json", one);
    if (access(one, F_OK) && !access(index, F_OK)) return open_index(f, index);
    for (int i = 0; i < 2 && access(one, F_OK); i++)
        if (!access(mdl_printf(f->memory, "%s/%s", f->path, pickles[i]), F_OK))
            return mdl_fail(MDL_BAD_INPUT,
                            "%s: holds %s, a Python pickle, and no model.safetensors: load it with transformers and save it again",
                            f->path, pickles[i]);
    return open_file(f, one);
}

/* ---- the configuration ---- */
/* What says where a file comes from, and nothing of what it computes. */
static bool is_provenance(const char *key) {
    static const char *const keys[] = {"architectures",        "auto_map",  "dtype",      "torch_dtype",
                                       "transformers_version", "use_cache", "vocab_list", NULL};
    int i = 0;
    while (keys[i] && strcmp(keys[i], key)) i++;
    return keys[i] || key[0] == '_';
}

static bool same_value(json_t *a, json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static void compare_configurations(json_t *ours, json_t *theirs, const char *path, mdl_weight_report *report) {
    const char *key;
    json_t *value;
    json_object_foreach(ours, key, value) {
        json_t *other = json_object_get(theirs, key);
        if (!other || is_provenance(key) || same_value(value, other)) continue;
        char *a = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)),
             *b = json_dumps(other, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        if (a && b)
            MDL_PUSH(report->memory, report->notes,
                     mdl_printf(report->memory, "%s: %s is %s there, %s in the plan", path, key, b, a));
        free(a);
        free(b);
    }
}

/* Weights of equal shapes may still be of another model: of another number of heads, say. */
static void note_differences(const folder *f, const mdl_plan *plan, mdl_weight_report *report) {
    if (!plan->export_name) return;
    const mdl_plan_file *file = mdl_plan_find_file(plan, mdl_printf(f->memory, "assets/%s", plan->export_name));
    const char *path = mdl_printf(f->memory, "%s/%s", f->path, plan->export_name);
    json_t *ours = file ? json_loadb(file->bytes, (size_t)file->size, 0, NULL) : NULL, *theirs = json_load_file(path, 0, NULL);
    if (json_is_object(ours) && json_is_object(theirs)) compare_configurations(ours, theirs, path, report);
    json_decref(ours);
    json_decref(theirs);
}

mdl_status mdl_weights_read(const mdl_weight_store *store, const char *path, const mdl_weight_rules *rules,
                            mdl_weight_report *report) {
    struct stat facts;
    folder f = {.memory = mdl_arena_new(), .path = path};
    bool one = !stat(path, &facts) && S_ISREG(facts.st_mode);
    mdl_weight_rules own = *rules;
    mdl_status status = one ? open_file(&f, path) : open_folder(&f);
    own.from = f.files.n > 1 || one ? path : mdl_printf(f.memory, "%s/model.safetensors", path);
    if (!status && !one) note_differences(&f, store->plan, report); /* first: they explain shapes that do not fit */
    if (!status) status = mdl_weights_fill(store, &own, f.weights.n, f.weights.at, report);
    for (int i = 0; i < f.files.n; i++) mdl_safetensors_close(f.files.at[i]);
    mdl_arena_free(f.memory);
    return status;
}
