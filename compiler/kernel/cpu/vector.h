/* Vectors of f32 for the hand-written kernels: as wide as the instruction set, with the few operations they need. */
#ifndef MDL_VECTOR_H
#define MDL_VECTOR_H

#if defined(__AVX512F__)
#define MDL_LANES 16
#elif defined(__AVX__)
#define MDL_LANES 8
#else
#define MDL_LANES 4
#endif
#define MDL_ROWS (MDL_LANES == 16 ? 8 : 4)           /* rows of a register tile that is two vectors wide */
#define MDL_QB (2 * MDL_LANES)                       /* queries that attention takes at a time */
#define MDL_UP(n, to) (((n) + (to)-1) / (to) * (to)) /* rounded up to a multiple */
#define MDL_ALIGN __attribute__((aligned(64)))

typedef float mdl_vec __attribute__((vector_size(4 * MDL_LANES), aligned(4), may_alias));
typedef int32_t mdl_ivec __attribute__((vector_size(4 * MDL_LANES), aligned(4), may_alias));

MDL_FN mdl_vec mdl_load(const float *p) { return *(const mdl_vec *)p; }
MDL_FN void mdl_store(float *p, mdl_vec x) { *(mdl_vec *)p = x; }

MDL_FN mdl_vec mdl_splat(float x) {
#if MDL_LANES == 16
    return (mdl_vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif MDL_LANES == 8
    return (mdl_vec){x, x, x, x, x, x, x, x};
#else
    return (mdl_vec){x, x, x, x};
#endif
}

MDL_FN mdl_ivec mdl_lane_index(void) {
#if MDL_LANES == 16
    return (mdl_ivec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif MDL_LANES == 8
    return (mdl_ivec){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (mdl_ivec){0, 1, 2, 3};
#endif
}

/* a * b + c, rounded once. (GNU C has no operator for it; these are what the intrinsics expand to.) */
MDL_FN mdl_vec mdl_vfma(mdl_vec a, mdl_vec b, mdl_vec c) {
#if defined(__AVX512F__)
    return (mdl_vec)__builtin_ia32_vfmaddps512_mask(a, b, c, (uint16_t)-1, 4);
#elif defined(__AVX__) && defined(__FMA__)
    return (mdl_vec)__builtin_ia32_vfmaddps256(a, b, c);
#else
    mdl_vec r;
    for (int i = 0; i < MDL_LANES; i++) r[i] = MDL_FMA(a[i], b[i], c[i]);
    return r;
#endif
}

/* The bits of a where mask is -1, of b where it is 0. */
MDL_FN mdl_vec mdl_vselect(mdl_ivec mask, mdl_vec a, mdl_vec b) { return (mdl_vec)(((mdl_ivec)a & mask) | ((mdl_ivec)b & ~mask)); }

/* a > b ? a : b; b when either is NaN */
MDL_FN mdl_vec mdl_vmax(mdl_vec a, mdl_vec b) {
#if defined(__AVX512F__) && !defined(__clang__)
    return (mdl_vec)__builtin_ia32_maxps512_mask(a, b, a, (uint16_t)-1, 4);
#elif defined(__AVX__) && !defined(__AVX512F__)
    return (mdl_vec)__builtin_ia32_maxps256(a, b);
#else
    return mdl_vselect((mdl_ivec)(a > b), a, b);
#endif
}

/* e^x for x <= 0 or slightly above, as attention needs it: as mdl_exp, but e^-87 (1.6e-38) for everything below -87. */
MDL_FN mdl_vec mdl_vexp(mdl_vec x) {
    mdl_vec y = mdl_vmax(mdl_splat(-87.0f), x);
    mdl_vec t = mdl_vfma(y, mdl_splat(MDL_LOG2E), mdl_splat(MDL_ROUND));
    mdl_vec n = t - MDL_ROUND;
    mdl_vec r = mdl_vfma(n, mdl_splat(-MDL_LN2_HIGH), y);
    r = mdl_vfma(n, mdl_splat(-MDL_LN2_LOW), r);
    mdl_vec p = mdl_vfma(r, mdl_splat(1.395060215e-3f), mdl_splat(8.368953131e-3f));
    p = mdl_vfma(r, p, mdl_splat(4.166620597e-2f));
    p = mdl_vfma(r, p, mdl_splat(1.666651815e-1f));
    p = mdl_vfma(r, p, mdl_splat(0.5f));
    p = mdl_vfma(r, p, mdl_splat(1.0f));
    p = mdl_vfma(r, p, mdl_splat(1.0f));
    return (mdl_vec)((mdl_ivec)p + ((mdl_ivec)t << 23));
}

/* tanh as mdl_tanh, but with e^-2|x|, which cannot overflow: 1 - 2 t / (1 + t). */
MDL_FN mdl_vec mdl_vtanh(mdl_vec x) {
    mdl_vec z = (mdl_vec)((mdl_ivec)x & 0x7fffffff), s = z * z;
    mdl_vec a = mdl_vfma(s, mdl_splat(-5.697384011e-3f), mdl_splat(2.063254640e-2f));
    a = mdl_vfma(s, a, mdl_splat(-5.373779684e-2f));
    a = mdl_vfma(s, a, mdl_splat(1.333142072e-1f));
    a = mdl_vfma(s, a, mdl_splat(-3.333328068e-1f));
    a = mdl_vfma(s * z, a, z);
    mdl_vec t = mdl_vexp(-2.0f * z), b = 1.0f - 2.0f * t / (1.0f + t);
    mdl_vec y = mdl_vselect((mdl_ivec)(z < mdl_splat(0.625f)), a, b);
    return (mdl_vec)((mdl_ivec)y | ((mdl_ivec)x & (int32_t)0x80000000));
}

/* The inner loop of every matrix product here: c[rows][vecs] += sum over t < n of a[m am + t at] b[t bt + lane].
 * rows, vecs and the strides are constants at the call, so that c lives in registers: 8 x 2 fills 16 of them. */
MDL_FN void mdl_outer(mdl_vec *c, int rows, int vecs, int64_t n, const float *a, int64_t am, int64_t at, const float *b,
                      int64_t bt) {
    for (int64_t t = 0; t < n; t++) {
        mdl_vec y[2];
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) y[v] = mdl_load(b + t * bt + MDL_LANES * v);
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++) {
            mdl_vec x = mdl_splat(a[m * am + t * at]);
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) c[m * vecs + v] = mdl_vfma(x, y[v], c[m * vecs + v]);
        }
    }
}

