/* What the 32 lanes of a warp do together: shuffles, loads of matrices and products in the fragments of PTX. A warpgroup's products
 * are done by its warps, each its own rows. */
#ifndef MDL_DEVICE_CUDA_COLLECTIVE_H
#define MDL_DEVICE_CUDA_COLLECTIVE_H

#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/device/cuda/hopper.h"

enum { MDL_WARP = 32 };

/* COLLECTIVE(id, function that kernels call) */
#define MDL_COLLECTIVES(COLLECTIVE)                              \
    COLLECTIVE(SYNC_WARP, "mdl_sync_warp")                       \
    COLLECTIVE(SHUFFLE_XOR, "mdl_shuffle_xor")                   \
    COLLECTIVE(SHUFFLE, "mdl_shuffle")                           \
    COLLECTIVE(LDMATRIX2, "mdl_ldmatrix2")                       \
    COLLECTIVE(LDMATRIX2_TRANSPOSED, "mdl_ldmatrix2_transposed") \
    COLLECTIVE(LDMATRIX4, "mdl_ldmatrix4")                       \
    COLLECTIVE(LDMATRIX4_TRANSPOSED, "mdl_ldmatrix4_transposed") \
    COLLECTIVE(MMA_K8, "mdl_mma_k8")                             \
    COLLECTIVE(MMA_K16, "mdl_mma_k16")                           \
    COLLECTIVE(WGMMA_WAIT, "mdl_wgmma_wait")
typedef enum {
#define COLLECTIVE(id, name) MDL_COLLECTIVE_##id,
    MDL_COLLECTIVES(COLLECTIVE)
#undef COLLECTIVE
        MDL_COLLECTIVE_COUNT
} mdl_collective;
const char *mdl_collective_name(mdl_collective kind);

/* One lane's part. */
typedef struct {
    mdl_collective kind;
    uint32_t word, got; /* shuffles: what it gives and gets */
    int lane;           /* mdl_shuffle: whose word it reads; mdl_shuffle_xor: the mask */
    uint32_t *r;        /* ldmatrix: its words of the matrices */
    const void *row;    /* and the row that it gives the address of */
    float *d;           /* mma: its fragments */
    const uint32_t *a, *b;
    const char *shared; /* mdl_wgmma_wait: where shared memory begins, the warp's number, and the products that are to be done */
    int warp, n_products;
    const mdl_wgmma *products;
} mdl_lane;

/* Lane i's part is lanes[i]; all are of one kind. */
mdl_status mdl_collective_run(mdl_lane *const lanes[MDL_WARP]);

#endif
