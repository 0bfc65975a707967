/* Targets: the readers of data files, and the mapping of what is kept of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/data/corpus_write.h"
#include "tests/fuzz/targets.h"

static void require(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* A file in memory, and a path to it. */
static int memory_file(const uint8_t *bytes, size_t n, char path[64]) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes, n) == (ssize_t)n, "memfd");
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* Goes over all that a run would: every record's residues, hash and numbers. */
static void use(const mdl_corpus *c, int residues_are_right) {
    int64_t total = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const mdl_record *r = mdl_corpus_at(c, i);
        uint64_t hash = mdl_corpus_hash(c->residues + r->start, r->length);
        require(!residues_are_right || hash == r->hash, "a record's hash is not that of its residues");
        for (uint32_t k = 0; k < c->head->columns; k++) require(!residues_are_right || !isinf(r->number[k]), "an infinite number");
        total += r->length;
    }
    require(total == c->head->facts.residues, "the lengths do not add up");
}

static void check_letters(const mdl_corpus *c) {
    const mdl_corpus_facts *f = &c->head->facts;
    int64_t letters = 0;
    for (int i = 0; i < 256; i++) {
        letters += f->letter[i];
        require(!f->letter[i] || (i > ' ' && i < 127 && i != '>'), "a letter that should not be");
    }
    require(letters == f->residues && f->shortest >= 1 && f->longest >= f->shortest, "facts");
}

/* Reads bytes as a file of this format; what is accepted must hold together. */
static void read_as(const char *name, const char *const *columns, int n_columns, const uint8_t *bytes, size_t n) {
    char path[64];
    mdl_format_options options = {.format = name, .sequence_column = "sequence", .columns = columns, .n_columns = n_columns};
    mdl_corpus_head key = {.magic = MDL_CORPUS_MAGIC, .version = MDL_CORPUS_VERSION, .columns = (uint32_t)n_columns};
    const mdl_format *format;
    mdl_corpus c = {0};
    int fd = memory_file(bytes, n, path), out_fd = memfd_create("corpus", MFD_CLOEXEC);
    FILE *out = out_fd < 0 ? NULL : fdopen(out_fd, "w+");
    require(out && !mdl_format_of(path, &options, &format), "the format");
    mdl_status status = mdl_corpus_write(path, format, &options, &key, "/tmp", out);
    require(!status || *mdl_message(status), "an error without a message");
    if (!status) {
        status = mdl_corpus_map(out, &c);
        require(!status, "what was written does not read back");
        use(&c, 1);
        check_letters(&c);
    }
    mdl_status_free(status);
    mdl_corpus_close(&c);
    fclose(out);
    close(fd);
}

static const char *const columns[] = {"value", "count"};

void fuzz_fasta(const uint8_t *bytes, size_t n) { read_as("fasta", NULL, 0, bytes, n); }
void fuzz_csv(const uint8_t *bytes, size_t n) { read_as("csv", columns, 2, bytes, n); }
void fuzz_lines(const uint8_t *bytes, size_t n) { read_as("lines", NULL, 0, bytes, n); }
void fuzz_parquet(const uint8_t *bytes, size_t n) { read_as("parquet", columns, 2, bytes, n); }

/* With hashes that are right for what is there: only what they do not guard against is left to be seen. */
static void mend(uint8_t *bytes, size_t n) {
    mdl_corpus_head *head = (mdl_corpus_head *)(void *)bytes;
    size_t stride = mdl_corpus_stride((int)(head->columns & 0xffff)), rows = (size_t)head->facts.records * stride;
    if (head->rows_at > 0 && (size_t)head->rows_at < n && rows <= n - (size_t)head->rows_at)
        head->rows_hash = XXH3_64bits(bytes + head->rows_at, rows);
    head->head_hash = mdl_corpus_head_hash(head);
}

void fuzz_kept(const uint8_t *bytes, size_t n) {
    char path[64];
    mdl_corpus c = {0};
    uint8_t *copy = malloc(n + sizeof(mdl_corpus_head));
    require(copy != NULL, "memory");
    memcpy(copy, bytes, n);
    if (n >= sizeof(mdl_corpus_head)) mend(copy, n);
    int fd = memory_file(copy, n, path);
    FILE *file = fopen(path, "rb");
    require(file != NULL, "fopen");
    mdl_status status = mdl_corpus_map(file, &c);
    if (!status) use(&c, 0);
    mdl_status_free(status);
    mdl_corpus_close(&c);
    fclose(file);
    close(fd);
    free(copy);
}
