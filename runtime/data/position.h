/* A position in the data as JSON, for checkpoints: the one place that knows what a position is made of. */
#ifndef MDL_DATA_POSITION_H
#define MDL_DATA_POSITION_H

#include "runtime/data/loader.h"

struct json_t;
/* A new reference. */
struct json_t *mdl_data_position_save(const mdl_data_position *position);
mdl_status mdl_data_position_load(struct json_t *from, mdl_data_position *position);

#endif
