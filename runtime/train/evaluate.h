/* Evaluation: a pass over held-out data without gradients. Its figures depend on the weights, the data and how they are cut and
 * masked, never on the run: sequences come in the order of the files, with masks of a fixed seed. */
#ifndef MDL_TRAIN_EVALUATE_H
#define MDL_TRAIN_EVALUATE_H

#include "runtime/report/figures.h"
#include "runtime/train/config.h"
#include "runtime/train/session.h"

typedef struct {
    mdl_arena *memory;
    mdl_session *session; /* the caller's */
    mdl_loader *loader;
    const char **name;   /* figures of losses and metrics: "eval_loss.mlm", "eval_accuracy" */
    double *sum, *count; /* of losses, then of metrics, over the pass */
    int64_t batches, sequences;
} mdl_evaluation;

/* Opens the configuration's data for evaluation; MDL_USAGE when it has none. Names are in `memory`. */
mdl_status mdl_evaluation_open(const mdl_config *config, mdl_session *session, mdl_arena *memory, mdl_evaluation **evaluation);
void mdl_evaluation_close(mdl_evaluation *evaluation); /* NULL is allowed */

/* One pass. Adds eval_loss (sum over losses of weight * sum / count; NAN when nothing is labelled), eval_perplexity with one loss,
 * eval_loss.NAME with several, eval_METRIC, eval_runtime, eval_samples_per_second and eval_steps_per_second. `cut_short` is asked
 * between batches, NULL: never; when it says so, nothing is added and *done is false. */
mdl_status mdl_evaluate(mdl_evaluation *evaluation, bool (*cut_short)(void), mdl_figures *figures, bool *done);
/* Does a pass give a figure of this name, other than a time? */
bool mdl_evaluation_has(const mdl_evaluation *evaluation, const char *name);

#endif
