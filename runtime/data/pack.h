/* Sequences into one batch of T tokens: greedy, in order, without padding between them. */
#ifndef MDL_DATA_PACK_H
#define MDL_DATA_PACK_H

#include "runtime/data/columns.h"
#include "runtime/data/mask.h"
#include "runtime/data/walk.h"

typedef struct {
    const mdl_tokenizer *tokenizer;
    const mdl_masking *masking; /* NULL: tokens stay as they are */
    const mdl_columns *columns;
    int64_t tokens, segments; /* T, S */
    int64_t max_length;       /* of a sequence in tokens, bos and eos included; at most T */
    bool random_crop;
} mdl_packer;

/* Where a batch goes; every element is written. labels belong to masking; labels and next may be NULL. */
typedef struct {
    int32_t *ids;        /* [T] masked where masking says so; pad (0 without one) in the tail */
    int32_t *labels;     /* [T] the original id of selected tokens, -100 elsewhere */
    int32_t *next;       /* [T] the original id of the following token of the same sequence, -100 for the last and in the tail */
    int32_t *cu_seqlens; /* [S + 1] where each sequence begins; unused entries repeat the end of the last one */
    void **columns;      /* one for each of packer.columns: [S, width] f32, or bool for what is present; 0 where no sequence is */
    int64_t used, sequences; /* tokens that belong to a sequence; how many sequences */
} mdl_packed;

/* Tokens that a sequence of `residues` takes in a batch. */
int64_t mdl_packed_length(const mdl_packer *packer, int64_t residues);

/* Packs from where the walk is until the next sequence does not fit, S sequences are in or the walk ends; runs on into the next
 * epoch, so every sequence of an epoch is used once and no batch is short for the end of one. MDL_BAD_INPUT: a kept corpus is
 * damaged. */
mdl_status mdl_pack(const mdl_packer *packer, mdl_walk *walk, mdl_packed *batch);

#endif
