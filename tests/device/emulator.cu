/* Kernels for tests/device/emulator.c, by hand. Text for a GPU as well as for the emulator. */

/* out[block] = the sum of x[block], 256 numbers: first of each warp, then of the warps' sums. */
MDL_KERNEL(k_sum, 2, 1, 256, 1) {
    const float *x = (const float *)args.buffer[0];
    float *out = (float *)args.buffer[1];
    MDL_SHARED float sums[8];
    int lane = mdl_thread() % 32, warp = mdl_thread() / 32;
    float sum = x[mdl_block() * 256 + mdl_thread()];
    for (int mask = 16; mask; mask /= 2) sum += mdl_shuffle_xor(sum, mask);
    if (lane == 0) sums[warp] = sum;
    mdl_sync();
    if (warp == 0) {
        sum = lane < 8 ? sums[lane] : 0.0f;
        for (int mask = 4; mask; mask /= 2) sum += mdl_shuffle_xor(sum, mask);
        if (lane == 0) out[mdl_block()] = sum;
    }
}

/* What each lane gets: of a lane that differs between lanes, and of lane 37 % 32. */
MDL_KERNEL(k_shuffle, 1, 1, 32, 1) {
    int32_t *out = (int32_t *)args.buffer[0];
    int lane = mdl_thread();
    out[lane] = mdl_shuffle_i32(100 + lane, 7 * lane + 3);
    out[32 + lane] = mdl_shuffle_xor_i32(100 + lane, 5);
    out[64 + lane] = (int32_t)mdl_shuffle(0.5f + (float)lane, 37);
    mdl_sync_warp();
    out[96 + lane] = (int32_t)mdl_pack_bf16((float)lane, -2.0f);
}

/* Four matrices of 8 x 8, one after the other, in the four ways. */
MDL_KERNEL(k_ldmatrix, 2, 1, 32, 1) {
    const uint16_t *x = (const uint16_t *)args.buffer[0];
    uint32_t *out = (uint32_t *)args.buffer[1];
    uint16_t *tile = (uint16_t *)mdl_dynamic_shared();
    int lane = mdl_thread();
    for (int i = lane; i < 256; i += 32) tile[i] = x[i];
    mdl_sync();
    uint32_t r[12];
    mdl_ldmatrix4(r, tile + 8 * lane);
    mdl_ldmatrix4_transposed(r + 4, tile + 8 * lane);
    mdl_ldmatrix2(r + 8, tile + 8 * (lane % 16));
    mdl_ldmatrix2_transposed(r + 10, tile + 8 * (lane % 16));
    for (int i = 0; i < 12; i++) out[12 * lane + i] = r[i];
}

/* d[16,8] += a[16,16] b[16,8], then d2[16,8] += a[:, 8:16] b[8:16, :]; bf16, f32. */
MDL_KERNEL(k_mma, 4, 1, 32, 1) {
    const mdl_16 *a = (const mdl_16 *)args.buffer[0], *b = (const mdl_16 *)args.buffer[1];
    float *d[2] = {(float *)args.buffer[2], (float *)args.buffer[3]};
    mdl_16 *tile_a = (mdl_16 *)mdl_dynamic_shared(), *tile_b = tile_a + 32;
    int lane = mdl_thread();
    tile_a[lane] = a[lane];
    if (lane < 16) tile_b[lane] = b[lane];
    mdl_sync_warp();
    uint32_t fa[4], fb[2];
    mdl_ldmatrix4(fa, tile_a + 2 * (lane % 16) + lane / 16);
    mdl_ldmatrix2_transposed(fb, tile_b + lane % 16);
    for (int k = 0; k < 2; k++) {
        float sum[4];
        for (int i = 0; i < 4; i++) sum[i] = d[k][8 * (lane / 4 + 8 * (i / 2)) + 2 * (lane % 4) + i % 2];
        if (k == 0)
            mdl_mma_k16(sum, fa, fb);
        else
            mdl_mma_k8(sum, fa + 2, fb + 1);
        for (int i = 0; i < 4; i++) d[k][8 * (lane / 4 + 8 * (i / 2)) + 2 * (lane % 4) + i % 2] = sum[i];
    }
}

/* Each thread copies 16 bytes three times, in three groups, the last but one thread's as zeros, and stores what its neighbour's
 * places hold: once when one group may be under way, once when all are there. */
MDL_KERNEL(k_copy, 2, 1, 64, 1) {
    const char *x = (const char *)args.buffer[0];
    mdl_16 *out = (mdl_16 *)args.buffer[1], *tile = (mdl_16 *)mdl_dynamic_shared();
    int i = mdl_thread();
    for (int part = 0; part < 3; part++) {
        mdl_copy_async(tile + 64 * part + i, x + 16 * (64 * part + i), i != 62);
        mdl_copy_commit();
    }
    mdl_copy_wait(1);
    mdl_sync();
    for (int part = 0; part < 2; part++) out[64 * part + i] = tile[64 * part + (i + 1) % 64];
    mdl_copy_wait(0);
    mdl_sync();
    out[128 + i] = tile[128 + (i + 1) % 64];
}

MDL_KERNEL(k_exp2, 2, 1, 32, 1) {
    const float *x = (const float *)args.buffer[0];
    float *out = (float *)args.buffer[1];
    out[mdl_thread()] = mdl_exp2_fast(x[mdl_thread()]);
}

/* ---- kernels that are wrong, in the way that args.immediate[0] gives ---- */
MDL_KERNEL(k_wrong, 1, 1, 128, 1) {
    float *out = (float *)args.buffer[0];
    float *shared = (float *)(void *)mdl_dynamic_shared();
    MDL_SHARED float first[128];
    int i = mdl_thread(), lane = i % 32;
    float x = 1.0f;
    switch (args.immediate[0]) {
        case 0: /* half a warp */
            if (i / 32 == 3 && lane < 16) x = mdl_shuffle_xor(x, 1);
            break;
        case 1: /* two collectives */
            if (lane == 9)
                mdl_sync_warp();
            else
                x = mdl_shuffle_xor(x, 1);
            break;
        case 2: /* one warp does not come */
            if (i / 32 != 1) mdl_sync();
            break;
        case 3: /* one lane waits for the block, the others for the warp */
            if (lane == 1) mdl_sync();
            mdl_sync_warp();
            break;
        case 4: mdl_copy_async((char *)shared + 8, out, true); break;
        case 5: mdl_copy_async(shared, (char *)out + 4, true); break;
        case 6: { /* a row at an odd place */
            uint32_t r[2];
            mdl_ldmatrix2(r, (char *)shared + (lane == 4 ? 2 : 0));
            break;
        }
        case 7: shared[128 + i] = x; break; /* of 512 bytes */
        case 8:                             /* reads what it has not waited for */
            mdl_copy_async(shared + 4 * i, out + 4 * i, true);
            mdl_copy_commit();
            mdl_sync();
            x = shared[4 * i];
            break;
        case 9: x = shared[0]; break; /* that nobody wrote */
        case 10:                      /* does not wait for its neighbours */
            shared[i] = 1.0f;
            x = shared[(i + 1) % 128];
            break;
        case 11: /* only the first block writes */
            if (mdl_block() == 0) first[i] = 1.0f;
            x = first[i];
            break;
    }
    out[i] = x;
}
