/* What a step leaves behind, copied to the host: parameters, moments, frozen tensors, scales of 8-bit operands. While a thread writes the copy, training goes
 * on.
 *
 * A snapshot is a device that can only be read: with mdl_snapshot_backend, code that writes weights of a session writes those of
 * the snapshot. */
#ifndef MDL_CHECKPOINT_SNAPSHOT_H
#define MDL_CHECKPOINT_SNAPSHOT_H

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/device/device.h"

extern const mdl_backend mdl_snapshot_backend; /* download and memory only */

/* Allocates all that it will ever need, and touches it: the first copy takes no longer than others. The plan must outlive it. */
mdl_status mdl_snapshot_open(const mdl_plan *plan, mdl_device **snapshot);
void mdl_snapshot_close(mdl_device *snapshot); /* NULL is allowed */
mdl_status mdl_snapshot_take(mdl_device *snapshot, const mdl_backend *from, mdl_device *device);

/* optimizer-00001-of-0000N.safetensors, each of at most `limit` bytes of tensors or a single one: master.NAME for every parameter,
 * in f32 and the plan's own names, and of trained ones exp_avg.NAME and exp_avg_sq.NAME; scaling, where the plan has 8-bit operands. */
#define MDL_OPTIMIZER_SHARD_BYTES ((int64_t)5 * 1000 * 1000 * 1000)
mdl_status mdl_snapshot_write(mdl_device *snapshot, const char *folder, int64_t limit);
/* Fills the snapshot from a folder that is verified. MDL_BAD_INPUT when its tensors are not those of the plan's parameters: lists
 * them. */
mdl_status mdl_snapshot_read(mdl_device *snapshot, const char *folder, const mdl_commit *commit);
/* The arena SCALING, or NULL: the plan has none, or the folder had none that fits it. */
const void *mdl_snapshot_scaling(const mdl_device *snapshot);
/* A parameter's numbers in one of the arenas PARAM, MOMENT1, MOMENT2 or FROZEN. */
const float *mdl_snapshot_at(const mdl_device *snapshot, mdl_arena_id arena, const mdl_plan_param *param);

#endif
