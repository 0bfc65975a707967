/* Inside `mdlrun check`: a file of reference numbers, laid out as docs/training.md describes. */
#ifndef MDL_COMMAND_CHECK_REFERENCE_H
#define MDL_COMMAND_CHECK_REFERENCE_H

#include "runtime/base/safetensors.h"
#include "runtime/train/session.h"

typedef struct {
    const char *path;
    const char *weights; /* a folder in place of the weight.* here; NULL: none */
    mdl_arena *memory;
    mdl_safetensors *file;
    int64_t batches, tokens, offsets; /* ids [tokens] or [batches, tokens]; cu_seqlens [offsets] or [batches, offsets] */
    bool trajectory;
    mdl_adamw adamw;
    double lr;
    MDL_VEC(const char *) no_decay; /* names, when has_no_decay */
    bool has_no_decay;
} mdl_reference;

mdl_status mdl_reference_open(const char *path, mdl_reference *reference);
void mdl_reference_close(mdl_reference *reference);

/* The tensor `name` as floats in the reference's memory; an error when it is absent or not of `count` numbers (-1: any). */
mdl_status mdl_reference_floats(mdl_reference *reference, const char *name, int64_t count, float **values, int64_t *n);

/* Is there a tensor whose name begins so? */
bool mdl_reference_has_any(const mdl_reference *reference, const char *prefix);

/* All weight.* tensors, or those of the folder, into the session's parameters; moments to 0. */
mdl_status mdl_reference_load_weights(mdl_reference *reference, mdl_session *session);

/* A batch of the plan's shape: ids padded with the pad token, labels with -100, the last offset repeated. Made once;
 * _fill writes batch i into it. */
mdl_status mdl_reference_make_batch(mdl_reference *reference, const mdl_plan *plan, mdl_batch *batch);
mdl_status mdl_reference_fill_batch(mdl_reference *reference, const mdl_plan *plan, int64_t i, mdl_batch *batch);

#endif
