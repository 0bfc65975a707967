/* A file in memory becomes a corpus in memory, which is gone over. */
#include "tests/fuzz/read_as.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void mdl_fuzz_require(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* Goes over all that a run would: every record's residues, hash and numbers. */
void mdl_fuzz_use(const mdl_corpus *c, bool residues_are_right) {
    int64_t total = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const mdl_record *r = mdl_corpus_at(c, i);
        uint64_t hash = mdl_corpus_hash(c->residues + r->start, r->length);
        mdl_fuzz_require(!residues_are_right || hash == r->hash, "a record's hash is not that of its residues");
        for (uint32_t k = 0; k < c->head->columns; k++)
            mdl_fuzz_require(!residues_are_right || !isinf(r->number[k]), "an infinite number");
        total += r->length;
    }
    mdl_fuzz_require(total == c->head->facts.residues, "the lengths do not add up");
}

static void check_letters(const mdl_corpus *c) {
    const mdl_corpus_facts *f = &c->head->facts;
    int64_t letters = 0;
    for (int i = 0; i < 256; i++) {
        letters += f->letter[i];
        mdl_fuzz_require(!f->letter[i] || (i > ' ' && i < 127 && i != '>'), "a letter that should not be");
    }
    mdl_fuzz_require(letters == f->residues && f->shortest >= 1 && f->longest >= f->shortest, "facts");
}

/* Reads bytes as a file of this format; what is accepted must hold together. */
void mdl_fuzz_read_as(const char *name, const uint8_t *bytes, size_t n) {
    static const char *const columns[] = {"value", "count"};
    mdl_format_options options = {.format = name, .sequence_column = "sequence"};
    mdl_corpus_head key = {.magic = MDL_CORPUS_MAGIC, .version = MDL_CORPUS_VERSION};
    const mdl_format *format;
    mdl_corpus c = {0};
    const char *path = mdl_fuzz_file(bytes, n);
    int out_fd = memfd_create("corpus", MFD_CLOEXEC);
    FILE *out = out_fd < 0 ? NULL : fdopen(out_fd, "w+");
    mdl_fuzz_require(out && !mdl_format_of(path, &options, &format), "the format");
    options.columns = columns;
    options.n_columns = format->table ? 2 : 0;
    key.columns = (uint32_t)options.n_columns;
    mdl_status status = mdl_corpus_write(path, format, &options, &key, "/tmp", out);
    mdl_fuzz_require(!status || *mdl_message(status), "an error without a message");
    if (!status) {
        status = mdl_corpus_map(out, &c);
        mdl_fuzz_require(!status, "what was written does not read back");
        mdl_fuzz_use(&c, true);
        check_letters(&c);
    }
    mdl_status_free(status);
    mdl_corpus_close(&c);
    fclose(out);
}
