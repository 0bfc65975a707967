/* The comparisons on one batch, and along a trajectory. */
#include "runtime/command/check_run.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/compare.h"
#include "runtime/train/weights.h"

void mdl_check_skip(mdl_check *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    MDL_PUSH(c->reference.memory, c->skipped, mdl_vprintf(c->reference.memory, format, args));
    va_end(args);
}

static double relative(double a, double b) { return fabs(a - b) / (b != 0 ? fabs(b) : 1); }

static bool listed(const mdl_reference *r, const mdl_plan *plan, const mdl_plan_param *param) {
    for (int i = 0; i < r->no_decay.n; i++)
        if (mdl_weights_param(plan, r->no_decay.at[i]) == param) return true;
    return false;
}

mdl_status mdl_check_no_decay(mdl_check *c) {
    const mdl_plan *plan = c->session->plan;
    const char *first = "";
    int differ = 0;
    if (!c->reference.has_no_decay) return mdl_check_skip(c, "parameters without decay: the reference does not list them"), MDL_OK;
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *param = &plan->params.at[i];
        if (param->arena != MDL_ARENA_PARAM || listed(&c->reference, plan, param) == !param->decay) continue;
        if (!differ++) first = param->name;
    }
    for (int i = 0; i < c->reference.no_decay.n; i++)
        if (!mdl_weights_param(plan, c->reference.no_decay.at[i]) && !differ++) first = c->reference.no_decay.at[i];
    mdl_check_table_note(&c->table, MDL_ROW_NO_DECAY, first, differ);
    return MDL_OK;
}

static mdl_status check_logits(mdl_check *c) {
    mdl_reference *r = &c->reference;
    const mdl_plan_program *program = mdl_plan_find_program(c->session->plan, "logits");
    const mdl_tensor *expected = mdl_safetensors_find(r->file, "logits");
    if (!program || !program->results.n || !expected)
        return mdl_check_skip(c, "logits: not in the %s", expected ? "plan" : "reference"), MDL_OK;
    const mdl_plan_buffer *buffer = &program->buffers.at[program->results.at[0].buffer];
    int64_t width = buffer->type.dim[1];
    if (buffer->type.rank != 2 || buffer->type.dtype != MDL_F32 || expected->type.rank != 2 || expected->type.dim[1] != width ||
        expected->type.dim[0] != r->tokens || buffer->type.dim[0] < r->tokens)
        return mdl_fail(MDL_BAD_INPUT, "%s: logits are %s, the plan's %s", r->path, mdl_type_text(r->memory, &expected->type),
                        mdl_type_text(r->memory, &buffer->type));
    float *want, *got = MDL_NEW_ARRAY(r->memory, float, r->tokens *width);
    mdl_status status = mdl_reference_floats(r, "logits", r->tokens * width, &want, NULL);
    if (!status) status = mdl_session_upload(c->session, &c->batch);
    if (!status) status = mdl_session_run(c->session, "logits");
    if (!status)
        status = mdl_session_result_tensor(c->session, "logits", program->results.at[0].name, &buffer, got, 4 * r->tokens * width);
    if (status) return status;
    mdl_comparison error = mdl_compare_floats(r->tokens * width, got, want);
    mdl_check_table_note(&c->table, MDL_ROW_LOGITS, "", mdl_error_l2(&error));
    return MDL_OK;
}

/* NaN in every gradient: what the program leaves out shows. */
static mdl_status poison_gradients(mdl_check *c) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < c->session->plan->params.n && !status; i++) {
        const mdl_plan_param *param = &c->session->plan->params.at[i];
        int64_t n = mdl_type_count(&param->type);
        if (param->arena != MDL_ARENA_PARAM) continue;
        float *values = MDL_NEW_ARRAY(c->reference.memory, float, n + 1);
        for (int64_t k = 0; k < n; k++) values[k] = NAN;
        status = mdl_session_set_param(c->session, MDL_ARENA_GRAD, param, values);
    }
    return status;
}

/* The largest root mean square of a gradient of the reference; 0 without gradients. */
static mdl_status find_gradient_scale(mdl_check *c) {
    mdl_reference *r = &c->reference;
    mdl_status status = MDL_OK;
    for (int i = 0; i < c->session->plan->params.n && !status; i++) {
        const mdl_plan_param *param = &c->session->plan->params.at[i];
        const char *name = mdl_printf(r->memory, "grad.%s", param->name);
        int64_t n = mdl_type_count(&param->type);
        float *want;
        if (!mdl_safetensors_find(r->file, name)) continue;
        status = mdl_reference_floats(r, name, n, &want, NULL);
        if (status) break;
        mdl_comparison size = mdl_compare_floats(n, want, want);
        c->gradient_scale = fmax(c->gradient_scale, sqrt(size.size / (double)n));
    }
    return status;
}

