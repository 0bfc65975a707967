/* --check-passes: a program is interpreted on small random inputs after every pass; the first pass that changes a result or a
 * state is named. */
#ifndef MDL_CHECK_PASSES_H
#define MDL_CHECK_PASSES_H

#include "compiler/ir/interp.h"
#include "compiler/pass/pass.h"
#include "runtime/base/status.h"

typedef struct mdl_pass_checker mdl_pass_checker;

/* What a pass that brings in this dtype may change, as a part of the largest value. */
double mdl_pass_tolerance(mdl_dtype precision);
/* Draws inputs and states for a program. */
mdl_pass_checker *mdl_checker_new(mdl_pass_context *c, const mdl_region *program);
/* Interprets and compares with the first answer; states that only later passes write are taken as they appear. */
mdl_status mdl_check_pass(mdl_pass_checker *checker, const char *pass, const mdl_region *program);

#endif
