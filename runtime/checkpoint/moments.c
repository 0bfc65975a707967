/* Snapshots as optimizer-*.safetensors. Prefixes are PyTorch's names for AdamW's state; names are the plan's own, so that the files
 * stand for the plan's parameters whatever the weights beside them are called. */
#include <stdio.h>
#include <string.h>

#include "runtime/base/safetensors.h"
#include "runtime/checkpoint/inside.h"

static const struct {
    const char *prefix;
    mdl_arena_id arena;
} parts[] = {{"master.", MDL_ARENA_PARAM}, {"exp_avg.", MDL_ARENA_MOMENT1}, {"exp_avg_sq.", MDL_ARENA_MOMENT2}};
static const char scaling[] = "scaling";
enum { PARTS = sizeof parts / sizeof *parts, LISTED = 8 };

/* Parts of a parameter: one that is not trained has no moments. */
static int parts_of(const mdl_plan_param *param) { return param->arena == MDL_ARENA_PARAM ? PARTS : 1; }

static mdl_arena_id arena_of(const mdl_plan_param *param, int part) { return part ? parts[part].arena : param->arena; }

typedef MDL_VEC(mdl_tensor) tensors;

static tensors all_tensors(mdl_arena *memory, const mdl_device *s) {
    tensors list = {0};
    for (int part = 0; part < PARTS; part++)
        for (int i = 0; i < s->plan->params.n; i++) {
            const mdl_plan_param *param = &s->plan->params.at[i];
            if (part >= parts_of(param)) continue;
            mdl_tensor tensor = {mdl_printf(memory, "%s%s", parts[part].prefix, param->name), param->type,
                                 mdl_snapshot_at(s, arena_of(param, part), param)};
            MDL_PUSH(memory, list, tensor);
        }
    int64_t numbers = s->plan->arena_bytes[MDL_ARENA_SCALING] / 4;
    mdl_tensor scales = {scaling, mdl_type_make(MDL_F32, 1, &numbers), s->arena[MDL_ARENA_SCALING]};
    if (numbers) MDL_PUSH(memory, list, scales);
    return list;
}

/* The tensor behind the last one of the shard that begins at `first`. */
static int shard_end(const tensors *list, int first, int64_t limit) {
    int64_t bytes = mdl_type_bytes(&list->at[first].type);
    int end = first + 1;
    while (end < list->n && (bytes += mdl_type_bytes(&list->at[end].type)) <= limit) end++;
    return end;
}

mdl_status mdl_snapshot_write(mdl_device *s, const char *folder, int64_t limit) {
    mdl_arena *memory = mdl_arena_new();
    tensors list = all_tensors(memory, s);
    mdl_status status = MDL_OK;
    int shards = 0, shard = 0;
    for (int i = 0; i < list.n; i = shard_end(&list, i, limit)) shards++;
    for (int i = 0, end; i < list.n && !status; i = end) {
        end = shard_end(&list, i, limit);
        const char *path = mdl_printf(memory, "%s/optimizer-%05d-of-%05d.safetensors", folder, ++shard, shards);
        status = mdl_safetensors_write(path, end - i, list.at + i);
    }
    mdl_arena_free(memory);
    return status;
}

typedef struct {
    mdl_device *snapshot;
    mdl_arena *memory;
    bool *filled; /* [params][PARTS] */
    mdl_text wrong;
    int n_wrong;
} filling;

static void complain(filling *f, const char *line) {
    if (f->n_wrong++ < LISTED) mdl_text_printf(&f->wrong, "\n    %s", line);
    if (f->n_wrong == LISTED + 1) mdl_text_printf(&f->wrong, "\n    ...");
}

/* The parameter and the part that a tensor's name stands for; NULL: none. */
static const mdl_plan_param *find(const mdl_plan *plan, const char *name, int *part) {
    for (*part = 0; *part < PARTS; ++*part) {
        size_t n = strlen(parts[*part].prefix);
        if (strncmp(name, parts[*part].prefix, n)) continue;
        for (int i = 0; i < plan->params.n; i++)
            if (!strcmp(plan->params.at[i].name, name + n)) return &plan->params.at[i];
        return NULL;
    }
    return NULL;
}

/* Of another plan or precision they mean nothing, and are measured anew. */
static void fill_scaling(mdl_device *s, const mdl_tensor *tensor) {
    int64_t bytes = s->plan->arena_bytes[MDL_ARENA_SCALING];
    s->scaled = bytes && tensor->type.dtype == MDL_F32 && mdl_type_bytes(&tensor->type) == bytes;
    if (s->scaled) memcpy(s->arena[MDL_ARENA_SCALING], tensor->bytes, (size_t)bytes);
}

static void fill(filling *f, const mdl_tensor *tensor) {
    int part;
    mdl_device *s = f->snapshot;
    if (!strcmp(tensor->name, scaling)) {
        fill_scaling(s, tensor);
        return;
    }
    const mdl_plan_param *param = find(s->plan, tensor->name, &part);
    const char *wrong = NULL;
    if (!param || part >= parts_of(param))
        wrong = mdl_printf(f->memory, "%s is not in the plan", tensor->name);
    else if (!mdl_type_equal(&tensor->type, &param->type))
        wrong = mdl_printf(f->memory, "%s is %s, the plan has %s", tensor->name, mdl_type_text(f->memory, &tensor->type),
                           mdl_type_text(f->memory, &param->type));
    if (wrong) complain(f, wrong);
    if (param && part < parts_of(param)) f->filled[(param - s->plan->params.at) * PARTS + part] = true; /* at least it is there */
    if (wrong) return;
    memcpy(s->arena[arena_of(param, part)] + param->offset, tensor->bytes, (size_t)mdl_type_bytes(&param->type));
}

static mdl_status fill_from(filling *f, const char *path) {
    mdl_safetensors *file = NULL;
    mdl_status status = mdl_safetensors_open(path, &file);
    for (int i = 0; !status && i < mdl_safetensors_count(file); i++) fill(f, mdl_safetensors_at(file, i));
    mdl_safetensors_close(file);
    return status;
}

static void note_missing(filling *f) {
    const mdl_plan *plan = f->snapshot->plan;
    for (int i = 0; i < plan->params.n; i++)
        for (int part = 0; part < parts_of(&plan->params.at[i]); part++)
            if (!f->filled[i * PARTS + part])
                complain(f, mdl_printf(f->memory, "%s%s is missing", parts[part].prefix, plan->params.at[i].name));
}

mdl_status mdl_snapshot_read(mdl_device *s, const char *folder, const mdl_commit *commit) {
    mdl_arena *memory = mdl_arena_new();
    filling f = {.snapshot = s, .memory = memory, .wrong.arena = memory};
    f.filled = MDL_NEW_ARRAY(memory, bool, s->plan->params.n *PARTS + 1);
    mdl_status status = MDL_OK;
    s->scaled = false;
    for (int i = 0; i < commit->files.n && !status; i++)
        if (!strncmp(commit->files.at[i].name, "optimizer-", 10))
            status = fill_from(&f, mdl_printf(memory, "%s/%s", folder, commit->files.at[i].name));
    if (!status) note_missing(&f);
    if (!status && f.n_wrong)
        status = mdl_fail(MDL_BAD_INPUT, "%s: it is not of the plan's model '%s': %d tensors do not fit:%s", folder, s->plan->model,
                          f.n_wrong, f.wrong.at);
    mdl_arena_free(memory);
    return status;
}
