/* Tiling and cutting loop nests. */
#include "compiler/kernel/nest.h"

#include <string.h>

static int new_var(mdl_arena *arena, mdl_loop_vars *vars, int64_t extent) {
    MDL_PUSH(arena, *vars, ((mdl_loop_var){extent}));
    return vars->n - 1;
}

static void substitute(mdl_nest *n, int var, mdl_affine by) {
    for (int p = 0; p < n->points; p++)
        for (int i = 0; i < n->rank; i++) n->idx[p][i] = mdl_affine_substitute(n->idx[p][i], var, by);
}

int mdl_nest_place(const mdl_nest *n, int var) {
    for (int i = 0; i < n->n_loops; i++)
        if (n->loops[i] == var) return i;
    return -1;
}

mdl_nest mdl_nest_over(mdl_arena *arena, mdl_loop_vars *vars, const mdl_type *type, bool heads) {
    mdl_nest n = {.rank = type->rank, .points = 1};
    if (type->rank) n.idx[0][0] = mdl_affine_var(MDL_VAR_ROW);
    for (int k = 1; k < type->rank; k++) {
        bool head = heads && k == 1;
        if (!head) n.loops[n.n_loops++] = new_var(arena, vars, type->dim[k]);
        n.idx[0][k] = mdl_affine_var(head ? MDL_VAR_HEAD : vars->n - 1);
    }
    return n;
}

bool mdl_nest_tile(mdl_arena *arena, mdl_loop_vars *vars, mdl_nest *n, int var, int64_t size) {
    int at = mdl_nest_place(n, var);
    if (at < 0 || n->n_loops == MDL_MAX_NEST) return false;
    int outer = new_var(arena, vars, vars->at[var].extent / size), inner = new_var(arena, vars, size);
    memmove(n->loops + at + 2, n->loops + at + 1, sizeof *n->loops * (size_t)(n->n_loops - at - 1));
    n->n_loops++;
    n->loops[at] = outer, n->loops[at + 1] = inner;
    substitute(n, var, mdl_affine_add(mdl_affine_scale(mdl_affine_var(outer), size), mdl_affine_var(inner)));
    return true;
}

mdl_nest mdl_nest_part(mdl_arena *arena, mdl_loop_vars *vars, const mdl_nest *n, int var, int64_t from, int64_t extent) {
    mdl_nest p = *n;
    int fresh = new_var(arena, vars, extent);
    p.loops[mdl_nest_place(n, var)] = fresh;
    substitute(&p, var, mdl_affine_add(mdl_affine_var(fresh), mdl_affine_const(from)));
    return p;
}

mdl_nest mdl_nest_halves(mdl_arena *arena, mdl_loop_vars *vars, const mdl_nest *n, int var) {
    int64_t half = vars->at[var].extent / 2;
    mdl_nest both = mdl_nest_part(arena, vars, n, var, 0, half);
    mdl_affine second = mdl_affine_add(mdl_affine_var(both.loops[mdl_nest_place(n, var)]), mdl_affine_const(half));
    both.points = 2;
    for (int i = 0; i < n->rank; i++) both.idx[1][i] = mdl_affine_substitute(n->idx[0][i], var, second);
    return both;
}
