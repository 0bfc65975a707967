/* How a GPU's threads share the rows of a row kernel.
 *
 * A row has `lanes` threads side by side, a block `groups` rows at a time. A lane loop runs over the lanes in vectors: iteration n
 * of lane l is the vector that begins at vector * (l + lanes * n). What stands outside lane loops is run by all lanes of a row
 * alike. */
#ifndef MDL_TARGET_CUDA_LANES_H
#define MDL_TARGET_CUDA_LANES_H

#include "compiler/kernel/loop.h"

enum { MDL_UNROLLED = 16 }; /* iterations of a lane up to which arrays live in registers */

/* A lane loop: one loop of the kernel, or a perfect nest of loops that is walked as one. */
typedef struct {
    int n, vars[MDL_MAX_NEST]; /* its loops, outermost first */
    int64_t extents[MDL_MAX_NEST];
    int64_t extent;   /* of the whole nest */
    mdl_affine place; /* of a point of the nest, counted from 0 */
    bool nested;      /* stands in a loop that is none of its own */
    int vector;       /* columns of one access; it divides the innermost extent */
    int64_t iterations;
    int64_t unrolled; /* iterations side by side in the text */
} mdl_lane_walk;

/* Where an array lives. */
typedef enum {
    MDL_HOME_MEMORY, /* of the launch. Partial sums there are added to by one row at a time */
    MDL_HOME_ALIKE,  /* a variable of each thread, the same in all lanes of a row */
    MDL_HOME_LANE,   /* registers: a lane has what its own vectors reach. Of partial sums, those of one fold */
    MDL_HOME_SHARED  /* shared memory of the block */
} mdl_array_home;

typedef struct {
    int lanes, groups;
    int resident;         /* blocks that a processor should hold at once */
    mdl_array_home *home; /* by array */
    mdl_lane_walk **walk; /* by variable of an innermost loop: its walk, or NULL */
    mdl_lane_walk **of;   /* by array in registers: a walk that reaches it */
    bool *used;           /* by array of a row's own */
} mdl_lanes;

/* The walk that a loop begins; NULL: all lanes run the loop alike. */
mdl_lane_walk *mdl_walk_of(const mdl_lanes *lanes, const mdl_loop_stmt *loop);

static inline int mdl_lane_var(const mdl_lane_walk *w) { return w->vars[w->n - 1]; }
/* Elements of an array in registers that one lane has. */
static inline int64_t mdl_lane_elements(const mdl_lane_walk *w) { return w->iterations * w->vector; }

bool mdl_lane_moves(const mdl_affine *index, const mdl_lane_walk *walk); /* does it depend on where the walk is? */
/* Where in its buffer a statement reaches, from the array's `first`; of a gather, in its row. */
mdl_affine mdl_lane_offset(const mdl_loop_kernel *kernel, const mdl_loop_stmt *access);
/* Can `vector` columns from this element on be moved by accesses of 16 bytes, or one of 8? The index must move with the walk's
 * innermost loop.
 */
bool mdl_lane_contiguous(const mdl_loop_kernel *kernel, const mdl_lane_walk *walk, const mdl_loop_stmt *access);

mdl_lanes mdl_cuda_lanes(mdl_arena *arena, const mdl_loop_kernel *kernel);

#endif
