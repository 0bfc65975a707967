/* A session's weights in files. */
#ifndef MDL_TRAIN_WEIGHTS_H
#define MDL_TRAIN_WEIGHTS_H

#include <stdio.h>

#include "runtime/train/session.h"
#include "runtime/weights/weights.h"

mdl_weight_store mdl_weights_of(mdl_session *session);

/* What a person should know of weights read from `path`: what is new, kept, or odd. */
void mdl_weights_print(FILE *out, const char *path, const mdl_weight_report *report);

/* MDL_MISMATCH when a number of any parameter is not finite: says how many are not, and where the first one is. */
mdl_status mdl_weights_check_finite(mdl_session *session);

#endif