/* A gradient whose terms cancel (that of a key bias without rotary embedding is 0) is rounding on both sides, and no error relative
 * to itself means anything. The rounding is that of the terms, which no file holds; gradients elsewhere tell their size. Below 1e-6
 * of the largest a gradient is taken for rounding: f32 leaves 1e-7. It is then compared with a tenth of the largest, so that a
 * tolerance of 1e-5 allows those 1e-6. */
static const double rounding = 1e-6, compared_with = 0.1;

/* Is the reference's gradient of this parameter there, and nothing but rounding? */
static bool is_rounding(mdl_check *c, const mdl_plan_param *param) {
    const mdl_tensor *tensor = mdl_safetensors_find(c->reference.file, mdl_printf(c->reference.memory, "grad.%s", param->name));
    int64_t n = mdl_type_count(&param->type);
    float *want;
    if (!tensor || mdl_type_count(&tensor->type) != n) return false;
    mdl_status status = mdl_reference_floats(&c->reference, tensor->name, n, &want, NULL);
    mdl_comparison size = status ? mdl_comparison_begin() : mdl_compare_floats(n, want, want);
    mdl_status_free(status);
    return !size.bad && sqrt(size.size / (double)n) < rounding * c->gradient_scale;
}

/* The error of a parameter in `arena` against a tensor of the reference. */
static mdl_status error_of(mdl_check *c, const char *name, const mdl_plan_param *param, mdl_arena_id arena, double *error) {
    mdl_reference *r = &c->reference;
    int64_t n = mdl_type_count(&param->type);
    float *want, *got = mdl_alloc(r->memory, (size_t)mdl_type_bytes(&param->type));
    mdl_status status = mdl_reference_floats(r, name, n, &want, NULL);
    if (!status) status = mdl_session_get_param(c->session, arena, param, got);
    if (status) return status;
    mdl_comparison compared = mdl_compare_floats(n, got, want);
    *error = mdl_error_l2(&compared);
    if (arena == MDL_ARENA_GRAD) {
        c->gradient_difference += compared.bad ? NAN : compared.difference;
        c->gradient_size += compared.size;
    }
    if (arena == MDL_ARENA_GRAD && !compared.bad && is_rounding(c, param))
        *error = sqrt(compared.difference / (double)n) / (compared_with * c->gradient_scale);
    return MDL_OK;
}

/* Compares every `prefix`X of the reference with parameter X in `arena`. */
static mdl_status compare_params(mdl_check *c, const char *prefix, mdl_arena_id arena, mdl_row_id row) {
    mdl_reference *r = &c->reference;
    mdl_status status = MDL_OK;
    for (int i = 0; i < mdl_safetensors_count(r->file) && !status; i++) {
        const char *name = mdl_safetensors_at(r->file, i)->name;
        if (strncmp(name, prefix, strlen(prefix))) continue;
        const mdl_plan_param *param = mdl_weights_param(c->session->plan, name + strlen(prefix));
        if (!param) return mdl_fail(MDL_BAD_INPUT, "%s: tensor '%s': the plan has no such parameter", r->path, name);
        double error = 0;
        if (param->arena != MDL_ARENA_PARAM) {
            mdl_check_skip(c, "%s: not trained", name);
        } else if (arena == MDL_ARENA_PARAM && is_rounding(c, param)) {
            mdl_check_skip(c, "%s: its gradient is rounding, which AdamW makes as large as any", name);
        } else {
            status = error_of(c, name, param, arena, &error);
            if (!status) mdl_check_table_note(&c->table, row, param->name, error);
        }
    }
    return status;
}

static void note_absent(mdl_check *c, const char *prefix) {
    const mdl_plan *plan = c->session->plan;
    if (!mdl_reference_has_any(&c->reference, prefix)) {
        mdl_check_skip(c, "%s*: not in the reference", prefix);
        return;
    }
    for (int i = 0; i < plan->params.n; i++) {
        const char *name = mdl_printf(c->reference.memory, "%s%s", prefix, plan->params.at[i].name);
        if (plan->params.at[i].arena == MDL_ARENA_PARAM && !mdl_safetensors_find(c->reference.file, name))
            mdl_check_skip(c, "%s: not in the reference", name);
    }
}

/* The tensor's numbers, or NULL and a line among what is skipped. */
static mdl_status optional(mdl_check *c, const char *name, int64_t count, float **values) {
    *values = NULL;
    if (mdl_safetensors_find(c->reference.file, name)) return mdl_reference_floats(&c->reference, name, count, values, NULL);
    mdl_check_skip(c, "%s: not in the reference", name);
    return MDL_OK;
}

