/* Finding a record, and who belongs. */
#include "runtime/data/dataset.h"

#include <xxhash.h>

void mdl_dataset_close(mdl_dataset *set) {
    for (int i = 0; i < set->n_corpora; i++) mdl_corpus_close(&set->corpora[i]);
    set->n_corpora = 0;
}

const mdl_record *mdl_dataset_at(const mdl_dataset *set, int64_t i, const mdl_corpus **corpus) {
    int low = 0, high = set->n_corpora; /* first[low] <= i < first[high] */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (set->first[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    *corpus = &set->corpora[low];
    return mdl_corpus_at(*corpus, i - set->first[low]);
}

/* The hash is uniform, and so are its upper 53 bits as a number below 1. */
static bool is_set_aside(uint64_t hash, double fraction) { return (double)(hash >> 11) * 0x1p-53 < fraction; }

bool mdl_dataset_has(const mdl_dataset *set, int64_t i, const mdl_record *record) {
    const mdl_dataset_options *o = &set->options;
    if (record->length < o->min_residues) return false;
    if (is_set_aside(record->hash, o->validation_fraction) != o->validation) return false;
    return !set->repeated || !(set->repeated[i / 64] >> (i % 64) & 1);
}

uint64_t mdl_dataset_fingerprint(const mdl_dataset *set) {
    const mdl_dataset_options *o = &set->options;
    double chosen[] = {(double)o->min_residues, o->validation_fraction, o->validation, o->deduplicate};
    uint64_t hash = XXH3_64bits(chosen, sizeof chosen);
    for (int i = 0; i < set->n_corpora; i++) hash = XXH3_64bits_withSeed(&set->corpora[i].head->rows_hash, sizeof(uint64_t), hash);
    for (int i = 0; i < set->n_sources; i++) {
        uint64_t range[] = {(uint64_t)set->source[i].n, set->source[i].below};
        hash = XXH3_64bits_withSeed(range, sizeof range, hash);
    }
    return hash;
}
