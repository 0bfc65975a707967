/* A target for libFuzzer, chosen by $MDL_FUZZ_TARGET; scripts/fuzz builds and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/targets.h"

static fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const char *name = getenv("MDL_FUZZ_TARGET");
    (void)argc, (void)argv;
    for (const fuzz_row *row = fuzz_rows; row->name; row++)
        if (name && !strcmp(row->name, name)) target = row->run;
    if (!target) fprintf(stderr, "MDL_FUZZ_TARGET: no such target\n"), exit(2);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    target(bytes, n);
    return 0;
}
