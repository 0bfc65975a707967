/* FASTA files into memory: plain, gzip or BGZF. Only the residues are kept, one byte each. */
#ifndef MDL_DATA_FASTA_H
#define MDL_DATA_FASTA_H

#include <stdint.h>

#include "runtime/base/status.h"

/* Sequence i is text[start[i]] .. text[start[i + 1] - 1], without terminators. All zero is an empty set. */
typedef struct {
    char *text;
    int64_t *start; /* [n + 1]; NULL when n is 0 and nothing was read */
    int64_t n;
    int64_t text_cap, start_cap;
} mdl_sequences;

/* Appends a file's sequences. White space inside a sequence is dropped; every other printable character is kept as it is.
 * MDL_BAD_INPUT naming file and line: no such file, not FASTA, a header without residues, no sequence at all, bytes that are not
 * text, damaged or truncated compression. After an error the set holds part of the file and can only be freed. */
mdl_status mdl_fasta_read(const char *path, mdl_sequences *sequences);
void mdl_sequences_free(mdl_sequences *sequences);

#endif
