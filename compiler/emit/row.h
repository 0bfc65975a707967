/* C source of a row kernel. */
#ifndef MDL_EMIT_ROW_H
#define MDL_EMIT_ROW_H

#include "compiler/ir/ir.h"

/* The text of one kernel op as a C function called `symbol`, for runtime/device/kernel_abi.h. Equal bodies give equal text: rows
 * are immediates 0 (rows) and 1 (rows a chunk), operands that are `imm` ops follow; everything about columns is a constant. On a
 * view that cannot be indexed, returns NULL and sets *error. */
const char *mdl_emit_row(mdl_arena *arena, const mdl_op *kernel, const char *symbol, const char **error);

#endif
