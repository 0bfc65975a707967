/* Any bytes as Parquet, where its module is built: refused, or a corpus that holds together. */
#include "tests/fuzz/read_as.h"

int mdl_fuzz_parquet(const uint8_t *bytes, size_t size) {
    mdl_fuzz_read_as("parquet", bytes, size);
    return 0;
}
