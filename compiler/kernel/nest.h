/* Loop nests before there is anything in them: the loops around a kernel's columns, and the index that they walk. */
#ifndef MDL_KERNEL_NEST_H
#define MDL_KERNEL_NEST_H

#include "compiler/kernel/affine.h"

typedef MDL_VEC(mdl_loop_var) mdl_loop_vars;

/* An iteration does one point of the domain, or one of each of two parts of a size. */
enum { MDL_MAX_POINTS = 2 };
typedef struct {
    int n_loops, loops[MDL_MAX_NEST]; /* variables, outermost first */
    int rank, points;
    mdl_affine idx[MDL_MAX_POINTS][MDL_MAX_RANK]; /* of the domain: row, then columns */
} mdl_nest;

/* All of a type: its rows, and a loop for each other axis. `heads`: axis 1 is MDL_VAR_HEAD, which is no loop. */
mdl_nest mdl_nest_over(mdl_arena *arena, mdl_loop_vars *vars, const mdl_type *type, bool heads);
int mdl_nest_place(const mdl_nest *n, int var); /* which of its loops, or -1 */
/* var = size * outer + inner. False when it has no such loop, or has as many as it may. */
bool mdl_nest_tile(mdl_arena *arena, mdl_loop_vars *vars, mdl_nest *n, int var, int64_t size);
/* The part where a loop of it, var, runs from `from` over `extent` values. */
mdl_nest mdl_nest_part(mdl_arena *arena, mdl_loop_vars *vars, const mdl_nest *n, int var, int64_t from, int64_t extent);
/* Both halves of var at once: of a nest of one point. */
mdl_nest mdl_nest_halves(mdl_arena *arena, mdl_loop_vars *vars, const mdl_nest *n, int var);

#endif
