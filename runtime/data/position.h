/* Where a run is in its data. */
#ifndef MDL_DATA_POSITION_H
#define MDL_DATA_POSITION_H

#include <stdint.h>

#include "runtime/base/status.h"

enum { MDL_MAX_SOURCES = 16 };

/* Plain numbers, enough to continue with the very next batch: of every source its epoch and the index, in that epoch's order, of
 * the first record not yet looked at. Sources that there are not are 0. */
typedef struct {
    int64_t drawn; /* sequences given so far, of all sources: which source comes next depends on it */
    struct {
        int64_t epoch, next;
    } source[MDL_MAX_SOURCES];
} mdl_data_position;

/* As JSON: {"drawn": 4711, "sources": [[epoch, next], ...]}, without the sources behind the last one that has begun. */
struct json_t;
struct json_t *mdl_data_position_save(const mdl_data_position *position); /* a new reference */
/* MDL_BAD_INPUT: it is no position. Whether it fits a data set, mdl_loader_seek says. */
mdl_status mdl_data_position_load(struct json_t *from, mdl_data_position *position);

#endif
