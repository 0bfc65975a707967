/* The parts of the verifier, each using those above it only: basic, gemm, signature, memory, program; verify.c has what is outside
 * programs. */
#ifndef MDL_PLAN_VERIFY_H
#define MDL_PLAN_VERIFY_H

#include "runtime/plan/plan.h"

/* Bytes of a type with checked overflow; fails on dims that are not positive and ranks that do not fit the dtype. */
mdl_status mdl_check_type(const mdl_type *type, int64_t *bytes);
/* bytes at offset lie inside the arena, offset a multiple of align. */
mdl_status mdl_check_range(const mdl_plan *plan, mdl_arena_id arena, int64_t offset, int64_t bytes, int64_t align);
/* n strings, each at the start of a record plus `at`: present, not empty, no two equal. */
mdl_status mdl_check_names(const char *what, const void *records, int n, size_t size, size_t at);
/* Exactly `n` buffer arguments, the last written, the others read; sets buffers[0 .. n-1]. */
mdl_status mdl_check_buffer_args(const mdl_plan_program *program, const mdl_plan_launch *launch, int n,
                                 const mdl_plan_buffer **buffers);
/* Does what a launch writes, its last argument, share no byte with this operand? */
mdl_status mdl_check_apart(const mdl_plan_program *program, const mdl_plan_launch *launch, int operand);
/* Arguments, dims, dtypes and strides of a product against the memory of its buffers. */
mdl_status mdl_check_gemm(const mdl_plan_program *program, const mdl_plan_launch *launch);
/* A kernel's record by itself; a launch against it; launches counted over all programs. */
mdl_status mdl_check_signature(const mdl_plan_kernel *kernel);
mdl_status mdl_check_kernel_launch(const mdl_plan_kernel *kernel, const mdl_plan_program *program, const mdl_plan_launch *launch);
mdl_status mdl_check_launch_counts(const mdl_plan *plan);
/* Lifetimes, sizes and the order of uses, of a program whose buffers and launches are right by themselves. */
mdl_status mdl_check_memory(const mdl_plan_program *program);
mdl_status mdl_check_program(const mdl_plan *plan, const mdl_plan_program *program);

#endif
