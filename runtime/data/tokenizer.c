/* Vocabulary text to tables by byte. */
#include "runtime/data/tokenizer.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

static mdl_status add_token(mdl_tokenizer *t, const char *token, size_t length) {
    unsigned char c = (unsigned char)token[0];
    if (!length) return mdl_fail(MDL_BAD_INPUT, "line %d is empty; expected one token a line", t->vocab_size + 1);
    if (length == 1) {
        if (t->known[c]) return mdl_fail(MDL_BAD_INPUT, "line %d: the token \"%c\" occurs twice", t->vocab_size + 1, c);
        t->known[c] = true;
        t->id[c] = t->vocab_size;
    }
    t->vocab_size++;
    return MDL_OK;
}

static mdl_status read_vocabulary(mdl_tokenizer *t, const mdl_plan_file *file) {
    const char *at = file->bytes, *end = at + file->size;
    mdl_status status = MDL_OK;
    while (at < end && !status) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        status = add_token(t, at, length && at[length - 1] == '\r' ? length - 1 : length);
        at = newline ? newline + 1 : end;
    }
    if (!status && !t->vocab_size) status = mdl_fail(MDL_BAD_INPUT, "it has no tokens");
    return status;
}

static mdl_status read_specials(mdl_tokenizer *t, const mdl_plan *plan, mdl_arena *arena) {
    const struct {
        const char *name;
        int32_t *id;
    } named[] = {{"bos", &t->bos}, {"eos", &t->eos}, {"pad", &t->pad}, {"unk", &t->unk}, {"mask", &t->mask}};
    bool *special = MDL_NEW_ARRAY(arena, bool, t->vocab_size);
    for (int i = 0; i < plan->specials.n; i++) {
        const mdl_plan_dim *s = &plan->specials.at[i];
        if (s->value < 0 || s->value >= t->vocab_size)
            return mdl_fail(MDL_BAD_INPUT, "special token \"%s\" has id %" PRId64 "; the vocabulary has %d tokens", s->name,
                            s->value, t->vocab_size);
        special[s->value] = true;
        for (size_t k = 0; k < sizeof named / sizeof *named; k++)
            if (!strcmp(named[k].name, s->name)) *named[k].id = (int32_t)s->value;
    }
    t->special = special;
    return MDL_OK;
}

static void fold_case(mdl_tokenizer *t) {
    for (int c = 'a'; c <= 'z'; c++) {
        if (t->known[c] || !t->known[toupper(c)]) continue;
        t->id[c] = t->id[toupper(c)];
        t->known[c] = t->lower[c] = true;
    }
    for (int c = 0; c < 256; c++)
        if (!t->known[c]) t->id[c] = t->unk;
}

mdl_status mdl_tokenizer_open(const mdl_plan *plan, mdl_arena *arena, mdl_tokenizer *tokenizer) {
    *tokenizer = (mdl_tokenizer){.bos = -1, .eos = -1, .pad = -1, .unk = -1, .mask = -1};
    const mdl_plan_file *file = plan->vocab ? mdl_plan_find_file(plan, plan->vocab) : NULL;
    if (!file) return mdl_fail(MDL_BAD_INPUT, "the plan has no vocabulary, so sequences cannot become tokens");
    MDL_TRY(read_vocabulary(tokenizer, file), "vocabulary %s", plan->vocab);
    MDL_TRY(read_specials(tokenizer, plan, arena), "vocabulary %s", plan->vocab);
    fold_case(tokenizer);
    return MDL_OK;
}

int mdl_tokenizer_added(const mdl_tokenizer *tokenizer) { return (tokenizer->bos >= 0) + (tokenizer->eos >= 0); }

int64_t mdl_tokenize(const mdl_tokenizer *tokenizer, const char *residues, int64_t n, int32_t *ids) {
    int32_t *at = ids;
    if (tokenizer->bos >= 0) *at++ = tokenizer->bos;
    for (int64_t i = 0; i < n; i++) *at++ = tokenizer->id[(unsigned char)residues[i]];
    if (tokenizer->eos >= 0) *at++ = tokenizer->eos;
    return at - ids;
}
