/* Writing a model's folder: which tensor goes into which file, then the files, then their places. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/weights/weights.h"

enum { SMALL_FILES = 1 << 20 }; /* bytes: more than headers, index and what lies beside the weights take */

typedef struct {
    mdl_tensor tensor; /* without bytes */
    const mdl_plan_param *param;
} output;

typedef struct {
    const char *name;
    int first, n; /* outputs */
    mdl_new_file file;
} shard;

typedef struct {
    mdl_arena *memory;
    const mdl_plan *plan;
    const mdl_weight_store *store;
    const char *dir;
    int64_t bytes, largest; /* of all tensors; of a parameter */
    MDL_VEC(output) outputs;
    MDL_VEC(shard) shards;
    const mdl_plan_param *held; /* whose numbers are in values */
    float *values;
} export;

/* ---- which names go out, and where ---- */
/* A parameter goes out under every name that the layout maps to it, else under its own. */
static void add_names(export *x, const mdl_plan_param *param) {
    int before = x->outputs.n;
    for (int i = 0; i < x->plan->layouts.n; i++) {
        const mdl_plan_name_map *map = &x->plan->layouts.at[i];
        if (strcmp(map->layout, "hf") || strcmp(map->kind, "name") || strcmp(map->ours, param->name)) continue;
        MDL_PUSH(x->memory, x->outputs, ((output){{map->theirs, param->type, NULL}, param}));
    }
    if (x->outputs.n == before) MDL_PUSH(x->memory, x->outputs, ((output){{param->name, param->type, NULL}, param}));
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const output *)a)->tensor.name, ((const output *)b)->tensor.name);
}

static void plan_shards(export *x, int64_t most) {
    int64_t here = 0;
    for (int i = 0; i < x->outputs.n; i++) {
        int64_t bytes = mdl_type_bytes(&x->outputs.at[i].tensor.type);
        if (!i || here > most - bytes) {
            MDL_PUSH(x->memory, x->shards, ((shard){.first = i}));
            here = 0;
        }
        x->shards.at[x->shards.n - 1].n++;
        here += bytes;
    }
    if (!x->shards.n) MDL_PUSH(x->memory, x->shards, (shard){0}); /* no tensors are a file too */
    for (int i = 0; i < x->shards.n; i++)
        x->shards.at[i].name =
            x->shards.n == 1 ? "model.safetensors" : mdl_printf(x->memory, "model-%05d-of-%05d.safetensors", i + 1, x->shards.n);
}

/* What lies there is replaced when the new files are whole, so that they need room beside it. */
static mdl_status check_room(const export *x) {
    struct statvfs disk;
    int64_t need = x->bytes + SMALL_FILES;
    if (statvfs(x->dir, &disk)) return mdl_fail_errno("%s", x->dir);
    double have = (double)disk.f_bavail * (double)disk.f_frsize;
    if (have >= (double)need || !disk.f_blocks) return MDL_OK; /* a file system of no size does not say */
    return mdl_fail(MDL_SYSTEM, "%s: the weights need %.1f MB, the disk has room for %.1f MB", x->dir, (double)need / 1e6,
                    have / 1e6);
}

/* ---- writing ---- */
/* One parameter is held at a time; names of one parameter that follow each other share it. */
static mdl_status fetch(void *context, const mdl_tensor *tensor, const void **bytes) {
    export *x = context;
    const mdl_plan_param *param =
        ((const output *)bsearch(&(output){.tensor = *tensor}, x->outputs.at, (size_t)x->outputs.n, sizeof *x->outputs.at, by_name))
            ->param;
    int64_t n = mdl_type_count(&param->type);
    *bytes = x->values;
    if (x->held == param) return MDL_OK;
    x->held = NULL;
    mdl_status status = x->store->get(x->store->context, param, x->values);
    int64_t bad = status ? 0 : mdl_weights_bad(n, x->values);
    if (bad) return mdl_fail(MDL_MISMATCH, "%" PRId64 " of its %" PRId64 " numbers are not finite; no weights are written", bad, n);
    if (!status) x->held = param;
    return status;
}

static mdl_status write_shard(export *x, shard *s) {
    const char *path = mdl_printf(x->memory, "%s/%s", x->dir, s->name);
    mdl_tensor *tensors = MDL_NEW_ARRAY(x->memory, mdl_tensor, s->n + 1);
    for (int i = 0; i < s->n; i++) tensors[i] = x->outputs.at[s->first + i].tensor;
    mdl_status status = mdl_file_create(path, &s->file);
    return status ? status : mdl_context(mdl_safetensors_stream(s->file.out, s->n, tensors, fetch, x), "%s", path);
}

/* Nothing takes its place before every shard is written. */
static mdl_status write_shards(export *x) {
    mdl_status status = MDL_OK;
    int written = 0;
    while (written < x->shards.n && !status) status = write_shard(x, &x->shards.at[written++]);
    for (int i = 0; i < written; i++)
        if (x->shards.at[i].file.out) status = mdl_file_commit(&x->shards.at[i].file, status);
    return status;
}

