/* The hand-made plan of the plan and device suites. */
#include "tests/plan/fixture.h"

#include <stdlib.h>
#include <string.h>

#define TYPE(dtype, rank, ...) mdl_type_make((dtype), (rank), (const int64_t[]){__VA_ARGS__})

int mdl_fixture_buffer(mdl_plan *plan, mdl_plan_program *program, const char *name, mdl_arena_id arena, int64_t offset,
                       mdl_type type) {
    MDL_PUSH(plan->memory, program->buffers, ((mdl_plan_buffer){name, arena, offset, mdl_type_bytes(&type), type, -1, 0, 0}));
    return program->buffers.n - 1;
}

int mdl_fixture_kernel(mdl_plan *plan, const char *symbol, const char *source) {
    mdl_plan_kernel kernel = {.symbol = symbol,
                              .class = "row",
                              .hash = mdl_plan_hash(plan->memory, source, (int64_t)strlen(source)),
                              .source = source,
                              .span = "tiny.mdl:3:1",
                              .grid = {MDL_TIMES_ONE, 1, 0, 1}};
    MDL_PUSH(plan->memory, plan->kernels, kernel);
    return plan->kernels.n - 1;
}

mdl_plan_launch *mdl_fixture_launch(mdl_plan *plan, mdl_plan_program *program, mdl_launch_kind kind, const char *label,
                                    const char *args) {
    mdl_plan_launch launch = {
        .kind = kind, .grid = 1, .threads = 1, .cluster = 1, .workspace = -1, .label = label, .span = "tiny.mdl:7:5"};
    for (char *rest = mdl_strdup(plan->memory, args), *word; (word = strtok_r(rest, " ", &rest));) {
        mdl_plan_arg arg = {.kind = *word == 'i' ? MDL_ARG_IMMEDIATE : MDL_ARG_BUFFER, .value = atoll(word + 1)};
        if (*word != 'i') arg.access = *word == 'r' ? MDL_ACCESS_READ : *word == 'w' ? MDL_ACCESS_WRITE : MDL_ACCESS_READ_WRITE;
        MDL_PUSH(plan->memory, launch.args, arg);
    }
    MDL_PUSH(plan->memory, program->launches, launch);
    return &program->launches.at[program->launches.n - 1];
}

void mdl_fixture_file(mdl_plan *plan, const char *path, const char *bytes, int64_t size) {
    MDL_PUSH(plan->memory, plan->files, ((mdl_plan_file){path, mdl_copy(plan->memory, bytes, (size_t)size), size, NULL}));
}

/* The first launch of a kernel signs it. */
static void sign(mdl_plan *plan, const mdl_plan_program *p, const mdl_plan_launch *l) {
    if (l->kind != MDL_LAUNCH_KERNEL || plan->kernels.at[l->kernel].args.n) return;
    mdl_plan_sign(plan->memory, p, l, 0, &plan->kernels.at[l->kernel]);
    plan->kernels.at[l->kernel].grid.times = l->grid;
}

void mdl_fixture_finish(mdl_plan *plan) {
    mdl_plan_count_launches(plan);
    for (int i = 0; i < plan->programs.n; i++) {
        mdl_plan_program *p = &plan->programs.at[i];
        for (int k = 0; k < p->launches.n; k++) sign(plan, p, &p->launches.at[k]);
        mdl_plan_lives lives = mdl_plan_lifetimes(plan->memory, p);
        p->activation_bytes = lives.activation_bytes;
        p->live_bytes = lives.live_bytes;
    }
    for (int i = 0; i < plan->files.n; i++)
        plan->files.at[i].hash = mdl_plan_hash(plan->memory, plan->files.at[i].bytes, plan->files.at[i].size);
}

static void add_tables(mdl_plan *plan) {
    mdl_arena *m = plan->memory;
    MDL_PUSH(m, plan->dims, ((mdl_plan_dim){"D", 8}));
    MDL_PUSH(m, plan->specials, ((mdl_plan_dim){"pad", 1}));
    MDL_PUSH(m, plan->losses, ((mdl_plan_loss){"mlm", 0.1}));
    MDL_PUSH(m, plan->metrics, "acc");
    MDL_PUSH(m, plan->layouts, ((mdl_plan_name_map){"hf", "name", "theirs.weight", "w", 0, 0, 0}));
    MDL_PUSH(m, plan->layouts, ((mdl_plan_name_map){"hf", "ignore", "extra.*", NULL, 0, 0, 0}));
    MDL_PUSH(m, plan->params,
             ((mdl_plan_param){"w", TYPE(MDL_F32, 2, 4, 8), MDL_ARENA_PARAM, 0, true, false, "", "normal(0, 0.02)"}));
    MDL_PUSH(m, plan->params, ((mdl_plan_param){"b", TYPE(MDL_F32, 1, 4), MDL_ARENA_PARAM, 128, false, false, "", "zeros"}));
    MDL_PUSH(m, plan->params,
             ((mdl_plan_param){"inv_freq", TYPE(MDL_F32, 1, 8), MDL_ARENA_FROZEN, 0, false, true, "head", "zeros"}));
    MDL_PUSH(m, plan->units, ((mdl_plan_unit){"layer.0", 0, 128}));
    MDL_PUSH(m, plan->units, ((mdl_plan_unit){"", 128, 64}));
    MDL_PUSH(m, plan->ties, ((mdl_plan_tie){"decoder.weight", "w"}));
    MDL_PUSH(m, plan->inputs, ((mdl_plan_input){"ids", "tokens", TYPE(MDL_I32, 1, 16), 0, 4}));
    MDL_PUSH(m, plan->inputs, ((mdl_plan_input){"seq", "segments", TYPE(MDL_SEG, 2, 4, 16), 64, 0}));
    MDL_PUSH(m, plan->inputs, ((mdl_plan_input){"lr", "scalar", mdl_type_make(MDL_F32, 0, NULL), 84, 0}));
    MDL_PUSH(m, plan->inputs, ((mdl_plan_input){"seed", "seed", TYPE(MDL_I32, 1, 2), 88, 0}));
}

