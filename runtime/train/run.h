/* Inside the training loop: the state of a run and its parts: setup, logging, saving, resuming, the end. */
#ifndef MDL_TRAIN_RUN_H
#define MDL_TRAIN_RUN_H

#include "runtime/base/lock.h"
#include "runtime/report/metrics.h"
#include "runtime/report/plot.h"
#include "runtime/report/progress.h"
#include "runtime/train/config.h"
#include "runtime/train/evaluate.h"
#include "runtime/train/session.h"
#include "runtime/train/train.h"

/* Sums since the last line of metrics, and over the whole run. */
typedef struct {
    int64_t steps, labelled, tokens, sequences; /* labelled: steps with a label; tokens: of sequences, without the tail */
    double loss, seconds;                       /* loss: of labelled steps */
} mdl_tally;

/* What evaluations have said so far: best.c. */
typedef struct {
    mdl_evaluation *pass; /* NULL: the run does not evaluate */
    const char *metric;   /* that says which step is best */
    bool rises;           /* it is better when it is greater */
    bool due;             /* of the step done */
    int64_t step;         /* of the last line of evaluation; -1: none yet */
    mdl_figures
        figures; /* of the last pass of this process, at figures_step, -1: none; at the end, of the weights that are written */
    int64_t figures_step;
    bool is_best;      /* the step done is the best so far */
    double best;       /* NAN: none yet */
    int64_t best_step; /* of `best` */
    const char *best_checkpoint;
    int64_t without; /* evaluations in a row without one that is better by the threshold */
} mdl_progression;

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
    mdl_train_how how;

    int64_t step;                     /* done */
    mdl_data_position position, next; /* of the first sequence of the step done, and of the step after it */
    double epoch, lr;
    bool new_epoch;           /* the step done was the last of an epoch */
    const mdl_batch *batches; /* of the step done, the loader's */
    mdl_step last;
    mdl_tally window, whole;
    double *loss_sum, *metric_sum; /* of the window, by loss and metric */
    int64_t *metric_steps;         /* steps of the window in which the metric was defined */
    const char **loss_name;        /* "loss.mlm" */

    mdl_lock lock;      /* of output_dir */
    int made_folders;   /* of the path of output_dir, from its end, that were not there */
    const char *id;     /* of the run, kept when it is resumed */
    const char *resume; /* the checkpoint that it goes on from; NULL: it begins anew */
    mdl_metrics *metrics;
    const char *metrics_path, *old_metrics; /* old: those of the run that this one replaces when it ends */
    struct mdl_saver *saver;
    int64_t saved_step;
    mdl_progression progression;
    mdl_progress progress;
    mdl_curve curve;
} mdl_run;

/* setup.c: opens everything, loads or makes the weights, prints the facts. */
mdl_status mdl_run_open(mdl_run *run, const char *plan_path, const mdl_config *config, mdl_train_how how);
/* The same without an output: plan, data, and room for the sums; no weights yet. */
mdl_status mdl_run_load(mdl_run *run, const char *plan_path, const mdl_config *config);
/* Waits for a save that goes on; its error is returned. */
mdl_status mdl_run_close(mdl_run *run);
/* optimize.c: the next step. A loss or gradient norm that is not finite is MDL_MISMATCH, and what led to it is written into
 * output_dir/trouble-step-N (trouble.c) where the run has an output. */
mdl_status mdl_run_step(mdl_run *run);
/* log.c: after each step: counts it, shows it, and writes a line of metrics when one is due. */
mdl_status mdl_run_log(mdl_run *run, double seconds, double now);
/* Writes the line of a window that the end left open. */
mdl_status mdl_run_flush(mdl_run *run);
/* best.c: opens the data for evaluation, if the configuration asks for any, before a resume; refuses settings that go together
 * only with evaluation. */
