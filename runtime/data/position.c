/* Positions as JSON: the one place that knows how they are written. */
#include "runtime/data/position.h"

#include <jansson.h>

json_t *mdl_data_position_save(const mdl_data_position *position) {
    json_t *sources = json_array();
    int n = MDL_MAX_SOURCES;
    while (n > 1 && !position->source[n - 1].epoch && !position->source[n - 1].next) n--;
    for (int s = 0; s < n; s++)
        json_array_append_new(sources,
                              json_pack("[I, I]", (json_int_t)position->source[s].epoch, (json_int_t)position->source[s].next));
    return json_pack("{s:I, s:o}", "drawn", (json_int_t)position->drawn, "sources", sources);
}

mdl_status mdl_data_position_load(json_t *from, mdl_data_position *position) {
    json_t *sources = NULL, *source;
    json_int_t drawn, epoch, next;
    size_t s;
    *position = (mdl_data_position){0};
    if (json_unpack(from, "{s:I, s:o}", "drawn", &drawn, "sources", &sources) || !json_is_array(sources) ||
        json_array_size(sources) > MDL_MAX_SOURCES)
        return mdl_fail(MDL_BAD_INPUT, "the position in the data: expected \"drawn\", and \"sources\" of at most %d",
                        MDL_MAX_SOURCES);
    position->drawn = drawn;
    json_array_foreach(sources, s, source) {
        if (json_unpack(source, "[I, I!]", &epoch, &next))
            return mdl_fail(MDL_BAD_INPUT, "the position in the data: source %zu is not [epoch, next]", s);
        position->source[s].epoch = epoch;
        position->source[s].next = next;
    }
    return MDL_OK;
}
