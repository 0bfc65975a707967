/* Inside the lowering of bodies to loop IR: what loop_lower.c (phases, nests) and loop_value.c (values) share. */
#ifndef MDL_KERNEL_LOWERING_H
#define MDL_KERNEL_LOWERING_H

#include "compiler/kernel/loop.h"
#include "compiler/kernel/nest.h"

/* A register, and how far out it was made: BLOCK, ROW, or the number of a loop of the nest from 1. */
enum { MDL_DEPTH_BLOCK = -1, MDL_DEPTH_ROW = 0 };
typedef struct {
    int reg, depth;
} mdl_reg;

/* A value that is in a register: which, at what index. */
typedef struct {
    const mdl_affine *idx;
    mdl_reg at;
    int earlier; /* memo of the same value, -1 at the end */
} mdl_memo;

/* One thing that a loop nest does for each point of its domain. */
typedef struct {
    enum { MDL_ITEM_STORE, MDL_ITEM_REDUCE, MDL_ITEM_COLUMN } kind;
    const mdl_value *value; /* STORE, COLUMN: what is yielded; REDUCE: the reduction's result */
    int array;              /* what it stores to, adds to, folds into */
    int phase;
} mdl_item;

typedef struct {
    mdl_arena *arena;
    const mdl_op *kernel;
    const mdl_loop_paste *paste; /* or NULL */
    mdl_loop_kernel *out;
    mdl_loop_list *row;                      /* body of the current phase */
    mdl_loop_list loop[MDL_MAX_NEST], after; /* of the nest being made; `after` follows its innermost loop */
    int n_loops, loops[MDL_MAX_NEST];        /* variables, outermost first */
    int tile_var;                            /* of the current phase, or 0 */
    mdl_loop_vars vars;
    MDL_VEC(mdl_memo) memos;
    MDL_VEC(mdl_item) items;
    const mdl_item *const *now; /* those that the nest being made is for */
    int n_now;
    int *memo_of;    /* by body value id: its newest memo, or -1 */
    int *memo_owner; /* by memo: value id */
    int owner_cap;
    int *phase;        /* by body value id */
    int *stored;       /* by body value id: array of the result it is stored to, or -1 */
    int *folded;       /* by body value id of a row reduction: its array */
    int *operand;      /* by argument: array, or -1 */
    int *kept;         /* by argument: array of the tile that keeps it, or -1 */
    int *kept_in;      /* by argument: the phase that filled the tile */
    int current;       /* phase */
    bool lanes;        /* may the innermost loop's iterations run side by side? */
    mdl_demand demand; /* what a view asked of the loops: the nest is made again after it */
    const char *error;
} mdl_lowering;

/* The register that holds v at idx; statements are added where they belong. After a demand or an error its value means nothing. */
mdl_reg mdl_lower_value(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx);
/* The same, widened to the dtype that sums of it accumulate in. */
mdl_reg mdl_lower_widened(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx, mdl_dtype to);

mdl_loop_list *mdl_list_at(mdl_lowering *l, int depth);
/* Adds a statement that makes a register of `dtype`. */
mdl_reg mdl_make_reg(mdl_lowering *l, int depth, mdl_loop_stmt s, mdl_dtype dtype);
int mdl_new_reg(mdl_lowering *l, mdl_dtype dtype);
int mdl_new_array(mdl_lowering *l, mdl_loop_array array);
int mdl_own_array(mdl_lowering *l, mdl_mem_space space, mdl_dtype dtype, int64_t width); /* ROW, TILE or LEAF */
void mdl_address(const mdl_type *type, const mdl_affine *idx, mdl_loop_stmt *to); /* row and column of an element */
int mdl_depth_of(mdl_lowering *l, const mdl_affine *idx, int rank);
mdl_dtype mdl_accumulator(const mdl_op *reduction); /* the dtype its sum is kept in */
void mdl_refuse_loop(mdl_lowering *l, const char *why);

#endif
