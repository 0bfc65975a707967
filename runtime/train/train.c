/* The training loop. */
#include "runtime/train/train.h"

#include <signal.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/train/interrupt.h"
#include "runtime/train/run.h"

static const char *checkpoint_name(const mdl_run *run) { return mdl_printf(run->memory, "checkpoint-%lld", (long long)run->step); }

static bool save_due(const mdl_run *run) {
    const mdl_config *c = run->config;
    if (!strcmp(c->save_strategy, "epoch")) return run->new_epoch;
    return !strcmp(c->save_strategy, "steps") && run->step % c->save_steps == 0;
}

static mdl_status one_step(mdl_run *run, double *before) {
    mdl_status status = mdl_run_step(run);
    if (status) return status;
    double now = mdl_seconds_now();
    status = mdl_run_log(run, now - *before, now);
    *before = now;
    if (!status) status = save_due(run) ? mdl_run_save(run, checkpoint_name(run), false) : mdl_run_saved(run, false);
    return status;
}

/* A step has ended on the device when its loss is here. */
static void show_start(const mdl_run *run) {
    mdl_mark("first step");
    printf("first step after %.1f s\n", mdl_seconds_of_process());
    if (run->verbose) mdl_marks_print(stdout);
}

/* After the log of a step is the place for evaluation: run->step, run->next and the arenas are then those of a whole step. */
static mdl_status loop(mdl_run *run) {
    mdl_status status = MDL_OK;
    double before = mdl_seconds_now();
    bool first = true; /* of this process */
    while (run->step < run->config->max_steps && !mdl_interrupted() && !status) {
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
    return run->step < run->config->max_steps ? stop(run) : mdl_run_finish(run);
}

mdl_status mdl_train(const char *plan_path, const mdl_config *config, bool verbose) {
    mdl_run run;
    mdl_status status = mdl_interrupt_catch(); /* first: the device and the loader start threads */
    if (status) return status;
    status = mdl_run_open(&run, plan_path, config);
    run.verbose = verbose;
    if (!status) status = train(&run);
    mdl_status closed = mdl_run_close(&run);
    if (!status)
        status = closed;
    else if (closed)
        status = mdl_context(status, "%s; and", mdl_message(closed)), mdl_status_free(closed);
    mdl_interrupt_release();
    return status;
}
