/* Masked-language-model targets, with the distribution of Hugging Face's DataCollatorForLanguageModeling. */
#ifndef MDL_DATA_MASK_H
#define MDL_DATA_MASK_H

#include "runtime/data/tokenizer.h"

enum { MDL_IGNORED_LABEL = -100 };

/* Probabilities as thresholds for 32 random bits, so that 1.0 means always. */
typedef struct {
    const mdl_tokenizer *tokenizer;
    uint64_t seed;
    uint64_t select, mask, replace; /* replace counts from 0: mask + random */
} mdl_masking;

/* probability: of a token to be selected; mask_fraction and random_fraction: of the selected ones to become <mask> and to become a
 * uniformly drawn id; the rest stays. MDL_USAGE: not probabilities, or their sum is over 1; MDL_BAD_INPUT: no mask token. */
mdl_status mdl_masking_make(const mdl_tokenizer *tokenizer, double probability, double mask_fraction, double random_fraction,
                            uint64_t seed, mdl_masking *masking);

/* Masks one sequence of n tokens in place. labels[i] becomes the original id where a token was selected, MDL_IGNORED_LABEL
 * elsewhere. The outcome at a position depends on (seed, epoch, sequence, position) only. Special tokens are never selected. */
void mdl_mask(const mdl_masking *masking, int64_t epoch, int64_t sequence, int64_t n, int32_t *ids, int32_t *labels);

#endif
