/* The contract between generated kernels and the CPU backend.
 *
 * A kernel is a C function compiled into the plan's shared object:
 *
 *     void NAME(void *const *buffer, const int64_t *immediate, int64_t block);
 *
 * The backend calls it for every block in 0 .. grid-1, in any order, on any number of threads; blocks write disjoint
 * memory, and what a block computes depends on nothing but its number: results do not depend on the thread count.
 * buffer[i] is the address of launch argument i that is a buffer (inputs first, then outputs, in the launch record's
 * order); immediate[i] the i-th argument that is an integer. Scratch is a block's own stack (at most 512 KiB).
 * Generated code calls nothing outside itself and needs no run-time library.
 */
#ifndef MDL_KERNEL_ABI_H
#define MDL_KERNEL_ABI_H

#include <stdint.h>

typedef void (*mdl_kernel_fn)(void *const *buffer, const int64_t *immediate, int64_t block);

#endif
