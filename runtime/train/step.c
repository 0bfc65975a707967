/* One optimizer step: replays the programs over its batches, then reads what they have measured. */
#include <math.h>

#include "runtime/train/session.h"
#include "runtime/train/session_refs.h"

/* Loss or metric `i`, losses first: its sum over its count, `otherwise` where nothing was counted. */
static mdl_status read_mean(mdl_session *s, mdl_run_kind kind, int i, double otherwise, double *mean, double *count) {
    double sum;
    MDL_TRY(mdl_session_number(s, s->refs[kind].sum[i], &sum), "program '%s'", mdl_run_names[kind]);
    MDL_TRY(mdl_session_number(s, s->refs[kind].count[i], count), "program '%s'", mdl_run_names[kind]);
    *mean = *count > 0 ? sum / *count : otherwise;
    return MDL_OK;
}

/* What the program that has just run gives: it stands for the whole step so far. */
static mdl_status read_step(mdl_session *s, mdl_run_kind kind, mdl_step *step) {
    const mdl_plan *plan = s->plan;
    mdl_status status = MDL_OK;
    double labels = 0, count = 0;
    *step = (mdl_step){.losses = s->loss_mean, .metrics = s->metric_mean};
    for (int i = 0; i < plan->losses.n && !status; i++) {
        status = read_mean(s, kind, i, 0, &s->loss_mean[i], &count);
        step->loss += plan->losses.at[i].weight * s->loss_mean[i];
        labels += count;
    }
    for (int i = 0; i < plan->metrics.n && !status; i++)
        status = read_mean(s, kind, plan->losses.n + i, NAN, &s->metric_mean[i], &count);
    step->labels = (int64_t)labels;
    mdl_result_ref norm = s->refs[kind].grad_norm;
    return norm.buffer && !status ? mdl_session_number(s, norm, &step->grad_norm) : status;
}

static mdl_status run(mdl_session *s, mdl_run_kind kind) { return mdl_session_run(s, mdl_run_names[kind]); }

static mdl_run_kind kind_of(int i, int n) {
    if (n == 1) return MDL_RUN_ONLY;
    return i == 0 ? MDL_RUN_FIRST : i == n - 1 ? MDL_RUN_LAST : MDL_RUN_MIDDLE;
}

/* Leaves the last batch uploaded. */
static mdl_status count(mdl_session *s, int n, const mdl_batch *batches) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < n && !status; i++) {
        status = mdl_session_upload(s, &batches[i]);
        if (!status) status = run(s, i ? MDL_RUN_COUNT_NEXT : MDL_RUN_COUNT_FIRST);
    }
    return status;
}

mdl_status mdl_session_step(mdl_session *s, int n, const mdl_batch *batches, mdl_step *step) {
    mdl_status status = n > 1 ? count(s, n, batches) : MDL_OK;
    for (int i = 0; i < n && !status; i++) {
        status = mdl_session_upload(s, &batches[i]);
        if (!status) status = run(s, kind_of(i, n));
    }
    return status ? status : read_step(s, kind_of(n - 1, n), step);
}

mdl_status mdl_session_gradients(mdl_session *s, const mdl_batch *batch, mdl_step *step) {
    mdl_status status = count(s, 1, batch);
    if (!status) status = run(s, MDL_RUN_FIRST);
    return status ? status : read_step(s, MDL_RUN_FIRST, step);
}

mdl_status mdl_session_evaluate(mdl_session *s, const mdl_batch *batch, double *sum, double *count) {
    const struct mdl_run_refs *refs = &s->refs[MDL_RUN_EVAL];
    double value[2];
    mdl_status status = mdl_session_upload(s, batch);
    if (!status) status = run(s, MDL_RUN_EVAL);
    for (int i = 0; i < s->plan->losses.n + s->plan->metrics.n && !status; i++) {
        status = mdl_session_number(s, refs->sum[i], &value[0]);
        if (!status) status = mdl_session_number(s, refs->count[i], &value[1]);
        if (!status) sum[i] += value[0], count[i] += value[1];
    }
    return status;
}

mdl_status mdl_session_update(mdl_session *s, double *grad_norm) {
    mdl_status status = run(s, MDL_RUN_UPDATE);
    return status ? status : mdl_session_number(s, s->refs[MDL_RUN_UPDATE].grad_norm, grad_norm);
}

static double program_flops(const mdl_session *s, mdl_run_kind kind) {
    const mdl_plan_program *program = s->refs[kind].program;
    double flops = 0;
    for (int i = 0; program && i < program->launches.n; i++) flops += (double)program->launches.at[i].flops;
    return flops;
}

double mdl_session_flops(const mdl_session *s, int n) {
    if (n == 1) return program_flops(s, MDL_RUN_ONLY);
    double counts = program_flops(s, MDL_RUN_COUNT_FIRST) + (n - 1) * program_flops(s, MDL_RUN_COUNT_NEXT);
    return counts + program_flops(s, MDL_RUN_FIRST) + (n - 2) * program_flops(s, MDL_RUN_MIDDLE) + program_flops(s, MDL_RUN_LAST);
}
