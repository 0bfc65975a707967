/* Any bytes as the index of a small model's shards, beside one shard that is good: refused, or the trained parameters are given. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/weights/weights.h"
#include "tests/fuzz/fuzz.h"
#include "tests/train/fake.h"

static mdl_arena *memory;
static const char *folder, *shard, *index_path;
static int given;

static mdl_status set(void *context, const mdl_plan_param *param, const float *from) {
    (void)context, (void)from;
    given += param->arena == MDL_ARENA_PARAM;
    return MDL_OK;
}

static void remove_folder(void) {
    unlink(shard);
    unlink(index_path);
    rmdir(folder);
    mdl_arena_free(memory);
}

/* Once a process. */
static void make_folder(void) {
    static const float values[] = {1, 2, 3, 4, 5, 6};
    static const int64_t dims[] = {2, 3}, three = 3;
    mdl_tensor tensors[] = {{"a.weight", mdl_type_make(MDL_F32, 2, dims), values},
                            {"a.bias", mdl_type_make(MDL_F32, 1, &three), values}};
    const char *tmp = getenv("TMPDIR");
    memory = mdl_arena_new();
    char *path = mdl_printf(memory, "%s/mdlfuzz.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(path)) abort();
    folder = path;
    shard = mdl_printf(memory, "%s/one.safetensors", folder);
    index_path = mdl_printf(memory, "%s/model.safetensors.index.json", folder);
    if (mdl_safetensors_write(shard, 2, tensors) || atexit(remove_folder)) abort();
}

int mdl_fuzz_shards(const uint8_t *bytes, size_t size) {
    static mdl_plan *plan;
    if (!plan) make_folder(), plan = mdl_fake_plan();
    FILE *f = fopen(index_path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) abort();
    mdl_weight_store store = {.plan = plan, .set = set};
    mdl_weight_report report = {.memory = mdl_arena_new()};
    given = 0;
    mdl_status status = mdl_weights_read(&store, folder, &(mdl_weight_rules){0}, &report);
    if (given != (status ? 0 : 2)) abort();
    mdl_status_free(status);
    mdl_arena_free(report.memory);
    return 0;
}
