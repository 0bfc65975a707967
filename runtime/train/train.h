/* A training run: a plan, a configuration, and the loop. */
#ifndef MDL_TRAIN_TRAIN_H
#define MDL_TRAIN_TRAIN_H

#include "runtime/train/config.h"

/* Trains the plan as the configuration says; prints the facts at the start, progress, final figures and a plot to stdout, and with
 * `verbose` where the time before the first step went.
 * Writes metrics.jsonl, train_results.json, all_results.json and the final weights into output_dir. SIGINT or SIGTERM end
 * the run after the current step with all of these written, and give MDL_INTERRUPTED. A loss or gradient norm that is not
 * finite ends it with an error naming the step, and no weights or results are written. */
mdl_status mdl_train(const char *plan_path, const mdl_config *config, bool verbose);

#endif
