/* A step's arithmetic and order of programs, and weights in and out, on a fake device. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/train/weights.h"
#include "tests/check.h"
#include "tests/train/fake.h"

static mdl_session *open_session(mdl_test *t) {
    mdl_session *session = NULL;
    mdl_status status = mdl_session_attach(mdl_fake_plan(), &mdl_fake_backend, 1, &session);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return session;
}

static void expect_ok(mdl_test *t, mdl_status status) {
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* Expects the message and frees the status. */
static void expect_error(mdl_test *t, mdl_status status, const char *message) {
    CHECK(t, status && !strcmp(mdl_message(status), message), "expected %s\n        got      %s", message, mdl_message(status));
    mdl_status_free(status);
}

static float scalar(mdl_session *s, const char *name) {
    float value = NAN;
    const mdl_plan_input *input = mdl_plan_find_input(s->plan, name);
    mdl_status_free(mdl_fake_backend.download(s->device, MDL_ARENA_INPUT, input->offset, &value, sizeof value));
    return value;
}

/* Steps over batches whose counts for the two losses are given. */
static mdl_step step_of(mdl_test *t, mdl_session *s, int n, const int32_t counts[][2]) {
    int32_t ids[4][8] = {{0}};
    const void *input[4][32] = {{NULL}};
    mdl_batch batches[4] = {{0}};
    mdl_step step = {0};
    for (int i = 0; i < n; i++) {
        memcpy(ids[i], counts[i], sizeof counts[i]);
        input[i][0] = ids[i];
        batches[i].input = input[i];
    }
    mdl_fake_log[0] = 0;
    expect_ok(t, mdl_session_step(s, n, batches, &step));
    return step;
}

/* The log is `programs`, then nothing but reads: the host waits for nothing inside a step. */
static void expect_run(mdl_test *t, const char *programs) {
    const char *rest = mdl_fake_log + strlen(programs);
    CHECK(t, !strncmp(mdl_fake_log, programs, strlen(programs)), "%s", mdl_fake_log);
    while (!strncmp(rest, "read ", 5)) rest += 5;
    CHECK(t, !*rest && strstr(mdl_fake_log, "read "), "%s", mdl_fake_log);
}

static void test_step(mdl_test *t, mdl_session *s) {
    static const int32_t batches[][2] = {{4, 2}, {0, 0}, {12, 0}};
    mdl_case(t, "one micro-batch: train_only");
    mdl_step step = step_of(t, s, 1, batches);
    expect_run(t, "train_only ");
    CHECK(t, step.loss == 2 + 0.5 * 3 && step.grad_norm == 7 && step.labels == 6, "loss %g", step.loss);
    CHECK(t, step.losses[0] == 2 && step.losses[1] == 3 && step.metrics[0] == 0.5, "losses or metrics");
    mdl_case(t, "three micro-batches are counted first");
    step = step_of(t, s, 3, batches);
    expect_run(t, "count_first count_next count_next train_first train_middle train_last ");
    CHECK(t, step.loss == 2 + 0.5 * 3 && step.labels == 18, "loss %g", step.loss);
    mdl_case(t, "two micro-batches have no middle");
    step_of(t, s, 2, batches);
    expect_run(t, "count_first count_next train_first train_last ");
    mdl_case(t, "a step without labels has loss 0");
    step = step_of(t, s, 1, batches + 1);
    CHECK(t, step.loss == 0 && step.labels == 0 && isnan(step.metrics[0]), "loss %g", step.loss);
    mdl_case(t, "operations of a step"); /* the fake counts letters of names */
    CHECK(t, mdl_session_flops(s, 1) == 10, "%g", mdl_session_flops(s, 1));
    CHECK(t, mdl_session_flops(s, 2) == 11 + 10 + 11 + 10, "%g", mdl_session_flops(s, 2));
    CHECK(t, mdl_session_flops(s, 4) == 11 + 3 * 10 + 11 + 2 * 12 + 10, "%g", mdl_session_flops(s, 4));
}

