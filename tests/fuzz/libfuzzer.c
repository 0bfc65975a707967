/* A target for libFuzzer: MDL_FUZZ_TARGET is its function. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) { return MDL_FUZZ_TARGET(bytes, size); }
