/* Inside the session: results of the step's programs, found once. */
#ifndef MDL_TRAIN_SESSION_REFS_H
#define MDL_TRAIN_SESSION_REFS_H

#include "runtime/train/session.h"

struct mdl_run_refs {
    const mdl_plan_program *program; /* NULL: the plan has none */
    mdl_result_ref *sum, *count;     /* of losses, then of metrics; NULL: the program gives none */
    mdl_result_ref grad_norm;
};

extern const char *const mdl_run_names[MDL_RUN_KINDS];
mdl_status mdl_session_number(mdl_session *session, mdl_result_ref ref, double *value);

#endif
