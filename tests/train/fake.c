/* The fake plan and device. */
#include "tests/train/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char mdl_fake_log[1024];

struct mdl_device {
    const mdl_plan *plan;
    char *arena[MDL_ARENA_COUNT];
};

static mdl_status load(const mdl_plan *plan, int threads, mdl_device **device) {
    (void)threads;
    mdl_fake_log[0] = 0;
    *device = calloc(1, sizeof **device);
    (*device)->plan = plan;
    for (int i = 0; i < MDL_ARENA_COUNT; i++) (*device)->arena[i] = calloc(1, (size_t)plan->arena_bytes[i] + 1);
    return MDL_OK;
}

static void unload(mdl_device *device) {
    for (int i = 0; i < MDL_ARENA_COUNT; i++) free(device->arena[i]);
    free(device);
}

static mdl_status check_range(const mdl_device *device, mdl_arena_id arena, int64_t offset, int64_t bytes) {
    if (offset >= 0 && bytes >= 0 && offset + bytes <= device->plan->arena_bytes[arena]) return MDL_OK;
    return mdl_fail(MDL_SYSTEM, "outside arena %d", (int)arena);
}

static mdl_status upload(mdl_device *device, mdl_arena_id arena, int64_t offset, const void *from, int64_t bytes) {
    mdl_status status = check_range(device, arena, offset, bytes);
    if (!status) memcpy(device->arena[arena] + offset, from, (size_t)bytes);
    return status;
}

static mdl_status download(mdl_device *device, mdl_arena_id arena, int64_t offset, void *to, int64_t bytes) {
    mdl_status status = check_range(device, arena, offset, bytes);
    if (!status) memcpy(to, device->arena[arena] + offset, (size_t)bytes);
    if (arena == MDL_ARENA_RESULT) strcat(mdl_fake_log, "read ");
    return status;
}

static mdl_status fill(mdl_device *device, mdl_arena_id arena, int byte) {
    memset(device->arena[arena], byte, (size_t)device->plan->arena_bytes[arena]);
    return MDL_OK;
}

/* One batch's part of a number. */
static float batch_part(const int32_t *ids, const char *result) {
    static const struct {
        const char *name;
        int id;
        float factor;
    } parts[] = {{"count.one", 0, 1}, {"count.acc", 0, 1},  {"sum.one", 0, 2},
                 {"count.two", 1, 1}, {"sum.acc", 0, 0.5f}, {"sum.two", 1, 3}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(parts[i].name, result)) return parts[i].factor * (float)ids[parts[i].id];
    return 7;
}

/* What a step of several batches has counted and summed so far, as device state: by result name. */
static struct {
    const char *name;
    float value;
} kept[16];

static float *kept_of(const char *name) {
    int i = 0;
    while (kept[i].name && strcmp(kept[i].name, name)) i++;
    kept[i].name = name;
    return &kept[i].value;
}

static void keep(const int32_t *ids, const char *kind, bool first) {
    static const char *const names[] = {"sum.one", "sum.two", "sum.acc", "count.one", "count.two", "count.acc"};
    for (int i = 0; i < 6; i++) {
        float *value = kept_of(names[i]);
        if (!strncmp(names[i], kind, strlen(kind))) *value = batch_part(ids, names[i]) + (first ? 0 : *value);
    }
}

static mdl_status run(mdl_device *device, const char *name) {
    const mdl_plan_program *program = mdl_plan_find_program(device->plan, name);
    const int32_t *ids = (const int32_t *)device->arena[MDL_ARENA_INPUT];
    bool several = !strcmp(name, "train_first") || !strcmp(name, "train_middle") || !strcmp(name, "train_last");
    strcat(strcat(mdl_fake_log, name), " ");
    if (!strncmp(name, "count_", 6)) keep(ids, "count.", !strcmp(name, "count_first"));
    if (several) keep(ids, "sum.", !strcmp(name, "train_first"));
    for (int i = 0; i < program->results.n; i++) {
        const mdl_plan_buffer *buffer = &program->buffers.at[program->results.at[i].buffer];
        const char *result = program->results.at[i].name;
        float value = several && strcmp(result, "grad_norm") ? *kept_of(result) : batch_part(ids, result);
        memcpy(device->arena[MDL_ARENA_RESULT] + buffer->offset, &value, sizeof value);
    }
    return MDL_OK;
}

static int64_t memory(const mdl_device *device) { return device->plan->arena_bytes[MDL_ARENA_PARAM]; }

const mdl_backend mdl_fake_backend = {.name = "fake",
                                      .load = load,
                                      .unload = unload,
                                      .upload = upload,
                                      .download = download,
                                      .fill = fill,
                                      .run = run,
                                      .memory = memory};

static int64_t place(mdl_plan *plan, mdl_arena_id arena, const mdl_type *type) {
    int64_t offset = plan->arena_bytes[arena];
    plan->arena_bytes[arena] += (mdl_type_bytes(type) + 63) / 64 * 64;
    return offset;
}

static void add_param(mdl_plan *plan, const char *name, mdl_arena_id arena, int rank, const int64_t *dim) {
    mdl_plan_param param = {.name = name,
                            .type = mdl_type_make(MDL_F32, rank, dim),
                            .arena = arena,
                            .group = "",
                            .init = arena == MDL_ARENA_FROZEN ? "value(x)" : "zeros"};
    param.offset = place(plan, arena, &param.type);
    param.decay = rank == 2;
    MDL_PUSH(plan->memory, plan->params, param);
}

