/* Formats of data. A format's reader goes through a file once and tells a sink, record by record, what is there; it knows nothing
 * of where that goes. One file a format, one row in the table of format.c. */
#ifndef MDL_DATA_FORMAT_H
#define MDL_DATA_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* What to take from a file. All of it is part of the name of what is kept of the file: see corpus.h. */
typedef struct {
    const char *format;          /* a name of the table; NULL or "": by the file's name */
    const char *sequence_column; /* of a table */
    const char *const *columns;  /* numbers of a record, further columns of a table */
    int n_columns;
} mdl_format_options;

/* A record is begun, given its residues in pieces and its numbers, and ended. */
typedef struct mdl_sink mdl_sink;
void mdl_sink_begin(mdl_sink *sink, int64_t line); /* where the record begins, from 1; a row's number where there are no lines */
/* White space, line ends included, is dropped; every other printable character is kept as it is. MDL_BAD_INPUT naming the line:
 * bytes that are not printable ASCII; '>'. */
mdl_status mdl_sink_residues(mdl_sink *sink, const char *at, const char *end, int64_t line);
void mdl_sink_number(mdl_sink *sink, int column, double value); /* a column that is not given is absent: NaN */
mdl_status mdl_sink_end(mdl_sink *sink);                        /* a record without residues is counted and dropped */
void mdl_sink_comment(mdl_sink *sink);                          /* a line that is skipped */

/* path: for what opens files by name. Errors name the line, not the file. */
typedef mdl_status mdl_format_read(const char *path, const mdl_format_options *options, mdl_sink *sink);
mdl_format_read mdl_read_fasta, mdl_read_csv, mdl_read_tsv, mdl_read_lines, mdl_read_parquet;

typedef struct {
    const char *name, *about;
    const char *extensions; /* ".fa.fasta.", each between dots; compression's are taken off before */
    mdl_format_read *read;
    bool table;       /* it has columns */
    const char *unit; /* what places in it are counted by: "line", "row" */
} mdl_format;

extern const mdl_format mdl_formats[];
extern const int mdl_n_formats;

/* The format of a file: the one asked for, or the one that its name says, FASTA when it says nothing. MDL_USAGE: no such format;
 * columns are wanted of one that has none. */
mdl_status mdl_format_of(const char *path, const mdl_format_options *options, const mdl_format **format);

#endif
