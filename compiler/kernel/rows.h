/* What fuse, schedule and the row-kernel emitter agree on. */
#ifndef MDL_KERNEL_ROWS_H
#define MDL_KERNEL_ROWS_H

#include "compiler/ir/ir.h"

/* A row kernel's rows are divided into blocks of equal size. Sums over rows have partial sums, each of a chunk of rows that one
 * block makes: in a kernel that has any, blocks and chunks are the same. Both numbers depend on the shape alone, so that sums do not
 * depend on the machine. */
enum { MDL_ROW_BLOCKS = 64, MDL_PARTIALS = 64 }; /* at most */

static inline int64_t mdl_row_blocks(int64_t rows, int64_t columns) {
    (void)columns;
    return rows < MDL_ROW_BLOCKS ? rows : MDL_ROW_BLOCKS;
}
static inline int64_t mdl_partials(int64_t rows) { return rows < MDL_PARTIALS ? rows : MDL_PARTIALS; }

/* Sum over axis 0: crosses rows, so its result is ready only after the kernel. */
bool mdl_is_column_sum(const mdl_op *op);
/* A reduction inside a row: over axes other than 0. */
bool mdl_is_row_reduction(const mdl_op *op);
/* Does operand i of a view or pointwise op lie in the same row as the result? */
bool mdl_keeps_row(const mdl_op *op, int i);
/* The operand that result `out` of a finish starts from, or -1. */
int mdl_finish_init(const mdl_op *finish, int out);

#endif
