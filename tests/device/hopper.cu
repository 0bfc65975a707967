/* Kernels for tests/device/hopper.c. args.buffer[0] is what tensor map 0 is of. */
MDL_ARGS_MAPS(k_tile, 2, 3, 1);
MDL_ENTRY(k_tile, 128, 1) {
    char *tile = mdl_shared_tiles();
    mdl_barrier *arrived = (mdl_barrier *)(tile + MDL_TILE_BYTES);
    if (mdl_thread() == 0) {
        mdl_barrier_init(arrived, 1);
        mdl_barriers_made();
        mdl_map_prefetch(&args.map[0]);
        mdl_barrier_expect(arrived, MDL_TILE_BYTES);
        mdl_map_load(tile, &args.map[0], (int)args.immediate[0], (int)args.immediate[1], args.immediate[2], arrived);
    }
    mdl_sync();
    mdl_barrier_wait(arrived, 0);
    for (int i = mdl_thread(); i < MDL_TILE_BYTES / 16; i += 128) ((mdl_16 *)args.buffer[1])[i] = ((mdl_16 *)tile)[i];
}

/* Two tiles [64,64] of the map, a and b: a b^T by a's tile, a b^T and a b by a's rows in registers, each from 1; and, when
 * immediate 0 says so, what a sum holds before it has been waited for. */
MDL_ARGS_MAPS(k_wgmma, 2, 1, 1);
MDL_ENTRY(k_wgmma, 128, 1) {
    char *a = mdl_shared_tiles(), *b = a + MDL_TILE_BYTES;
    mdl_barrier *arrived = (mdl_barrier *)(b + MDL_TILE_BYTES);
    float(*out)[64][64] = (float(*)[64][64])args.buffer[1];
    float d[3][8][4];
    uint32_t row[4][4];
    int lane = mdl_thread() % 32, warp = mdl_thread() / 32;
    if (mdl_thread() == 0) {
        mdl_barrier_init(arrived, 1);
        mdl_barriers_made();
        mdl_barrier_expect(arrived, 2 * MDL_TILE_BYTES);
        mdl_map_load(a, &args.map[0], 0, 0, 0, arrived);
        mdl_map_load(b, &args.map[0], 0, 1, 0, arrived);
    }
    mdl_sync();
    mdl_barrier_wait(arrived, 0);
    for (int i = 0; i < 96; i++) d[i / 32][i % 32 / 4][i % 4] = 1.0f;
    for (int k = 0; k < 4; k++)
        mdl_ldmatrix4(row[k], a + (16 * warp + lane % 16) * 128 + ((2 * k + lane / 16) ^ lane % 8) * 16);
    mdl_operand left = mdl_operand_of(a), right = mdl_operand_of(b);
    mdl_wgmma_begin();
    for (int k = 0; k < 4; k++) {
        mdl_wgmma_tiles(d[0], mdl_operand_at(left, 32 * k), mdl_operand_at(right, 32 * k), 1);
        mdl_wgmma_rows(d[1], row[k], mdl_operand_at(right, 32 * k), k > 0); /* the first one does not add */
        mdl_wgmma_columns(d[2], row[k], mdl_operand_at(right, 2048 * k), 1);
    }
    mdl_wgmma_commit();
    if (args.immediate[0] == 0) mdl_wgmma_wait(0);
    for (int i = 0; i < 3; i++) mdl_wgmma_done(d[i]);
    for (int i = 0; i < 96; i++)
        out[i / 32][16 * warp + lane / 4 + 8 * (i / 2 % 2)][i % 32 / 4 * 8 + 2 * (lane % 4) + i % 2] = d[i / 32][i % 32 / 4][i % 4];
    if (args.immediate[0]) mdl_wgmma_wait(0);
}

/* Four warps pass a barrier of four arrivals three times, each adding its number to a shared sum before and reading it behind. */
MDL_KERNEL(k_phases, 1, 1, 128, 1) {
    float *out = (float *)args.buffer[0], *shared = (float *)(void *)mdl_dynamic_shared();
    mdl_barrier *all = (mdl_barrier *)(shared + 4);
    int warp = mdl_thread() / 32, lane = mdl_thread() % 32;
    if (mdl_thread() == 0) mdl_barrier_init(all, 4), mdl_barriers_made();
    mdl_sync();
    for (int phase = 0; phase < 3; phase++) {
        if (lane == 0) shared[warp] = (float)(10 * phase + warp), mdl_barrier_arrive(all);
        mdl_barrier_wait(all, phase % 2);
        if (lane == 0) out[4 * phase + warp] = shared[0] + shared[1] + shared[2] + shared[3];
        mdl_sync();
    }
}

/* ---- kernels that are wrong, in the way that args.immediate[0] gives ---- */
MDL_ARGS_MAPS(k_astray, 2, 1, 1);
MDL_ENTRY(k_astray, 128, 1) {
    char *tile = mdl_shared_tiles();
    mdl_barrier *b = (mdl_barrier *)(tile + MDL_TILE_BYTES);
    float *out = (float *)args.buffer[1], d[8][4] = {{0.0f}};
    uint32_t row[4] = {0};
    int i = mdl_thread();
    if (i == 0 && args.immediate[0] != 1) mdl_barrier_init(b, 2);
    mdl_sync();
    switch (args.immediate[0]) {
        case 0: /* one of two arrivals */
            if (i == 0) mdl_barrier_arrive(b);
            mdl_barrier_wait(b, 0);
            break;
        case 1: mdl_barrier_wait(b, 0); break; /* that nobody made */
        case 2: /* three, of two, while bytes are missing */
            if (i < 3) mdl_barrier_expect(b, 64);
            break;
        case 3:                                /* bytes that do not come */
            if (i == 0) mdl_barrier_expect(b, MDL_TILE_BYTES), mdl_barrier_arrive(b);
            mdl_barrier_wait(b, 0);
            break;
        case 4: mdl_map_load(tile + 16, &args.map[0], 0, 0, 0, b); break;
        case 5: /* lane 3 has no product */
            if (i % 32 != 3) mdl_wgmma_rows(d, row, mdl_operand_of(tile), 0);
            mdl_wgmma_commit();
            mdl_wgmma_wait(0);
            break;
        case 6: /* lane 3 has another one */
            mdl_wgmma_rows(d, row, mdl_operand_at(mdl_operand_of(tile), i % 32 == 3 ? 32 : 0), 0);
            mdl_wgmma_commit();
            mdl_wgmma_wait(0);
            break;
        case 7: /* reads a tile that nobody has waited for */
            if (i == 0) mdl_map_load(tile, &args.map[0], 0, 0, 0, b);
            mdl_sync();
            d[0][0] = ((float *)(void *)tile)[i];
            break;
        default: break;
    }
    out[i] = d[0][0];
}
