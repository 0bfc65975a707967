/* Collectives, a whole warp at a time. Fragments are those of the PTX manual (ldmatrix; mma.m16n8k16 and mma.m16n8k8 for bf16):
 * `group` is lane / 4, `pair` lane % 4, and a word holds two bf16, the first in its lower half. */
#include "runtime/device/cuda/collective.h"

#include <string.h>

#include "runtime/device/cuda/fragment.h"

enum { ROWS = 16, COLUMNS = 8, MOST_K = 16, SIDE = 8 };

const char *mdl_collective_name(mdl_collective kind) {
    static const char *const names[] = {
#define COLLECTIVE(id, name) name,
        MDL_COLLECTIVES(COLLECTIVE)
#undef COLLECTIVE
    };
    return names[kind];
}

static void shuffle(mdl_lane *const lanes[], bool exclusive_or) {
    for (int i = 0; i < MDL_WARP; i++) {
        int from = (exclusive_or ? i ^ lanes[i]->lane : lanes[i]->lane) & (MDL_WARP - 1);
        lanes[i]->got = lanes[from]->word;
    }
}

/* ---- ldmatrix ---- */
/* Row i of matrix m is at the address that lane 8 m + i gave. */
static mdl_status load_matrices(mdl_lane *const lanes[], int matrices, bool transposed) {
    uint16_t matrix[SIDE][SIDE];
    for (int m = 0; m < matrices; m++) {
        for (int i = 0; i < SIDE; i++) {
            const void *row = lanes[SIDE * m + i]->row;
            if ((uintptr_t)row % sizeof matrix[i])
                return mdl_fail(MDL_BAD_INPUT, "lane %d gives %s a row that is not aligned to 16 bytes", SIDE * m + i,
                                mdl_collective_name(lanes[0]->kind));
            memcpy(matrix[i], row, sizeof matrix[i]);
        }
        for (int i = 0; i < MDL_WARP; i++) {
            int group = i / 4, first = 2 * (i % 4);
            uint32_t low = transposed ? matrix[first][group] : matrix[group][first];
            uint32_t high = transposed ? matrix[first + 1][group] : matrix[group][first + 1];
            lanes[i]->r[m] = low | high << 16;
        }
    }
    return MDL_OK;
}

/* ---- mma ---- */
/* Word w of B: rows 2 pair + 8 w and the next, column group. */
static void gather(mdl_lane *const lanes[], int k, float a[ROWS][MOST_K], float b[MOST_K][COLUMNS]) {
    for (int i = 0; i < MDL_WARP; i++) {
        int group = i / 4, pair = i % 4;
        mdl_left_fragment(i, k / 4, lanes[i]->a, a);
        for (int w = 0; w < k / 8; w++)
            for (int half = 0; half < 2; half++) b[2 * pair + 8 * w + half][group] = mdl_half_of(lanes[i]->b[w], half);
    }
}

/* Elements 2 h and 2 h + 1 of a lane's D: row group + 8 h, columns 2 pair and the next. The products are exact in f32, and are
 * added one after the other. */
static void multiply(mdl_lane *const lanes[], int k) {
    float a[ROWS][MOST_K], b[MOST_K][COLUMNS], d[ROWS][COLUMNS];
    gather(lanes, k, a, b);
    for (int i = 0; i < MDL_WARP; i++)
        for (int e = 0; e < 4; e++) d[i / 4 + 8 * (e / 2)][2 * (i % 4) + e % 2] = lanes[i]->d[e];
    for (int row = 0; row < ROWS; row++)
        for (int j = 0; j < k; j++)
            for (int column = 0; column < COLUMNS; column++) d[row][column] += a[row][j] * b[j][column];
    for (int i = 0; i < MDL_WARP; i++)
        for (int e = 0; e < 4; e++) lanes[i]->d[e] = d[i / 4 + 8 * (e / 2)][2 * (i % 4) + e % 2];
}

/* ---- wgmma ---- */
static mdl_status multiply_groups(mdl_lane *const lanes[]) {
    for (int i = 1; i < MDL_WARP; i++)
        if (lanes[i]->n_products != lanes[0]->n_products)
            return mdl_fail(MDL_BAD_INPUT, "lane %d waits for %d products, lane 0 for %d", i, lanes[i]->n_products,
                            lanes[0]->n_products);
    for (int n = 0; n < lanes[0]->n_products; n++) {
        const mdl_wgmma *parts[MDL_WARP];
        for (int i = 0; i < MDL_WARP; i++) parts[i] = &lanes[i]->products[n];
        MDL_TRY(mdl_wgmma_multiply(parts, lanes[0]->warp % 4, lanes[0]->shared), "product %d", n);
    }
    return MDL_OK;
}

mdl_status mdl_collective_run(mdl_lane *const lanes[MDL_WARP]) {
    switch (lanes[0]->kind) {
        case MDL_COLLECTIVE_SYNC_WARP: return MDL_OK;
        case MDL_COLLECTIVE_SHUFFLE_XOR: shuffle(lanes, true); return MDL_OK;
        case MDL_COLLECTIVE_SHUFFLE: shuffle(lanes, false); return MDL_OK;
        case MDL_COLLECTIVE_LDMATRIX2: return load_matrices(lanes, 2, false);
        case MDL_COLLECTIVE_LDMATRIX2_TRANSPOSED: return load_matrices(lanes, 2, true);
        case MDL_COLLECTIVE_LDMATRIX4: return load_matrices(lanes, 4, false);
        case MDL_COLLECTIVE_LDMATRIX4_TRANSPOSED: return load_matrices(lanes, 4, true);
        case MDL_COLLECTIVE_MMA_K8: multiply(lanes, 8); return MDL_OK;
        case MDL_COLLECTIVE_MMA_K16: multiply(lanes, 16); return MDL_OK;
        case MDL_COLLECTIVE_WGMMA_WAIT: return multiply_groups(lanes);
        default: mdl_bug("collective %d", (int)lanes[0]->kind);
    }
}
