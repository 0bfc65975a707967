/* The corpus: what a data file holds, decoded once and kept beside it, so that a run maps it into memory and has any record at hand
 * at once, whatever the format. A kept file belongs to its source by path, size and time of change, and to the options that it was
 * read with; when it does not fit, or is damaged, it is made anew.
 *
 *   0            mdl_corpus_head
 *   HEAD         residues, back to back
 *   rows_at      mdl_record[n], each `stride` bytes, in the order of the file
 */
#ifndef MDL_DATA_CORPUS_H
#define MDL_DATA_CORPUS_H

#include <stddef.h>

#include "runtime/base/arena.h"
#include "runtime/data/format.h"

typedef struct {
    int64_t start;   /* among the residues */
    int64_t line;    /* of the file, from 1 */
    uint64_t hash;   /* mdl_corpus_hash of the residues */
    uint32_t length; /* residues, at least 1 */
    float number[];  /* [columns] NaN: absent */
} mdl_record;

/* What was counted while reading. Without kept records, line 0. */
typedef struct {
    int64_t records, residues;
    int64_t longest, shortest;
    int64_t empty, empty_line; /* records without residues, which are left out; where the first is */
    int64_t comments;          /* lines of remarks, skipped */
    int64_t stops;             /* records whose last letter was '*', the end of a translation, taken off */
    int64_t letter[256];       /* how often each occurs */
    int64_t letter_line[256];  /* the record that has it first */
} mdl_corpus_facts;

typedef struct {
    char magic[8];
    uint32_t version, columns;
    uint64_t head_hash; /* of the head with 0 here */
    uint64_t rows_hash;
    uint64_t options;                  /* a hash of mdl_format_options and the format */
    uint64_t path;                     /* a hash of the source's resolved path */
    int64_t source_bytes, source_time; /* nanoseconds; -1: it changed so shortly before it was read that its time proves nothing */
    int64_t rows_at;
    mdl_corpus_facts facts;
} mdl_corpus_head;

typedef struct {
    const mdl_corpus_head *head;
    const char *residues, *rows;
    size_t stride;
    int64_t n;
    const char *path; /* of the source, in the arena given */
    const char *unit; /* what mdl_record.line counts: "line", "row" */
    void *map;
    size_t bytes;
} mdl_corpus;

static inline const mdl_record *mdl_corpus_at(const mdl_corpus *corpus, int64_t i) {
    return (const mdl_record *)(const void *)(corpus->rows + (size_t)i * corpus->stride);
}
uint64_t mdl_corpus_hash(const char *residues, size_t n);

/* Opens the corpus of a file. It is kept in `folder`, or when that is NULL or "" beside the file, or else in the user's cache
 * (~/.cache/mdl/data); where neither can be written, and for what is no regular file, it lasts as long as it is open. *note: NULL,
 * or why what was kept is made anew. Strings live in `memory`. MDL_BAD_INPUT: what is wrong with the file, with its name and line.
 */
mdl_status mdl_corpus_open(const char *path, const mdl_format_options *options, const char *folder, mdl_arena *memory,
                           mdl_corpus *corpus, const char **note);
void mdl_corpus_close(mdl_corpus *corpus); /* all zero is allowed */

#endif
