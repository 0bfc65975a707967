/* What attention's kernels for bf16 are made of: tiles of rows in shared memory, products of tiles on the tensor cores, and who
 * sees whom.
 *
 * A tile is rows of `cols` numbers (K rounded up to 8; what is beyond K is zero), `pitch` apart: an odd number of 16-byte pieces,
 * so that the eight rows that ldmatrix reads lie in different banks. A warp has 16 rows of a product. Lane i holds, of each 8
 * columns n, those at 2 (i % 4) and behind it: s[n][0] and s[n][1] of row i / 4, s[n][2] and s[n][3] of row i / 4 + 8. */
#ifndef MDL_ATTENTION_TILES_H
#define MDL_ATTENTION_TILES_H

/* Before a loop over an array that lies in registers when the loop is unrolled. The host has no such need. */
#ifdef MDL_EMULATED
#define MDL_UNROLL_ALL
#else
#define MDL_UNROLL_ALL MDL_PRAGMA(unroll)
#endif

enum { MDL_TILE_THREADS = 128, MDL_TILE_ROWS = 64 }; /* 4 warps of 16 rows */

/* The larger of two; a NaN may be dropped. */
MDL_FN float mdl_larger(float a, float b) {
#ifdef MDL_EMULATED
    return a > b ? a : b;
#else
    return fmaxf(a, b);
#endif
}

/* ---- who sees whom ---- */

typedef struct {
    int first, stop;
} mdl_range;

/* Positions in a segment of `length` that some row among low .. high sees, when row i sees i - left .. i + right (-1: no bound);
 * with low and high exchanged, those that all of them see. */
MDL_FN mdl_range mdl_seen(int low, int high, int left, int right, int length) {
    mdl_range seen = {0, length};
    if (left >= 0 && low > left) seen.first = low - left;
    if (right >= 0 && high + right + 1 < length) seen.stop = high + right + 1;
    return seen;
}

/* Scores that row `row` (row + 8) does not see become -inf; s[0] begins at position `at`, 8 * n columns. */
MDL_FN void mdl_hide(float (*s)[4], int n, int row, int at, int left, int right, int length) {
    mdl_range seen[2] = {mdl_seen(row, row, left, right, length), mdl_seen(row + 8, row + 8, left, right, length)};
    at += mdl_thread() % 4 * 2;
    MDL_UNROLL_ALL
    for (int i = 0; i < n; i++) MDL_UNROLL_ALL
    for (int e = 0; e < 4; e++) {
        int j = at + 8 * i + e % 2;
        if (j < seen[e / 2].first || j >= seen[e / 2].stop) s[i][e] = -MDL_INF;
    }
}

/* ---- the list of tiles ---- */

/* A tile of a block: rows from `first` on of a segment of `length` tokens that begins at token `start`. */
typedef struct {
    int64_t start;
    int first, length;
} mdl_block_tile;

/* A block's tile in its turn, the first being 0; false behind the last. The list has `blocks` + S places; blocks take from it forth
 * and back, so that who has a long one first has a short one next. */
MDL_FN bool mdl_take_tile(const int32_t *tiles, const int32_t *seq, int64_t S, int64_t block, int64_t blocks, int turn,
                          mdl_block_tile *tile) {
    int64_t place = turn * blocks + (turn % 2 ? blocks - 1 - block : block);
    int s = place < blocks + S ? tiles[2 * place] : -1;
    if (s < 0) return false;
    tile->start = seq[s], tile->length = seq[s + 1] - seq[s], tile->first = tiles[2 * place + 1];
    return true;
}

/* ---- between memory and tiles ---- */

/* `there` rows of K numbers from memory, `row` apart, into a tile of `rows`, the others as zeros: by asynchronous copies, for K and
 * places in whole pieces of 16 bytes; and number by number. */
MDL_FN void mdl_tile_copy(mdl_bf16 *tile, int pitch, int rows, int K, const mdl_bf16 *from, int64_t row, int there) {
    int lanes = K <= 8 ? 1 : K <= 16 ? 2 : K <= 32 ? 4 : K <= 64 ? 8 : K <= 128 ? 16 : 32; /* of a row, a piece each */
    int piece = mdl_thread() % lanes, first = mdl_thread() / lanes;
    if (8 * piece >= K || first >= rows) return;
    tile += first * pitch + 8 * piece;
    from += first * row + 8 * piece;
    MDL_UNROLL_ALL
    for (int r = 0; r < rows; r += MDL_TILE_THREADS / lanes)
        mdl_copy_async(tile + r * pitch, from + r * row, first + r < there); /* reads nothing where no row is */
}
MDL_FN void mdl_tile_load(mdl_bf16 *tile, int pitch, int rows, int K, const mdl_bf16 *from, int64_t row, int there) {
    int cols = (K + 7) / 8 * 8;
    for (int i = mdl_thread(); i < rows * cols; i += MDL_TILE_THREADS) {
        int r = i / cols, c = i % cols;
        tile[r * pitch + c] = r < there && c < K ? from[r * row + c] : 0;
    }
}

