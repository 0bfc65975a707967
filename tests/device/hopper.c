/* The emulator's part of Hopper: each function of hopper.h against a scalar calculation, and an error for what would hang a GPU. */
#include "runtime/device/cuda/hopper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/device/emulated.h"

enum { ROWS = 80, HEADS = 3, COLS = 100, SIDE = 64, SHARED = 2 * MDL_TILE_SIZE + 64 };

typedef struct {
    mdl_test *t;
    mdl_emulator_abi *emulator;
    void *library;
    uint16_t x[ROWS][HEADS][COLS + 4]; /* 4 that no map may reach */
} fixture;

/* A kernel's argument as hopper.h has it, for `integers` numbers. */
typedef struct {
    _Alignas(MDL_MAP_ALIGN) int64_t word[64];
} argument;

static mdl_status launch(fixture *f, const char *name, int integers, const int64_t *number, void *out) {
    argument args = {.word = {(int64_t)(uintptr_t)f->x, (int64_t)(uintptr_t)out}};
    mdl_emulated_map map = {(const char *)f->x, ROWS, HEADS, COLS, sizeof f->x[0], sizeof f->x[0][0]};
    memcpy(args.word + 2, number, (size_t)integers * sizeof *number);
    memcpy(args.word + (2 + integers + 7) / 8 * 8, &map, sizeof map);
    mdl_emulated_launch l = {.name = name, .args = &args, .blocks = 1, .threads = 128, .shared_bytes = SHARED};
    native_symbol(f->library, name, &l.kernel);
    CHECK(f->t, l.kernel, "no kernel %s", name);
    return l.kernel ? mdl_emulator_run(f->emulator, &l) : MDL_OK;
}

static void run(fixture *f, const char *name, int integers, const int64_t *number, void *out) {
    mdl_status status = launch(f, name, integers, number, out);
    CHECK(f->t, !status, "%s: %s", name, mdl_message(status));
    mdl_status_free(status);
}

static uint16_t *at(fixture *f, int64_t row, int64_t head, int64_t column) {
    static uint16_t zero;
    bool there = row < ROWS && head < HEADS && column < COLS;
    return there ? &f->x[row][head][column] : &zero;
}

static void test_tile(fixture *f) {
    static const int64_t corners[][3] = {{0, 0, 0}, {0, 2, 10}, {64, 1, 50}}; /* column, head, row; the last leaves the tensor */
    uint16_t tile[SIDE][SIDE];
    for (int c = 0; c < 3 && mdl_case(f->t, "hopper: a tile by a map, corner %d", c); c++) {
        run(f, "k_tile", 3, corners[c], tile);
        for (int i = 0; i < SIDE * SIDE; i++) {
            int row = i / SIDE, piece = i % SIDE / 8 ^ row % 8, column = i % SIDE % 8 + 8 * (i % SIDE / 8);
            uint16_t want = *at(f, corners[c][2] + row, corners[c][1], corners[c][0] + column);
            CHECK(f->t, tile[row][8 * piece + i % 8] == want, "row %d, column %d: %x, not %x", row, column,
                  tile[row][8 * piece + i % 8], want);
        }
    }
}

