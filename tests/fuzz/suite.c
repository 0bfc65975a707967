/* Suite `fuzz`: every target on its seeds, and on seeds that are changed at random, always the same way. scripts/fuzz searches for
 * longer, led by coverage; what it finds becomes a seed. MDL_FUZZ_RUNS=N makes N runs of each. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/philox.h"
#include "tests/check.h"
#include "tests/fuzz/targets.h"

enum { ROOM = 1 << 18, MOST_SEEDS = 512 };

typedef struct {
    const uint8_t *bytes;
    size_t n;
} seed;

static uint32_t draw(uint32_t run, uint32_t *count) {
    uint32_t counter[4] = {run, (*count)++, 0, 0}, key[2] = {1, 2};
    return mdl_philox_words(counter, key).word[0];
}

static seed read_seed(mdl_arena *arena, const char *path) {
    uint8_t *bytes = mdl_alloc(arena, ROOM);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, ROOM, f) : 0;
    if (f) fclose(f);
    return (seed){bytes, n};
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int read_seeds(mdl_arena *arena, const char *folder, seed *seeds) {
    struct dirent **names;
    int found = scandir(folder, &names, NULL, by_name), n = 0;
    for (int i = 0; i < found; i++) {
        if (names[i]->d_name[0] != '.' && n < MOST_SEEDS)
            seeds[n++] = read_seed(arena, mdl_printf(arena, "%s/%s", folder, names[i]->d_name));
        free(names[i]);
    }
    if (found >= 0) free(names);
    return n;
}

/* One change: returns the new length. */
static size_t mutate(uint8_t *bytes, size_t n, uint32_t run, uint32_t *count, const seed *other) {
    static const char words[] = "\0\xff\x7f\x80\n\r\t,\"> ;*#-1e9\xc3\x1f\x8b";
    size_t at = n ? draw(run, count) % n : 0, length = 1 + draw(run, count) % 16;
    if (at + length > n) length = n - at;
    switch (draw(run, count) % 7) {
        case 0: bytes[at] ^= (uint8_t)(1u << draw(run, count) % 8); return n ? n : 1;
        case 1: bytes[at] = (uint8_t)words[draw(run, count) % (sizeof words - 1)]; return n ? n : 1;
        case 2: memmove(bytes + at, bytes + at + length, n - at - length); return n - length;
        case 3: return at;
        case 4:
            if (n + length > ROOM) return n;
            memmove(bytes + at + length, bytes + at, n - at);
            return n + length;
        case 5: memset(bytes + at, (int)draw(run, count), length); return n;
        default: break;
    }
    size_t from = other->n ? draw(run, count) % other->n : 0, taken = other->n - from; /* the end of another */
    if (at + taken > ROOM) taken = ROOM - at;
    memcpy(bytes + at, other->bytes + from, taken);
    return at + taken;
}

static void run_all(const fuzz_row *row, const seed *seeds, int n_seeds, int runs, uint8_t *bytes) {
    for (int i = 0; i < n_seeds; i++) row->run(seeds[i].bytes, seeds[i].n);
    for (uint32_t r = 0; r < (uint32_t)runs; r++) {
        uint32_t count = 0;
        const seed *from = &seeds[draw(r, &count) % (uint32_t)n_seeds], *other = &seeds[draw(r, &count) % (uint32_t)n_seeds];
        size_t n = from->n;
        memcpy(bytes, from->bytes, n);
        for (uint32_t changes = 1 + draw(r, &count) % 6; changes; changes--) n = mutate(bytes, n, r, &count, other);
        row->run(bytes, n);
    }
}

/* In a process of its own, so that a crash is a failed test. */
static void fuzz(mdl_test *t, mdl_arena *arena, const fuzz_row *row) {
    static seed seeds[MOST_SEEDS];
    const char *asked = getenv("MDL_FUZZ_RUNS");
    int n = read_seeds(arena, mdl_printf(arena, "%s/tests/fuzz/corpus/%s", mdl_test_source(t), row->name), seeds), status = -1;
    CHECK(t, n > 0, "no seeds");
    if (!n) return;
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        run_all(row, seeds, n, asked ? atoi(asked) : row->runs, mdl_alloc(arena, 2 * ROOM));
        _exit(0);
    }
    CHECK(t, child > 0 && waitpid(child, &status, 0) == child && !status, "it ended with status %d", status);
}

void suite_fuzz(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    for (const fuzz_row *row = fuzz_rows; row->name; row++)
        if (mdl_case(t, "fuzz: %s", row->name)) fuzz(t, arena, row);
    mdl_arena_free(arena);
}
