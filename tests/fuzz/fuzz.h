/* Fuzzing. `mdltest fuzz` mutates each target's corpus by a generator of its own, the same way every time; scripts/soak/fuzz builds
 * the targets for libFuzzer, which follows coverage, and runs them for as long as one likes. */
#ifndef MDL_TESTS_FUZZ_H
#define MDL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ(name) int mdl_fuzz_##name(const uint8_t *bytes, size_t size);
#include "tests/fuzz/targets.def"
#undef FUZZ

/* A file in memory that holds the input, as a path that can be opened; valid until the call after the next. */
const char *mdl_fuzz_file(const uint8_t *bytes, size_t size);

#endif
