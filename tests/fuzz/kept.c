/* Any bytes as what is kept of a data file: not used, or every record lies inside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/fuzz/read_as.h"

/* With hashes that are right for what is there: only what they do not guard against is left to be seen. */
static void mend(uint8_t *bytes, size_t n) {
    mdl_corpus_head *head = (mdl_corpus_head *)(void *)bytes;
    size_t stride = mdl_corpus_stride((int)(head->columns & 0xffff)), rows = (size_t)head->facts.records * stride;
    if (head->rows_at > 0 && (size_t)head->rows_at < n && rows <= n - (size_t)head->rows_at)
        head->rows_hash = XXH3_64bits(bytes + head->rows_at, rows);
    head->head_hash = mdl_corpus_head_hash(head);
}

int mdl_fuzz_kept(const uint8_t *bytes, size_t n) {
    mdl_corpus c = {0};
    uint8_t *copy = malloc(n + sizeof(mdl_corpus_head));
    mdl_fuzz_require(copy != NULL, "memory");
    memcpy(copy, bytes, n);
    if (n >= sizeof(mdl_corpus_head)) mend(copy, n);
    FILE *file = fopen(mdl_fuzz_file(copy, n), "rb");
    mdl_fuzz_require(file != NULL, "fopen");
    mdl_status status = mdl_corpus_map(file, &c);
    if (!status) mdl_fuzz_use(&c, false);
    mdl_status_free(status);
    mdl_corpus_close(&c);
    fclose(file);
    free(copy);
    return 0;
}
