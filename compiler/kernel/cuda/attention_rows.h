/* What attention's kernels for f32 are made of, beside attention_tiles.h. */
#ifndef MDL_ATTENTION_ROWS_H
#define MDL_ATTENTION_ROWS_H

/* The sum over the four threads that share a row. */
MDL_FN float mdl_of_four(float x) {
    x += mdl_shuffle_xor(x, 1);
    return x + mdl_shuffle_xor(x, 2);
}

/* `there` rows of K numbers from memory, `row` apart, into a tile of `rows` of `cols`; the rest of it becomes zeros. */
MDL_FN void mdl_rows_f32(float *tile, int rows, const float *from, int64_t row, int there, int K, int cols) {
    for (int i = mdl_thread(); i < rows * cols; i += MDL_TILE_THREADS) {
        int r = i / cols, c = i % cols;
        tile[i] = r < there && c < K ? from[r * row + c] : 0.0f;
    }
}

#endif
