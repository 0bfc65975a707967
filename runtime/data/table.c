/* CSV and TSV as RFC 4180 has them: quotes, doubled quotes and line breaks inside of quotes, LF or CR LF. The first row names the
 * columns. A quote that does not begin a cell stands for itself. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/data/cells.h"
#include "runtime/data/format.h"
#include "runtime/data/input.h"

enum { MAX_ROW = 1 << 26 }; /* bytes: with a quote too many a row would be the rest of the file */

typedef struct {
    mdl_sink *sink;
    const mdl_format_options *options;
    mdl_arena *memory; /* of the parser */
    char separator;
    bool ends[2][256];                                         /* what ends a run: outside of quotes, inside */
    enum { CELL_START, PLAIN, QUOTED, QUOTE, AFTER_CR } state; /* QUOTE: behind one that closes a cell or is the first of two */
    int64_t line, row_line, quote_line;                        /* where we are, where the row and the quoted cell begin */
    mdl_text row;                                              /* the row's cells, each with a NUL behind it */
    MDL_VEC(size_t) cells;                                     /* where each begins */
    int width;                                                 /* columns; 0: the names have not been read */
    int sequence, *number;                                     /* places of the columns that are wanted */
} parser;

static const char *cell(const parser *p, int i) { return p->row.at + p->cells.at[i]; }

static mdl_status read_names(parser *p) {
    const char **names = MDL_NEW_ARRAY(p->memory, const char *, p->cells.n);
    for (int i = 0; i < p->cells.n; i++) names[i] = cell(p, i);
    p->width = p->cells.n;
    p->number = MDL_NEW_ARRAY(p->memory, int, p->options->n_columns + 1);
    const char *sequence = p->options->sequence_column;
    MDL_TRY(mdl_cell_column(sequence, p->width, names, &p->sequence), "line %" PRId64, p->row_line);
    for (int i = 0; i < p->options->n_columns; i++)
        MDL_TRY(mdl_cell_column(p->options->columns[i], p->width, names, &p->number[i]), "line %" PRId64, p->row_line);
    return MDL_OK;
}

static mdl_status read_row(parser *p) {
    double value;
    if (p->cells.n != p->width)
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": %d cells, and there are %d columns", p->row_line, p->cells.n, p->width);
    mdl_sink_begin(p->sink, p->row_line);
    const char *sequence = cell(p, p->sequence);
    mdl_status status = mdl_sink_residues(p->sink, sequence, sequence + strlen(sequence), p->row_line);
    for (int i = 0; i < p->options->n_columns && !status; i++) {
        if (mdl_cell_number(cell(p, p->number[i]), &value))
            mdl_sink_number(p->sink, i, value);
        else
            status = mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": column \"%s\": expected a number, got \"%.60s\"", p->row_line,
                              p->options->columns[i], cell(p, p->number[i]));
    }
    return status ? status : mdl_sink_end(p->sink);
}

static void begin_cell(parser *p) {
    MDL_PUSH(p->memory, p->cells, p->row.n);
    p->state = CELL_START;
}

static void end_cell(parser *p) {
    mdl_text_append(&p->row, "", 1);
    begin_cell(p);
}

static mdl_status end_row(parser *p) {
    bool blank = p->cells.n == 1 && !p->row.n;
    mdl_text_append(&p->row, "", 1);
    mdl_status status = blank ? MDL_OK : p->width ? read_row(p) : read_names(p);
    p->row.n = 0;
    p->cells.n = 0;
    begin_cell(p);
    p->row_line = p->line;
    return status;
}

/* The text up to the next character that means something in this state. */
static const char *take_run(parser *p, const char *at, const char *end) {
    const bool *ends = p->ends[p->state == QUOTED];
    const char *stop = at;
    if (p->state == CELL_START && *at == '"') return at;
    while (stop < end && !ends[(unsigned char)*stop]) stop++;
    mdl_text_append(&p->row, at, (size_t)(stop - at));
    if (stop > at && p->state == CELL_START) p->state = PLAIN;
    return stop;
}

/* One character that ends a run. */
static mdl_status step(parser *p, char c) {
    bool breaks = c == '\n';
    if (!c) return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": byte 0x00: this is not text", p->line);
    p->line += breaks;
    if (p->state == QUOTED && c != '"') return mdl_text_append(&p->row, &c, 1), MDL_OK;
    if (p->state == QUOTED) return p->state = QUOTE, MDL_OK;
    if (p->state == QUOTE && c == '"') return mdl_text_append(&p->row, &c, 1), p->state = QUOTED, MDL_OK;
    if (p->state == CELL_START && c == '"') return p->quote_line = p->line, p->state = QUOTED, MDL_OK;
    if (breaks) return end_row(p);
    if (p->state == AFTER_CR) return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": a carriage return without a line feed", p->line);
    if (c == '\r') return p->state = AFTER_CR, MDL_OK;
    if (c == p->separator) return end_cell(p), MDL_OK;
    if (p->state == QUOTE) return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": text behind the quote that closes a cell", p->line);
    return mdl_text_append(&p->row, &c, 1), p->state = PLAIN, MDL_OK;
}

static mdl_status feed(void *context, const char *at, const char *end) {
    parser *p = context;
    mdl_status status = MDL_OK;
    while (at < end && !status) {
        if (p->state == CELL_START || p->state == PLAIN || p->state == QUOTED) at = take_run(p, at, end);
        if (p->row.n > MAX_ROW)
            return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": a row of more than 64 MiB begins here: is a quote not closed?",
                            p->row_line);
        if (at < end) status = step(p, *at++);
    }
    return status;
}

static mdl_status finish(parser *p) {
    if (p->state == QUOTED)
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": the quote that opens here is never closed", p->quote_line);
    mdl_status status = end_row(p);
    if (!status && !p->width) status = mdl_fail(MDL_BAD_INPUT, "the table has no row that names its columns");
    return status;
}

static mdl_status read_table(const char *path, const mdl_format_options *options, mdl_sink *sink, char separator) {
    mdl_arena *memory = mdl_arena_new();
    parser p = {.sink = sink, .options = options, .memory = memory, .separator = separator, .line = 1, .row_line = 1};
    p.row.arena = memory;
    p.ends[0][0] = p.ends[0]['\n'] = p.ends[0]['\r'] = p.ends[0][(unsigned char)separator] = true;
    p.ends[1][0] = p.ends[1]['\n'] = p.ends[1]['"'] = true;
    begin_cell(&p);
    mdl_status status = mdl_input_each(path, feed, &p, &p.line);
    if (!status) status = finish(&p);
    mdl_arena_free(memory);
    return status;
}

mdl_status mdl_read_csv(const char *path, const mdl_format_options *options, mdl_sink *sink) {
    return read_table(path, options, sink, ',');
}

mdl_status mdl_read_tsv(const char *path, const mdl_format_options *options, mdl_sink *sink) {
    return read_table(path, options, sink, '\t');
}