static mdl_status write_index(export *x, const char *path) {
    json_t *map = json_object(), *index;
    for (int i = 0; i < x->shards.n; i++)
        for (int k = 0; k < x->shards.at[i].n; k++)
            json_object_set_new(map, x->outputs.at[x->shards.at[i].first + k].tensor.name, json_string(x->shards.at[i].name));
    index = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)x->bytes, "weight_map", map);
    char *text = json_dumps(index, JSON_INDENT(2));
    json_decref(index);
    if (!text) return mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    mdl_status status = mdl_file_write(path, mdl_printf(x->memory, "%s\n", text), strlen(text) + 1);
    free(text);
    return status;
}

/* Readers take one file before shards: what an earlier run left must not be what they find. */
static mdl_status finish_weights(export *x) {
    const char *one = mdl_printf(x->memory, "%s/model.safetensors", x->dir), *index = mdl_printf(x->memory, "%s.index.json", one);
    bool sharded = x->shards.n > 1;
    const char *stale = sharded ? one : index;
    mdl_status status = sharded ? write_index(x, index) : MDL_OK;
    if (!status && unlink(stale) && errno != ENOENT) status = mdl_fail_errno("%s", stale);
    return status;
}

/* The name that a file of the plan leaves under; NULL: it stays. Assets lie under assets/ and leave under their base name, the
 * vocabulary as vocab.txt. */
static const char *asset_name(const mdl_plan *plan, const mdl_plan_file *file) {
    bool vocab = plan->vocab && !strcmp(file->path, plan->vocab);
    bool own = !strcmp(file->path, MDL_PLAN_CONSTANTS); /* of the plan itself */
    if (own || (!vocab && strncmp(file->path, "assets/", 7))) return NULL;
    const char *name = vocab ? "vocab.txt" : strrchr(file->path, '/') + 1;
    return *name && name[0] != '.' ? name : NULL;
}

static mdl_status write_assets(const export *x) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < x->plan->files.n && !status; i++) {
        const mdl_plan_file *file = &x->plan->files.at[i];
        const char *name = asset_name(x->plan, file);
        if (name) status = mdl_file_write(mdl_printf(x->memory, "%s/%s", x->dir, name), file->bytes, (size_t)file->size);
    }
    return status;
}

const char *mdl_weights_there(mdl_arena *arena, const mdl_plan *plan, const char *dir) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                        "pytorch_model.bin.index.json"};
    enum { NAMES = sizeof names / sizeof *names };
    for (int i = 0; i < NAMES + plan->files.n; i++) {
        const char *name = i < NAMES ? names[i] : asset_name(plan, &plan->files.at[i - NAMES]);
        const char *path = name ? mdl_printf(arena, "%s/%s", dir, name) : NULL;
        if (path && !access(path, F_OK)) return path;
    }
    return NULL;
}

static void plan_outputs(export *x) {
    for (int i = 0; i < x->plan->params.n; i++) {
        int64_t bytes = mdl_type_bytes(&x->plan->params.at[i].type);
        x->largest = bytes > x->largest ? bytes : x->largest;
        add_names(x, &x->plan->params.at[i]);
    }
    if (x->outputs.n) qsort(x->outputs.at, (size_t)x->outputs.n, sizeof *x->outputs.at, by_name);
    for (int i = 0; i < x->outputs.n; i++) x->bytes += mdl_type_bytes(&x->outputs.at[i].tensor.type);
}

/* The weights first: they take longest, and what lies beside them belongs to them. */
mdl_status mdl_weights_export(const mdl_weight_store *store, const char *dir, int64_t max_shard_bytes) {
    export x = {.memory = mdl_arena_new(), .plan = store->plan, .store = store, .dir = dir};
    plan_outputs(&x);
    plan_shards(&x, max_shard_bytes);
    mdl_status status = check_room(&x);
    x.values = malloc((size_t)x.largest + 1);
    if (!status && !x.values) status = mdl_fail(MDL_SYSTEM, "%s: no memory for the largest tensor", dir);
    if (!status) status = write_shards(&x);
    if (!status) status = finish_weights(&x);
    if (!status) status = write_assets(&x);
    free(x.values);
    mdl_arena_free(x.memory);
    return status;
}

bool mdl_weights_parse_size(const char *text, int64_t *bytes) {
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = {{"", 1}, {"B", 1}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"TB", 1000000000000}};
    char *unit;
    errno = 0;
    long long n = strtoll(text, &unit, 10);
    if (unit == text || errno || n <= 0) return false;
    while (*unit == ' ') unit++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].name)) return !__builtin_mul_overflow((int64_t)n, units[i].bytes, bytes);
    return false;
}
