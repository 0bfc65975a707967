/* One counter-based draw a token: its words select, choose what happens, and give the random id. */
#include "runtime/data/mask.h"

#include "runtime/data/random.h"

static bool is_probability(double p) { return p >= 0.0 && p <= 1.0; }

static uint64_t threshold(double p) { return (uint64_t)(p * 4294967296.0 + 0.5); }

mdl_status mdl_masking_make(const mdl_tokenizer *tokenizer, double probability, double mask_fraction, double random_fraction,
                            uint64_t seed, mdl_masking *masking) {
    if (!is_probability(probability)) return mdl_fail(MDL_USAGE, "mlm_probability is %g; expected 0 to 1", probability);
    if (!is_probability(mask_fraction) || !is_probability(random_fraction) || mask_fraction + random_fraction > 1.0 + 1e-9)
        return mdl_fail(MDL_USAGE, "masked and random fractions are %g and %g; expected 0 to 1 each, and at most 1 together",
                        mask_fraction, random_fraction);
    if (tokenizer->mask < 0) return mdl_fail(MDL_BAD_INPUT, "the plan wants masked tokens, but its vocabulary has no mask token");
    *masking = (mdl_masking){.tokenizer = tokenizer,
                             .seed = seed,
                             .select = threshold(probability),
                             .mask = threshold(mask_fraction),
                             .replace = threshold(mask_fraction + random_fraction)};
    return MDL_OK;
}

static int32_t replacement(const mdl_masking *masking, const mdl_random *draw, int32_t id) {
    if (draw->word[1] < masking->mask) return masking->tokenizer->mask;
    if (draw->word[1] < masking->replace) return (int32_t)mdl_random_below(draw->word[2], masking->tokenizer->vocab_size);
    return id;
}

void mdl_mask(const mdl_masking *masking, int64_t epoch, int64_t sequence, int64_t n, int32_t *ids, int32_t *labels) {
    for (int64_t i = 0; i < n; i++) {
        labels[i] = MDL_IGNORED_LABEL;
        if (masking->tokenizer->special[ids[i]]) continue;
        mdl_random draw = mdl_random_at(masking->seed, MDL_RANDOM_MASK, epoch, sequence, i);
        if (draw.word[0] >= masking->select) continue;
        labels[i] = ids[i];
        ids[i] = replacement(masking, &draw, ids[i]);
    }
}