static void add_program(mdl_plan *plan) {
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "eval"}));
    mdl_plan_program *p = &plan->programs.at[0];
    int ids = mdl_fixture_buffer(plan, p, "ids", MDL_ARENA_INPUT, 0, TYPE(MDL_I32, 1, 16));
    mdl_fixture_buffer(plan, p, "w", MDL_ARENA_PARAM, 0, TYPE(MDL_F32, 2, 4, 8));
    mdl_fixture_buffer(plan, p, "b", MDL_ARENA_PARAM, 128, TYPE(MDL_F32, 1, 4));
    mdl_fixture_buffer(plan, p, "x", MDL_ARENA_ACTIVATION, 0, TYPE(MDL_F32, 2, 16, 8));
    mdl_fixture_buffer(plan, p, "y", MDL_ARENA_ACTIVATION, 512, TYPE(MDL_F32, 2, 16, 4));
    mdl_fixture_buffer(plan, p, "z", MDL_ARENA_ACTIVATION, 0, TYPE(MDL_F32, 2, 16, 4));
    int loss = mdl_fixture_buffer(plan, p, "sum.mlm", MDL_ARENA_RESULT, 0, mdl_type_make(MDL_F32, 0, NULL));
    mdl_plan_launch *l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "embed", "r0 w3 i16");
    l->grid = 2, l->bytes = 576;
    mdl_plan_sign(plan->memory, p, l, 1, &plan->kernels.at[0]);
    plan->kernels.at[0].grid = (mdl_plan_grid){0, 8, 0, 1};
    l = mdl_fixture_launch(plan, p, MDL_LAUNCH_GEMM, "linear", "r3 r1 w4");
    l->gemm = (mdl_gemm){.m = 16, .n = 4, .k = 8, .batch = 1, .lda = 8, .ldb = 8, .ldd = 4, .trans_b = true};
    l->bytes = 896, l->flops = 1024;
    l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "bias", "r4 r2 w5 i16");
    l->kernel = 1, l->bytes = 528, l->flops = 64;
    l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "sum", "r5 w6 i64");
    l->kernel = 2, l->bytes = 260, l->flops = 64;
    MDL_PUSH(plan->memory, l->waits, 0);
    MDL_PUSH(plan->memory, p->results, ((mdl_plan_result){"sum.mlm", loss}));
    MDL_ASSERT(ids == 0);
}

mdl_plan *mdl_fixture_plan(void) {
    static const int64_t bytes[MDL_ARENA_COUNT] = {
        [MDL_ARENA_PARAM] = 256, [MDL_ARENA_GRAD] = 256,      [MDL_ARENA_MOMENT1] = 256, [MDL_ARENA_MOMENT2] = 256,
        [MDL_ARENA_FROZEN] = 64, [MDL_ARENA_CONST] = 16,      [MDL_ARENA_INPUT] = 128,   [MDL_ARENA_TALLY] = 16,
        [MDL_ARENA_RESULT] = 64, [MDL_ARENA_ACTIVATION] = 768};
    mdl_plan *plan = mdl_plan_new();
    plan->model = "tiny";
    plan->target = "cpu";
    plan->isa = "x86-64-v3";
    plan->precision = "f32";
    plan->compiler = "mdlc 0.1.0";
    plan->tokens = plan->max_length = 16;
    plan->segments = 4;
    plan->tile = 16;
    memcpy(plan->arena_bytes, bytes, sizeof bytes);
    add_tables(plan);
    mdl_fixture_kernel(plan, "k_embed", "void k_embed(void) {}\n");
    mdl_fixture_kernel(plan, "k_bias", "void k_bias(void) {}\n");
    mdl_fixture_kernel(plan, "k_sum", "void k_sum(void) {}\n");
    add_program(plan);
    mdl_fixture_file(plan, "model.mdl", "model tiny {}\n", 14);
    mdl_fixture_file(plan, "assets/vocab.txt", "<cls>\n<pad>\n", 12);
    mdl_fixture_file(plan, "assets/config.json", "{}", 2);
    mdl_fixture_file(plan, MDL_PLAN_CONSTANTS, "0123456789abcdef", 16);
    plan->vocab = "assets/vocab.txt";
    plan->export_name = "config.json";
    mdl_fixture_finish(plan);
    return plan;
}
