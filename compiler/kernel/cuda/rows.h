/* What generated row kernels are made of: 16 bytes of columns at a time, and sums over the lanes of a row. */
#ifndef MDL_ROWS_H
#define MDL_ROWS_H

/* Of an operand: no other thread writes there while the kernel runs, so that the load may move past stores. */
MDL_FN mdl_16 mdl_read_16(const void *from) {
#ifdef __CUDACC__
    mdl_16 x;
    asm("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(x.w[0]), "=r"(x.w[1]), "=r"(x.w[2]), "=r"(x.w[3]) : "l"(from));
    return x;
#else
    return *(const mdl_16 *)from;
#endif
}
/* 8 bytes, in the lower half of 16. */
MDL_FN mdl_16 mdl_read_8(const void *from) {
    mdl_16 x = {{0, 0, 0, 0}};
#ifdef __CUDACC__
    asm("ld.global.nc.v2.u32 {%0,%1}, [%2];" : "=r"(x.w[0]), "=r"(x.w[1]) : "l"(from));
#else
    x.w[0] = ((const mdl_8 *)from)->w[0], x.w[1] = ((const mdl_8 *)from)->w[1];
#endif
    return x;
}
MDL_FN mdl_16 mdl_load_8(const void *from) {
    mdl_8 half = *(const mdl_8 *)from;
    mdl_16 x = {{half.w[0], half.w[1], 0, 0}};
    return x;
}
/* To global memory. Said in the assembler's words: the compiler takes a struct of words apart and stores them one by one. */
MDL_FN void mdl_store_8(void *to, mdl_16 x) {
#ifdef __CUDACC__
    asm volatile("st.global.v2.u32 [%0], {%1,%2};" : : "l"(to), "r"(x.w[0]), "r"(x.w[1]) : "memory");
#else
    mdl_8 half = {{x.w[0], x.w[1]}};
    *(mdl_8 *)to = half;
#endif
}
MDL_FN void mdl_store_16(void *to, mdl_16 x) {
#ifdef __CUDACC__
    asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" : : "l"(to), "r"(x.w[0]), "r"(x.w[1]), "r"(x.w[2]), "r"(x.w[3]) : "memory");
#else
    *(mdl_16 *)to = x;
#endif
}

MDL_FN mdl_16 mdl_load_16(const void *from) { return *(const mdl_16 *)from; }
MDL_FN mdl_16 mdl_zero_16(void) {
    mdl_16 x = {{0, 0, 0, 0}};
    return x;
}

/* Element i of columns that lie in 16-byte pieces; put in order of i. */
MDL_FN mdl_bf16 mdl_bf16_at(const mdl_16 *p, int i) { return (mdl_bf16)(p[i / 8].w[i % 8 / 2] >> 16 * (i % 2)); }
MDL_FN float mdl_f32_at(const mdl_16 *p, int i) { return mdl_from_bits((int32_t)p[i / 4].w[i % 4]); }
MDL_FN uint8_t mdl_u8_at(const mdl_16 *p, int i) { return (uint8_t)(p[i / 16].w[i % 16 / 4] >> 8 * (i % 4)); }
MDL_FN int32_t mdl_i32_at(const mdl_16 *p, int i) { return (int32_t)p[i / 4].w[i % 4]; }
MDL_FN void mdl_bf16_put(mdl_16 *p, int i, mdl_bf16 x) {
    if (i % 2)
        p[i / 8].w[i % 8 / 2] |= (uint32_t)x << 16;
    else
        p[i / 8].w[i % 8 / 2] = x;
}
MDL_FN void mdl_u8_put(mdl_16 *p, int i, uint8_t x) {
    if (i % 4)
        p[i / 16].w[i % 16 / 4] |= (uint32_t)x << 8 * (i % 4);
    else
        p[i / 16].w[i % 16 / 4] = x;
}
MDL_FN void mdl_f32_put(mdl_16 *p, int i, float x) { p[i / 4].w[i % 4] = (uint32_t)mdl_bits(x); }
MDL_FN void mdl_i32_put(mdl_16 *p, int i, int32_t x) { p[i / 4].w[i % 4] = (uint32_t)x; }

/* Sums and maxima of x over the `lanes` lanes of a row, at most a warp, in every lane: a power of two, in the order of a butterfly.
 */
MDL_FN float mdl_lanes_sum_f32(float x, int lanes) {
    for (int mask = 1; mask < lanes; mask *= 2) x += mdl_shuffle_xor(x, mask);
    return x;
}
MDL_FN int32_t mdl_lanes_sum_i32(int32_t x, int lanes) {
    for (int mask = 1; mask < lanes; mask *= 2) x += mdl_shuffle_xor_i32(x, mask);
    return x;
}
MDL_FN float mdl_lanes_max_f32(float x, int lanes) {
    for (int mask = 1; mask < lanes; mask *= 2) {
        float y = mdl_shuffle_xor(x, mask);
        x = y > x ? y : x;
    }
    return x;
}
MDL_FN int32_t mdl_lanes_max_i32(int32_t x, int lanes) {
    for (int mask = 1; mask < lanes; mask *= 2) {
        int32_t y = mdl_shuffle_xor_i32(x, mask);
        x = y > x ? y : x;
    }
    return x;
}

/* The same over a block of several warps that share one row; `shared` holds a number for each warp. */
#define MDL_BLOCK_REDUCTION(NAME, TYPE, COMBINE)                    \
    MDL_FN TYPE mdl_block_##NAME(TYPE x, int warps, TYPE *shared) { \
        x = mdl_lanes_##NAME(x, 32);                                \
        mdl_sync(); /* what was here before has been read */        \
        if (mdl_thread() % 32 == 0) shared[mdl_thread() / 32] = x;  \
        mdl_sync();                                                 \
        x = shared[0];                                              \
        for (int w = 1; w < warps; w++) x = COMBINE(x, shared[w]);  \
        return x;                                                   \
    }
#define MDL_PLUS(a, b) ((a) + (b))
#define MDL_LARGER(a, b) ((b) > (a) ? (b) : (a))
MDL_BLOCK_REDUCTION(sum_f32, float, MDL_PLUS)
MDL_BLOCK_REDUCTION(sum_i32, int32_t, MDL_PLUS)
MDL_BLOCK_REDUCTION(max_f32, float, MDL_LARGER)
MDL_BLOCK_REDUCTION(max_i32, int32_t, MDL_LARGER)

#endif
