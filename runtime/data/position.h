/* A position in the data as JSON, for checkpoints: the one place that knows what a position is made of. */
#ifndef MDL_DATA_POSITION_H
#define MDL_DATA_POSITION_H

#include "runtime/data/loader.h"

/* Where the next epoch begins: for a data set that is not the one that the position was of. */
mdl_data_position mdl_data_position_next_epoch(const mdl_data_position *position);

struct json_t;
/* A new reference. */
struct json_t *mdl_data_position_save(const mdl_data_position *position);
mdl_status mdl_data_position_load(struct json_t *from, mdl_data_position *position);

#endif
