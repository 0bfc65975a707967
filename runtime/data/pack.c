/* Packing: mask first, then lay flat. The tail belongs to no sequence. */
#include "runtime/data/pack.h"

#include "runtime/data/random.h"
#include "runtime/data/shuffle.h"

typedef struct {
    const char *residues;
    int64_t n, index; /* residues after truncation; index in the data set */
} piece;

int64_t mdl_packed_length(const mdl_packer *packer, int64_t residues) {
    int64_t length = residues + mdl_tokenizer_added(packer->tokenizer);
    return length < packer->max_length ? length : packer->max_length;
}

static piece choose(const mdl_packer *packer, const mdl_shuffle *order, mdl_data_position at) {
    int64_t index = packer->shuffle ? mdl_shuffle_at(order, at.next) : at.next;
    int64_t start = packer->data->start[index], length = packer->data->start[index + 1] - start;
    int64_t kept = mdl_packed_length(packer, length) - mdl_tokenizer_added(packer->tokenizer);
    if (packer->random_crop && kept < length) {
        mdl_random draw = mdl_random_at(packer->seed, MDL_RANDOM_CROP, at.epoch, index, 0);
        start += mdl_random_below(draw.word[0], length - kept + 1);
    }
    return (piece){packer->data->text + start, kept, index};
}

static void append(const mdl_packer *packer, const piece *p, int64_t epoch, mdl_packed *batch) {
    int32_t *ids = batch->ids + batch->used;
    int64_t n = mdl_tokenize(packer->tokenizer, p->residues, p->n, ids);
    if (batch->next) {
        int32_t *next = batch->next + batch->used;
        for (int64_t i = 0; i + 1 < n; i++) next[i] = ids[i + 1];
        next[n - 1] = MDL_IGNORED_LABEL;
    }
    if (packer->masking) mdl_mask(packer->masking, epoch, p->index, n, ids, batch->labels + batch->used);
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
}

mdl_data_position mdl_pack(const mdl_packer *packer, mdl_data_position at, mdl_packed *batch) {
    mdl_shuffle order = mdl_shuffle_make(packer->data->n, packer->seed, at.epoch);
    batch->used = batch->sequences = 0;
    while (batch->sequences < packer->segments) {
        piece p = choose(packer, &order, at);
        if (batch->used + p.n + mdl_tokenizer_added(packer->tokenizer) > packer->tokens) break;
        append(packer, &p, at.epoch, batch);
        if (++at.next < packer->data->n) continue;
        at = (mdl_data_position){at.epoch + 1, 0};
        order = mdl_shuffle_make(packer->data->n, packer->seed, at.epoch);
    }
    fill_tail(packer, batch);
    return at;
}
