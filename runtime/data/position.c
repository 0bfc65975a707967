/* Positions as JSON. */
#include "runtime/data/position.h"

#include <jansson.h>

mdl_data_position mdl_data_position_next_epoch(const mdl_data_position *position) {
    return (mdl_data_position){.epoch = position->epoch + 1};
}

json_t *mdl_data_position_save(const mdl_data_position *position) {
    return json_pack("{s:I, s:I}", "epoch", (json_int_t)position->epoch, "next", (json_int_t)position->next);
}

mdl_status mdl_data_position_load(json_t *from, mdl_data_position *position) {
    json_int_t epoch, next;
    if (json_unpack(from, "{s:I, s:I}", "epoch", &epoch, "next", &next))
        return mdl_fail(MDL_BAD_INPUT, "the position in the data lacks \"epoch\" or \"next\"");
    *position = (mdl_data_position){epoch, next};
    return MDL_OK;
}
