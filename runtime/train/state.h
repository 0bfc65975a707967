/* Inside checkpoints: facts in run_state.json that a resumed run compares with its own. */
#ifndef MDL_TRAIN_STATE_H
#define MDL_TRAIN_STATE_H

#include "runtime/train/session.h"

enum { MDL_STATE_FORMAT = 1 };

struct json_t;
struct json_t *mdl_plan_facts(const mdl_session *session); /* new references */
struct json_t *mdl_data_facts_of(const mdl_loader *loader);

#endif
