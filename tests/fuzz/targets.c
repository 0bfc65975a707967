/* The table of what is fuzzed. */
#include "tests/fuzz/targets.h"

const fuzz_row fuzz_rows[] = {
    {"fasta", fuzz_fasta, 4000},    {"csv", fuzz_csv, 4000},   {"lines", fuzz_lines, 2000},
    {"parquet", fuzz_parquet, 600}, {"kept", fuzz_kept, 4000}, {0},
};
