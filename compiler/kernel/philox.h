/* Philox4x32-10 on the host, for the interpreter: the same bits as compiler/kernel/cpu/philox.h, the normal in f64.
 * key = the two words of the seed; counter = (index low, index high, stream, 0). */
#ifndef MDL_KERNEL_PHILOX_H
#define MDL_KERNEL_PHILOX_H

#include <stdint.h>

/* In [0, 1): 24 bits, exactly what a kernel gives. */
double mdl_philox_reference_uniform(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index);
/* Standard normal by Box-Muller: within 1e-6 of what a kernel gives. */
double mdl_philox_reference_normal(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t index);

#endif
