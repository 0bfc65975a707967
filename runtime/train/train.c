/* The training loop. */
#include "runtime/train/train.h"

#include <math.h>

#include "runtime/base/clock.h"
#include "runtime/train/interrupt.h"
#include "runtime/train/run.h"

static mdl_status check_finite(const mdl_run *run) {
    if (isfinite(run->last.loss) && isfinite(run->last.grad_norm)) return MDL_OK;
    return mdl_fail(MDL_MISMATCH,
                    "step %lld: the loss is %g and the gradient norm %g, at learning rate %g; stopped, no weights are written",
                    (long long)run->step, run->last.loss, run->last.grad_norm, run->lr);
}

static void count_batches(mdl_run *run, const mdl_batch *batches) {
    for (int i = 0; i < run->config->gradient_accumulation_steps; i++) {
        run->window.tokens += batches[i].tokens;
        run->window.sequences += batches[i].sequences;
    }
}

static mdl_status one_step(mdl_run *run) {
    const mdl_batch *batches;
    mdl_status status = mdl_loader_next(run->loader, &batches, &run->position, &run->epoch);
    if (status) return status;
    run->lr = mdl_schedule_at(&run->schedule, run->step);
    status = mdl_session_set_adamw(run->session, &run->adamw, run->step + 1, run->lr);
    if (!status) status = mdl_session_step(run->session, (int)run->config->gradient_accumulation_steps, batches, &run->last);
    if (status) return status;
    run->step++;
    count_batches(run, batches);
    return check_finite(run);
}

/* A step has ended on the device when its loss is here. */
static void show_start(const mdl_run *run) {
    mdl_mark("first step");
    printf("first step after %.1f s\n", mdl_seconds_of_process());
    if (run->verbose) mdl_marks_print(stdout);
}

/* After the log of a step is the place for evaluation and checkpoints: run->step, run->position and the arenas are
 * then those of a whole step. */
static mdl_status loop(mdl_run *run) {
    mdl_status status = MDL_OK;
    double before = mdl_seconds_now();
    bool first = true; /* of this process */
    while (run->step < run->config->max_steps && !mdl_interrupted()) {
        if ((status = one_step(run))) break;
        if (first) show_start(run);
        first = false;
        double now = mdl_seconds_now();
        if ((status = mdl_run_log(run, now - before, now))) break;
        before = now;
    }
    mdl_progress_end(&run->progress);
    return status;
}

static mdl_status train(mdl_run *run) {
    mdl_status status = loop(run);
    if (!status && run->step) status = mdl_run_finish(run);
    if (status || run->step == run->config->max_steps) return status;
    return mdl_fail(MDL_INTERRUPTED, "interrupted after step %lld of %lld%s", (long long)run->step,
                    (long long)run->config->max_steps, run->step ? "; weights and results are written" : "; nothing is written");
}

mdl_status mdl_train(const char *plan_path, const mdl_config *config, bool verbose) {
    mdl_run run;
    mdl_status status = mdl_interrupt_catch(); /* first: the device and the loader start threads */
    if (status) return status;
    status = mdl_run_open(&run, plan_path, config);
    run.verbose = verbose;
    if (!status) status = train(&run);
    mdl_run_close(&run);
    mdl_interrupt_release();
    return status;
}
