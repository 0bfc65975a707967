/* What cells of tables mean, whatever the format. */
#ifndef MDL_DATA_CELLS_H
#define MDL_DATA_CELLS_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* A number in a cell: absent (NaN) when it is empty, NA, N/A, null, None or NaN. False: it is none, or beyond f32.
 */
bool mdl_cell_number(const char *text, double *value);
/* The place of a name among a table's columns. MDL_BAD_INPUT lists those that there are. */
mdl_status mdl_cell_column(const char *name, int n, const char *const *names, int *at);

#endif