/* Two neighbours of a row: at once where the place is even, one by one. */
MDL_FN void mdl_store_pair_bf16(mdl_bf16 *to, float a, float b) { *(uint32_t *)to = mdl_pack_bf16(a, b); }
MDL_FN void mdl_store_each_bf16(mdl_bf16 *to, float a, float b) { to[0] = mdl_to_bf16(a), to[1] = mdl_to_bf16(b); }
MDL_FN void mdl_store_pair_f32(float *to, float a, float b) {
    mdl_8 pair = {{(uint32_t)mdl_bits(a), (uint32_t)mdl_bits(b)}};
    *(mdl_8 *)to = pair;
}
MDL_FN void mdl_store_each_f32(float *to, float a, float b) { to[0] = a, to[1] = b; }

/* ---- products ---- */

/* The 16 rows at `tile` as a left operand: a[k] of columns 16 k .. 16 k + 15; when 8 are left over, the last has 8. */
MDL_FN void mdl_left_rows(uint32_t (*a)[4], const mdl_bf16 *tile, int pitch, int cols) {
    int lane = mdl_thread() % 32;
    const mdl_bf16 *row = tile + lane % 16 * pitch;
    MDL_UNROLL_ALL
    for (int k = 0; k < cols / 16; k++) mdl_ldmatrix4(a[k], row + 16 * k + lane / 16 * 8);
    if (cols % 16) mdl_ldmatrix2(a[cols / 16], row + cols / 16 * 16);
}

/* A product of n * 8 columns, rounded to bf16, as a left operand. */
MDL_FN void mdl_left_product(uint32_t (*a)[4], float (*s)[4], int n) {
    MDL_UNROLL_ALL
    for (int i = 0; i < n; i++) {
        a[i / 2][i % 2 * 2] = mdl_pack_bf16(s[i][0], s[i][1]);
        a[i / 2][i % 2 * 2 + 1] = mdl_pack_bf16(s[i][2], s[i][3]);
    }
}

/* s[16, rows] += a[16, cols] tile[rows, cols]^T; rows: a multiple of 16 */
MDL_FN void mdl_times_rows(float (*s)[4], uint32_t (*a)[4], const mdl_bf16 *tile, int pitch, int cols, int rows) {
    int lane = mdl_thread() % 32;
    MDL_UNROLL_ALL
    for (int k = 0; k < cols / 16; k++) MDL_UNROLL_ALL
    for (int i = 0; i < rows / 16; i++) {
        uint32_t b[4];
        mdl_ldmatrix4(b, tile + (16 * i + lane / 16 * 8 + lane % 8) * pitch + 16 * k + lane / 8 % 2 * 8);
        mdl_mma_k16(s[2 * i], a[k], b), mdl_mma_k16(s[2 * i + 1], a[k], b + 2);
    }
    if (cols % 16 == 0) return;
    MDL_UNROLL_ALL
    for (int i = 0; i < rows / 16; i++) {
        uint32_t b[2];
        mdl_ldmatrix2(b, tile + (16 * i + lane % 16) * pitch + cols / 16 * 16);
        mdl_mma_k8(s[2 * i], a[cols / 16], b), mdl_mma_k8(s[2 * i + 1], a[cols / 16], b + 1);
    }
}

/* The same with the 16 rows at `left` as left operand, which takes no registers for longer than a part of it is used. */
MDL_FN void mdl_tile_times_rows(float (*s)[4], const mdl_bf16 *left, const mdl_bf16 *tile, int pitch, int cols, int rows) {
    MDL_UNROLL_ALL
    for (int k = 0; k < cols; k += 16) {
        uint32_t a[1][4];
        mdl_left_rows(a, left + k, pitch, cols - k < 16 ? 8 : 16);
        mdl_times_rows(s, a, tile + k, pitch, cols - k < 16 ? 8 : 16, rows);
    }
}

/* o[16, cols] += a[16, rows] tile[rows, cols]; rows: a multiple of 16 */
MDL_FN void mdl_times_columns(float (*o)[4], uint32_t (*a)[4], const mdl_bf16 *tile, int pitch, int cols, int rows) {
    int lane = mdl_thread() % 32;
    MDL_UNROLL_ALL
    for (int k = 0; k < rows / 16; k++) {
        const mdl_bf16 *row = tile + (16 * k + lane % 16) * pitch;
        uint32_t b[4];
        MDL_UNROLL_ALL
        for (int i = 0; i < cols / 16; i++) {
            mdl_ldmatrix4_transposed(b, row + 16 * i + lane / 16 * 8);
            mdl_mma_k16(o[2 * i], a[k], b), mdl_mma_k16(o[2 * i + 1], a[k], b + 2);
        }
        if (cols % 16 == 0) continue;
        mdl_ldmatrix2_transposed(b, row + cols / 16 * 16);
        mdl_mma_k16(o[cols / 8 - 1], a[k], b);
    }
}

#endif
