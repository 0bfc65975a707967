/* What kernels use of Hopper (sm_90a) alone: tiles that are copied as a whole by a tensor map, barriers that count arrivals and
 * bytes, and products of a warpgroup (wgmma).
 *
 *     MDL_ARGS_MAPS(NAME, BUFFERS, INTEGERS, MAPS);
 *     MDL_ENTRY(NAME, THREADS, RESIDENT) { ... &args.map[i] ... }
 *
 * is a kernel whose argument ends in tensor maps. A tile is 64 rows of 64 bf16 in shared memory, a row 128 bytes, the tile at a
 * multiple of 1024: piece c of row r, 16 bytes, is where piece c ^ r % 8 would be. A warpgroup is 4 warps, from a multiple of 4 on;
 * of a product its warp w has rows 16 w .. 16 w + 15, in the lanes as attention_tiles.h says. */
#ifndef MDL_HOPPER_H
#define MDL_HOPPER_H

enum { MDL_TILE_BYTES = 64 * 128 };

/* Of a tensor [rows, heads, cols] of bf16; the host makes it (runtime/device/cuda/map.h). */
typedef struct {
    uint64_t w[16];
} mdl_map __attribute__((aligned(64)));

#define MDL_ARGS_MAPS(NAME, BUFFERS, INTEGERS, MAPS) \
    typedef struct {                                 \
        void *buffer[BUFFERS];                       \
        int64_t immediate[INTEGERS];                 \
        mdl_map map[MAPS];                           \
    } NAME##_args

/* In shared memory. Its phases follow one another: one ends when all arrivals came, and all bytes that they announced. */
typedef uint64_t mdl_barrier;

#ifndef MDL_EMULATED

/* The launch's shared bytes, aligned to 1024. */
MDL_FN char *mdl_shared_tiles(void) {
    extern __shared__ __align__(1024) char mdl_aligned[];
    return mdl_aligned;
}

/* ---- barriers ---- */

/* By one thread; mdl_barriers_made behind the last, then mdl_sync. */
MDL_FN void mdl_barrier_init(mdl_barrier *b, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(mdl_shared_address(b)), "r"(arrivals) : "memory");
}
MDL_FN void mdl_barriers_made(void) {
    asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" : : : "memory");
}
MDL_FN void mdl_barrier_arrive(mdl_barrier *b) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(mdl_shared_address(b)) : "memory");
}
/* Arrives, and announces bytes that mdl_map_load brings. */
MDL_FN void mdl_barrier_expect(mdl_barrier *b, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :
                 : "r"(mdl_shared_address(b)), "r"(bytes)
                 : "memory");
}
/* Until the phase of this parity, 0 for the first, has ended. */
MDL_FN void mdl_barrier_wait(mdl_barrier *b, int parity) {
    asm volatile(
        "{\n\t.reg .pred ended;\n"
        "again:\n\tmbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n\t"
        "@ended bra behind;\n\tbra again;\n"
        "behind:\n\t}"
        :
        : "r"(mdl_shared_address(b)), "r"(parity)
        : "memory");
}

/* ---- tiles ---- */

/* The map will be needed soon. */
MDL_FN void mdl_map_prefetch(const mdl_map *map) { asm volatile("prefetch.tensormap [%0];" : : "l"(map) : "memory"); }
/* Rows `row` .. row + 63 and columns `column` .. column + 63 of a head into a tile; beyond the tensor, zeros. By one thread; the
 * bytes of a tile arrive at the barrier. */
MDL_FN void mdl_map_load(void *tile, const mdl_map *map, int column, int head, int64_t row, mdl_barrier *b) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
        :
        : "r"(mdl_shared_address(tile)), "l"(map), "r"(column), "r"(head), "r"((int)row), "r"(mdl_shared_address(b))
        : "memory");
}
/* Between a warp's own reads of a tile and the arrival that lets it be overwritten by a map's copy. */
MDL_FN void mdl_tile_was_read(void) { asm volatile("fence.proxy.async.shared::cta;" : : : "memory"); }

/* ---- products ---- */

/* A tile as an operand; `bytes` further: rows in steps of 1024 (8 rows), columns in steps of 32 (16 columns). */
typedef uint32_t mdl_operand; /* the lower half of wgmma's descriptor */
MDL_FN mdl_operand mdl_operand_of(const void *tile) { return (mdl_shared_address(tile) & 0x3ffff) >> 4 | 1u << 16; }
MDL_FN mdl_operand mdl_operand_at(mdl_operand x, int bytes) { return x + (mdl_operand)(bytes / 16); }
/* Its upper half: 1024 bytes from 8 rows to the next 8, swizzled by 128 bytes. */
MDL_FN uint64_t mdl_descriptor(mdl_operand x) { return (uint64_t)0x40000040u << 32 | x; }

