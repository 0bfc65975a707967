/* From residues to token ids. A vocabulary is a text with one token a line, its id the line's number from 0; tokens of one
 * character are residues, the special ones come from the plan. */
#ifndef MDL_DATA_TOKENIZER_H
#define MDL_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/plan/plan.h"

typedef struct {
    int32_t vocab_size;
    int32_t bos, eos, pad, unk, mask; /* -1: the vocabulary has none, and none is added */
    const bool *special;              /* [vocab_size] ids that are never masked: every special of the plan */
    int32_t id[256];                  /* of a residue; unk when unknown */
    bool known[256], lower[256];      /* lower: known only once upper-cased */
} mdl_tokenizer;

/* Reads the plan's vocabulary and special ids; memory comes from `arena`. MDL_BAD_INPUT: no vocabulary, two equal residues, a
 * special id outside the vocabulary. */
mdl_status mdl_tokenizer_open(const mdl_plan *plan, mdl_arena *arena, mdl_tokenizer *tokenizer);

/* Tokens that are added to a sequence: bos and eos, as far as they exist. */
int mdl_tokenizer_added(const mdl_tokenizer *tokenizer);

/* Writes bos, the ids of n residues, eos; returns their number. Lower-case residues count as upper-case ones unless the vocabulary
 * tells them apart; unknown ones become unk. */
int64_t mdl_tokenize(const mdl_tokenizer *tokenizer, const char *residues, int64_t n, int32_t *ids);

#endif
