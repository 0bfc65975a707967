/* Inside the training loop: the state of a run and its parts: setup, logging, the end. */
#ifndef MDL_TRAIN_RUN_H
#define MDL_TRAIN_RUN_H

#include "runtime/report/metrics.h"
#include "runtime/report/plot.h"
#include "runtime/report/progress.h"
#include "runtime/train/config.h"
#include "runtime/train/session.h"

/* Sums since the last line of metrics, and over the whole run. */
typedef struct {
    int64_t steps, tokens, sequences; /* tokens: of sequences, without the tail */
    double loss, seconds;
} mdl_tally;

typedef struct {
    const mdl_config *config;
    const char *plan_path;
    mdl_arena *memory;
    mdl_session *session;
    mdl_loader *loader;
    mdl_schedule schedule;
    mdl_adamw adamw;
    double step_flops;
    int64_t max_shard_bytes;
    bool verbose; /* say where the time before the first step went */

    int64_t step;               /* done */
    mdl_data_position position; /* of the step's first sequence: with `step` all that a resume needs of the data */
    double epoch, lr;
    mdl_step last;
    mdl_tally window, whole;
    double *loss_sum, *metric_sum; /* of the window, by loss and metric */
    int64_t *metric_steps;         /* steps of the window in which the metric was defined */
    const char **loss_name;        /* "loss.mlm" */

    mdl_metrics *metrics;
    const char *old_metrics; /* path: those of the run that this one replaces when it ends */
    mdl_progress progress;
    mdl_curve curve;
} mdl_run;

/* setup.c: opens everything, loads or makes the weights, prints the facts. */
mdl_status mdl_run_open(mdl_run *run, const char *plan_path, const mdl_config *config);
void mdl_run_close(mdl_run *run);
/* log.c: after each step: counts it, shows it, and writes a line of metrics when one is due. */
mdl_status mdl_run_log(mdl_run *run, double seconds, double now);
/* Writes the line of a window that an interrupt left open. */
mdl_status mdl_run_flush(mdl_run *run);
/* finish.c: results, weights, plot. */
mdl_status mdl_run_finish(mdl_run *run);

/* 7512474 -> "7,512,474" */
const char *mdl_run_grouped(mdl_arena *memory, int64_t number);

#endif