static double number(fixture *f, int64_t row, int64_t head, int64_t column) {
    uint32_t bits = (uint32_t)*at(f, row, head, column) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

static void test_products(fixture *f) {
    static float out[3][SIDE][SIDE];
    const int64_t waits = 0, early = 1;
    if (!mdl_case(f->t, "hopper: products of a warpgroup")) return;
    run(f, "k_wgmma", 1, &waits, out);
    for (int i = 0; i < SIDE * SIDE; i++) { /* small integers: exact */
        double by_rows = 0, by_columns = 0;
        for (int k = 0; k < SIDE; k++) {
            by_rows += number(f, i / SIDE, 0, k) * number(f, i % SIDE, 1, k);
            by_columns += number(f, i / SIDE, 0, k) * number(f, k, 1, i % SIDE);
        }
        double got[] = {(double)out[0][i / SIDE][i % SIDE], (double)out[1][i / SIDE][i % SIDE], (double)out[2][i / SIDE][i % SIDE]};
        CHECK(f->t, got[0] == by_rows + 1 && got[1] == by_rows && got[2] == by_columns + 1, "[%d,%d]: %g, %g and %g; %g and %g",
              i / SIDE, i % SIDE, got[0], got[1], got[2], by_rows, by_columns);
    }
    mdl_case(f->t, "hopper: products are not there before they are waited for");
    run(f, "k_wgmma", 1, &early, out);
    for (int i = 0; i < 3 * SIDE * SIDE; i++)
        CHECK(f->t, out[i / (SIDE * SIDE)][i / SIDE % SIDE][i % SIDE] == 1.0f, "sum %d is there already", i);
}

static void test_phases(fixture *f) {
    float out[12];
    struct {
        void *buffer[1];
        int64_t immediate[1];
    } args = {{out}, {0}};
    mdl_emulated_launch l = {.name = "k_phases", .args = &args, .blocks = 1, .threads = 128, .shared_bytes = 64};
    if (!mdl_case(f->t, "hopper: phases of a barrier")) return;
    native_symbol(f->library, l.name, &l.kernel);
    mdl_status status = mdl_emulator_run(f->emulator, &l);
    CHECK(f->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    for (int i = 0; i < 12; i++)
        CHECK(f->t, out[i] == (float)(40 * (i / 4) + 6), "phase %d, warp %d: %g", i / 4, i % 4, (double)out[i]);
}

static void test_errors(fixture *f) {
    static const struct {
        const char *what, *says;
    } wrong[] = {{"an arrival that is missing", "128 of 128 threads wait at barriers that nobody completes"},
                 {"a barrier that nobody made", "waits at a barrier that was not made"},
                 {"arrivals too many", "more than 2 arrivals in a phase of a barrier"},
                 {"bytes that do not come", "wait at barriers that nobody completes"},
                 {"a tile at an odd place", "a tile that is not aligned to 1024 bytes"},
                 {"a lane without a product", "lane 3 waits for 0 products, lane 0 for 1"},
                 {"a lane with another product", "lane 3 has another product than lane 0"}};
    float out[128];
    for (int64_t way = 0; way < 7; way++) {
        mdl_case(f->t, "hopper: %s is an error", wrong[way].what);
        mdl_status status = launch(f, "k_astray", 1, &way, out);
        CHECK(f->t, strstr(mdl_message(status), wrong[way].says), "\"%s\"", mdl_message(status));
        mdl_status_free(status);
    }
    int64_t way = 7;
    mdl_case(f->t, "hopper: a tile that nobody has waited for is NaN");
    run(f, "k_astray", 1, &way, out);
    for (int i = 0; i < 128; i++) CHECK(f->t, isnan(out[i]), "thread %d sees %g", i, (double)out[i]);
}

static char *read_kernels(mdl_test *t) {
    FILE *in = fopen(MDL_SOURCE_DIR "/tests/device/hopper.cu", "r");
    size_t room = 1 << 16, n = 0;
    char *text = calloc(1, room);
    static const char header[] = "#include \"" MDL_SOURCE_DIR "/compiler/kernel/cuda/hopper.h\"\n";
    CHECK(t, in && text && (n = fread(strcpy(text, header) + strlen(header), 1, room - sizeof header, in)) > 0, "no kernels");
    if (in) fclose(in);
    return text;
}

void suite_hopper(mdl_test *t) {
    static fixture f;
    char *source = read_kernels(t);
    f = (fixture){.t = t};
    for (int i = 0; i < ROWS * HEADS * (COLS + 4); i++) /* -4 .. 4 in bf16 */
        f.x[i / (HEADS * (COLS + 4))][i / (COLS + 4) % HEADS][i % (COLS + 4)] =
            (uint16_t[]){0, 0x3f80, 0xbf80, 0x4000, 0xc000, 0x4040, 0xc040, 0x4080, 0xc080}[i * 29 % 97 % 9];
    mdl_case(t, "hopper: kernels compile");
    mdl_status status = mdl_emulator_new(&f.emulator);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    f.library = f.emulator ? emulated_compile(t, "hopper", source, f.emulator) : NULL;
    if (f.library) {
        test_tile(&f);
        test_products(&f);
        test_phases(&f);
        test_errors(&f);
        test_phases(&f); /* after all those errors */
    }
    mdl_emulator_free(f.emulator);
    free(source);
}
