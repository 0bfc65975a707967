/* Records with equal residues, by a table of hashes that is dropped again. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/dataset.h"

/* Open addressing, at most half full. */
typedef struct {
    const mdl_dataset *set;
    int64_t *record; /* its number + 1; 0: free */
    uint64_t mask;
} table;

static bool same(const mdl_dataset *set, int64_t i, int64_t k) {
    const mdl_corpus *a, *b;
    const mdl_record *x = mdl_dataset_at(set, i, &a), *y = mdl_dataset_at(set, k, &b);
    return x->hash == y->hash && x->length == y->length && !memcmp(a->residues + x->start, b->residues + y->start, x->length);
}

/* Whether an earlier record has the same residues; else it is entered. */
static bool seen(table *t, int64_t i, uint64_t hash) {
    uint64_t at = hash & t->mask;
    for (; t->record[at]; at = (at + 1) & t->mask)
        if (same(t->set, i, t->record[at] - 1)) return true;
    t->record[at] = i + 1;
    return false;
}

int64_t mdl_dataset_find_repeats(mdl_dataset *set) {
    int64_t n = set->first[set->n_corpora], found = 0;
    table t = {.set = set, .mask = 1023};
    while (t.mask < 2 * (uint64_t)n) t.mask = 2 * t.mask + 1;
    t.record = calloc(t.mask + 1, sizeof *t.record);
    if (!t.record) mdl_bug("out of memory for a table of %lld records", (long long)n);
    set->repeated = MDL_NEW_ARRAY(set->memory, uint64_t, n / 64 + 1);
    for (int c = 0; c < set->n_corpora; c++)
        for (int64_t k = 0, i = set->first[c]; k < set->corpora[c].n; k++, i++) {
            if (!seen(&t, i, mdl_corpus_at(&set->corpora[c], k)->hash)) continue;
            set->repeated[i / 64] |= (uint64_t)1 << (i % 64);
            found++;
        }
    free(t.record);
    return found;
}
