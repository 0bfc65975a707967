/* What kernels use of CUDA beyond C, under names of our own, so that the same text compiles for a GPU and for the emulator
 * (MDL_EMULATED: C for the host, one fiber a thread).
 *
 *     MDL_KERNEL(NAME, BUFFERS, INTEGERS, THREADS, RESIDENT) { ... args.buffer[i] ... args.immediate[i] ... }
 *
 * is a kernel of one argument: addresses of the launch's buffers, then its integers. A block has THREADS threads, the compiler
 * makes room for RESIDENT blocks on a processor, and mdl_block() is its number. Collectives (shuffle, ldmatrix, mma) are called by
 * all 32 lanes of a warp, mdl_sync() by all threads of a block. */
#ifndef MDL_SIMT_H
#define MDL_SIMT_H

#define MDL_ALIGN8 __attribute__((aligned(8)))
#define MDL_ALIGN16 __attribute__((aligned(16)))

#define MDL_ARGS(NAME, BUFFERS, INTEGERS) \
    typedef struct {                      \
        void *buffer[BUFFERS];            \
        int64_t immediate[INTEGERS];      \
    } NAME##_args

/* 16 bytes, as one access moves them. */
typedef struct {
    uint32_t w[4];
} mdl_16 MDL_ALIGN16;
typedef struct {
    uint32_t w[2];
} mdl_8 MDL_ALIGN8;

#ifndef MDL_EMULATED

/* Defined by mdlc where room for RESIDENT blocks would leave a thread too few registers: how many it has room for instead. */
#ifdef MDL_FEWER_RESIDENT
#define MDL_BOUNDS(THREADS, RESIDENT) __launch_bounds__(THREADS, MDL_FEWER_RESIDENT)
#else
#define MDL_BOUNDS(THREADS, RESIDENT) __launch_bounds__(THREADS, RESIDENT)
#endif

#define MDL_KERNEL(NAME, BUFFERS, INTEGERS, THREADS, RESIDENT) \
    MDL_ARGS(NAME, BUFFERS, INTEGERS);                         \
    MDL_ENTRY(NAME, THREADS, RESIDENT)
