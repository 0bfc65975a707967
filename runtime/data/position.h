/* Where a run is in its data. */
#ifndef MDL_DATA_POSITION_H
#define MDL_DATA_POSITION_H

#include <stdint.h>

enum { MDL_MAX_SOURCES = 16 };

/* Plain numbers, enough to continue with the very next batch: of every source its epoch and the index, in that epoch's order, of
 * the first record not yet looked at. Sources that there are not are 0. */
typedef struct {
    int64_t drawn; /* sequences given so far, of all sources: which source comes next depends on it */
    struct {
        int64_t epoch, next;
    } source[MDL_MAX_SOURCES];
} mdl_data_position;

#endif
