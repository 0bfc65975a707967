/* A training run: a plan, a configuration, and the loop. */
#ifndef MDL_TRAIN_TRAIN_H
#define MDL_TRAIN_TRAIN_H

#include "runtime/train/config.h"

typedef struct {
    bool verbose; /* after the first step, print where the time before it went */
    bool dry;     /* up to the first step, and leave output_dir as it is */
} mdl_train_how;

/* Trains the plan as the configuration says; prints the facts at the start, progress, final figures and a plot to stdout.
 * Writes metrics.jsonl and checkpoints into output_dir, and at the end checkpoint-last, train_results.json, all_results.json and
 * the final weights. A signal ends the run after the current step with a checkpoint; SIGINT gives MDL_INTERRUPTED, others success.
 * A loss or gradient norm that is not finite ends it with an error naming the step, and nothing of that step is saved. */
mdl_status mdl_train(const char *plan_path, const mdl_config *config, mdl_train_how how);

/* Runs step `step` (from 1) of such a run again, from the nearest checkpoint before it, and prints its numbers. */
mdl_status mdl_replay(const char *plan_path, const mdl_config *config, int64_t step);

#endif
