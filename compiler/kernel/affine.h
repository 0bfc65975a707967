/* Index expressions: constants plus multiples of loop variables. Views become arithmetic on them, so that a kernel body has no
 * views left, only loads at affine addresses. */
#ifndef MDL_KERNEL_AFFINE_H
#define MDL_KERNEL_AFFINE_H

#include "compiler/ir/ir.h"

/* Loop variables: the row, the head that a template fixes, then those of loops. An index has no other terms than these two, the
 * loops of one nest, and a phase's column tile. */
enum { MDL_VAR_ROW = 0, MDL_VAR_HEAD = 1, MDL_VAR_FIRST = 2, MDL_MAX_NEST = 12, MDL_TERMS = MDL_MAX_NEST + 3 };
typedef struct {
    int64_t c;
    int n;
    struct {
        int var;
        int64_t k;
    } term[MDL_TERMS]; /* ascending by var, k never 0 */
} mdl_affine;

/* A loop variable runs over 0 .. extent-1; the row's extent is the row count. */
typedef struct {
    int64_t extent;
} mdl_loop_var;

/* What a view needs the loops to be before its index can be written as an affine expression. */
typedef struct {
    enum { MDL_FINE, MDL_TILE_LOOP, MDL_CUT_LOOP, MDL_IMPOSSIBLE } kind;
    int var;
    int64_t at; /* TILE: var = at * outer + inner; CUT: below and from `at` on */
} mdl_demand;

mdl_affine mdl_affine_const(int64_t c);
mdl_affine mdl_affine_var(int var);
mdl_affine mdl_affine_add(mdl_affine a, mdl_affine b);
mdl_affine mdl_affine_scale(mdl_affine a, int64_t k);
mdl_affine mdl_affine_substitute(mdl_affine a, int var, mdl_affine by);
bool mdl_affine_equal(const mdl_affine *a, const mdl_affine *b);
int mdl_affine_depth(const mdl_affine *a); /* largest variable, -1 for a constant */
void mdl_affine_range(const mdl_affine *a, const mdl_loop_var *vars, int64_t *low, int64_t *high); /* inclusive */

/* Row-major position of idx in t. */
mdl_affine mdl_affine_position(const mdl_type *t, const mdl_affine *idx);

/* The operand index of a view, given its result's index. For concat, *part says which operand. */
mdl_demand mdl_view_index(const mdl_op *view, const mdl_loop_var *vars, const mdl_affine *out, mdl_affine *in, int *part);

#endif
