/* One optimizer step: count what is labelled in all micro-batches, hand 1/N to the device, replay the programs, add up. */
#include <math.h>

#include "runtime/train/session.h"
#include "runtime/train/session_refs.h"

static void clear(mdl_session *s) {
    for (int i = 0; i < s->plan->losses.n; i++) s->loss_sum[i] = s->loss_count[i] = 0;
    for (int i = 0; i < s->plan->metrics.n; i++) s->metric_sum[i] = s->metric_count[i] = 0;
    s->grad_norm = 0;
}

/* Adds the results of the program that has just run to per-loss and per-metric sums. */
static mdl_status add(mdl_session *s, mdl_run_kind kind, double *losses, double *metrics) {
    const struct mdl_run_refs *refs = &s->refs[kind];
    double value;
    for (int i = 0; i < s->plan->losses.n; i++) {
        MDL_TRY(mdl_session_number(s, refs->loss[i], &value), "program '%s'", mdl_run_names[kind]);
        losses[i] += value;
    }
    for (int i = 0; i < s->plan->metrics.n; i++) {
        MDL_TRY(mdl_session_number(s, refs->metric[i], &value), "program '%s'", mdl_run_names[kind]);
        metrics[i] += value;
    }
    if (refs->grad_norm.buffer) MDL_TRY(mdl_session_number(s, refs->grad_norm, &s->grad_norm), "program '%s'", mdl_run_names[kind]);
    return MDL_OK;
}

/* Leaves the last batch uploaded. */
static mdl_status count(mdl_session *s, int n, const mdl_batch *batches) {
    mdl_status status = MDL_OK;
    clear(s);
    for (int i = 0; i < n && !status; i++) {
        status = mdl_session_upload(s, &batches[i]);
        if (!status) status = mdl_session_run(s, "count");
        if (!status) status = add(s, MDL_RUN_COUNT, s->loss_count, s->metric_count);
    }
    for (int i = 0; i < s->plan->losses.n && !status; i++)
        status = mdl_session_set_inv_count(s, i, s->loss_count[i] > 0 ? 1 / s->loss_count[i] : 0);
    return status;
}

static mdl_status run(mdl_session *s, mdl_run_kind kind) {
    mdl_status status = mdl_session_run(s, mdl_run_names[kind]);
    return status ? status : add(s, kind, s->loss_sum, s->metric_sum);
}

static void finish(mdl_session *s, mdl_step *step) {
    double labels = 0;
    step->loss = 0;
    for (int i = 0; i < s->plan->losses.n; i++) {
        labels += s->loss_count[i];
        s->loss_mean[i] = s->loss_count[i] > 0 ? s->loss_sum[i] / s->loss_count[i] : 0;
        step->loss += s->plan->losses.at[i].weight * s->loss_mean[i];
    }
    for (int i = 0; i < s->plan->metrics.n; i++)
        s->metric_mean[i] = s->metric_count[i] > 0 ? s->metric_sum[i] / s->metric_count[i] : NAN;
    step->grad_norm = s->grad_norm;
    step->losses = s->loss_mean;
    step->metrics = s->metric_mean;
    step->labels = (int64_t)labels;
}

static mdl_run_kind kind_of(int i, int n) {
    if (n == 1) return MDL_RUN_ONLY;
    return i == 0 ? MDL_RUN_FIRST : i == n - 1 ? MDL_RUN_LAST : MDL_RUN_MIDDLE;
}

mdl_status mdl_session_step(mdl_session *s, int n, const mdl_batch *batches, mdl_step *step) {
    mdl_status status = count(s, n, batches);
    for (int i = 0; i < n && !status; i++) {
        if (n > 1) status = mdl_session_upload(s, &batches[i]); /* a single batch is still there */
        if (!status) status = run(s, kind_of(i, n));
    }
    if (!status) finish(s, step);
    return status;
}

mdl_status mdl_session_gradients(mdl_session *s, const mdl_batch *batch, mdl_step *step) {
    mdl_status status = count(s, 1, batch);
    if (!status) status = run(s, MDL_RUN_FIRST);
    if (!status) finish(s, step);
    return status;
}

mdl_status mdl_session_update(mdl_session *s, double *grad_norm) {
    mdl_status status = mdl_session_run(s, mdl_run_names[MDL_RUN_UPDATE]);
    return status ? status : mdl_session_number(s, s->refs[MDL_RUN_UPDATE].grad_norm, grad_norm);
}

static double program_flops(const mdl_session *s, mdl_run_kind kind) {
    const mdl_plan_program *program = s->refs[kind].program;
    double flops = 0;
    for (int i = 0; program && i < program->launches.n; i++) flops += (double)program->launches.at[i].flops;
    return flops;
}

double mdl_session_flops(const mdl_session *s, int n) {
    double flops = n * program_flops(s, MDL_RUN_COUNT);
    for (int i = 0; i < n && i < 2; i++) flops += program_flops(s, i ? MDL_RUN_LAST : kind_of(0, n));
    return n > 2 ? flops + (n - 2) * program_flops(s, MDL_RUN_MIDDLE) : flops;
}
