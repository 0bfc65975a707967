/* Fibers: stacks of their own that one OS thread runs in turns. A switch is a few instructions and no system call. */
#ifndef MDL_DEVICE_CUDA_FIBER_H
#define MDL_DEVICE_CUDA_FIBER_H

#include "runtime/base/status.h"

enum { MDL_FIBER_STACK = 64 << 10 }; /* bytes of a stack, the page that catches an overflow included */

typedef struct mdl_fiber mdl_fiber;
typedef struct mdl_fibers mdl_fibers;

/* Stacks for `n` fibers; their memory is taken as it is touched. */
mdl_status mdl_fibers_new(int n, mdl_fibers **fibers);
void mdl_fibers_free(mdl_fibers *fibers); /* NULL is allowed */

/* Sets fiber i to the beginning of run(data), wherever it was before; run must not return: it leaves for the last time. */
mdl_fiber *mdl_fiber_reset(mdl_fibers *fibers, int i, void (*run)(void *data), void *data);
void mdl_fiber_enter(mdl_fiber *fiber); /* runs it until it leaves */
void mdl_fiber_leave(mdl_fiber *fiber); /* called by the fiber itself: back to who entered it */

#endif
