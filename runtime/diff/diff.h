/* Two plans of one model on one batch, value by value: where do they part? */
#ifndef MDL_DIFF_DIFF_H
#define MDL_DIFF_DIFF_H

#include "runtime/base/compare.h"
#include "runtime/train/session.h"

/* Something that both plans have in a buffer: a value of the model by its number, or a state or result by its name. Side 0 is A,
 * side 1 is B. */
typedef struct {
    int buffer[2]; /* of each plan's program */
    int launch[2]; /* the last that writes it: what it holds afterwards is compared */
    mdl_comparison compared;
    double tolerance, error; /* relative, of L2 norms; NAN where a number is not finite */
    bool parts;              /* the error is beyond the tolerance */
} mdl_diff_pair;

typedef struct {
    mdl_arena *memory;
    mdl_session *session[2];
    const mdl_plan_program *program[2];
    MDL_VEC(mdl_diff_pair) pairs; /* in A's order of launches */
    int alone[2];                 /* buffers that a launch writes and the other plan has no counterpart of */
} mdl_diff;

/* Do the two have the same parameters and inputs? The error says what differs. */
mdl_status mdl_diff_check_model(const mdl_plan *a, const mdl_plan *b);
/* B's parameters become A's, moments 0 in both. */
mdl_status mdl_diff_share_weights(mdl_session *a, mdl_session *b);

/* Finds the pairs of a program. The sessions stay the caller's. */
mdl_status mdl_diff_open(mdl_session *a, mdl_session *b, const char *program, mdl_diff *diff);
void mdl_diff_close(mdl_diff *diff);
/* Runs the program in both, launch by launch, on what has been uploaded. tolerance: for all pairs; 0: each pair's own, by dtype. */
mdl_status mdl_diff_run(mdl_diff *diff, double tolerance);

#endif
