/* What the targets of data files share. */
#ifndef MDL_TESTS_FUZZ_READ_AS_H
#define MDL_TESTS_FUZZ_READ_AS_H

#include "runtime/data/corpus_write.h"
#include "tests/fuzz/fuzz.h"

void mdl_fuzz_require(bool holds, const char *what); /* aborts when it does not */
/* Reads the input as a file of this format, with the columns "value" and "count" if it has any; what is accepted must hold
 * together. */
void mdl_fuzz_read_as(const char *format, const uint8_t *bytes, size_t n);
/* Goes over all of a corpus that a run would use. */
void mdl_fuzz_use(const mdl_corpus *corpus, bool residues_are_right);

#endif
