/* Which values a kernel cannot compute where they are used, for their views ask too much of its loops. */
#ifndef MDL_KERNEL_BARRIER_H
#define MDL_KERNEL_BARRIER_H

#include "compiler/kernel/levels.h"

/* Sets barrier[id] (by value id) of every value that kernels must load instead: a reshape that no loops can index; a concat that no
 * loops can be cut at, or that would cut one result into more than `copies` nests; what a nest needs at more than `copies` places.
 * 0: as many as there are. Returns whether there is any. */
bool mdl_find_barriers(const mdl_region *region, const mdl_fact *facts, int copies, bool *barrier);

#endif
