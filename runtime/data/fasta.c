/* FASTA: a small state machine over blocks of text. A line may have any length: nothing is ever buffered by line. Lines that begin
 * with ';' are remarks, as in the first FASTA. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/data/format.h"
#include "runtime/data/input.h"

typedef struct {
    mdl_sink *sink;
    enum { LINE_START, HEADER, COMMENT, RESIDUES } state;
    int64_t line; /* from 1 */
    bool record;  /* a header was seen */
} parser;

/* Text for a message: the first bytes of a line, with what is not printable as \xNN. */
static const char *show(const char *at, const char *end, char text[80]) {
    size_t n = 0;
    for (; at < end && *at != '\n' && *at != '\r' && n < 60; at++)
        n += (size_t)snprintf(text + n, 80 - n, isprint((unsigned char)*at) ? "%c" : "\\x%02x", (unsigned char)*at);
    snprintf(text + n, 80 - n, "%s", at < end && *at != '\n' && *at != '\r' ? "..." : "");
    return text;
}

static mdl_status end_record(parser *p) { return p->record ? mdl_sink_end(p->sink) : MDL_OK; }

static mdl_status begin_line(parser *p, char first) {
    p->state = first == '>' ? HEADER : first == ';' ? COMMENT : RESIDUES;
    if (first == ';') mdl_sink_comment(p->sink);
    if (first != '>') return MDL_OK;
    mdl_status status = end_record(p);
    mdl_sink_begin(p->sink, p->line);
    p->record = true;
    return status;
}

static mdl_status header(const parser *p, const char *at, const char *end) {
    if (memchr(at, 0, (size_t)(end - at)))
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": byte 0x00 in a header: this is not text", p->line);
    const char *cr = memchr(at, '\r', (size_t)(end - at));
    if (cr && cr + 1 < end)
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": a carriage return in a header: end lines with a line feed", p->line);
    return MDL_OK;
}

static mdl_status residues(const parser *p, const char *at, const char *end) {
    char text[80];
    const char *first = at;
    while (first < end && (isblank((unsigned char)*first) || *first == '\r')) first++;
    if (p->record || first == end) return p->record ? mdl_sink_residues(p->sink, at, end, p->line) : MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": expected a FASTA header, which begins with '>', got \"%s\"", p->line,
                    show(first, end, text));
}

/* A block of text: whole lines, but for the first and the last. */
static mdl_status feed(void *context, const char *at, const char *end) {
    parser *p = context;
    mdl_status status = MDL_OK;
    while (at < end && !status) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        if (p->state == LINE_START && at < stop) status = begin_line(p, *at);
        if (!status && p->state == HEADER) status = header(p, at, stop);
        if (!status && p->state == RESIDUES) status = residues(p, at, stop);
        if (newline) p->line++, p->state = LINE_START;
        at = newline ? newline + 1 : end;
    }
    return status;
}

mdl_status mdl_read_fasta(const char *path, const mdl_format_options *options, mdl_sink *sink) {
    (void)options;
    parser p = {.sink = sink, .line = 1};
    mdl_status status = mdl_input_each(path, feed, &p, &p.line);
    return status ? status : end_record(&p);
}
