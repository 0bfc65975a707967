/* A step again, from the nearest checkpoint: the same numbers as in the run, and nothing is written. */
#include <math.h>
#include <stdio.h>

#include "runtime/checkpoint/snapshot.h"
#include "runtime/train/run.h"
#include "runtime/train/start.h"
#include "runtime/train/train.h"

static mdl_status go_to_checkpoint(mdl_run *run, const char *path) {
    mdl_device *snapshot = NULL;
    mdl_status status = mdl_snapshot_open(run->session->plan, &snapshot);
    if (!status) status = mdl_run_resume(run, path, snapshot, false);
    mdl_snapshot_close(snapshot);
    return status;
}

/* The last checkpoint before the step; without one, the beginning. */
static mdl_status go_near(mdl_run *run, int64_t step) {
    mdl_checkpoint *found;
    const char *skipped;
    mdl_status status = mdl_checkpoint_find(run->memory, run->config->output_dir, step - 1, &found, &skipped);
    if (status) return status;
    if (skipped) printf("%s\n", skipped);
    if (found) return go_to_checkpoint(run, found->path);
    printf("no checkpoint before step %lld in %s: from the beginning\n", (long long)step, run->config->output_dir);
    return mdl_start_weights(run->config, run->session, NULL);
}

/* So many digits that it reads back as the same bits. */
static void print_number(const char *name, double value) {
    char text[32];
    mdl_figure_text(text, sizeof text, value);
    printf("  %s %s", name, isfinite(value) ? text : isnan(value) ? "nan" : "inf");
}

static void print_step(const mdl_run *run) {
    const mdl_plan *plan = run->session->plan;
    printf("step %lld", (long long)run->step);
    print_number("loss", run->last.loss);
    print_number("grad_norm", run->last.grad_norm);
    print_number("learning_rate", run->lr);
    for (int i = 0; i < plan->losses.n && plan->losses.n > 1; i++) print_number(run->loss_name[i], run->last.losses[i]);
    for (int i = 0; i < plan->metrics.n; i++) print_number(plan->metrics.at[i], run->last.metrics[i]);
    printf("\n");
}

static void print_trouble(const mdl_run *run) {
    int same = mdl_run_is_trouble(run);
    if (same >= 0)
        printf("its batch is %s in %s/trouble-step-%lld\n", same ? "the one" : "not the one", run->config->output_dir,
               (long long)run->step);
}

/* A step that leaves the finite numbers is printed like others, and is the answer. */
static mdl_status replay(mdl_run *run, int64_t step) {
    mdl_status status = MDL_OK;
    while (run->step < step && !status) {
        int64_t before = run->step;
        status = mdl_run_step(run);
        if (run->step > before) print_step(run);
    }
    if (run->step == step) print_trouble(run);
    return status;
}

mdl_status mdl_replay(const char *plan_path, const mdl_config *config, int64_t step) {
    mdl_run run;
    mdl_status status = mdl_run_load(&run, plan_path, config);
    if (!status) status = mdl_start_data(config, run.session->plan, (int)config->gradient_accumulation_steps, &run.loader);
    if (!status) status = go_near(&run, step);
    if (!status) status = replay(&run, step);
    mdl_status closed = mdl_run_close(&run);
    if (status) mdl_status_free(closed);
    return status ? status : closed;
}
