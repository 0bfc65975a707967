/* Sequences into one batch of T tokens: greedy, in order, without padding between them. */
#ifndef MDL_DATA_PACK_H
#define MDL_DATA_PACK_H

#include "runtime/data/fasta.h"
#include "runtime/data/loader.h"
#include "runtime/data/mask.h"

typedef struct {
    const mdl_sequences *data;
    const mdl_tokenizer *tokenizer;
    const mdl_masking *masking; /* NULL: tokens stay as they are */
    int64_t tokens, segments;   /* T, S */
    int64_t max_length;         /* of a sequence in tokens, bos and eos included; at most T */
    uint64_t seed;
    bool shuffle, random_crop;
} mdl_packer;

/* Where a batch goes; every element is written. labels belong to masking; labels and next may be NULL. */
typedef struct {
    int32_t *ids;        /* [T] masked where masking says so; pad (0 without one) in the tail */
    int32_t *labels;     /* [T] the original id of selected tokens, -100 elsewhere */
    int32_t *next;       /* [T] the original id of the following token of the same sequence, -100 for the last and in the tail */
    int32_t *cu_seqlens; /* [S + 1] where each sequence begins; unused entries repeat the end of the last one */
    int64_t used, sequences; /* tokens that belong to a sequence; how many sequences */
} mdl_packed;

/* Tokens that a sequence of `residues` takes in a batch. */
int64_t mdl_packed_length(const mdl_packer *packer, int64_t residues);

/* Packs from `at` until the next sequence does not fit or S sequences are in; runs on into the next epoch, so every sequence of an
 * epoch is used once and no batch is short for the end of one. Returns the position after the batch. */
mdl_data_position mdl_pack(const mdl_packer *packer, mdl_data_position at, mdl_packed *batch);

#endif
