/* From scheduled programs to a plan. */
#ifndef MDL_EMIT_H
#define MDL_EMIT_H

#include "compiler/ir/fp8.h"
#include "compiler/ir/module.h"
#include "compiler/pass/pass.h"
#include "compiler/target/target.h"
#include "runtime/plan/plan.h"

/* Everything that the programs of one plan share while they are emitted. */
typedef struct {
    mdl_arena *arena;   /* the plan's */
    mdl_arena *scratch; /* of the program being emitted */
    mdl_plan *plan;
    const mdl_module *module;
    const mdl_layout *layout;
    const mdl_fp8 *fp8; /* NULL: no products in 8 bits */
    const mdl_target *target;
    struct mdl_kernel_table *kernels;
    const char *error; /* what the target cannot do */
    mdl_span error_at;
} mdl_emitter;

/* Parameters, inputs and constants get their places; sources and assets become files. */
void mdl_emit_tables(mdl_emitter *e);
/* One program: buffers, launches, placement. */
void mdl_emit_program(mdl_emitter *e, const mdl_region *region);

/* ---- buffers.c: which memory each value has ---- */
typedef struct {
    int *buffer; /* by value id: index into program->buffers, or -1 */
    mdl_plan_program *program;
} mdl_buffers;
mdl_buffers mdl_assign_buffers(mdl_emitter *e, const mdl_region *region, mdl_plan_program *program);
/* The range of a read or write op's states. */
typedef struct {
    mdl_arena_id arena;
    int64_t offset, bytes;
} mdl_range;
mdl_range mdl_state_range(const mdl_emitter *e, const mdl_op *op);
int mdl_new_buffer(mdl_emitter *e, mdl_plan_program *program, const char *name, mdl_range range, mdl_type type);

/* ---- gemm.c ---- */
/* The record of the product that a dot is. Returns NULL, or what of it the target does not have. */
const char *mdl_emit_gemm(const mdl_op *dot, mdl_gemm *gemm);

/* ---- kernels.c: one kernel for equal texts ---- */
/* Index into plan->kernels of the kernel with this text and with what `kernel` has: class, signature, grid. */
int mdl_intern_kernel(mdl_emitter *e, const mdl_plan_kernel *kernel, const char *text, mdl_span span);
/* Where to keep a row kernel's text: NULL until set, then the same for every kernel op of which the text would be the same: equal
 * bodies, and operands of one kind (buffer or immediate). */
const char **mdl_text_of_body(mdl_emitter *e, const mdl_op *kernel);

/* ---- place.c ---- */
/* Gives every ACTIVATION buffer an offset such that buffers alive at once do not overlap; sets activation_bytes and live_bytes. */
void mdl_place_buffers(mdl_plan_program *program);

/* ---- text.c ---- */
void mdl_print_launches(mdl_text *text, const mdl_plan *plan, const mdl_plan_program *program);

const char *mdl_span_text(mdl_arena *arena, mdl_span span);

#endif