mdl_status mdl_run_open_evaluation(mdl_run *run);
int64_t mdl_eval_steps(const mdl_config *config);
/* After a step: is one due? */
void mdl_run_evaluation_due(mdl_run *run);
/* Evaluates when it is due: a line of metrics, and whether it is the best. A signal cuts it short: then it stays due. */
mdl_status mdl_run_evaluate(mdl_run *run);
bool mdl_keeps_best(const mdl_config *config); /* the best checkpoint outlives save_total_limit */
bool mdl_run_wants_best(const mdl_run *run);   /* a checkpoint of this step is to be kept as the best */
bool mdl_run_stops_early(const mdl_run *run);
void mdl_run_print_early_stop(const mdl_run *run);
/* Before a checkpoint of this name is written: is it that of the best step? */
void mdl_run_saves_best(mdl_run *run, const char *name);
/* At the end: a pass of the last step, unless it has had one. */
mdl_status mdl_run_evaluate_last(mdl_run *run);
/* In run_state.json: a new reference; and back. */
struct json_t;
struct json_t *mdl_progression_save(const mdl_run *run);
mdl_status mdl_progression_load(mdl_run *run, struct json_t *from);

/* finish.c: checkpoint-last, the best weights or the last ones, results, plot. */
mdl_status mdl_run_finish(mdl_run *run);

/* output.c: makes output_dir, or refuses to write into it; locks it, clears up after a run that ended suddenly, finds the
 * checkpoint to resume from, and asks for room on the disk. What it has to say is printed. */
mdl_status mdl_run_claim(mdl_run *run);
/* Begins metrics.jsonl: empty, or with the lines of `history` (a JSON array of objects of numbers). */
mdl_status mdl_run_begin_metrics(mdl_run *run, const struct json_t *history);
void mdl_run_unclaim(mdl_run *run);
bool mdl_run_goes_on_here(const mdl_run *run); /* it resumes from a checkpoint of its output_dir */

/* save.c: a snapshot, and a thread that writes it. */
mdl_status mdl_saver_open(mdl_run *run);
void mdl_saver_close(struct mdl_saver *saver); /* NULL is allowed; nothing may be under way */
struct mdl_device *mdl_saver_snapshot(struct mdl_saver *saver);
/* Hands the state of the step done over; waits for the save before it, and with `wait` for its own end. */
mdl_status mdl_run_save(mdl_run *run, const char *name, bool wait);
/* Prints what a save that has ended did, and returns its error; with `wait`, waits for its end. */
mdl_status mdl_run_saved(mdl_run *run, bool wait);
double mdl_saver_stall(const struct mdl_saver *saver); /* seconds that the loop has waited, in all */

/* state.c: run_state.json and trainer_state.json of the step done, in `memory`; the first one back into the run. */
const char *mdl_run_state(const mdl_run *run, mdl_arena *memory);
/* log: the lines of metrics.jsonl. */
const char *mdl_trainer_state(const mdl_run *run, mdl_arena *memory);
const char *mdl_trainer_state_with(mdl_arena *memory, const char *state, const char *log);
mdl_status mdl_run_set_state(mdl_run *run, struct json_t *state);
mdl_status mdl_run_set_products(mdl_run *run, const struct json_t *state);

/* resume.c: weights, moments and all sums of a checkpoint; prints what has changed since and what follows. Refuses what cannot be
 * right. `snapshot` is used on the way. metrics: metrics.jsonl becomes what it was then. */
mdl_status mdl_run_resume(mdl_run *run, const char *folder, struct mdl_device *snapshot, bool metrics);

/* Parameters and moments of a snapshot to the device. */
mdl_status mdl_run_upload(mdl_run *run, const struct mdl_device *snapshot);

/* trouble.c */
mdl_status mdl_run_trouble(const mdl_run *run);
/* Is the batch of the step done the one in output_dir/trouble-step-N? 1: yes; 0: no; -1: there is none. */
int mdl_run_is_trouble(const mdl_run *run);

/* 7512474 -> "7,512,474" */
const char *mdl_run_grouped(mdl_arena *memory, int64_t number);

#endif
