/* Weights between files and a session: names through ties and the "hf" layout's maps, shapes checked. */
#ifndef MDL_TRAIN_WEIGHTS_H
#define MDL_TRAIN_WEIGHTS_H

#include "runtime/base/safetensors.h"
#include "runtime/train/session.h"

typedef struct {
    const char *name; /* as the file's layout has it */
    const mdl_tensor *tensor;
} mdl_weight;

/* Uploads n tensors to the parameters they name. A name is a parameter's, a tie's, or one that the plan's layout "hf" maps
 * to a parameter; tensors that the layout ignores are skipped. Several tensors of one parameter must be equal. Errors
 * (MDL_BAD_INPUT, beginning with `from`) list unexpected tensors, wrong shapes, numbers that are not finite and missing parameters,
 * and leave the parameters as they were. strict: frozen and carried parameters must be there too; else they keep their value and
 * *kept counts them. */
mdl_status mdl_weights_load(mdl_session *session, const char *from, int n, const mdl_weight *weights, bool strict, int *kept);

/* DIR/model.safetensors. */
mdl_status mdl_weights_read_folder(mdl_session *session, const char *dir, int *kept);

/* MDL_MISMATCH when a number of any parameter is not finite: says how many are not, and where the first one is. */
mdl_status mdl_weights_check_finite(mdl_session *session);

/* model.safetensors (f32, logical shapes, names of the layout "hf", ties left out), and the plan's assets: the exported
 * configuration, the vocabulary as vocab.txt, any other file beside the model. Each file appears whole or not at all. */
mdl_status mdl_weights_write_folder(mdl_session *session, const char *dir);

/* The parameter that a name of a file stands for, by the rules above; NULL when there is none. */
const mdl_plan_param *mdl_weights_param(const mdl_plan *plan, const char *name);

/* All numbers of a tensor (F32, F64 or BF16) as floats. */
mdl_status mdl_weights_floats(const mdl_tensor *tensor, float *to);
/* How many of n numbers are infinite or NaN. */
int64_t mdl_weights_bad(int64_t n, const float *values);

#endif
