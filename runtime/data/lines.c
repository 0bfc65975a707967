/* Plain text: a sequence a line. Blank lines and lines that begin with '#' or ';' are skipped. */
#include <inttypes.h>
#include <string.h>

#include "runtime/data/format.h"
#include "runtime/data/input.h"

typedef struct {
    mdl_sink *sink;
    enum { LINE_START, COMMENT, RESIDUES } state;
    int64_t line;
} parser;

static void begin_line(parser *p, char first) {
    p->state = first == '#' || first == ';' ? COMMENT : RESIDUES;
    if (p->state == COMMENT)
        mdl_sink_comment(p->sink);
    else
        mdl_sink_begin(p->sink, p->line);
}

static mdl_status end_line(parser *p) {
    mdl_status status = p->state == RESIDUES ? mdl_sink_end(p->sink) : MDL_OK;
    p->state = LINE_START;
    p->line++;
    return status;
}

static mdl_status feed(void *context, const char *at, const char *end) {
    parser *p = context;
    mdl_status status = MDL_OK;
    while (at < end && !status) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        bool blank = stop == at || (stop == at + 1 && *at == '\r');
        if (p->state == LINE_START && !blank) begin_line(p, *at);
        if (p->state == RESIDUES) status = mdl_sink_residues(p->sink, at, stop, p->line);
        if (!status && newline) status = end_line(p);
        at = newline ? newline + 1 : end;
    }
    return status;
}

mdl_status mdl_read_lines(const char *path, const mdl_format_options *options, mdl_sink *sink) {
    (void)options;
    parser p = {.sink = sink, .line = 1};
    mdl_status status = mdl_input_each(path, feed, &p, &p.line);
    return status ? status : end_line(&p);
}
