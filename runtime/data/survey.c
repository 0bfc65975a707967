/* Letters are counted in the corpora; what depends on options is counted here, record by record, without touching residues. */
#include "runtime/data/survey.h"

#include <inttypes.h>
#include <math.h>
#include <xxhash.h>

/* Letters, of the whole file: those that are left out were counted too. */
static mdl_status survey_letters(const mdl_corpus *c, const mdl_tokenizer *t, mdl_data_facts *facts) {
    const mdl_corpus_facts *f = &c->head->facts;
    int64_t unknown = 0;
    for (int letter = 0; letter < 256; letter++) {
        if (t->lower[letter]) facts->lower_case += f->letter[letter];
        if (t->known[letter] || !f->letter[letter]) continue;
        if (t->unk < 0)
            return mdl_fail(MDL_BAD_INPUT, "%s %" PRId64 ": residue '%c' is not in the vocabulary, which has no unknown token",
                            c->unit, f->letter_line[letter], letter);
        unknown += f->letter[letter];
    }
    facts->unknown += unknown;
    facts->empty += f->empty;
    facts->comments += f->comments;
    facts->stops += f->stops;
    if (unknown < f->residues) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT,
                    "%s %" PRId64 ": none of its %" PRId64 " residues is in the vocabulary: nothing can be predicted", c->unit,
                    mdl_corpus_at(c, 0)->line, f->residues);
}

static mdl_status check_numbers(const char *unit, const mdl_record *r, const mdl_columns *columns, const char *const *names) {
    for (int k = 0; k < columns->n_columns; k++)
        if (isnan(r->number[k]) && !columns->may_miss[k])
            return mdl_fail(MDL_BAD_INPUT,
                            "%s %" PRId64 ": column \"%s\" has no number, and the model no input from(\"present\") to be told so",
                            unit, r->line, names[k]);
    return MDL_OK;
}

static mdl_status survey_records(const mdl_dataset *set, int corpus, const mdl_packer *packer, const char *const *names,
                                 mdl_data_facts *facts) {
    const mdl_corpus *c = &set->corpora[corpus];
    mdl_status status = MDL_OK;
    for (int64_t k = 0; k < c->n && !status; k++) {
        const mdl_record *r = mdl_corpus_at(c, k);
        if (!mdl_dataset_has(set, set->first[corpus] + k, r)) continue;
        status = check_numbers(c->unit, r, packer->columns, names);
        facts->sequences++;
        facts->residues += r->length;
        facts->truncated += r->length + mdl_tokenizer_added(packer->tokenizer) > packer->max_length;
    }
    return status;
}

/* Walking a source without a record would never end. */
static mdl_status check_sources(const mdl_dataset *set) {
    for (int s = 0; s < set->n_sources; s++) {
        const mdl_data_source *source = &set->source[s];
        const mdl_corpus *c = NULL;
        int64_t i = source->first, end = i + source->n;
        while (i < end && !mdl_dataset_has(set, i, mdl_dataset_at(set, i, &c))) i++;
        if (i == end)
            return mdl_fail(MDL_BAD_INPUT,
                            "%s: none of %" PRId64 " records is left by min_seq_length, deduplicate and the validation split",
                            c->path, source->n);
    }
    return MDL_OK;
}

/* What has no effect does not count: a limit that no sequence reaches, masks of a model that takes none. */
static uint64_t examples(const mdl_packer *packer, const mdl_data_facts *facts) {
    const mdl_masking none = {0}, *m = packer->masking ? packer->masking : &none;
    uint64_t limit = facts->truncated ? (uint64_t)packer->max_length : 0, crop = facts->truncated && packer->random_crop;
    uint64_t of[] = {facts->fingerprint, limit, crop, m->seed, m->select, m->mask, m->replace};
    return XXH3_64bits(of, sizeof of);
}

mdl_status mdl_survey(const mdl_dataset *set, const mdl_packer *packer, const char *const *names, mdl_data_facts *facts) {
    *facts = (mdl_data_facts){.fingerprint = mdl_dataset_fingerprint(set), .notes = set->notes, .sources = set->n_sources};
    for (int c = 0; c < set->n_corpora; c++) {
        MDL_TRY(survey_letters(&set->corpora[c], packer->tokenizer, facts), "%s", set->corpora[c].path);
        MDL_TRY(survey_records(set, c, packer, names, facts), "%s", set->corpora[c].path);
    }
    facts->left_out = set->first[set->n_corpora] - facts->sequences;
    facts->examples = examples(packer, facts);
    return check_sources(set);
}
