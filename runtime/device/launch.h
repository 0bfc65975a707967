/* What every backend does with a plan: launches get their addresses, ranges are checked, programs are found. */
#ifndef MDL_DEVICE_LAUNCH_H
#define MDL_DEVICE_LAUNCH_H

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

/* A launch record with the addresses of its buffers. */
typedef struct {
    const mdl_plan_launch *record;
    void **buffer;      /* those of args that are buffers, in their order */
    int64_t *immediate; /* those that are integers */
    int buffers, immediates;
    int64_t copy_bytes; /* of a copy: from buffer[0] to buffer[1] */
} mdl_bound_launch;

/* bound[p][l]: launch l of program p. arena[id]: where the arena begins, in the device's memory. */
mdl_bound_launch **mdl_bind_launches(mdl_arena *memory, const mdl_plan *plan, char *const arena[MDL_ARENA_COUNT]);

typedef struct {
    const void *a, *b, *c, *bias;   /* c and bias: NULL where the product has none; c == d: accumulation in place */
    const float *scale_a, *scale_b; /* NULL: 1 */
    void *d;
} mdl_gemm_memory;
mdl_gemm_memory mdl_bound_gemm(const mdl_bound_launch *launch); /* of a launch of kind GEMM */

/* Do `bytes` at `offset` lie in the arena? what: "upload". */
mdl_status mdl_check_arena_range(const mdl_plan *plan, const char *what, mdl_arena_id arena, int64_t offset, int64_t bytes);
mdl_status mdl_program_index(const mdl_plan *plan, const char *name, int *index);
/* The same; and has the program launches first to last - 1? */
mdl_status mdl_program_part(const mdl_plan *plan, const char *name, int first, int last, int *index);

#endif
