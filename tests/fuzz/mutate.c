/* Suite `fuzz`: every target on its corpus, whole and mutated, the same way every time. A finding is an abort or a sanitizer's
 * report; MDL_FUZZ_KEEP=PATH writes each input there before it runs, so that the last is the one. MDL_FUZZ_RUNS: mutants of each
 * file. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "tests/check.h"
#include "tests/fuzz/fuzz.h"

enum { ROOM = 1 << 16, RUNS = 2000 };

static const struct {
    const char *name;
    int (*run)(const uint8_t *bytes, size_t size);
} targets[] = {
#define FUZZ(name) {#name, mdl_fuzz_##name},
#include "tests/fuzz/targets.def"
#undef FUZZ
};

/* What parsers trip over. */
static const char *const tokens[] = {"0",
                                     "-1",
                                     "1e999",
                                     "4294967296",
                                     "9223372036854775807",
                                     "18446744073709551616",
                                     "NaN",
                                     "null",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     "\"",
                                     ",",
                                     ":",
                                     "\\u0000",
                                     "\xff",
                                     "\n",
                                     "F16",
                                     "BF16",
                                     "F64",
                                     "I64"};
enum { TOKENS = sizeof tokens / sizeof *tokens };

static uint64_t state;
static size_t draw(size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return below ? (size_t)(state >> 33) % below : 0;
}

/* Replaces `gone` bytes at `at` by n others. */
static size_t splice(uint8_t *bytes, size_t size, size_t at, size_t gone, const void *with, size_t n) {
    if (gone > size - at) gone = size - at;
    if (size - gone + n > ROOM) return size;
    memmove(bytes + at + n, bytes + at + gone, size - at - gone);
    memcpy(bytes + at, with, n);
    return size - gone + n;
}

static size_t mutate(uint8_t *bytes, size_t size) {
    size_t at = draw(size + 1), n = draw(16);
    const char *token = tokens[draw(TOKENS)];
    uint8_t copy[64], byte = (uint8_t)draw(256);
    switch (draw(7)) {
        case 0: return size ? (bytes[draw(size)] ^= (uint8_t)(1 << draw(8)), size) : size;
        case 1: return splice(bytes, size, at, 1, &byte, 1);
        case 2: return splice(bytes, size, at, n, "", 0);
        case 3: return splice(bytes, size, at, draw(8), token, strlen(token));
        case 4: return draw(8) ? size : at; /* cut, now and then */
        case 5: return size ? (bytes[draw(size < 8 ? size : 8)] = byte, size) : size;
        default:
            if (n > size - at) n = size - at;
            memcpy(copy, bytes + at, n);
            return splice(bytes, size, draw(size + 1), 0, copy, n);
    }
}

static void run(int target, const uint8_t *bytes, size_t size) {
    const char *keep = getenv("MDL_FUZZ_KEEP");
    FILE *f = keep ? fopen(keep, "wb") : NULL;
    if (f) fwrite(bytes, 1, size, f), fclose(f);
    targets[target].run(bytes, size);
}

static void run_file(mdl_test *t, int target, const char *path, int runs) {
    static uint8_t file[ROOM], mutant[ROOM];
    FILE *f = fopen(path, "rb");
    CHECK(t, f, "cannot open %s", path);
    if (!f) return;
    size_t n = fread(file, 1, ROOM, f);
    fclose(f);
    run(target, file, n);
    state = n;
    for (int i = 0; i < runs; i++) {
        size_t size = n;
        memcpy(mutant, file, n);
        for (size_t k = 1 + draw(4); k; k--) size = mutate(mutant, size);
        run(target, mutant, size);
    }
}

void suite_fuzz(mdl_test *t) {
    mdl_arena *memory = mdl_arena_new();
    const char *wanted = getenv("MDL_FUZZ_RUNS");
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const char *folder = mdl_printf(memory, "%s/tests/fuzz/corpus/%s", mdl_test_source(t), targets[i].name);
        struct dirent **files = NULL;
        int n = scandir(folder, &files, NULL, alphasort), used = 0;
        bool open = mdl_case(t, "%s", targets[i].name);
        for (int k = 0; k < n; k++) {
            if (open && files[k]->d_name[0] != '.') {
                run_file(t, (int)i, mdl_printf(memory, "%s/%s", folder, files[k]->d_name), wanted ? atoi(wanted) : RUNS);
                used++;
            }
            free(files[k]);
        }
        free(files);
        CHECK(t, used, "%s is empty", folder);
    }
    mdl_arena_free(memory);
}
