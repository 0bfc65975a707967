/* What is fuzzed: functions that take any bytes at all. A target returns when the bytes are refused or used in good order, and
 * aborts when something is wrong. Rows for further ones go into targets.c. */
#ifndef MDL_TESTS_FUZZ_TARGETS_H
#define MDL_TESTS_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

typedef void fuzz_target(const uint8_t *bytes, size_t n);
fuzz_target fuzz_fasta, fuzz_csv, fuzz_lines, fuzz_parquet, fuzz_kept;

typedef struct {
    const char *name; /* its seeds are in tests/fuzz/corpus/NAME */
    fuzz_target *run;
    int runs; /* of the suite `fuzz` */
} fuzz_row;
extern const fuzz_row fuzz_rows[]; /* ends with one without a name */

#endif
