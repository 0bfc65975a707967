/* The order of state accesses in a program. */
#ifndef MDL_IR_ORDER_H
#define MDL_IR_ORDER_H

#include "compiler/ir/state.h"

/* NULL, or the access that is wrong: of two whose ranges overlap, one of them a write, the later must depend on the earlier, by
 * values or tokens. layout NULL: a flat range may hold any parameter. */
const char *mdl_verify_order(mdl_arena *arena, const mdl_region *region, const mdl_layout *layout);

/* An access of a range, behind everything in the region that it must wait for: a read waits for the writes that overlap it, a write
 * also for the reads. */
mdl_value *mdl_read_in_order(mdl_builder *b, const mdl_layout *layout, mdl_state state, mdl_type type);
mdl_value *mdl_write_in_order(mdl_builder *b, const mdl_layout *layout, mdl_state state, mdl_value *x); /* the token */

/* By op: for a read, the index of the first write behind it that overlaps it; elsewhere, and where there is none, INT_MAX. */
int *mdl_overwritten_at(mdl_arena *arena, const mdl_region *region, const mdl_layout *layout);

#endif
