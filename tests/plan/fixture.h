/* A small plan made by hand: one gemm and three kernels, every kind of table. */
#ifndef MDL_TESTS_PLAN_FIXTURE_H
#define MDL_TESTS_PLAN_FIXTURE_H

#include "runtime/plan/plan.h"

mdl_plan *mdl_fixture_plan(void);

/* Helpers for plans made in tests; each returns the index of what it added. */
int mdl_fixture_buffer(mdl_plan *plan, mdl_plan_program *program, const char *name, mdl_arena_id arena, int64_t offset,
                       mdl_type type);
int mdl_fixture_kernel(mdl_plan *plan, const char *symbol, const char *source);
/* args: "r0 w1 i16" */
mdl_plan_launch *mdl_fixture_launch(mdl_plan *plan, mdl_plan_program *program, mdl_launch_kind kind, const char *label,
                                    const char *args);
void mdl_fixture_file(mdl_plan *plan, const char *path, const char *bytes, int64_t size);
/* Sets activation_bytes, live_bytes and the hashes as the verifier expects them. */
void mdl_fixture_finish(mdl_plan *plan);

#endif