static void test_scalars(mdl_test *t, mdl_session *s) {
    const mdl_adamw adamw = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.01, .max_grad_norm = 1};
    mdl_case(t, "AdamW's numbers are computed in double and rounded once");
    expect_ok(t, mdl_session_set_adamw(s, &adamw, 3, 4e-4));
    CHECK(t, scalar(s, "lr") == (float)4e-4 && scalar(s, "eps") == (float)1e-8, "lr or eps");
    CHECK(t, scalar(s, "one_minus_beta1") == (float)(1 - 0.9) && scalar(s, "beta2") == 0.98f, "betas");
    CHECK(t, scalar(s, "one_minus_beta2") == (float)(1 - 0.98), "one_minus_beta2");
    CHECK(t, scalar(s, "bias_correction1") == (float)(1 - 0.9 * 0.9 * 0.9), "bias_correction1");
    CHECK(t, scalar(s, "sqrt_bias_correction2") == (float)sqrt(1 - 0.98 * 0.98 * 0.98), "sqrt_bias_correction2");
    CHECK(t, scalar(s, "weight_decay") == 0.01f && scalar(s, "max_grad_norm") == 1, "weight_decay or max_grad_norm");
}

static const float matrix[] = {1, 2, 3, 4, 5, 6}, other[] = {1, 2, 3, 4, 5, 7}, bias[] = {7, 8, 9}, frozen[] = {10, 11},
                   carried[] = {12};
static const uint16_t bias_bf16[] = {0x40e0, 0x4100, 0x4110}; /* 7, 8, 9 */
static const int64_t dims[] = {2, 3}, turned[] = {3, 2};

static mdl_tensor tensor(const char *name, mdl_dtype dtype, int rank, const int64_t *dim, const void *bytes) {
    return (mdl_tensor){name, mdl_type_make(dtype, rank, dim), bytes};
}

static mdl_arena *scratch; /* of reports */

static mdl_status load_rules(mdl_session *s, int n, const mdl_tensor *tensors, const mdl_weight_rules *rules,
                             mdl_weight_report *report) {
    mdl_weight weights[8];
    mdl_weight_store store = mdl_weights_of(s);
    *report = (mdl_weight_report){.memory = scratch};
    for (int i = 0; i < n; i++) weights[i] = (mdl_weight){tensors[i].name, &tensors[i], NULL};
    return mdl_weights_fill(&store, rules, n, weights, report);
}

static mdl_status load(mdl_session *s, int n, const mdl_tensor *tensors, bool strict, int *kept) {
    mdl_weight_report report;
    mdl_status status = load_rules(s, n, tensors, &(mdl_weight_rules){.strict = strict, .from = "toy.safetensors"}, &report);
    if (kept) *kept = report.kept;
    return status;
}

static mdl_status read_folder(mdl_session *s, const char *dir, int *kept) {
    mdl_weight_store store = mdl_weights_of(s);
    mdl_weight_report report = {.memory = scratch};
    mdl_status status = mdl_weights_read(&store, dir, &(mdl_weight_rules){0}, &report);
    *kept = report.kept;
    return status;
}

static mdl_status write_folder(mdl_session *s, const char *dir, int64_t shard) {
    mdl_weight_store store = mdl_weights_of(s);
    return mdl_weights_export(&store, dir, shard);
}

/* What mdl_session_run(update) replays, as the device's log has it. */
static void expect_update(mdl_test *t, mdl_session *s, const char *log) {
    mdl_fake_log[0] = 0;
    expect_ok(t, mdl_session_run(s, "update"));
    CHECK(t, !strcmp(mdl_fake_log, log), "%s", mdl_fake_log);
}

