/* Inside snapshots: their memory. */
#ifndef MDL_CHECKPOINT_INSIDE_H
#define MDL_CHECKPOINT_INSIDE_H

#include "runtime/checkpoint/snapshot.h"

struct mdl_device {
    const mdl_plan *plan;
    char *arena[MDL_ARENA_COUNT]; /* as on the device; NULL for those that no step needs from the one before */
    int64_t bytes;
    bool scaled; /* the scales of 8-bit operands are there */
};

#endif
