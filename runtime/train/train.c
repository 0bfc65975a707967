/* The training loop. */
#include "runtime/train/train.h"

#include <signal.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/train/interrupt.h"
#include "runtime/train/run.h"

static const char *checkpoint_name(const mdl_run *run) { return mdl_printf(run->memory, "checkpoint-%lld", (long long)run->step); }

static bool save_due(const mdl_run *run) {
    const mdl_config *c = run->config;
    if (!strcmp(c->save_strategy, "epoch")) return run->new_epoch;
    return !strcmp(c->save_strategy, "steps") && run->step % c->save_steps == 0;
}

/* Evaluation before saving, which keeps what it has found; where it is still due (a signal came), the checkpoint says so. The time
 * of a step is without it. */
static mdl_status evaluate_and_save(mdl_run *run, bool save, double *before) {
    double began = mdl_seconds_now();
    mdl_status status = mdl_run_evaluate(run);
    *before += mdl_seconds_now() - began;
    if (status) return status;
    return save || mdl_run_wants_best(run) ? mdl_run_save(run, checkpoint_name(run), false) : mdl_run_saved(run, false);
}

static mdl_status one_step(mdl_run *run, double *before) {
    mdl_status status = mdl_run_step(run);
    if (status) return status;
    double now = mdl_seconds_now();
    status = mdl_run_log(run, now - *before, now);
    *before = now;
    mdl_run_evaluation_due(run);
    return status ? status : evaluate_and_save(run, save_due(run), before);
}

/* A step has ended on the device when its loss is here. */
static void show_start(const mdl_run *run) {
    mdl_mark("first step");
    printf("first step after %.1f s\n", mdl_seconds_of_process());
    if (run->how.verbose) mdl_marks_print(stdout);
}

static bool is_done(const mdl_run *run) { return run->step >= run->config->max_steps || mdl_run_stops_early(run); }

static mdl_status loop(mdl_run *run) {
    double before = mdl_seconds_now();
    bool first = true; /* of this process */
    mdl_status status = evaluate_and_save(run, false, &before);
    while (!is_done(run) && !mdl_interrupted() && !status) {
        status = one_step(run, &before);
        if (first && !status) show_start(run);
        first = false;
    }
    mdl_progress_end(&run->progress);
    return status;
}

/* Ctrl-C is a person's, who sees by the status that the run is not done; the other signals are a scheduler's. */
static mdl_status stop(mdl_run *run) {
    mdl_status status = MDL_OK;
    if (run->config->save_on_stop && run->step > run->saved_step) status = mdl_run_save(run, checkpoint_name(run), true);
    if (!status) status = mdl_run_saved(run, true);
    if (status) return status;
    const char *said =
        mdl_printf(run->memory, "interrupted after step %lld of %lld", (long long)run->step, (long long)run->config->max_steps);
    if (run->saved_step)
        said = mdl_printf(run->memory, "%s; trainer.resume_from_checkpoint=true goes on from step %lld", said,
                          (long long)run->saved_step);
    else
        said = mdl_printf(run->memory, "%s; nothing is saved", said);
    if (mdl_interrupt_signal() == SIGINT) return mdl_fail(MDL_INTERRUPTED, "%s", said);
    printf("%s\n", said);
    return MDL_OK;
}

static mdl_status train(mdl_run *run) {
    mdl_status status = loop(run);
    if (status) return status;
    return is_done(run) && !run->progression.due ? mdl_run_finish(run) : stop(run);
}

/* What a dry run ends with: the steps that would follow. */
static mdl_status foresee(const mdl_run *run) {
    const mdl_config *c = run->config;
    int64_t tokens = run->session->plan->tokens * c->gradient_accumulation_steps;
    const char *last = mdl_run_grouped(run->memory, c->max_steps);
    if (run->step >= c->max_steps)
        printf("dry run     nothing would follow: step %s is done, trainer.max_steps is %s\n",
               mdl_run_grouped(run->memory, run->step), last);
    else
        printf("dry run     steps %s to %s would follow, at most %s tokens each\n", mdl_run_grouped(run->memory, run->step + 1),
               last, mdl_run_grouped(run->memory, tokens));
    return mdl_file_flush_stdout();
}

mdl_status mdl_train(const char *plan_path, const mdl_config *config, mdl_train_how how) {
    mdl_run run;
    mdl_status status = mdl_interrupt_catch(); /* first: the device and the loader start threads */
    if (status) return status;
    status = mdl_run_open(&run, plan_path, config, how);
    if (!status) status = how.dry ? foresee(&run) : train(&run);
    mdl_status closed = mdl_run_close(&run);
    if (!status)
        status = closed;
    else if (closed)
        status = mdl_context(status, "%s; and", mdl_message(closed)), mdl_status_free(closed);
    mdl_interrupt_release();
    return status;
}
