/* Opening a plan on a device, and moving numbers in and out. The step itself is in step.c. */
#include "runtime/train/session.h"

#include <math.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/train/session_refs.h"

static const char *const scalar_names[] = {
#define SCALAR(id, name) name,
    MDL_SCALARS(SCALAR)
#undef SCALAR
};

const char *const mdl_run_names[MDL_RUN_KINDS] = {"count_first",  "count_next", "train_only", "train_first",
                                                  "train_middle", "train_last", "update",     "eval"};

static mdl_status find_scalar(const mdl_plan *plan, const char *name, int64_t *offset) {
    const mdl_plan_input *input = mdl_plan_find_input(plan, name);
    if (!input) return mdl_fail(MDL_BAD_INPUT, "the plan has no scalar input '%s'", name);
    if (strcmp(input->source, "scalar") || input->type.dtype != MDL_F32 || mdl_type_count(&input->type) != 1)
        return mdl_fail(MDL_BAD_INPUT, "the plan's input '%s' is not an f32 scalar", name);
    *offset = input->offset;
    return MDL_OK;
}

static mdl_status find_scalars(mdl_session *s) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < MDL_SCALAR_COUNT && !status; i++) status = find_scalar(s->plan, scalar_names[i], &s->scalar[i]);
    return status;
}

static mdl_result_ref find_result(const mdl_plan_program *program, const char *name) {
    for (int i = 0; program && i < program->results.n; i++)
        if (!strcmp(program->results.at[i].name, name))
            return (mdl_result_ref){&program->buffers.at[program->results.at[i].buffer]};
    return (mdl_result_ref){NULL};
}

static mdl_status need_number(const mdl_plan_program *program, const char *name, mdl_result_ref *ref) {
    *ref = find_result(program, name);
    if (!ref->buffer) return mdl_fail(MDL_BAD_INPUT, "the plan's program '%s' has no result '%s'", program->name, name);
    mdl_dtype dtype = ref->buffer->type.dtype;
    if (mdl_type_count(&ref->buffer->type) != 1 || (dtype != MDL_F32 && dtype != MDL_I32))
        return mdl_fail(MDL_BAD_INPUT, "the plan's result '%s' of program '%s' is not a number", name, program->name);
    return MDL_OK;
}

/* sum.X and count.X of every loss and metric X. */
static mdl_status find_measures(mdl_session *s, struct mdl_run_refs *refs) {
    const mdl_plan *plan = s->plan;
    int n = plan->losses.n + plan->metrics.n;
    refs->sum = MDL_NEW_ARRAY(plan->memory, mdl_result_ref, n + 1);
    refs->count = MDL_NEW_ARRAY(plan->memory, mdl_result_ref, n + 1);
    mdl_status status = MDL_OK;
    for (int i = 0; i < n && !status; i++) {
        const char *name = i < plan->losses.n ? plan->losses.at[i].name : plan->metrics.at[i - plan->losses.n];
        status = need_number(refs->program, mdl_printf(plan->memory, "sum.%s", name), &refs->sum[i]);
        if (!status) status = need_number(refs->program, mdl_printf(plan->memory, "count.%s", name), &refs->count[i]);
    }
    return status;
}

/* Training programs and eval give what they measure; those with an optimizer give grad_norm. */
static mdl_status find_run(mdl_session *s, mdl_run_kind kind) {
    struct mdl_run_refs *refs = &s->refs[kind];
    refs->program = mdl_plan_find_program(s->plan, mdl_run_names[kind]);
    if (!refs->program) return MDL_OK;
    bool measures = kind >= MDL_RUN_ONLY && kind != MDL_RUN_UPDATE;
    bool updates = kind == MDL_RUN_ONLY || kind == MDL_RUN_LAST || kind == MDL_RUN_UPDATE;
    mdl_status status = measures ? find_measures(s, refs) : MDL_OK;
    return updates && !status ? need_number(refs->program, "grad_norm", &refs->grad_norm) : status;
}

static mdl_status attach(mdl_session *s, int threads) {
    s->refs = MDL_NEW_ARRAY(s->plan->memory, struct mdl_run_refs, MDL_RUN_KINDS);
    s->loss_mean = MDL_NEW_ARRAY(s->plan->memory, double, s->plan->losses.n + s->plan->metrics.n + 1);
    s->metric_mean = s->loss_mean + s->plan->losses.n;
    mdl_status status = find_scalars(s);
    for (int kind = 0; kind < MDL_RUN_KINDS && !status; kind++) status = find_run(s, kind);
    return status ? status : s->backend->load(s->plan, threads, &s->device);
}

