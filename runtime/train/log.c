/* Counting steps and writing lines of metrics. */
#include <math.h>

#include "runtime/train/run.h"

static void count_step(mdl_run *run, double seconds) {
    mdl_tally *const tallies[] = {&run->window, &run->whole};
    for (int i = 0; i < 2; i++) {
        tallies[i]->steps++;
        tallies[i]->labelled += run->last.labels > 0;
        tallies[i]->loss += run->last.loss;
        tallies[i]->seconds += seconds;
    }
    for (int i = 0; i < run->session->plan->losses.n; i++) run->loss_sum[i] += run->last.losses[i];
    for (int i = 0; i < run->session->plan->metrics.n; i++) {
        if (isnan(run->last.metrics[i])) continue;
        run->metric_sum[i] += run->last.metrics[i];
        run->metric_steps[i]++;
    }
    mdl_curve_add(&run->curve, run->last.loss);
}

static void clear_window(mdl_run *run) {
    run->window = (mdl_tally){0};
    for (int i = 0; i < run->session->plan->losses.n; i++) run->loss_sum[i] = 0;
    for (int i = 0; i < run->session->plan->metrics.n; i++) run->metric_sum[i] = 0, run->metric_steps[i] = 0;
}

/* Steps that a mean loss is of; a window without a label has loss 0. */
static double labelled(const mdl_run *run) { return run->window.labelled ? (double)run->window.labelled : 1; }

/* The plan's own: each loss when there are several, perplexity when there is one, metrics. */
static void add_model_figures(const mdl_run *run, mdl_figures *f) {
    const mdl_plan *plan = run->session->plan;
    double steps = labelled(run);
    if (plan->losses.n == 1) mdl_figures_add(f, "perplexity", exp(run->loss_sum[0] / steps));
    for (int i = 0; i < plan->losses.n && plan->losses.n > 1; i++) mdl_figures_add(f, run->loss_name[i], run->loss_sum[i] / steps);
    for (int i = 0; i < plan->metrics.n; i++)
        if (run->metric_steps[i]) mdl_figures_add(f, plan->metrics.at[i], run->metric_sum[i] / (double)run->metric_steps[i]);
}

static void add_speed(const mdl_run *run, mdl_figures *f) {
    double steps = (double)run->window.steps, seconds = run->window.seconds;
    double budget = (double)run->session->plan->tokens * (double)run->config->gradient_accumulation_steps;
    mdl_figures_add(f, "step_time", seconds / steps);
    mdl_figures_add(f, "tokens_per_second_per_gpu", budget * steps / seconds);
    mdl_figures_add(f, "unpadded_tokens_per_second_per_gpu", (double)run->window.tokens / seconds);
    mdl_figures_add(f, "tflops", run->step_flops * steps / seconds / 1e12);
    mdl_figures_add(f, "memory_gb", (double)run->session->backend->memory(run->session->device) / (1 << 30));
}

static mdl_status write_line(mdl_run *run) {
    mdl_figures f = {0};
    mdl_figures_add(&f, "step", (double)run->step);
    mdl_figures_add(&f, "loss", run->window.loss / labelled(run));
    mdl_figures_add(&f, "grad_norm", run->last.grad_norm);
    mdl_figures_add(&f, "learning_rate", run->lr);
    mdl_figures_add(&f, "epoch", run->epoch);
    mdl_figures_add(&f, "num_input_tokens_seen", (double)run->whole.tokens);
    add_model_figures(run, &f);
    add_speed(run, &f);
    return mdl_metrics_write(run->metrics, &f);
}

static mdl_progress_view view_of(const mdl_run *run) {
    return (mdl_progress_view){
        .step = run->step,
        .max_steps = run->config->max_steps,
        .loss = run->window.loss / labelled(run),
        .grad_norm = run->last.grad_norm,
        .lr = run->lr,
        .tokens_per_second = (double)run->window.tokens / run->window.seconds,
        .seconds_left = run->whole.seconds / (double)run->whole.steps * (double)(run->config->max_steps - run->step),
    };
}

/* The window joins the whole and begins anew. */
static mdl_status close_window(mdl_run *run) {
    run->whole.tokens += run->window.tokens;
    run->whole.sequences += run->window.sequences;
    mdl_status status = write_line(run);
    clear_window(run);
    return status;
}

/* The last step's line is left to mdl_run_flush, behind the last checkpoint: a run that goes on from there has it where it is due. */
mdl_status mdl_run_log(mdl_run *run, double seconds, double now) {
    const mdl_config *c = run->config;
    bool due = run->step % c->logging_steps == 0 || (run->step == 1 && c->logging_first_step);
    count_step(run, seconds);
    mdl_progress_view view = view_of(run);
    mdl_progress_step(&run->progress, &view, due || run->step == c->max_steps, now);
    return due ? close_window(run) : MDL_OK;
}

mdl_status mdl_run_flush(mdl_run *run) { return run->window.steps ? close_window(run) : MDL_OK; }
