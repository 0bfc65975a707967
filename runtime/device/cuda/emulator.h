/* Kernels in the dialect of compiler/kernel/cuda/simt.h, compiled for the host (MDL_EMULATED), run block after block on the calling
 * OS thread, each thread of a block a fiber.
 *
 * The emulator is stricter than a GPU, so that mistakes show without one: shared memory begins as NaN in every block, an
 * asynchronous copy arrives when its thread waits for it and not before, a tile
 * when somebody waits at its barrier; a warpgroup's products are done when they are waited for, lanes run one after the other
 * between two collectives, and what would hang or be undefined (lanes at different collectives, threads that end while others wait,
 * barriers that nobody completes) is an error. */
#ifndef MDL_DEVICE_CUDA_EMULATOR_H
#define MDL_DEVICE_CUDA_EMULATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/status.h"

enum { MDL_EMULATOR_THREADS = 1024 }; /* the most of a block */

/* What a kernel sees of its emulator. The struct of simt.h's MDL_EMULATED half, member for member (the suite `emulator` compares
 * them). A shared object of kernels has a function MDL_EMULATOR_ATTACH, which ties it to the emulator that is to run them. */
#define MDL_EMULATOR_ATTACH "mdl_emulator_attach"
typedef struct mdl_emulator_abi mdl_emulator_abi;
struct mdl_emulator_abi {
    int thread; /* that runs now */
    int64_t block;
    char *shared;                     /* dynamic shared memory */
    char *static_shared, *static_end; /* that of all kernels of the object */
    void (*sync)(mdl_emulator_abi *emulator);
    void (*sync_warp)(mdl_emulator_abi *emulator);
    uint32_t (*shuffle_xor)(mdl_emulator_abi *emulator, uint32_t word, int mask);
    uint32_t (*shuffle)(mdl_emulator_abi *emulator, uint32_t word, int lane);
    void (*ldmatrix)(mdl_emulator_abi *emulator, uint32_t *r, const void *row, int matrices, bool transposed);
    void (*mma)(mdl_emulator_abi *emulator, float *d, const uint32_t *a, const uint32_t *b, int k);
    void (*copy_async)(mdl_emulator_abi *emulator, void *shared, const void *global, bool there);
    void (*copy_commit)(mdl_emulator_abi *emulator);
    void (*copy_wait)(mdl_emulator_abi *emulator, int n);
    void (*barrier_init)(mdl_emulator_abi *emulator, void *barrier, int arrivals);
    void (*barrier_arrive)(mdl_emulator_abi *emulator, void *barrier, int bytes);
    void (*barrier_wait)(mdl_emulator_abi *emulator, void *barrier, int parity);
    void (*map_load)(mdl_emulator_abi *emulator, void *tile, const void *map, int column, int head, int64_t row, void *barrier);
    void (*wgmma)(mdl_emulator_abi *emulator, float *d, const uint32_t *a, const void *a_tile, const void *b, bool columns,
                  bool keep);
    void (*wgmma_commit)(mdl_emulator_abi *emulator);
    void (*wgmma_wait)(mdl_emulator_abi *emulator, int n);
    float (*exp2_fast)(float x);
};

typedef void (*mdl_emulator_attach_fn)(mdl_emulator_abi *emulator);

/* One thread of the block, as MDL_KERNEL defines it; args: the struct NAME_args. */
typedef void (*mdl_emulated_kernel)(const void *args);

typedef struct {
    const char *name; /* of the kernel, for messages */
    mdl_emulated_kernel kernel;
    const void *args;
    int64_t blocks;
    int threads; /* of a block: a multiple of 32, or fewer than 32 */
    int64_t shared_bytes;
} mdl_emulated_launch;

mdl_status mdl_emulator_new(mdl_emulator_abi **emulator);
void mdl_emulator_free(mdl_emulator_abi *emulator); /* NULL is allowed */
mdl_status mdl_emulator_run(mdl_emulator_abi *emulator, const mdl_emulated_launch *launch);

#endif
