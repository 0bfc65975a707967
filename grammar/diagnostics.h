/* What is wrong with the user's files: collected while reading, printed at the end, never a reason to exit.
 * Places are byte ranges in a file; lines and columns are made only when they are shown. */
#ifndef MDL_GRAMMAR_DIAGNOSTICS_H
#define MDL_GRAMMAR_DIAGNOSTICS_H

#include <stdarg.h>
#include <stdbool.h>

#include "runtime/base/arena.h"

/* A source text; `text` is NUL-terminated and has no NUL before `length`. */
typedef struct {
    const char *path; /* as shown to the user */
    const char *text;
    int length;
    int n_lines;
    const int *lines; /* byte offset of each line's start */
} mdl_file;

/* Bytes begin..end-1 of a file; `file` is NULL for what has no place, such as the command line. */
typedef struct {
    const mdl_file *file;
    int begin, end;
} mdl_loc;

typedef enum { MDL_SEVERITY_ERROR, MDL_SEVERITY_WARNING } mdl_severity;

typedef struct mdl_diagnostics mdl_diagnostics;

mdl_diagnostics *mdl_diagnostics_new(mdl_arena *arena);

/* Takes a text into `arena` and finds its lines. */
const mdl_file *mdl_file_new(mdl_arena *arena, const char *path, const char *text, int length);
/* Reads a file; NULL when it cannot be read, is larger than 64 MiB or holds a NUL byte: *why says which. */
const mdl_file *mdl_file_read(mdl_arena *arena, const char *path, const char *shown, const char **why);

/* Line and column, both from 1; columns count UTF-8 characters. */
void mdl_locate(mdl_loc loc, int *line, int *column);

/* Adds a message. One that repeats an earlier message at the same place is dropped, with the details that follow it. Returns false
 * when it was dropped. */
bool mdl_report(mdl_diagnostics *d, mdl_severity severity, mdl_loc loc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool mdl_vreport(mdl_diagnostics *d, mdl_severity severity, mdl_loc loc, const char *format, va_list args);
/* Adds a line under the last message: "expected ..., got ...". */
void mdl_detail(mdl_diagnostics *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds "note: ..." under the last message; a place other than the message's own is written out by the caller. */
void mdl_note(mdl_diagnostics *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

int mdl_error_count(const mdl_diagnostics *d); /* with those that repeat an earlier one: grows with every error reported */
int mdl_distinct_errors(const mdl_diagnostics *d);
/* Everything reported, as it is shown: place, message, source line, caret, details, notes. "" when there is nothing. */
const char *mdl_diagnostics_text(const mdl_diagnostics *d);

/* "58:9", or "other.mdl:58:9" when `loc` is not in `here`. */
const char *mdl_place(mdl_arena *arena, mdl_loc loc, const mdl_file *here);

#endif
