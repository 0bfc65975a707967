/* What row kernels can compute, and in which order: the facts that `store` and `fuse` decide by. */
#ifndef MDL_KERNEL_LEVELS_H
#define MDL_KERNEL_LEVELS_H

#include "compiler/ir/ir.h"

/* FUSABLE: what a kernel may compute where it is used, or store. MEMORY: made by another op, or a view of such memory. */
typedef enum { MDL_PLACE_MEMORY, MDL_PLACE_FUSABLE } mdl_place;

typedef struct {
    mdl_place place;
    int level;     /* anchors and column sums that lie before it at least */
    bool stored;   /* a fusable value that a kernel writes to memory: the mark of `store` */
    bool view;     /* a reshape of what is stored */
    bool anywhere; /* can be computed at any index: no row reduction in it */
    bool reduces;  /* a row reduction that is not in memory lies in it */
    bool heavy;    /* a transcendental lies in it */
    bool varies;   /* depends on memory: not a constant */
    int fanout;
    int big[2], n_big; /* large operands, by id, that computing it again would load; n_big 2 means two or more */
} mdl_fact;

/* By value id. Marks of `store` are honoured: a stored reshape is a view of memory. */
mdl_fact *mdl_facts_of(mdl_arena *arena, const mdl_region *region);

/* The attribute by which `store` marks an op whose result must be in memory. */
#define MDL_STORED "stored"

/* Who needs a value that kernels may compute. */
typedef struct {
    bool spread;             /* used through a broadcast */
    bool taken;              /* in memory whatever it costs: by an anchor, a sink, or another kernel that gathers or crosses rows */
    int needed[2], n_needed; /* levels of the kernels that compute with it; 2 means two or more */
} mdl_need;
/* Chooses what is stored, in `facts`; demands by value id. */
mdl_need *mdl_choose_stored(mdl_arena *arena, const mdl_region *region, mdl_fact *facts);
/* A reshape is never stored: what it reshapes is, and the reshape is a view of that memory. */
void mdl_store(mdl_fact *facts, const mdl_value *v);

/* The attribute by which `store` marks a value that every kernel loads, for no kernel can compute it where it is used: those who
 * use it are of a later level. A reshape so marked is a view of memory. */
#define MDL_LOADED "loaded"

/* Must operand i of a fusable op be in memory, though it is fusable itself? */
bool mdl_from_memory(const mdl_fact *facts, const mdl_op *op, int i);
/* A reshape that is only ever a view of memory: no affine index reaches its elements, for its rows are parts of its operand's rows,
 * or it is marked so. */
bool mdl_is_apart(const mdl_op *op);
int64_t mdl_rows_of(const mdl_value *v); /* of the kernel that makes v */
bool mdl_is_large(const mdl_value *v);   /* more than one element a row */
bool mdl_is_heavy(const mdl_op *op);
/* In the kernel's text, in simple operations: a transcendental is a polynomial. The C compiler's time grows with its square. */
int mdl_size_of_op(const mdl_op *op);
/* Of the two sides of a cast that widens, the narrow one is stored: what is said of the wide side is said of it. */
bool mdl_widens(const mdl_op *op);

/* A root of the same level but another number of rows, reached across rows: computed again rather than loaded, so that kernels of
 * one level never wait for each other. */
bool mdl_computed_again(const mdl_fact *facts, const mdl_value *v, const mdl_value *root);

/* What a kernel takes and computes. `mark` holds, by value id, what was counted. */
typedef struct {
    const mdl_fact *facts;
    int *mark, stamp;
    int args, ops;
} mdl_kernel_size;
/* Adds root and all that is computed for it; stored values that were not added as roots are operands. */
void mdl_add_to_kernel(mdl_kernel_size *size, const mdl_value *root);

#endif