static void test_refresh(mdl_test *t, mdl_session *s) {
    const mdl_plan_param *param = &s->plan->params.at[0];
    float values[6] = {0};
    mdl_case(t, "weights from the host bring their copies up to date, once, where a plan has copies");
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_PARAM, param, values));
    expect_update(t, s, "update ");
    MDL_PUSH(s->plan->memory, s->plan->programs, ((mdl_plan_program){.name = "refresh"}));
    expect_update(t, s, "update ");
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_GRAD, param, values));
    expect_update(t, s, "update ");
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_PARAM, param, values));
    expect_update(t, s, "refresh update ");
    expect_update(t, s, "update ");
}

static void expect_values(mdl_test *t, mdl_session *s, const char *name, const float *values) {
    float got[6] = {0};
    const mdl_plan_param *param = mdl_plan_find_param(s->plan, name);
    expect_ok(t, mdl_session_get_param(s, param->arena, param, got));
    CHECK(t, !memcmp(got, values, (size_t)mdl_type_bytes(&param->type)), "%s is %g ...", name, got[0]);
}

static void test_load(mdl_test *t, mdl_session *s) {
    static const int64_t three = 3, two = 2, one = 1;
    const mdl_tensor a = tensor("a.weight", MDL_F32, 2, dims, matrix), tied = tensor("head.weight", MDL_F32, 2, dims, matrix);
    const mdl_tensor b = tensor("a.bias", MDL_F32, 1, &three, bias), beta = tensor("a.beta", MDL_BF16, 1, &three, bias_bf16);
    const mdl_tensor f0 = tensor("layer.0.f", MDL_F32, 1, &two, frozen), f1 = tensor("layer.1.f", MDL_F32, 1, &two, frozen);
    const mdl_tensor c = tensor("c", MDL_F32, 1, &one, carried), old = tensor("old.position", MDL_I32, 1, &one, carried);
    int kept = -1;
    mdl_case(t, "weights by their own names, ties, maps, with ignored ones");
    expect_ok(t, load(s, 7, (mdl_tensor[]){a, tied, beta, f0, f1, c, old}, true, &kept));
    expect_values(t, s, "a.weight", matrix);
    expect_values(t, s, "a.bias", bias); /* these are exact in bf16 */
    expect_values(t, s, "f", frozen);
    expect_values(t, s, "c", carried);
    CHECK(t, kept == 0, "kept %d", kept);
    mdl_case(t, "a tie alone, and no frozen tensors");
    expect_ok(t, load(s, 2, (mdl_tensor[]){tied, b}, false, &kept));
    CHECK(t, kept == 2, "kept %d", kept);
    mdl_case(t, "all that does not fit is listed");
    mdl_tensor wrong = tensor("a.weight", MDL_F32, 2, turned, matrix), te = tensor("odd.bias", MDL_F32, 1, &three, bias);
    expect_error(
        t, load(s, 2, (mdl_tensor[]){wrong, te}, true, NULL),
        "toy.safetensors: the tensors are not those of the plan's model 'toy'\n  3 missing:\n    a.bias\n"
        "    f\n    c\n  1 that do not fit:\n    a.weight is f32[3,2], the plan has f32[2,3]\n  1 unexpected:\n    odd.bias (a.bias is missing)");
    mdl_case(t, "a tie with other values, and a wrong element type");
    mdl_tensor differs = tensor("head.weight", MDL_F32, 2, dims, other), ints = tensor("a.bias", MDL_I32, 1, &three, bias);
    expect_error(t, load(s, 3, (mdl_tensor[]){a, differs, ints}, false, NULL),
                 "toy.safetensors: the tensors are not those of the plan's model 'toy'\n"
                 "  2 that do not fit:\n    a.weight and head.weight are one parameter but hold different values\n"
                 "    a.bias is i32[3], the plan has f32[3]");
}

