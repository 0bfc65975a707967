/* What a kernel of any target says of itself: class, label, integers, FLOPs, sizes. Texts and blocks are the target's. */
#ifndef MDL_TARGET_DESCRIBE_H
#define MDL_TARGET_DESCRIBE_H

#include "compiler/kernel/attention.h"
#include "compiler/target/target.h"

/* A row kernel: integers are rows, rows of a block, then the body's. At most `most` blocks where the op does not say fewer than
 * rows. */
void mdl_describe_rows(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s, int64_t most);
/* The width of each sum, and whether it has a start. */
void mdl_describe_finish(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s, const int64_t **cols, const bool **init);
int64_t mdl_describe_scatter(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s); /* columns */
int64_t mdl_describe_transpose(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s); /* columns */
int64_t mdl_describe_segment(mdl_arena *arena, const mdl_op *op, mdl_kernel_source *s); /* columns */
mdl_attention_shape mdl_describe_attention(mdl_arena *arena, const mdl_op *fused, mdl_kernel_source *s);

mdl_attention_shape mdl_attention_shape_of(const mdl_op *op); /* of either direction */
const mdl_op *mdl_fused_anchor(const mdl_op *fused);          /* the op that a fused one is built around */

/* Are there templates for ops of this code on every target? */
bool mdl_has_template(mdl_opcode code);
/* NULL, or why the templates cannot add up what the op does. */
const char *mdl_refuses_sums(mdl_arena *arena, const mdl_op *op);

#endif
