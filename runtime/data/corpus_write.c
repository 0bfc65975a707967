/* A record is gathered in memory, then its residues go to the corpus and its row to a file on the side. */
#include "runtime/data/corpus_write.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

struct mdl_sink {
    FILE *out, *rows;
    const char *unit; /* of places, for messages */
    mdl_corpus_head head;
    mdl_record *row; /* of the record being read */
    size_t stride;
    char *residues; /* of it; room for `cap` */
    size_t n, cap;
    unsigned char kind[256]; /* of a byte, below */
};

uint64_t mdl_corpus_hash(const char *residues, size_t n) { return XXH3_64bits(residues, n); }

size_t mdl_corpus_stride(int columns) {
    size_t bytes = offsetof(mdl_record, number) + (size_t)columns * sizeof(float);
    return (bytes + 7) / 8 * 8;
}

uint64_t mdl_corpus_head_hash(const mdl_corpus_head *head) {
    mdl_corpus_head copy = *head;
    copy.head_hash = 0;
    return XXH3_64bits(&copy, sizeof copy);
}

void mdl_sink_begin(mdl_sink *s, int64_t line) {
    memset(s->row, 0, s->stride);
    s->row->line = line;
    for (uint32_t i = 0; i < s->head.columns; i++) s->row->number[i] = NAN;
    s->n = 0;
}

static void reserve(mdl_sink *s, size_t more) {
    if (s->n + more <= s->cap) return;
    s->cap = s->n + more + s->cap / 2;
    s->residues = realloc(s->residues, s->cap);
    if (!s->residues) mdl_bug("out of memory while reading a record of %zu residues", s->n + more);
}

enum { KEPT, DROPPED, REFUSED }; /* what a byte in a sequence is */

static void fill_kinds(unsigned char kind[256]) {
    for (int c = 0; c < 256; c++) kind[c] = c > ' ' && c < 127 && c != '>' ? KEPT : REFUSED;
    kind[' '] = kind['\t'] = kind['\r'] = kind['\n'] = DROPPED;
}

mdl_status mdl_sink_residues(mdl_sink *s, const char *at, const char *end, int64_t line) {
    if (s->n + (size_t)(end - at) > INT32_MAX)
        return mdl_fail(MDL_BAD_INPUT, "%s %" PRId64 ": a sequence of 2^31 residues or more", s->unit, s->row->line);
    reserve(s, (size_t)(end - at));
    char *to = s->residues + s->n;
    while (at < end && s->kind[(unsigned char)*at] != REFUSED) {
        *to = *at;
        to += s->kind[(unsigned char)*at++] == KEPT;
    }
    s->n = (size_t)(to - s->residues);
    if (at == end) return MDL_OK;
    if (*at == '>')
        return mdl_fail(MDL_BAD_INPUT, "%s %" PRId64 ": '>' inside a sequence: is a line break missing before it?", s->unit, line);
    return mdl_fail(MDL_BAD_INPUT, "%s %" PRId64 ": byte 0x%02x in a sequence: this is not text", s->unit, line,
                    (unsigned char)*at);
}

void mdl_sink_number(mdl_sink *s, int column, double value) { s->row->number[column] = (float)value; }

void mdl_sink_comment(mdl_sink *s) { s->head.facts.comments++; }

static void count(mdl_sink *s) {
    mdl_corpus_facts *f = &s->head.facts;
    int64_t n = (int64_t)s->n;
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->residues[i];
        if (!f->letter[c]++) f->letter_line[c] = s->row->line;
    }
    if (!f->records || n < f->shortest) f->shortest = n;
    if (n > f->longest) f->longest = n;
    f->records++;
    f->residues += n;
}

mdl_status mdl_sink_end(mdl_sink *s) {
    mdl_corpus_facts *f = &s->head.facts;
    if (s->n && s->residues[s->n - 1] == '*') s->n--, f->stops++;
    if (!s->n) {
        if (!f->empty++) f->empty_line = s->row->line;
        return MDL_OK;
    }
    s->row->start = f->residues;
    s->row->length = (uint32_t)s->n;
    s->row->hash = mdl_corpus_hash(s->residues, s->n);
    count(s);
    fwrite(s->residues, 1, s->n, s->out);
    fwrite(s->row, s->stride, 1, s->rows);
    if (ferror(s->out) || ferror(s->rows)) return mdl_fail_errno("cannot keep what is decoded of it (data.cache_dir says where)");
    return MDL_OK;
}

static mdl_status append_rows(mdl_sink *s) {
    char block[1 << 16];
    XXH3_state_t *hash = XXH3_createState();
    if (!hash || XXH3_64bits_reset(hash) == XXH_ERROR) mdl_bug("no memory for a hash");
    rewind(s->rows);
    for (size_t n; (n = fread(block, 1, sizeof block, s->rows)) > 0;) {
        XXH3_64bits_update(hash, block, n);
        fwrite(block, 1, n, s->out);
    }
    s->head.rows_hash = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    return ferror(s->rows) || ferror(s->out) ? mdl_fail_errno("cannot keep what is decoded of it (data.cache_dir says where)")
                                             : MDL_OK;
}

static mdl_status complete(mdl_sink *s) {
    const mdl_corpus_facts *f = &s->head.facts;
    static const char zeros[MDL_CORPUS_HEAD];
    if (!f->records && f->empty)
        return mdl_fail(MDL_BAD_INPUT, "%s %" PRId64 ": no residues follow, and the file holds no other sequence", s->unit,
                        f->empty_line);
    if (!f->records) return mdl_fail(MDL_BAD_INPUT, "the file holds no sequence");
    size_t padding = (size_t)(-f->residues & 63);
    fwrite(zeros, 1, padding, s->out);
    s->head.rows_at = MDL_CORPUS_HEAD + f->residues + (int64_t)padding;
    mdl_status status = append_rows(s);
    if (status) return status;
    s->head.head_hash = mdl_corpus_head_hash(&s->head);
    if (fseek(s->out, 0, SEEK_SET) || fwrite(&s->head, sizeof s->head, 1, s->out) != 1 || fflush(s->out))
        return mdl_fail_errno("cannot keep what is decoded of it (data.cache_dir says where)");
    return MDL_OK;
}

static FILE *nameless_file(const char *folder) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w+");
    return file ? file : tmpfile(); /* some file systems have none */
}

mdl_status mdl_corpus_write(const char *path, const mdl_format *format, const mdl_format_options *options,
                            const mdl_corpus_head *key, const char *folder, FILE *out) {
    static const char zeros[MDL_CORPUS_HEAD];
    mdl_sink s = {.out = out,
                  .unit = format->unit,
                  .head = *key,
                  .stride = mdl_corpus_stride(options->n_columns),
                  .rows = nameless_file(folder)};
    if (!s.rows) return mdl_fail_errno("cannot make a temporary file");
    s.row = calloc(1, s.stride);
    if (!s.row) mdl_bug("out of memory");
    reserve(&s, 1);
    fill_kinds(s.kind);
    fwrite(zeros, 1, MDL_CORPUS_HEAD, out);
    mdl_status status = format->read(path, options, &s);
    if (!status) status = complete(&s);
    fclose(s.rows);
    free(s.row);
    free(s.residues);
    return status;
}
