/* The FASTA reader: htslib opens and decompresses, a small state machine over blocks of text finds headers and residues and counts
 * lines, which kseq does not (an error here names its line). A line may have any length: nothing is ever buffered by line. */
#include "runtime/data/fasta.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <htslib/bgzf.h>
#include <htslib/hts_log.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 16, COMPRESSION_BGZF = 2, GZIP_MAGIC = 0x1f };

typedef struct {
    mdl_sequences *to;
    enum { LINE_START, HEADER, RESIDUES } state;
    int64_t line, header_line; /* from 1; header_line 0: no header yet */
} parser;

static void *must(void *pointer) {
    if (!pointer) mdl_bug("out of memory while reading sequences");
    return pointer;
}

static void reserve_text(const parser *p, int64_t more) {
    mdl_sequences *s = p->to;
    int64_t used = s->start ? s->start[s->n + (p->header_line != 0)] : 0;
    if (used + more <= s->text_cap) return;
    s->text_cap = used + more + s->text_cap / 2;
    s->text = must(realloc(s->text, (size_t)s->text_cap));
}

static void reserve_start(mdl_sequences *s) {
    if (s->n + 2 <= s->start_cap) return;
    s->start_cap = s->start_cap ? s->start_cap + s->start_cap / 2 : 1024;
    s->start = must(realloc(s->start, (size_t)s->start_cap * sizeof *s->start));
    if (!s->n) s->start[0] = 0;
}

/* Text for a message: the first bytes of a line, with what is not printable as \xNN. */
static const char *show(const char *at, const char *end, char text[80]) {
    size_t n = 0;
    for (; at < end && *at != '\n' && *at != '\r' && n < 60; at++)
        n += (size_t)snprintf(text + n, 80 - n, isprint((unsigned char)*at) ? "%c" : "\\x%02x", (unsigned char)*at);
    snprintf(text + n, 80 - n, "%s", at < end && *at != '\n' && *at != '\r' ? "..." : "");
    return text;
}

static mdl_status end_record(parser *p) {
    mdl_sequences *s = p->to;
    if (!p->header_line) return MDL_OK;
    if (s->start[s->n] == s->start[s->n + 1])
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": no residues follow this header", p->header_line);
    s->n++;
    return MDL_OK;
}

/* The record being read is number to->n; its end so far is start[n + 1]. */
static mdl_status begin_record(parser *p) {
    mdl_status status = end_record(p);
    if (status) return status;
    reserve_start(p->to);
    p->to->start[p->to->n + 1] = p->to->start[p->to->n];
    p->header_line = p->line;
    p->state = HEADER;
    return MDL_OK;
}

static mdl_status damaged(const parser *p) {
    return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": the file's compression is damaged or truncated from here on", p->line);
}

static mdl_status residue(parser *p, const char *at, const char *end) {
    char text[80];
    unsigned char c = (unsigned char)*at;
    if (isblank(c) || c == '\r') return MDL_OK;
    if (!p->header_line && c == GZIP_MAGIC) return damaged(p);
    if (!p->header_line)
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": expected a FASTA header, which begins with '>', got \"%s\"", p->line,
                        show(at, end, text));
    if (!isgraph(c)) return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": byte 0x%02x in a sequence: this is not text", p->line, c);
    if (c == '>')
        return mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": '>' inside a sequence: is a line break missing before it?", p->line);
    p->to->text[p->to->start[p->to->n + 1]++] = *at;
    p->state = RESIDUES;
    return MDL_OK;
}

static mdl_status feed(parser *p, const char *at, const char *end) {
    mdl_status status = MDL_OK;
    reserve_text(p, end - at);
    for (; at < end && !status; at++) {
        if (*at == '\n') {
            p->line++;
            p->state = LINE_START;
        } else if (p->state == HEADER) {
            if (!*at) status = mdl_fail(MDL_BAD_INPUT, "line %" PRId64 ": byte 0x00 in a header: this is not text", p->line);
        } else if (*at == '>' && p->state == LINE_START) {
            status = begin_record(p);
        } else {
            status = residue(p, at, end);
        }
    }
    return status;
}

static mdl_status read_blocks(BGZF *in, parser *p) {
    char block[BLOCK];
    mdl_status status = MDL_OK;
    ssize_t n = 0;
    while (!status && (n = bgzf_read(in, block, sizeof block)) > 0) status = feed(p, block, block + n);
    if (!status && n < 0) status = damaged(p);
    if (!status) status = end_record(p);
    if (!status && !p->header_line) status = mdl_fail(MDL_BAD_INPUT, "the file holds no sequence");
    return status;
}

/* BGZF ends in an empty block, so a file cut between two blocks is told from a whole one. (Its blocks are decompressed one by one:
 * bgzf_mt of htslib 1.16 leaks when a block is damaged.) */
static mdl_status prepare(BGZF *in) {
    if (bgzf_compression(in) != COMPRESSION_BGZF) return MDL_OK;
    if (!bgzf_check_EOF(in)) return mdl_fail(MDL_BAD_INPUT, "the block that ends a BGZF file is missing: the file is truncated");
    return MDL_OK;
}

static mdl_status open_input(const char *path, BGZF **in) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mdl_fail(MDL_BAD_INPUT, "cannot open it: %s", strerror(errno));
    if (fstat(fd, &info) || S_ISDIR(info.st_mode)) {
        close(fd);
        return mdl_fail(MDL_BAD_INPUT, "it is a folder; expected a FASTA file");
    }
    *in = bgzf_dopen(fd, "r"); /* owns fd */
    return *in ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "cannot read it: its compression header is damaged");
}

mdl_status mdl_fasta_read(const char *path, mdl_sequences *sequences) {
    BGZF *in = NULL;
    parser p = {.to = sequences, .line = 1};
    enum htsLogLevel level = hts_get_log_level();
    hts_set_log_level(HTS_LOG_OFF); /* its warnings come back as our errors */
    mdl_status status = open_input(path, &in);
    if (!status) status = prepare(in);
    if (!status) status = read_blocks(in, &p);
    if (in && bgzf_close(in) && !status) status = mdl_fail(MDL_SYSTEM, "cannot close it");
    hts_set_log_level(level);
    return mdl_context(status, "%s", path);
}

void mdl_sequences_free(mdl_sequences *sequences) {
    free(sequences->text);
    free(sequences->start);
    *sequences = (mdl_sequences){0};
}