mdl_status mdl_session_attach(mdl_plan *plan, const mdl_backend *backend, int threads, mdl_session **out) {
    mdl_session *s = MDL_NEW(plan->memory, mdl_session);
    s->plan = plan;
    s->backend = backend;
    mdl_status status = attach(s, threads);
    if (status) mdl_session_close(s);
    *out = status ? NULL : s;
    return status;
}

mdl_status mdl_session_open(const char *path, int threads, mdl_session **out) {
    mdl_plan *plan = NULL;
    const mdl_backend *backend = NULL;
    *out = NULL;
    mdl_mark("program and settings");
    mdl_status status = mdl_plan_read(path, &plan);
    mdl_mark("plan");
    if (status) return status;
    if ((status = mdl_backend_find(plan->target, &backend)))
        mdl_plan_free(plan);
    else
        status = mdl_session_attach(plan, backend, threads, out);
    return mdl_context(status, "%s", path);
}

void mdl_session_close(mdl_session *s) {
    if (!s) return;
    if (s->device) s->backend->unload(s->device);
    mdl_plan_free(s->plan); /* the session lives in the plan's memory */
}

mdl_status mdl_session_zero_moments(mdl_session *s) {
    MDL_TRY(s->backend->fill(s->device, MDL_ARENA_MOMENT1, 0), "first moments");
    MDL_TRY(s->backend->fill(s->device, MDL_ARENA_MOMENT2, 0), "second moments");
    return MDL_OK;
}

mdl_status mdl_session_init(mdl_session *s, uint64_t seed) {
    const mdl_plan_input *input = mdl_plan_find_input(s->plan, "seed");
    int32_t halves[2] = {(int32_t)(uint32_t)seed, (int32_t)(uint32_t)(seed >> 32)};
    if (input && mdl_type_bytes(&input->type) == (int64_t)sizeof halves)
        MDL_TRY(s->backend->upload(s->device, MDL_ARENA_INPUT, input->offset, halves, sizeof halves), "seed");
    MDL_TRY(mdl_session_run(s, "init"), "initial weights");
    s->scaled = false;
    return mdl_session_zero_moments(s);
}

static mdl_status upload_float(mdl_session *s, int64_t offset, double value) {
    float rounded = (float)value;
    return s->backend->upload(s->device, MDL_ARENA_INPUT, offset, &rounded, sizeof rounded);
}

mdl_status mdl_session_set_scalar(mdl_session *s, mdl_scalar scalar, double value) {
    MDL_TRY(upload_float(s, s->scalar[scalar], value), "scalar '%s'", scalar_names[scalar]);
    return MDL_OK;
}

mdl_status mdl_session_set_adamw(mdl_session *s, const mdl_adamw *a, int64_t t, double lr) {
    const double value[MDL_SCALAR_COUNT] = {
        [MDL_SCALAR_LR] = lr,
        [MDL_SCALAR_ONE_MINUS_BETA1] = 1 - a->beta1,
        [MDL_SCALAR_BETA2] = a->beta2,
        [MDL_SCALAR_ONE_MINUS_BETA2] = 1 - a->beta2,
        [MDL_SCALAR_BIAS_CORRECTION1] = 1 - pow(a->beta1, (double)t),
        [MDL_SCALAR_SQRT_BIAS_CORRECTION2] = sqrt(1 - pow(a->beta2, (double)t)),
        [MDL_SCALAR_EPS] = a->eps,
        [MDL_SCALAR_WEIGHT_DECAY] = a->weight_decay,
        [MDL_SCALAR_MAX_GRAD_NORM] = a->max_grad_norm,
    };
    mdl_status status = MDL_OK;
    for (int i = 0; i < MDL_SCALAR_COUNT && !status; i++) status = mdl_session_set_scalar(s, i, value[i]);
    return status;
}