/* Numbers that are not finite neither come in nor go out; who has them is said. */
static void test_not_finite(mdl_test *t, mdl_session *s) {
    static const int64_t three = 3, one = 1;
    static const double wide[] = {1, 1e39, 3};
    static const float nan[] = {NAN}, broken[] = {1, 2, NAN, INFINITY, 5, 6}, good[] = {1};
    const mdl_tensor a = tensor("a.weight", MDL_F32, 2, dims, matrix), b = tensor("a.bias", MDL_F64, 1, &three, wide);
    const mdl_tensor c = tensor("c", MDL_F32, 1, &one, nan);
    const mdl_plan_param *weight = mdl_plan_find_param(s->plan, "a.weight"), *carried_one = mdl_plan_find_param(s->plan, "c");
    mdl_case(t, "tensors that are not finite are refused by name");
    expect_error(t, load(s, 3, (mdl_tensor[]){a, b, c}, false, NULL),
                 "toy.safetensors: the tensors are not those of the plan's model 'toy'\n  2 that do not fit:\n"
                 "    a.bias: 1 of its 3 numbers are not finite\n    c: 1 of its 1 numbers are not finite");
    mdl_case(t, "weights that are not finite are seen before they are written");
    expect_ok(t, mdl_weights_check_finite(s));
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_FROZEN, carried_one, nan));
    expect_error(t, mdl_weights_check_finite(s),
                 "1 of 12 weights are not finite, the first in 'c' (1 of 1); no weights are written");
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_PARAM, weight, broken));
    expect_error(t, mdl_weights_check_finite(s),
                 "3 of 12 weights are not finite, the first in 'a.weight' (2 of 6); no weights are written");
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_PARAM, weight, matrix));
    expect_ok(t, mdl_session_set_param(s, MDL_ARENA_FROZEN, carried_one, good));
}

static long file_size(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

static void test_folder(mdl_test *t, mdl_session *s) {
    const char *dir = mdl_test_scratch(t);
    mdl_safetensors *file = NULL;
    char path[512];
    int kept = -1;
    mdl_case(t, "a folder of weights and assets reads back");
    expect_ok(t, write_folder(s, dir, MDL_SHARD_BYTES));
    CHECK(t, file_size(dir, "vocab.txt") == 8 && file_size(dir, "config.json") == 3, "assets");
    CHECK(t, file_size(dir, "cpu.c") < 0, "native code stays in the plan");
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    expect_ok(t, mdl_safetensors_open(path, &file));
    CHECK(t, file && mdl_safetensors_count(file) == 5, "a.weight, a.bias, c, and two names of f");
    CHECK(t, file && mdl_safetensors_find(file, "layer.1.f") && !mdl_safetensors_find(file, "f"), "the layout's names");
    if (file) mdl_safetensors_close(file);
    expect_ok(t, mdl_session_init(s, 1));
    expect_ok(t, mdl_fake_backend.fill(s->device, MDL_ARENA_PARAM, 0));
    expect_ok(t, read_folder(s, dir, &kept));
    expect_values(t, s, "a.weight", matrix);
    expect_values(t, s, "f", frozen);
    CHECK(t, kept == 0, "kept %d", kept);
}

static void test_missing(mdl_test *t) {
    mdl_session *session = NULL;
    mdl_plan *plan = mdl_fake_plan();
    mdl_case(t, "a plan without a scalar or a result");
    plan->inputs.at[2].name = "rate";
    expect_error(t, mdl_session_attach(plan, &mdl_fake_backend, 1, &session), "the plan has no scalar input 'lr'");
    plan = mdl_fake_plan();
    plan->programs.at[3].results.at[5].name = "accuracy";
    expect_error(t, mdl_session_attach(plan, &mdl_fake_backend, 1, &session),
                 "the plan's program 'train_only' has no result 'count.acc'");
    CHECK(t, !session, "no session");
}

void suite_session(mdl_test *t) {
    mdl_session *session = open_session(t);
    if (!session) return;
    scratch = mdl_arena_new();
    test_step(t, session);
    test_scalars(t, session);
    test_load(t, session);
    test_folder(t, session);
    test_not_finite(t, session);
    test_refresh(t, session);
    mdl_session_close(session);
    test_missing(t);
    mdl_arena_free(scratch);
}
