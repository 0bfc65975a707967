/* Any bytes as a sequence a line: refused, or a corpus that holds together. */
#include "tests/fuzz/read_as.h"

int mdl_fuzz_lines(const uint8_t *bytes, size_t size) {
    mdl_fuzz_read_as("lines", bytes, size);
    return 0;
}