#define MDL_SUMS(d)                                                                                                            \
    "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]),    \
        "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]),               \
        "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]), "+f"(d[5][1]),               \
        "+f"(d[5][2]), "+f"(d[5][3]), "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]),               \
        "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3])
#define MDL_SUMS_TEXT                                                                                                          \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"
#define MDL_WGMMA "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " MDL_SUMS_TEXT

/* d[64,64] (+)= a[64,16] b, where `keep` says whether to add; under way until mdl_wgmma_wait. a: a lane's words of the left
 * operand, as mma.m16n8k16 takes them, or a tile's columns. b: 16 columns of a tile's rows (b[n,k]), or 16 rows (b[k,n]). */
MDL_FN void mdl_wgmma_rows(float (*d)[4], const uint32_t a[4], mdl_operand b, int keep) {
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t" MDL_WGMMA ", {%32,%33,%34,%35}, %36, p, 1, 1, 0;\n\t}"
                 : MDL_SUMS(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(mdl_descriptor(b)), "r"(keep));
}
MDL_FN void mdl_wgmma_columns(float (*d)[4], const uint32_t a[4], mdl_operand b, int keep) {
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t" MDL_WGMMA ", {%32,%33,%34,%35}, %36, p, 1, 1, 1;\n\t}"
                 : MDL_SUMS(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(mdl_descriptor(b)), "r"(keep));
}
MDL_FN void mdl_wgmma_tiles(float (*d)[4], mdl_operand a, mdl_operand b, int keep) {
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %34, 0;\n\t" MDL_WGMMA ", %32, %33, p, 1, 1, 0, 0;\n\t}"
                 : MDL_SUMS(d)
                 : "l"(mdl_descriptor(a)), "l"(mdl_descriptor(b)), "r"(keep));
}
/* Before products of registers that others wrote; behind a group of products; until at most n groups are under way. What was
 * waited for may be read behind mdl_wgmma_done. */
MDL_FN void mdl_wgmma_begin(void) { asm volatile("wgmma.fence.sync.aligned;" : : : "memory"); }
MDL_FN void mdl_wgmma_commit(void) { asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory"); }
#define mdl_wgmma_wait(n) asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(n) : "memory")
MDL_FN void mdl_wgmma_done(float (*d)[4]) { asm volatile("" : MDL_SUMS(d) : : "memory"); }

#else /* ---- the host ---- */

MDL_FN char *mdl_shared_tiles(void) { return mdl_emulator->shared; }
MDL_FN void mdl_barrier_init(mdl_barrier *b, int arrivals) { mdl_emulator->barrier_init(mdl_emulator, b, arrivals); }
MDL_FN void mdl_barriers_made(void) {}
MDL_FN void mdl_barrier_arrive(mdl_barrier *b) { mdl_emulator->barrier_arrive(mdl_emulator, b, 0); }
MDL_FN void mdl_barrier_expect(mdl_barrier *b, int bytes) { mdl_emulator->barrier_arrive(mdl_emulator, b, bytes); }
MDL_FN void mdl_barrier_wait(mdl_barrier *b, int parity) { mdl_emulator->barrier_wait(mdl_emulator, b, parity); }

MDL_FN void mdl_map_prefetch(const mdl_map *map) { (void)map; }
MDL_FN void mdl_map_load(void *tile, const mdl_map *map, int column, int head, int64_t row, mdl_barrier *b) {
    mdl_emulator->map_load(mdl_emulator, tile, map, column, head, row, b);
}
MDL_FN void mdl_tile_was_read(void) {}

typedef const char *mdl_operand;
MDL_FN mdl_operand mdl_operand_of(const void *tile) { return (const char *)tile; }
MDL_FN mdl_operand mdl_operand_at(mdl_operand x, int bytes) { return x + bytes; }
MDL_FN void mdl_wgmma_rows(float (*d)[4], const uint32_t a[4], mdl_operand b, int keep) {
    mdl_emulator->wgmma(mdl_emulator, &d[0][0], a, 0, b, false, keep);
}
MDL_FN void mdl_wgmma_columns(float (*d)[4], const uint32_t a[4], mdl_operand b, int keep) {
    mdl_emulator->wgmma(mdl_emulator, &d[0][0], a, 0, b, true, keep);
}
MDL_FN void mdl_wgmma_tiles(float (*d)[4], mdl_operand a, mdl_operand b, int keep) {
    mdl_emulator->wgmma(mdl_emulator, &d[0][0], 0, a, b, false, keep);
}
MDL_FN void mdl_wgmma_begin(void) {}
MDL_FN void mdl_wgmma_commit(void) { mdl_emulator->wgmma_commit(mdl_emulator); }
MDL_FN void mdl_wgmma_wait(int n) { mdl_emulator->wgmma_wait(mdl_emulator, n); }
MDL_FN void mdl_wgmma_done(float (*d)[4]) { (void)d; }

#endif
#endif
