/* Parquet: a stub until the module is there. */
#include "runtime/data/format.h"

mdl_status mdl_read_parquet(const char *path, const mdl_format_options *options, mdl_sink *sink) {
    (void)path, (void)options, (void)sink;
    return mdl_fail(MDL_SYSTEM, "Parquet is not there yet");
}
