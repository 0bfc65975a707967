/* What a configuration begins with, for a run as for a profile: data, weights, the optimizer's numbers. */
#ifndef MDL_TRAIN_START_H
#define MDL_TRAIN_START_H

#include "runtime/train/config.h"
#include "runtime/train/session.h"
#include "runtime/weights/weights.h"

/* Opens the configuration's files for a plan, with so many batches a step. */
mdl_status mdl_start_data(const mdl_config *config, const mdl_plan *plan, int micro_batches, mdl_loader **loader);
/* The data for evaluation, in the order of the files, one pass, one micro-batch a step, with masks of a fixed seed; *loader NULL:
 * the configuration has none. */
mdl_status mdl_start_validation(const mdl_config *config, const mdl_plan *plan, mdl_loader **loader);
/* Initial weights from the seed; then those of init_from, if it is set, as `report` tells, whose memory the caller has set (NULL:
 * nobody asks). */
mdl_status mdl_start_weights(const mdl_config *config, mdl_session *session, mdl_weight_report *report);
mdl_adamw mdl_start_adamw(const mdl_config *config);

#endif
