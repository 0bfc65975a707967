/* Making a corpus, and taking one as it is. */
#ifndef MDL_DATA_CORPUS_WRITE_H
#define MDL_DATA_CORPUS_WRITE_H

#include <stdio.h>

#include "runtime/data/corpus.h"

enum { MDL_CORPUS_VERSION = 1, MDL_CORPUS_HEAD = (sizeof(mdl_corpus_head) + 63) / 64 * 64 };
#define MDL_CORPUS_MAGIC "mdlcorp"

size_t mdl_corpus_stride(int columns);
uint64_t mdl_corpus_head_hash(const mdl_corpus_head *head);

/* Reads the source and writes its corpus to `out`, which is empty; `key` gives what the head says of the source. Memory does not
 * grow with the file: records go to a second, nameless file in `folder` until the residues are all there. */
mdl_status mdl_corpus_write(const char *path, const mdl_format *format, const mdl_format_options *options,
                            const mdl_corpus_head *key, const char *folder, FILE *out);

/* Maps a corpus, whatever its source; everything but its residues is checked. Closing it is right after an error too. */
mdl_status mdl_corpus_map(FILE *file, mdl_corpus *corpus);

#endif
