/* Inside resuming: what has changed since a checkpoint was written. */
#ifndef MDL_TRAIN_CHANGES_H
#define MDL_TRAIN_CHANGES_H

#include "runtime/train/run.h"

/* A line for each change, with what follows of it; NULL: there is none. */
const char *mdl_changes(const mdl_run *run, mdl_arena *memory, const struct json_t *state);
/* Are the sequences others than those that the position was of? */
bool mdl_changes_data(const mdl_run *run, const struct json_t *state);

#endif