static mdl_status check_gradients(mdl_check *c) {
    mdl_step step;
    float *loss;
    mdl_status status = optional(c, "loss", 1, &loss);
    if (!status) status = find_gradient_scale(c);
    if (!status) status = poison_gradients(c);
    if (!status) status = mdl_session_gradients(c->session, &c->batch, &step);
    if (status) return status;
    if (loss) mdl_check_table_note(&c->table, MDL_ROW_LOSS, "", relative(step.loss, loss[0]));
    note_absent(c, "grad.");
    status = compare_params(c, "grad.", MDL_ARENA_GRAD, MDL_ROW_GRADIENT);
    if (!status && c->table.row[MDL_ROW_GRADIENT].n)
        mdl_check_table_note(&c->table, MDL_ROW_ALL, "", sqrt(c->gradient_difference / c->gradient_size));
    return status;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over tensors: compares again into a list. NaN counts as the largest. */
static mdl_status check_median(mdl_check *c) {
    MDL_VEC(double) errors = {0};
    for (int i = 0; i < c->session->plan->params.n; i++) {
        const mdl_plan_param *param = &c->session->plan->params.at[i];
        const char *name = mdl_printf(c->reference.memory, "after3.%s", param->name);
        if (param->arena != MDL_ARENA_PARAM || !mdl_safetensors_find(c->reference.file, name) || is_rounding(c, param)) continue;
        double error = 0;
        mdl_status status = error_of(c, name, param, MDL_ARENA_PARAM, &error);
        if (status) return status;
        MDL_PUSH(c->reference.memory, errors, isnan(error) ? INFINITY : error);
    }
    if (!errors.n) return MDL_OK;
    qsort(errors.at, (size_t)errors.n, sizeof *errors.at, by_size);
    mdl_check_table_note(&c->table, MDL_ROW_MEDIAN, "", errors.at[errors.n / 2]);
    return MDL_OK;
}

static mdl_status three_steps(mdl_check *c, const float *losses, const float *norms) {
    mdl_step step;
    mdl_status status = mdl_reference_load_weights(&c->reference, c->session);
    for (int t = 1; t <= 3 && !status; t++) {
        const char *name = mdl_printf(c->reference.memory, "step %d", t);
        status = mdl_session_set_adamw(c->session, &c->reference.adamw, t, c->reference.lr);
        if (!status) status = mdl_session_step(c->session, 1, &c->batch, &step);
        if (status) break;
        if (losses) mdl_check_table_note(&c->table, MDL_ROW_LOSSES, name, relative(step.loss, losses[t - 1]));
        if (norms) mdl_check_table_note(&c->table, MDL_ROW_NORMS, name, relative(step.grad_norm, norms[t - 1]));
    }
    return status;
}

static mdl_status check_steps(mdl_check *c) {
    float *losses, *norms;
    mdl_step step;
    mdl_status status = optional(c, "adamw.losses", 4, &losses);
    if (!status) status = optional(c, "adamw.grad_norms", 3, &norms);
    if (status) return status;
    note_absent(c, "after3.");
    if (!losses && !norms && !mdl_reference_has_any(&c->reference, "after3.")) return MDL_OK;
    status = three_steps(c, losses, norms);
    if (!status) status = check_median(c);
    if (!status) status = compare_params(c, "after3.", MDL_ARENA_PARAM, MDL_ROW_AFTER3);
    if (status || !losses) return status;
    status = mdl_session_gradients(c->session, &c->batch, &step);
    if (!status) mdl_check_table_note(&c->table, MDL_ROW_LOSSES, "after step 3", relative(step.loss, losses[3]));
    return status;
}

mdl_status mdl_check_batch(mdl_check *c) {
    mdl_status status = mdl_reference_fill_batch(&c->reference, c->session->plan, 0, &c->batch);
    if (!status) status = mdl_reference_load_weights(&c->reference, c->session);
    if (!status) status = check_logits(c);
    if (!status) status = check_gradients(c);
    if (!status && mdl_reference_has_any(&c->reference, "grad."))
        status = mdl_check_optimizer(c);
    else
        mdl_check_skip(c, "optimizer alone: the reference has no gradients");
    return status ? status : check_steps(c);
}

mdl_status mdl_check_trajectory(mdl_check *c, int64_t steps) {
    mdl_reference *r = &c->reference;
    float *losses, *norms, *rates;
    mdl_step step;
    mdl_status status = mdl_reference_floats(r, "losses", r->batches, &losses, NULL);
    if (!status) status = optional(c, "grad_norms", r->batches, &norms);
    if (!status) status = mdl_reference_floats(r, "learning_rates", r->batches, &rates, NULL);
    if (!status) status = mdl_reference_load_weights(r, c->session);
    if (!steps || steps > r->batches) steps = r->batches;
    for (int64_t i = 0; i < steps && !status; i++) {
        const char *name = mdl_printf(r->memory, "step %lld", (long long)i + 1);
        status = mdl_reference_fill_batch(r, c->session->plan, i, &c->batch);
        if (!status) status = mdl_session_set_adamw(c->session, &r->adamw, i + 1, rates[i]);
        if (!status) status = mdl_session_step(c->session, 1, &c->batch, &step);
        if (status) break;
        mdl_check_table_note(&c->table, MDL_ROW_STEP_LOSS, name, fabs(step.loss - losses[i]));
        if (norms) mdl_check_table_note(&c->table, MDL_ROW_STEP_NORM, name, relative(step.grad_norm, norms[i]));
    }
    return status;
}
