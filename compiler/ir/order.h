/* The order of state accesses in a program. */
#ifndef MDL_IR_ORDER_H
#define MDL_IR_ORDER_H

#include "compiler/ir/state.h"

/* NULL, or the access that is wrong: of two whose ranges overlap, one of them a write, the later must depend on the earlier, by
 * values or tokens. layout NULL: a flat range may hold any parameter. */
const char *mdl_verify_order(mdl_arena *arena, const mdl_region *region, const mdl_layout *layout);

#endif
