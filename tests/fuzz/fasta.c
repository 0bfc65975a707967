/* Any bytes as FASTA, plain or compressed: refused, or a corpus that holds together. */
#include "tests/fuzz/read_as.h"

int mdl_fuzz_fasta(const uint8_t *bytes, size_t size) {
    mdl_fuzz_read_as("fasta", bytes, size);
    return 0;
}
