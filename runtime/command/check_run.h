/* Inside `mdlrun check`: the comparisons. */
#ifndef MDL_COMMAND_CHECK_RUN_H
#define MDL_COMMAND_CHECK_RUN_H

#include "runtime/command/check_reference.h"
#include "runtime/command/check_table.h"
#include "runtime/train/session.h"

typedef struct {
    mdl_reference reference;
    mdl_session *session;
    mdl_batch batch;
    mdl_check_table table;
    MDL_VEC(const char *) skipped;
    double gradient_scale;                     /* the largest root mean square of a gradient of the reference */
    double gradient_difference, gradient_size; /* sums of squares over all gradients */
} mdl_check;

/* The metadata's list against the plan's parameters. */
mdl_status mdl_check_no_decay(mdl_check *check);
/* Logits, loss, gradients, the optimizer alone, three steps. */
mdl_status mdl_check_batch(mdl_check *check);
/* The optimizer alone, on the reference's gradients (it has some): weights and moments against AdamW in double on the host. */
mdl_status mdl_check_optimizer(mdl_check *check);
/* Every step of a trajectory, or the first `steps` when not 0. */
mdl_status mdl_check_trajectory(mdl_check *check, int64_t steps);

void mdl_check_skip(mdl_check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