/* The same over a NAME_args that is there already. */
#define MDL_ENTRY(NAME, THREADS, RESIDENT) \
    extern "C" __global__ void MDL_BOUNDS(THREADS, RESIDENT) NAME(const __grid_constant__ NAME##_args args)
#define MDL_SHARED __shared__

MDL_FN int mdl_thread(void) { return (int)threadIdx.x; }
MDL_FN int64_t mdl_block(void) { return (int64_t)blockIdx.x; }
/* The launch's shared bytes, aligned to 128. */
MDL_FN char *mdl_dynamic_shared(void) {
    extern __shared__ __align__(128) char mdl_dynamic[];
    return mdl_dynamic;
}
MDL_FN void mdl_sync(void) { __syncthreads(); }
MDL_FN void mdl_sync_warp(void) { __syncwarp(); }
/* x of the lane whose number differs by the bits of mask; of lane `lane`. */
MDL_FN float mdl_shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
MDL_FN float mdl_shuffle(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
MDL_FN int32_t mdl_shuffle_xor_i32(int32_t x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
MDL_FN int32_t mdl_shuffle_i32(int32_t x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
/* Is x true in a lane of the warp? */
MDL_FN bool mdl_any(bool x) { return __any_sync(0xffffffffu, x); }

/* 2^x, to 2 ulp; results below 2^-126 are 0. */
MDL_FN float mdl_exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* The two bf16 of a word, the first in its lower half. */
MDL_FN uint32_t mdl_pack_bf16(float low, float high) {
    uint32_t w;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
    return w;
}

MDL_FN uint32_t mdl_shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

/* Matrices of 8 x 8 bf16 from shared memory: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned). Lane i gets
 * elements (i / 4, 2 (i % 4)) and the next one of each matrix, or of its transposed. */
MDL_FN void mdl_ldmatrix4(uint32_t r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}
MDL_FN void mdl_ldmatrix4_transposed(uint32_t r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}
MDL_FN void mdl_ldmatrix2(uint32_t r[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}
MDL_FN void mdl_ldmatrix2_transposed(uint32_t r[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(mdl_shared_address(row))
                 : "memory");
}

/* d[16,8] += a[16,16] b[16,8] and d[16,8] += a[16,8] b[8,8], bf16 with f32 sums, in the fragments of PTX's mma.m16n8k16, m16n8k8.
 */
MDL_FN void mdl_mma_k16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MDL_FN void mdl_mma_k8(float d[4], const uint32_t a[2], const uint32_t b[1]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}

/* Starts a copy of 16 bytes to shared memory (aligned on both sides); zeros where `there` is false, and nothing is read. commit
 * closes a group of copies, wait returns when at most `n` of the thread's groups are still under way. */
MDL_FN void mdl_copy_async(void *shared, const void *global, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(mdl_shared_address(shared)), "l"(global), "r"(there ? 16 : 0)
                 : "memory");
}
MDL_FN void mdl_copy_commit(void) { asm volatile("cp.async.commit_group;" : : : "memory"); }
#define mdl_copy_wait(n) asm volatile("cp.async.wait_group %0;" : : "n"(n) : "memory")

#else /* ---- the host: what the emulator gives ---- */
#include <stdbool.h>

/* The emulator's side is runtime/device/cuda/emulator.h, which says what each does; the two are one, member for member. */
struct mdl_emulator {
    int thread; /* that runs now */
    int64_t block;
    char *shared, *static_shared, *static_end;
    void (*sync)(struct mdl_emulator *);
    void (*sync_warp)(struct mdl_emulator *);
    uint32_t (*shuffle_xor)(struct mdl_emulator *, uint32_t word, int mask);
    uint32_t (*shuffle)(struct mdl_emulator *, uint32_t word, int lane);
    void (*ldmatrix)(struct mdl_emulator *, uint32_t *r, const void *row, int matrices, bool transposed);
    void (*mma)(struct mdl_emulator *, float *d, const uint32_t *a, const uint32_t *b, int k);
    void (*copy_async)(struct mdl_emulator *, void *shared, const void *global, bool there);
    void (*copy_commit)(struct mdl_emulator *);
    void (*copy_wait)(struct mdl_emulator *, int n);
    void (*barrier_init)(struct mdl_emulator *, void *barrier, int arrivals);
    void (*barrier_arrive)(struct mdl_emulator *, void *barrier, int bytes);
    void (*barrier_wait)(struct mdl_emulator *, void *barrier, int parity);
    void (*map_load)(struct mdl_emulator *, void *tile, const void *map, int column, int head, int64_t row, void *barrier);
    void (*wgmma)(struct mdl_emulator *, float *d, const uint32_t *a, const void *a_tile, const void *b, bool columns, bool keep);
    void (*wgmma_commit)(struct mdl_emulator *);
    void (*wgmma_wait)(struct mdl_emulator *, int n);
    float (*exp2_fast)(float x);
};
/* Weak: texts that are compiled apart share one. */
__attribute__((weak)) struct mdl_emulator *mdl_emulator;

/* All MDL_SHARED of the object: the linker knows where the section begins and ends, 0 where there is none. */
extern char __start_mdl_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_mdl_shared[] __attribute__((weak, visibility("hidden")));

/* Called by who loads the object, before any kernel. */
extern void mdl_emulator_attach(struct mdl_emulator *emulator);
__attribute__((weak)) void mdl_emulator_attach(struct mdl_emulator *emulator) {
    mdl_emulator = emulator;
    emulator->static_shared = __start_mdl_shared;
    emulator->static_end = __stop_mdl_shared;
}

/* One thread of a block. The blocks run one after the other, so that a block's shared memory can be the object's. */
#define MDL_KERNEL(NAME, BUFFERS, INTEGERS, THREADS, RESIDENT) \
    MDL_ARGS(NAME, BUFFERS, INTEGERS);                         \
    MDL_ENTRY(NAME, THREADS, RESIDENT)
#define MDL_ENTRY(NAME, THREADS, RESIDENT)                                     \
    static void NAME##_thread(const NAME##_args args);                         \
    extern void NAME(const void *args);                                        \
    void NAME(const void *args) { NAME##_thread(*(const NAME##_args *)args); } \
    static void NAME##_thread(const NAME##_args args)
#define MDL_SHARED static __attribute__((section("mdl_shared")))

MDL_FN int mdl_thread(void) { return mdl_emulator->thread; }
MDL_FN int64_t mdl_block(void) { return mdl_emulator->block; }
MDL_FN char *mdl_dynamic_shared(void) { return mdl_emulator->shared; }
MDL_FN void mdl_sync(void) { mdl_emulator->sync(mdl_emulator); }
MDL_FN void mdl_sync_warp(void) { mdl_emulator->sync_warp(mdl_emulator); }
MDL_FN int32_t mdl_shuffle_xor_i32(int32_t x, int mask) {
    return (int32_t)mdl_emulator->shuffle_xor(mdl_emulator, (uint32_t)x, mask);
}
MDL_FN int32_t mdl_shuffle_i32(int32_t x, int lane) { return (int32_t)mdl_emulator->shuffle(mdl_emulator, (uint32_t)x, lane); }
MDL_FN float mdl_shuffle_xor(float x, int mask) { return mdl_from_bits(mdl_shuffle_xor_i32(mdl_bits(x), mask)); }
MDL_FN float mdl_shuffle(float x, int lane) { return mdl_from_bits(mdl_shuffle_i32(mdl_bits(x), lane)); }

MDL_FN bool mdl_any(bool x) {
    int32_t any = x;
    for (int mask = 1; mask < 32; mask *= 2) any |= mdl_shuffle_xor_i32(any, mask);
    return any;
}

MDL_FN float mdl_exp2_fast(float x) { return mdl_emulator->exp2_fast(x); }
MDL_FN uint32_t mdl_pack_bf16(float low, float high) { return (uint32_t)mdl_to_bf16(high) << 16 | mdl_to_bf16(low); }

MDL_FN void mdl_ldmatrix4(uint32_t r[4], const void *row) { mdl_emulator->ldmatrix(mdl_emulator, r, row, 4, false); }
MDL_FN void mdl_ldmatrix4_transposed(uint32_t r[4], const void *row) { mdl_emulator->ldmatrix(mdl_emulator, r, row, 4, true); }
MDL_FN void mdl_ldmatrix2(uint32_t r[2], const void *row) { mdl_emulator->ldmatrix(mdl_emulator, r, row, 2, false); }
MDL_FN void mdl_ldmatrix2_transposed(uint32_t r[2], const void *row) { mdl_emulator->ldmatrix(mdl_emulator, r, row, 2, true); }
MDL_FN void mdl_mma_k16(float d[4], const uint32_t a[4], const uint32_t b[2]) { mdl_emulator->mma(mdl_emulator, d, a, b, 16); }
MDL_FN void mdl_mma_k8(float d[4], const uint32_t a[2], const uint32_t b[1]) { mdl_emulator->mma(mdl_emulator, d, a, b, 8); }

MDL_FN void mdl_copy_async(void *shared, const void *global, bool there) {
    mdl_emulator->copy_async(mdl_emulator, shared, global, there);
}
MDL_FN void mdl_copy_commit(void) { mdl_emulator->copy_commit(mdl_emulator); }
#define mdl_copy_wait(n) mdl_emulator->copy_wait(mdl_emulator, (n))

#endif
#endif
