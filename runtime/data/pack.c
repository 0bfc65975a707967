/* Packing: mask first, then lay flat. The tail belongs to no sequence. */
#include "runtime/data/pack.h"

#include <inttypes.h>

#include "runtime/data/random.h"

typedef struct {
    const char *residues;
    int64_t n; /* after truncation */
} piece;

int64_t mdl_packed_length(const mdl_packer *packer, int64_t residues) {
    int64_t length = residues + mdl_tokenizer_added(packer->tokenizer);
    return length < packer->max_length ? length : packer->max_length;
}

static piece cut(const mdl_packer *packer, uint64_t seed, const mdl_found *found) {
    int64_t start = found->record->start, length = found->record->length;
    int64_t kept = mdl_packed_length(packer, length) - mdl_tokenizer_added(packer->tokenizer);
    if (packer->random_crop && kept < length) {
        mdl_random draw = mdl_random_at(seed, MDL_RANDOM_CROP, found->epoch, found->sequence, 0);
        start += mdl_random_below(draw.word[0], length - kept + 1);
    }
    return (piece){found->corpus->residues + start, kept};
}

static void append(const mdl_packer *packer, const mdl_found *found, piece p, mdl_packed *batch) {
    int32_t *ids = batch->ids + batch->used;
    int64_t n = mdl_tokenize(packer->tokenizer, p.residues, p.n, ids);
    if (batch->next) {
        int32_t *next = batch->next + batch->used;
        for (int64_t i = 0; i + 1 < n; i++) next[i] = ids[i + 1];
        next[n - 1] = MDL_IGNORED_LABEL;
    }
    if (packer->masking) mdl_mask(packer->masking, found->epoch, found->sequence, n, ids, batch->labels + batch->used);
    for (int c = 0; c < packer->columns->n; c++)
        mdl_columns_write(&packer->columns->at[c], found->record, batch->sequences, batch->columns[c]);
    batch->cu_seqlens[batch->sequences++] = (int32_t)batch->used;
    batch->used += n;
}

static void fill_tail(const mdl_packer *packer, mdl_packed *batch) {
    int32_t pad = packer->tokenizer->pad < 0 ? 0 : packer->tokenizer->pad;
    for (int64_t i = batch->used; i < packer->tokens; i++) {
        batch->ids[i] = pad;
        if (batch->labels) batch->labels[i] = MDL_IGNORED_LABEL;
        if (batch->next) batch->next[i] = MDL_IGNORED_LABEL;
    }
    for (int64_t i = batch->sequences; i <= packer->segments; i++) batch->cu_seqlens[i] = (int32_t)batch->used;
    for (int c = 0; c < packer->columns->n; c++)
        for (int64_t i = batch->sequences; i < packer->segments; i++)
            mdl_columns_write(&packer->columns->at[c], NULL, i, batch->columns[c]);
}

/* What a disk has changed since the corpus was made must not be trained on. */
static mdl_status check_residues(const mdl_found *found) {
    const mdl_record *r = found->record;
    if (mdl_corpus_hash(found->corpus->residues + r->start, r->length) == r->hash) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT,
                    "%s: what is kept of its record at %s %" PRId64 " is damaged: remove the file with the ending .mdldata",
                    found->corpus->path, found->corpus->unit, r->line);
}

mdl_status mdl_pack(const mdl_packer *packer, mdl_walk *walk, mdl_packed *batch) {
    mdl_found found;
    mdl_status status = MDL_OK;
    batch->used = batch->sequences = 0;
    while (batch->sequences < packer->segments && mdl_walk_find(walk, &found)) {
        piece p = cut(packer, walk->seed, &found);
        if (batch->used + p.n + mdl_tokenizer_added(packer->tokenizer) > packer->tokens) break;
        status = check_residues(&found);
        if (status) break;
        append(packer, &found, p, batch);
        mdl_walk_pass(walk);
    }
    fill_tail(packer, batch);
    return status;
}
