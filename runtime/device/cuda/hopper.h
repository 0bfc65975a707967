/* Hopper's part of the emulator (compiler/kernel/cuda/hopper.h): barriers, tiles by tensor maps, products of a warpgroup. */
#ifndef MDL_DEVICE_CUDA_HOPPER_H
#define MDL_DEVICE_CUDA_HOPPER_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* A tensor map as kernels hold it: the driver's on a GPU, this in emulation. */
enum { MDL_MAP_BYTES = 128, MDL_MAP_ALIGN = 64 };
typedef struct {
    const char *base;          /* of a tensor [rows, heads, cols] of bf16 */
    int64_t rows, heads, cols; /* its sizes */
    int64_t row, head;         /* bytes from one to the next */
} mdl_emulated_map;

/* A tile is 64 rows of 128 bytes, in pieces of 16 that are swizzled (hopper.h says how). */
enum { MDL_TILE_SIDE = 64, MDL_TILE_PITCH = 128, MDL_TILE_SIZE = MDL_TILE_SIDE * MDL_TILE_PITCH, MDL_TILE_ALIGN = 1024 };

/* Copies the box that begins at (row, head, column) into a tile; beyond the tensor, zeros. */
void mdl_map_copy(const mdl_emulated_map *map, int column, int head, int64_t row, char *tile);

/* ---- barriers ---- */

/* What a kernel's mdl_barrier holds here. */
typedef struct {
    uint8_t parity;  /* of the phase that is under way; all ones: none was made here */
    uint8_t count;   /* arrivals of a phase */
    int16_t missing; /* of this one */
    int32_t bytes;   /* that are announced and did not come */
} mdl_barrier_state;

void mdl_barrier_make(mdl_barrier_state *b, int arrivals);
/* An arrival that announces bytes; bytes that came. */
mdl_status mdl_barrier_count(mdl_barrier_state *b, int arrivals, int bytes);

/* ---- products ---- */

/* One lane's part of d[64,64] (+)= a[64,16] b. */
typedef struct {
    float *d;
    uint32_t a[4];          /* its words of the left operand */
    const char *a_tile, *b; /* a_tile: the left operand in shared memory instead; b: the right one */
    bool columns, keep;     /* b is [k,n]; d is added to */
    int64_t group;
} mdl_wgmma;

/* Warp `warp` of its warpgroup does its 16 rows; lanes[i] is the part of lane i. shared: where shared memory begins. */
mdl_status mdl_wgmma_multiply(const mdl_wgmma *const lanes[32], int warp, const char *shared);

#endif
