/* The emulator: each function of simt.h against a scalar calculation, and an error for what a GPU would leave undefined. */
#include "runtime/device/cuda/emulator.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/device/emulated.h"

/* The kernels' own view of the emulator, which must be the same struct. The order of the texts is the kernels'. */
#define MDL_EMULATED
#include "compiler/kernel/cpu/math.h"

#include "compiler/kernel/cpu/bf16.h"

#include "compiler/kernel/cuda/simt.h"

#define SAME(member)                                                                                          \
    _Static_assert(offsetof(struct mdl_emulator, member) == offsetof(mdl_emulator_abi, member) &&             \
                       sizeof(((struct mdl_emulator *)0)->member) == sizeof(((mdl_emulator_abi *)0)->member), \
                   "simt.h and emulator.h differ in " #member)
SAME(thread);
SAME(block);
SAME(shared);
SAME(static_shared);
SAME(static_end);
SAME(sync);
SAME(sync_warp);
SAME(shuffle_xor);
SAME(shuffle);
SAME(ldmatrix);
SAME(mma);
SAME(copy_async);
SAME(copy_commit);
SAME(copy_wait);
SAME(barrier_init);
SAME(barrier_arrive);
SAME(barrier_wait);
SAME(map_load);
SAME(wgmma);
SAME(wgmma_commit);
SAME(wgmma_wait);
SAME(exp2_fast);
_Static_assert(sizeof(struct mdl_emulator) == sizeof(mdl_emulator_abi), "simt.h and emulator.h differ");

typedef struct {
    void *buffer[4];
    int64_t immediate[1];
} arguments;

typedef struct {
    mdl_test *t;
    mdl_emulator_abi *emulator;
    void *library;
} fixture;

/* args: exactly what the kernel takes. */
static mdl_status launch(const fixture *f, const char *name, const void *args, int64_t blocks, int threads, int64_t shared) {
    mdl_emulated_launch l = {.name = name, .args = args, .blocks = blocks, .threads = threads, .shared_bytes = shared};
    native_symbol(f->library, name, &l.kernel);
    CHECK(f->t, l.kernel, "no kernel %s", name);
    return l.kernel ? mdl_emulator_run(f->emulator, &l) : MDL_OK;
}

static void run(const fixture *f, const char *name, const void *args, int64_t blocks, int threads, int64_t shared) {
    mdl_status status = launch(f, name, args, blocks, threads, shared);
    CHECK(f->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

static void test_sum(const fixture *f) {
    enum { BLOCKS = 5, N = 256 };
    float x[BLOCKS * N], out[BLOCKS];
    struct {
        void *buffer[2];
        int64_t immediate[1];
    } args = {{x, out}, {0}};
    if (!mdl_case(f->t, "emulator: sums of blocks, by shuffles and shared memory")) return;
    for (int i = 0; i < BLOCKS * N; i++) x[i] = (float)(i * 31 % 101);
    run(f, "k_sum", &args, BLOCKS, N, 0);
    for (int b = 0; b < BLOCKS; b++) {
        float sum = 0;
        for (int i = 0; i < N; i++) sum += x[b * N + i]; /* integers: exact in any order */
        CHECK(f->t, out[b] == sum, "block %d: %g instead of %g", b, out[b], sum);
    }
}

static void test_shuffles(const fixture *f) {
    int32_t out[128];
    struct {
        void *buffer[1];
        int64_t immediate[1];
    } args = {{out}, {0}};
    if (!mdl_case(f->t, "emulator: shuffles, packing")) return;
    run(f, "k_shuffle", &args, 1, 32, 0);
    for (int i = 0; i < 32; i++) {
        CHECK(f->t, out[i] == 100 + (7 * i + 3) % 32, "lane %d gets %d", i, out[i]);
        CHECK(f->t, out[32 + i] == 100 + (i ^ 5), "lane %d gets %d by xor", i, out[32 + i]);
        CHECK(f->t, out[64 + i] == 5, "lane %d gets %d of lane 37", i, out[64 + i]);
        CHECK(f->t, (uint32_t)out[96 + i] == ((uint32_t)mdl_bits((float)i) >> 16 | 0xc0000000u), "lane %d packs %x", i,
              out[96 + i]);
    }
}

static void test_ldmatrix(const fixture *f) {
    uint16_t x[4][8][8];
    uint32_t out[32][12];
    struct {
        void *buffer[2];
        int64_t immediate[1];
    } args = {{x, out}, {0}};
    if (!mdl_case(f->t, "emulator: ldmatrix, both ways")) return;
    for (int i = 0; i < 256; i++) x[i / 64][i / 8 % 8][i % 8] = (uint16_t)(1000 + i);
    run(f, "k_ldmatrix", &args, 1, 32, 512);
    for (int i = 0; i < 32; i++)
        for (int m = 0; m < 4; m++) {
            int row = i / 4, column = 2 * (i % 4);
            uint32_t straight = x[m][row][column] | (uint32_t)x[m][row][column + 1] << 16;
            uint32_t transposed = x[m][column][row] | (uint32_t)x[m][column + 1][row] << 16;
            CHECK(f->t, out[i][m] == straight, "lane %d, matrix %d: %x", i, m, out[i][m]);
            CHECK(f->t, out[i][4 + m] == transposed, "lane %d, matrix %d transposed: %x", i, m, out[i][4 + m]);
            if (m < 2) CHECK(f->t, out[i][8 + m] == straight && out[i][10 + m] == transposed, "lane %d, matrix %d of 2", i, m);
        }
}

static void test_mma(const fixture *f) {
    uint16_t a[16][16] MDL_ALIGN16, b[16][8] MDL_ALIGN16;
    float d[2][16][8], expected[2][16][8];
    struct {
        void *buffer[4];
        int64_t immediate[1];
    } args = {{a, b, d[0], d[1]}, {0}};
    if (!mdl_case(f->t, "emulator: mma of k = 16 and 8 against a scalar product")) return;
    for (int i = 0; i < 256; i++) a[i / 16][i % 16] = mdl_to_bf16((float)(i * 37 % 61) / 7.0f - 4.0f);
    for (int i = 0; i < 128; i++) b[i / 8][i % 8] = mdl_to_bf16((float)(i * 17 % 53) / 9.0f - 3.0f);
    for (int i = 0; i < 256; i++) d[i / 128][i / 8 % 16][i % 8] = expected[i / 128][i / 8 % 16][i % 8] = (float)(i % 11);
    for (int part = 0; part < 2; part++)
        for (int m = 0; m < 16; m++)
            for (int n = 0; n < 8; n++)
                for (int k = 8 * part; k < 16; k++) expected[part][m][n] += mdl_from_bf16(a[m][k]) * mdl_from_bf16(b[k][n]);
    run(f, "k_mma", &args, 1, 32, 768);
    CHECK(f->t, !memcmp(d[0], expected[0], sizeof d[0]), "k = 16: d[0][0] is %g instead of %g", d[0][0][0], expected[0][0][0]);
    CHECK(f->t, !memcmp(d[1], expected[1], sizeof d[1]), "k = 8: d[0][0] is %g instead of %g", d[1][0][0], expected[1][0][0]);
}

static void test_copies(const fixture *f) {
    uint32_t x[192][4] MDL_ALIGN16, out[192][4] MDL_ALIGN16, zeros[4] = {0};
    struct {
        void *buffer[2];
        int64_t immediate[1];
    } args = {{x, out}, {0}};
    if (!mdl_case(f->t, "emulator: asynchronous copies, zeros for what is not there")) return;
    for (int i = 0; i < 768; i++) x[i / 4][i % 4] = (uint32_t)(7 * i + 1);
    run(f, "k_copy", &args, 1, 64, sizeof x);
    for (int i = 0; i < 192; i++) {
        int from = (i + 1) % 64;
        const uint32_t *expected = from == 62 ? zeros : x[i / 64 * 64 + from];
        CHECK(f->t, !memcmp(out[i], expected, 16), "piece %d begins with %u instead of %u", i, out[i][0], expected[0]);
    }
}

static void test_exp2(const fixture *f) {
    float x[32] = {0, 1, -1, 0.5f, -126, -126.5f, -1000, 127, 128, 1e-40f, -INFINITY}, out[32];
    struct {
        void *buffer[2];
        int64_t immediate[1];
    } args = {{x, out}, {0}};
    if (!mdl_case(f->t, "emulator: powers of two, denormals flushed")) return;
    x[11] = NAN;
    run(f, "k_exp2", &args, 1, 32, 0);
    for (int i = 0; i < 11; i++) {
        float expected = exp2f(x[i]);
        if (expected < 0x1p-126f) expected = 0;
        CHECK(f->t, out[i] == expected, "2^%g is %g", x[i], out[i]);
    }
    CHECK(f->t, isnan(out[11]), "2^NaN is %g", out[11]);
}

static mdl_status launch_wrong(const fixture *f, int64_t way, float *out) {
    struct {
        void *buffer[1];
        int64_t immediate[1];
    } args = {{out}, {way}};
    return launch(f, "k_wrong", &args, 2, 128, 512);
}

static void test_errors(const fixture *f) {
    static const char *const expected[] = {
        "kernel k_wrong: block 0: lanes of warp 3 are at different collectives: lane 0 at mdl_shuffle_xor, lane 16 at the end",
        "lanes of warp 0 are at different collectives: lane 0 at mdl_shuffle_xor, lane 9 at mdl_sync_warp",
        "32 of 128 threads have ended, the others wait at mdl_sync",
        "lanes of warp 0 are at different collectives: lane 0 at mdl_sync_warp, lane 1 at mdl_sync",
        "thread 0 copies to an address that is not aligned to 16 bytes",
        "thread 0 copies from an address that is not aligned to 16 bytes",
        "warp 0: lane 4 gives mdl_ldmatrix2 a row that is not aligned to 16 bytes",
        "writes behind its 512 bytes of shared memory"};
    static float out[512] MDL_ALIGN16;
    for (int i = 0; i < (int)(sizeof expected / sizeof *expected); i++) {
        if (!mdl_case(f->t, "emulator: error %d, %s", i, expected[i])) continue;
        mdl_status status = launch_wrong(f, i, out);
        CHECK(f->t, status && strstr(mdl_message(status), expected[i]), "\"%s\"", mdl_message(status));
        mdl_status_free(status);
    }
}

/* Wrong, and no error: it must show in the result, not in one thread alone. */
static void test_races(const fixture *f) {
    static const char *const what[] = {"a copy without a wait", "shared memory that nobody wrote", "a missing mdl_sync",
                                       "static shared memory of the last block"};
    static float out[512] MDL_ALIGN16;
    for (int way = 8; way < 12; way++) {
        int nan = 0;
        if (!mdl_case(f->t, "emulator: %s gives NaN", what[way - 8])) continue;
        memset(out, 0, sizeof out);
        mdl_status status = launch_wrong(f, way, out);
        CHECK(f->t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
        for (int i = 0; i < 128; i++) nan += isnan(out[i]);
        CHECK(f->t, nan >= 127, "%d threads see NaN", nan);
    }
}

static void test_sizes(const fixture *f) {
    static const int bad[] = {0, 33, 1056, -32};
    float x[256] = {0}, out[1];
    struct {
        void *buffer[2];
        int64_t immediate[1];
    } args = {{x, out}, {0}};
    mdl_case(f->t, "emulator: blocks that are no warps");
    for (int i = 0; i < 4; i++) {
        mdl_status status = launch(f, "k_exp2", &args, 1, bad[i], 0);
        CHECK(f->t, strstr(mdl_message(status), "expected less than a warp, or whole warps up to 1024"), "%d threads: \"%s\"",
              bad[i], mdl_message(status));
        mdl_status_free(status);
    }
    run(f, "k_exp2", &args, 1, 1, 0);
    mdl_status status = launch(f, "k_sum", &args, 1, 16, 0);
    CHECK(f->t, strstr(mdl_message(status), "mdl_shuffle_xor in a block of less than a warp"), "\"%s\"", mdl_message(status));
    mdl_status_free(status);
}

static char *read_kernels(mdl_test *t) {
    FILE *in = fopen(MDL_SOURCE_DIR "/tests/device/emulator.cu", "r");
    size_t room = 1 << 16;
    char *text = calloc(1, room);
    CHECK(t, in && text && fread(text, 1, room - 1, in) > 0, "the kernels cannot be read");
    if (in) fclose(in);
    return text;
}

void suite_emulator(mdl_test *t) {
    fixture f = {.t = t};
    char *source = read_kernels(t);
    mdl_case(t, "emulator: kernels compile");
    mdl_status status = mdl_emulator_new(&f.emulator);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    f.library = f.emulator ? emulated_compile(t, "emulator", source, f.emulator) : NULL;
    if (f.library) {
        test_sum(&f);
        test_shuffles(&f);
        test_ldmatrix(&f);
        test_mma(&f);
        test_copies(&f);
        test_exp2(&f);
        test_errors(&f);
        test_races(&f);
        test_sizes(&f);
        test_sum(&f); /* after all those errors */
    }
    mdl_emulator_free(f.emulator);
    free(source);
}