/* c[rows][vecs] from and to memory with a row stride */
MDL_FN void mdl_tile_load(mdl_vec *c, int rows, int vecs, const float *from, int64_t stride) {
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) c[m * vecs + v] = mdl_load(from + m * stride + MDL_LANES * v);
    }
}

MDL_FN void mdl_tile_store(const mdl_vec *c, int rows, int vecs, float *to, int64_t stride) {
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) mdl_store(to + m * stride + MDL_LANES * v, c[m * vecs + v]);
    }
}

typedef float mdl_vec8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t mdl_ivec8 __attribute__((vector_size(32)));
#if defined(__clang__)
#define MDL_SHUFFLE8(a, b, ...) __builtin_shufflevector((a), (b), __VA_ARGS__)
#else
#define MDL_SHUFFLE8(a, b, ...) __builtin_shuffle((a), (b), (mdl_ivec8){__VA_ARGS__})
#endif

/* to[j][i] = from[i][j] for 8 x 8 */
MDL_FN void mdl_transpose8(float *to, int64_t to_stride, const float *from, int64_t from_stride) {
    mdl_vec8 x[8], y[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) x[i] = *(const mdl_vec8 *)(from + i * from_stride);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        y[2 * i] = MDL_SHUFFLE8(x[2 * i], x[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        y[2 * i + 1] = MDL_SHUFFLE8(x[2 * i], x[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        int a = (i & 1) + (i & 2) * 2;
        x[2 * i] = MDL_SHUFFLE8(y[a], y[a + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        x[2 * i + 1] = MDL_SHUFFLE8(y[a], y[a + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        *(mdl_vec8 *)(to + i * to_stride) = MDL_SHUFFLE8(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(mdl_vec8 *)(to + (i + 4) * to_stride) = MDL_SHUFFLE8(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* to[cols][rows] = transpose of from[rows][cols]; both sizes multiples of 8, rows and cols constants at the call */
MDL_FN void mdl_transpose(float *to, int64_t to_stride, const float *from, int64_t from_stride, int rows, int cols) {
    for (int j = 0; j < cols; j += 8)
        for (int i = 0; i < rows; i += 8)
            mdl_transpose8(to + j * to_stride + i, to_stride, from + i * from_stride + j, from_stride);
}

/* Rows of `cols` numbers from memory, whose rows are `from_stride` apart, into a tile of f32, and back. */
MDL_FN void mdl_load_rows_f32(float *to, int64_t to_stride, const float *from, int64_t from_stride, int64_t rows, int cols) {
    for (int64_t i = 0; i < rows; i++) {
        __builtin_prefetch(from + (i + 16) * from_stride); /* rows are far apart: 2 to 3 % of attention's time */
#pragma omp simd
        for (int j = 0; j < cols; j++) to[i * to_stride + j] = from[i * from_stride + j];
    }
}

MDL_FN void mdl_load_rows_bf16(float *to, int64_t to_stride, const mdl_bf16 *from, int64_t from_stride, int64_t rows, int cols) {
    for (int64_t i = 0; i < rows; i++) {
        __builtin_prefetch(from + (i + 16) * from_stride);
#pragma omp simd
        for (int j = 0; j < cols; j++) to[i * to_stride + j] = mdl_from_bf16(from[i * from_stride + j]);
    }
}

MDL_FN void mdl_store_rows_f32(float *to, int64_t to_stride, const float *from, int64_t from_stride, int64_t rows, int cols) {
    for (int64_t i = 0; i < rows; i++) {
#pragma omp simd
        for (int j = 0; j < cols; j++) to[i * to_stride + j] = from[i * from_stride + j];
    }
}

MDL_FN void mdl_store_rows_bf16(mdl_bf16 *to, int64_t to_stride, const float *from, int64_t from_stride, int64_t rows, int cols) {
    for (int64_t i = 0; i < rows; i++) {
#pragma omp simd
        for (int j = 0; j < cols; j++) to[i * to_stride + j] = mdl_to_bf16(from[i * from_stride + j]);
    }
}

/* Zeros behind column `cols` of the first `rows` rows of a tile, and in all of its rows from there to `all`. */
MDL_FN void mdl_pad(float *to, int64_t stride, int64_t rows, int64_t all, int cols) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = cols; j < stride; j++) to[i * stride + j] = 0.0f;
    for (int64_t i = rows * stride; i < all * stride; i++) to[i] = 0.0f;
}

/* The segment that holds token t: the last s with seq[s] <= t; `segments` when t is behind the last. */
MDL_FN int64_t mdl_segment_of(const int32_t *seq, int64_t segments, int64_t t) {
    int64_t low = 0, high = segments + 1;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (seq[middle] <= t)
            low = middle;
        else
            high = middle;
    }
    return low;
}

#endif