static void add_input(mdl_plan *plan, const char *name, const char *source, mdl_dtype dtype, int rank, int64_t n) {
    mdl_plan_input input = {.name = name, .source = source, .type = mdl_type_make(dtype, rank, &n)};
    input.offset = place(plan, MDL_ARENA_INPUT, &input.type);
    MDL_PUSH(plan->memory, plan->inputs, input);
}

static void add_program(mdl_plan *plan, const char *name, int n, const char *const *results) {
    mdl_plan_program program = {.name = name};
    mdl_plan_launch launch = {.flops = (int64_t)strlen(name)};
    for (int i = 0; i < n; i++) {
        mdl_plan_buffer buffer = {
            .name = results[i], .arena = MDL_ARENA_RESULT, .bytes = 4, .of = -1, .type = mdl_type_make(MDL_F32, 0, NULL)};
        mdl_plan_result result = {results[i], i};
        buffer.offset = place(plan, MDL_ARENA_RESULT, &buffer.type);
        MDL_PUSH(plan->memory, program.buffers, buffer);
        MDL_PUSH(plan->memory, program.results, result);
    }
    MDL_PUSH(plan->memory, program.launches, launch);
    MDL_PUSH(plan->memory, plan->programs, program);
}

static void add_programs(mdl_plan *plan) {
    static const char *const measures[] = {"sum.one", "sum.two", "sum.acc", "count.one", "count.two", "count.acc", "grad_norm"};
    enum { N = sizeof measures / sizeof *measures };
    add_program(plan, "init", 0, NULL);
    add_program(plan, "count_first", 0, NULL);
    add_program(plan, "count_next", 0, NULL);
    add_program(plan, "train_only", N, measures);
    add_program(plan, "train_first", N - 1, measures);
    add_program(plan, "train_middle", N - 1, measures);
    add_program(plan, "train_last", N, measures);
    add_program(plan, "update", 1, measures + N - 1);
}

static void add_inputs(mdl_plan *plan) {
    static const char *const scalars[] = {
#define SCALAR(id, name) name,
        MDL_SCALARS(SCALAR)
#undef SCALAR
    };
    add_input(plan, "ids", "tokens", MDL_I32, 1, 8); /* first: at offset 0 */
    add_input(plan, "seed", "seed", MDL_I32, 1, 2);
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) add_input(plan, scalars[i], "scalar", MDL_F32, 0, 0);
}

static void add_names(mdl_plan *plan) {
    static const mdl_plan_name_map maps[] = {{"hf", "name", "layer.0.f", "f", 0, 0, 0},
                                             {"hf", "name", "layer.1.f", "f", 0, 0, 0},
                                             {"hf", "also", "a.beta", "a.bias", 0, 0, 0},
                                             {"hf", "ignore", "old.*", NULL, 0, 0, 0},
                                             {"te", "name", "te.bias", "a.bias", 0, 0, 0}};
    static const mdl_plan_loss losses[] = {{"one", 1}, {"two", 0.5}};
    static const mdl_plan_tie tie = {"head.weight", "a.weight"};
    for (int i = 0; i < 5; i++) MDL_PUSH(plan->memory, plan->layouts, maps[i]);
    for (int i = 0; i < 2; i++) MDL_PUSH(plan->memory, plan->losses, losses[i]);
    MDL_PUSH(plan->memory, plan->ties, tie);
    MDL_PUSH(plan->memory, plan->metrics, "acc");
}

static void add_files(mdl_plan *plan) {
    mdl_plan_file files[] = {{.path = "assets/toy.vocab.txt", .bytes = "<pad>\nA\n", .size = 8},
                             {.path = "assets/config.json", .bytes = "{}\n", .size = 3},
                             {.path = "kernels/cpu.c", .bytes = "/**/", .size = 4}};
    for (int i = 0; i < 3; i++) MDL_PUSH(plan->memory, plan->files, files[i]);
    plan->vocab = "assets/toy.vocab.txt";
    plan->export_name = "config.json";
}

mdl_plan *mdl_fake_plan(void) {
    static const int64_t matrix[] = {2, 3}, three = 3, two = 2, one = 1;
    mdl_plan *plan = mdl_plan_new();
    plan->model = "toy";
    plan->target = "fake";
    plan->tokens = 8;
    plan->segments = 4;
    add_param(plan, "a.weight", MDL_ARENA_PARAM, 2, matrix);
    add_param(plan, "a.bias", MDL_ARENA_PARAM, 1, &three);
    add_param(plan, "f", MDL_ARENA_FROZEN, 1, &two);
    add_param(plan, "c", MDL_ARENA_FROZEN, 1, &one);
    plan->arena_bytes[MDL_ARENA_MOMENT1] = plan->arena_bytes[MDL_ARENA_MOMENT2] = plan->arena_bytes[MDL_ARENA_PARAM];
    plan->arena_bytes[MDL_ARENA_GRAD] = plan->arena_bytes[MDL_ARENA_PARAM];
    add_inputs(plan);
    add_names(plan);
    add_programs(plan);
    add_files(plan);
    return plan;
}
