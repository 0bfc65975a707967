/* The scalar f64 interpreter of tensor IR: the oracle for passes, kernels and gradient rules. Everything is a double;
 * i32 and bool hold integers. Slow, plain, and only for tiny sizes.
 *
 * Rounding. Every op computes in f64, then its results are rounded to their dtype, to nearest even: bf16, e4m3 and e5m2 always, for
 * there the rounding is what a program is about; f32 not, so that f32 programs have exact answers to compare kernels with, passes
 * may reorder their sums, and finite differences work. Sums and products are accumulated in their accumulate dtype by the same
 * rule. mdl_interpret_rounded rounds f32 too. */
#ifndef MDL_INTERP_H
#define MDL_INTERP_H

#include "compiler/ir/ir.h"

typedef struct mdl_interp mdl_interp;

/* States (by mdl_state_text), inputs and results are arrays of doubles by name. */
typedef struct {
    const char *name;
    mdl_type type;
    double *at;
} mdl_named_array;
typedef MDL_VEC(mdl_named_array) mdl_arrays;

mdl_named_array *mdl_arrays_find(mdl_arrays *arrays, const char *name); /* NULL when absent */
double *mdl_arrays_set(mdl_arena *arena, mdl_arrays *arrays, const char *name, mdl_type type,
                       const double *from /* or NULL: zeros */);

/* Runs a program: reads inputs, reads and writes states, sets results (also the front end's loss, metric and output). */
void mdl_interpret(mdl_arena *arena, const mdl_region *program, mdl_arrays *inputs, mdl_arrays *states, mdl_arrays *results);
void mdl_interpret_rounded(mdl_arena *arena, const mdl_region *program, mdl_arrays *inputs, mdl_arrays *states,
                           mdl_arrays *results);

#endif
