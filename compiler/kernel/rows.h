/* What fuse, schedule and the row-kernel emitter agree on. */
#ifndef MDL_KERNEL_ROWS_H
#define MDL_KERNEL_ROWS_H

#include "compiler/ir/ir.h"

/* A row kernel's rows are divided into at most this many chunks of equal size, one block each; column sums have one partial a
 * chunk. A compile-time constant, so that sums do not depend on the machine. */
enum { MDL_ROW_CHUNKS = 64 };

static inline int64_t mdl_row_chunks(int64_t rows) { return rows < MDL_ROW_CHUNKS ? rows : MDL_ROW_CHUNKS; }

/* Sum over axis 0: crosses rows, so its result is ready only after the kernel. */
bool mdl_is_column_sum(const mdl_op *op);
/* A reduction inside a row: over axes other than 0. */
bool mdl_is_row_reduction(const mdl_op *op);
/* Does operand i of a view or pointwise op lie in the same row as the result? */
bool mdl_keeps_row(const mdl_op *op, int i);

#endif
