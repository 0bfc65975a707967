/* One pass over the records in the order of files for counts, one in a shuffled order for packing. */
#include "runtime/data/summary.h"

#include <stdlib.h>

#include "runtime/data/walk.h"

int64_t mdl_length_bin_start(int bin) { return !bin ? 1 : (bin % 2 ? 16 : 24) * ((int64_t)1 << (bin - 1) / 2); }

static int bin_of(int64_t length) {
    int bin = 0;
    while (bin + 1 < MDL_LENGTH_BINS && length >= mdl_length_bin_start(bin + 1)) bin++;
    return bin;
}

static void add_file(const mdl_corpus *c, mdl_data_summary *s) {
    const mdl_corpus_facts *f = &c->head->facts;
    s->sequences += f->records;
    s->residues += f->residues;
    s->empty += f->empty;
    s->comments += f->comments;
    s->stops += f->stops;
    if (!s->shortest || f->shortest < s->shortest) s->shortest = f->shortest;
    if (f->longest > s->longest) s->longest = f->longest;
    for (int i = 0; i < 256; i++) s->letter[i] += f->letter[i];
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void count_lengths(const mdl_dataset *set, mdl_data_summary *s) {
    uint32_t *length = malloc((size_t)s->sequences * sizeof *length), *to = length;
    if (!length) mdl_bug("out of memory for %lld lengths", (long long)s->sequences);
    for (int c = 0; c < set->n_corpora; c++)
        for (int64_t i = 0; i < set->corpora[c].n; i++) {
            *to++ = mdl_corpus_at(&set->corpora[c], i)->length;
            s->bin[bin_of(to[-1])]++;
        }
    qsort(length, (size_t)s->sequences, sizeof *length, ascending);
    s->median = length[s->sequences / 2];
    free(length);
}

/* As the packer does: greedily, in order. */
static void pack(const mdl_dataset *set, const mdl_packing_plan *p, mdl_data_summary *s) {
    mdl_walk walk = {.set = set, .shuffle = true, .once = true};
    int64_t used = 0, sequences = 0, closed = 0;
    for (mdl_found found; mdl_walk_find(&walk, &found); mdl_walk_pass(&walk)) {
        int64_t length = found.record->length + p->added;
        s->cut += length > p->max_length;
        if (length > p->max_length) length = p->max_length;
        if (used + length > p->tokens || (p->segments && sequences == p->segments)) {
            s->batches++;
            closed += used;
            used = sequences = 0;
        }
        used += length;
        s->packed += length;
        sequences++;
    }
    s->full = s->batches ? (double)closed / ((double)s->batches * (double)p->tokens) : (double)used / (double)p->tokens;
    s->batches++;
}

void mdl_data_summarize(mdl_dataset *set, const mdl_packing_plan *packing, mdl_data_summary *summary) {
    *summary = (mdl_data_summary){0};
    for (int c = 0; c < set->n_corpora; c++) add_file(&set->corpora[c], summary);
    count_lengths(set, summary);
    pack(set, packing, summary);
    summary->repeats = mdl_dataset_find_repeats(set);
}