mdl_status mdl_session_upload(mdl_session *s, const mdl_batch *batch) {
    for (int i = 0; i < s->plan->inputs.n; i++) {
        const mdl_plan_input *input = &s->plan->inputs.at[i];
        if (!batch->input[i]) continue;
        MDL_TRY(s->backend->upload(s->device, MDL_ARENA_INPUT, input->offset, batch->input[i], mdl_type_bytes(&input->type)),
                "input '%s'", input->name);
    }
    return MDL_OK;
}

static mdl_status replay(mdl_session *s, const char *program) {
    if (s->poison) MDL_TRY(s->backend->fill(s->device, MDL_ARENA_ACTIVATION, 0xff), "activations");
    MDL_TRY(s->backend->run(s->device, program), "program '%s'", program);
    return MDL_OK;
}

/* The programs of a plan keep the copies themselves; what the host puts in place they cannot see. */
static mdl_status refresh(mdl_session *s) {
    bool due = s->stale && mdl_plan_find_program(s->plan, "refresh");
    s->stale = false;
    return due ? replay(s, "refresh") : MDL_OK;
}

/* The first scales of 8-bit operands, from products in bf16: with any others the first gradients might all be rounded to 0. */
static mdl_status calibrate(mdl_session *s, const char *program) {
    bool due = !s->scaled && !strncmp(program, "train_", 6) && mdl_plan_find_program(s->plan, "calibrate");
    s->scaled |= due;
    return due ? replay(s, "calibrate") : MDL_OK;
}

mdl_status mdl_session_prepare(mdl_session *s, const char *program) {
    mdl_status status = refresh(s);
    return status ? status : calibrate(s, program);
}

mdl_status mdl_session_run(mdl_session *s, const char *program) {
    if (!mdl_plan_find_program(s->plan, program)) return mdl_fail(MDL_BAD_INPUT, "the plan has no program '%s'", program);
    mdl_status status = mdl_session_prepare(s, program);
    return status ? status : replay(s, program);
}

mdl_status mdl_session_set_scaling(mdl_session *s, const void *from) {
    s->stale = s->scaled = true; /* copies of parameters are quantized by these scales */
    return s->backend->upload(s->device, MDL_ARENA_SCALING, 0, from, s->plan->arena_bytes[MDL_ARENA_SCALING]);
}

mdl_status mdl_session_number(mdl_session *s, mdl_result_ref ref, double *value) {
    union {
        float f;
        int32_t i;
    } bits;
    MDL_TRY(s->backend->download(s->device, MDL_ARENA_RESULT, ref.buffer->offset, &bits, sizeof bits), "result '%s'",
            ref.buffer->name);
    *value = ref.buffer->type.dtype == MDL_I32 ? (double)bits.i : (double)bits.f;
    return MDL_OK;
}

mdl_status mdl_session_result(mdl_session *s, const char *program, const char *name, double *value) {
    const mdl_plan_program *p = mdl_plan_find_program(s->plan, program);
    if (!p) return mdl_fail(MDL_BAD_INPUT, "the plan has no program '%s'", program);
    mdl_result_ref ref;
    mdl_status status = need_number(p, name, &ref);
    return status ? status : mdl_session_number(s, ref, value);
}

mdl_status mdl_session_result_tensor(mdl_session *s, const char *program, const char *name, const mdl_plan_buffer **buffer,
                                     void *to, int64_t bytes) {
    mdl_result_ref ref = find_result(mdl_plan_find_program(s->plan, program), name);
    *buffer = ref.buffer;
    if (!ref.buffer) return mdl_fail(MDL_BAD_INPUT, "the plan has no result '%s' of a program '%s'", name, program);
    if (bytes > ref.buffer->bytes) bytes = ref.buffer->bytes;
    return s->backend->download(s->device, MDL_ARENA_RESULT, ref.buffer->offset, to, bytes);
}

mdl_status mdl_session_get_param(mdl_session *s, mdl_arena_id arena, const mdl_plan_param *param, float *to) {
    MDL_TRY(s->backend->download(s->device, arena, param->offset, to, mdl_type_bytes(&param->type)), "parameter '%s'", param->name);
    return MDL_OK;
}

mdl_status mdl_session_set_param(mdl_session *s, mdl_arena_id arena, const mdl_plan_param *param, const float *from) {
    s->stale |= arena == MDL_ARENA_PARAM;
    MDL_TRY(s->backend->upload(s->device, arena, param->offset, from, mdl_type_bytes(&param->type)), "parameter '%s'", param->name);
    return MDL_OK;
}
