/* Barriers, swizzled tiles and wgmma, as the PTX manual has them. */
#include "runtime/device/cuda/hopper.h"

#include <string.h>

#include "runtime/device/cuda/fragment.h"

enum { PIECE = 16, LANES = 32, ROWS = 16, DEPTH = 16, SIDE = MDL_TILE_SIDE, UNMADE = 0xff };

/* ---- tiles ---- */

/* The 16-byte piece that the hardware takes for this address: bits 4 to 6 of its place are combined with bits 7 to 9. */
static int64_t swizzled(int64_t place) { return place ^ (place >> 7 & 7) << 4; }

void mdl_map_copy(const mdl_emulated_map *map, int column, int head, int64_t row, char *tile) {
    for (int r = 0; r < SIDE; r++)
        for (int c = 0; c < MDL_TILE_PITCH; c += 2) {
            int64_t in_row = column + c / 2;
            bool there = row + r >= 0 && row + r < map->rows && head >= 0 && head < map->heads && in_row < map->cols;
            char *to = tile + swizzled(r * MDL_TILE_PITCH + c / PIECE * PIECE) + c % PIECE;
            if (there)
                memcpy(to, map->base + (row + r) * map->row + head * map->head + in_row * 2, 2);
            else
                memset(to, 0, 2);
        }
}

/* ---- barriers ---- */

void mdl_barrier_make(mdl_barrier_state *b, int arrivals) {
    *b = (mdl_barrier_state){.count = (uint8_t)arrivals, .missing = (int16_t)arrivals};
}

mdl_status mdl_barrier_count(mdl_barrier_state *b, int arrivals, int bytes) {
    if (b->parity > 1) return mdl_fail(MDL_BAD_INPUT, "a barrier that was not made");
    b->missing = (int16_t)(b->missing - arrivals);
    b->bytes += bytes;
    if (b->missing < 0) return mdl_fail(MDL_BAD_INPUT, "more than %d arrivals in a phase of a barrier", b->count);
    if (b->missing || b->bytes) return MDL_OK;
    b->parity ^= 1;
    b->missing = b->count;
    return MDL_OK;
}

/* ---- products ---- */

static float bf16_at(const char *shared, const char *operand, int64_t row, int64_t byte) {
    uint16_t half;
    memcpy(&half, shared + swizzled(operand - shared + row * MDL_TILE_PITCH + byte / PIECE * PIECE) + byte % PIECE, sizeof half);
    return mdl_half_of(half, 0);
}

static void left_operand(const mdl_wgmma *const lanes[LANES], int warp, const char *shared, float a[ROWS][DEPTH]) {
    for (int r = 0; lanes[0]->a_tile && r < ROWS; r++)
        for (int k = 0; k < DEPTH; k++) a[r][k] = bf16_at(shared, lanes[0]->a_tile, ROWS * warp + r, 2 * k);
    for (int i = 0; !lanes[0]->a_tile && i < LANES; i++) mdl_left_fragment(i, 4, lanes[i]->a, a);
}

static mdl_status check_alike(const mdl_wgmma *const lanes[LANES]) {
    for (int i = 1; i < LANES; i++)
        if (lanes[i]->b != lanes[0]->b || lanes[i]->a_tile != lanes[0]->a_tile || lanes[i]->columns != lanes[0]->columns ||
            lanes[i]->keep != lanes[0]->keep)
            return mdl_fail(MDL_BAD_INPUT, "lane %d has another product than lane 0", i);
    return MDL_OK;
}

mdl_status mdl_wgmma_multiply(const mdl_wgmma *const lanes[LANES], int warp, const char *shared) {
    float a[ROWS][DEPTH], b[DEPTH][SIDE], d[ROWS][SIDE] = {{0}};
    MDL_TRY(check_alike(lanes), "wgmma");
    left_operand(lanes, warp, shared, a);
    for (int k = 0; k < DEPTH; k++)
        for (int n = 0; n < SIDE; n++)
            b[k][n] = lanes[0]->columns ? bf16_at(shared, lanes[0]->b, k, 2 * n) : bf16_at(shared, lanes[0]->b, n, 2 * k);
    for (int i = 0; i < LANES && lanes[0]->keep; i++)
        for (int e = 0; e < SIDE / 2; e++) d[i / 4 + 8 * (e / 2 % 2)][e / 4 * 8 + 2 * (i % 4) + e % 2] = lanes[i]->d[e];
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < DEPTH; k++)
            for (int n = 0; n < SIDE; n++) d[r][n] += a[r][k] * b[k][n];
    for (int i = 0; i < LANES; i++)
        for (int e = 0; e < SIDE / 2; e++) lanes[i]->d[e] = d[i / 4 + 8 * (e / 2 % 2)][e / 4 * 8 + 2 * (i % 4) + e % 2];
    return MDL_OK;
}
