/* Any bytes as a table with commas: refused, or a corpus that holds together. */
#include "tests/fuzz/read_as.h"

int mdl_fuzz_csv(const uint8_t *bytes, size_t size) {
    mdl_fuzz_read_as("csv", bytes, size);
    return 0;
}
