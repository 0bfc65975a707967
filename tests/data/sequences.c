/* Suite `data`: random numbers, shuffles, the tokenizer. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/random.h"
#include "runtime/data/shuffle.h"
#include "runtime/data/tokenizer.h"
#include "tests/data/fixture.h"

static void philox(mdl_test *t) {
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    mdl_case(t, "philox: the published vectors");
    for (int i = 0; i < 3; i++) {
        mdl_random draw = mdl_philox_words(known[i].counter, known[i].key);
        CHECK(t, !memcmp(draw.word, known[i].expected, sizeof draw.word), "vector %d gives %08x ...", i, draw.word[0]);
    }
    mdl_case(t, "random: every coordinate of a draw matters");
    uint32_t base = mdl_random_at(1, MDL_RANDOM_MASK, 2, 3, 4).word[0];
    CHECK(t, base != mdl_random_at(1 + (1ull << 32), MDL_RANDOM_MASK, 2, 3, 4).word[0], "upper half of the seed");
    CHECK(t, base != mdl_random_at(1, MDL_RANDOM_CROP, 2, 3, 4).word[0], "use");
    CHECK(t, base != mdl_random_at(1, MDL_RANDOM_MASK, 3, 3, 4).word[0], "epoch");
    CHECK(t, base != mdl_random_at(1, MDL_RANDOM_MASK, 2, 3 + (1ll << 32), 4).word[0], "upper half of the sequence");
    CHECK(t, base != mdl_random_at(1, MDL_RANDOM_MASK, 2, 3, 5).word[0], "position");
}

static bool is_permutation(const mdl_shuffle *shuffle) {
    bool *seen = calloc((size_t)shuffle->n, sizeof *seen), ok = true;
    for (int64_t i = 0; ok && i < shuffle->n; i++) {
        int64_t at = mdl_shuffle_at(shuffle, i);
        ok = at >= 0 && at < shuffle->n && !seen[at];
        if (ok) seen[at] = true;
    }
    free(seen);
    return ok;
}

/* How many of the first 100 indices two shuffles agree on; two random permutations of 10,000 agree on 0.01 of them. */
static int agreement(mdl_shuffle a, mdl_shuffle b) {
    int n = 0;
    for (int64_t i = 0; i < 100; i++) n += mdl_shuffle_at(&a, i) == mdl_shuffle_at(&b, i);
    return n;
}

static void shuffles(mdl_test *t) {
    mdl_case(t, "shuffle: a permutation for every size");
    for (int64_t n = 1; n < 5000; n += n < 70 ? 1 : 997) {
        mdl_shuffle shuffle = mdl_shuffle_make(n, 3, n);
        CHECK(t, is_permutation(&shuffle), "not one for n = %" PRId64, n);
    }
    mdl_case(t, "shuffle: epochs and seeds differ, the same again is the same");
    mdl_shuffle one = mdl_shuffle_make(10000, 1, 0);
    CHECK(t, agreement(one, mdl_shuffle_make(10000, 1, 0)) == 100, "the same shuffle differs");
    CHECK(t, agreement(one, mdl_shuffle_make(10000, 1, 1)) < 4, "epoch 1 repeats epoch 0");
    CHECK(t, agreement(one, mdl_shuffle_make(10000, 2, 0)) < 4, "seed 2 repeats seed 1");
    mdl_case(t, "shuffle: where an element goes, and what follows it, is uniform over epochs");
    int place[10] = {0}, step[10] = {0};
    for (int64_t epoch = 0; epoch < 10000; epoch++) {
        mdl_shuffle shuffle = mdl_shuffle_make(10, 5, epoch);
        place[mdl_shuffle_at(&shuffle, 3)]++;
        step[(mdl_shuffle_at(&shuffle, 8) - mdl_shuffle_at(&shuffle, 7) + 10) % 10]++;
    }
    for (int i = 0; i < 10; i++) { /* 5 standard deviations: sqrt(10000 * 0.1 * 0.9) = 30, sqrt(10000 / 9 * 8 / 9) = 32 */
        CHECK(t, abs(place[i] - 1000) < 150, "index 3 goes to %d %d times, expected 1000", i, place[i]);
        CHECK(t, i ? abs(step[i] - 1111) < 160 : step[i] == 0, "a step of %d occurs %d times, expected 1111", i, step[i]);
    }
}

static void tokenizer(mdl_test *t, mdl_arena *arena) {
    mdl_plan *plan = fixture_plan(arena, 8, 8, (const char *const[]){NULL});
    mdl_tokenizer k;
    int32_t ids[8];
    mdl_case(t, "tokenizer: specials around, case folded, unknown residues");
    mdl_status status = mdl_tokenizer_open(plan, arena, &k);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    const int32_t expected[] = {FIX_BOS, 4, 23, 4, FIX_UNK, 30, FIX_UNK, FIX_EOS};
    CHECK(t, mdl_tokenize(&k, "LCl*-J", 6, ids) == 8 && !memcmp(ids, expected, sizeof ids), "LCl*-J gives %d %d %d %d %d %d",
          ids[1], ids[2], ids[3], ids[4], ids[5], ids[6]);
    CHECK(t, k.lower['l'] && !k.lower['L'] && !k.known['*'] && k.vocab_size == FIX_VOCAB, "tables");
    mdl_case(t, "tokenizer: no bos and no eos adds none; a vocabulary that tells cases apart; CR LF");
    fixture_special(plan, "bos", -1);
    fixture_special(plan, "eos", -1);
    plan->files.at[0] = (mdl_plan_file){.path = plan->vocab, .bytes = "<pad>\r\nA\r\na\r\n<mask>", .size = 20};
    fixture_special(plan, "pad", 0);
    fixture_special(plan, "mask", 3);
    fixture_special(plan, "unk", 0);
    status = mdl_tokenizer_open(plan, arena, &k);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    CHECK(t, mdl_tokenize(&k, "aA", 2, ids) == 2 && ids[0] == 2 && ids[1] == 1 && k.vocab_size == 4, "aA gives %d %d", ids[0],
          ids[1]);
}

static void tokenizer_malformed(mdl_test *t, mdl_arena *arena) {
    static const struct {
        const char *about, *text;
    } cases[] = {{"special outside", "A\nB\n"}, {"twice", "A\nB\nA\n"}, {"empty line", "A\n\nB\n"}, {"empty file", ""}};
    mdl_text text = {.arena = arena};
    mdl_tokenizer k;
    if (!mdl_case(t, "tokenizer: malformed vocabularies, one message each")) return;
    mdl_plan *plan = fixture_plan(arena, 8, 8, (const char *const[]){NULL});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plan->files.at[0] = (mdl_plan_file){.path = plan->vocab, .bytes = cases[i].text, .size = (int64_t)strlen(cases[i].text)};
        mdl_text_printf(&text, "%s\n    %s\n", cases[i].about, fixture_message(t, arena, mdl_tokenizer_open(plan, arena, &k)));
    }
    plan->vocab = NULL;
    mdl_text_printf(&text, "none\n    %s\n", fixture_message(t, arena, mdl_tokenizer_open(plan, arena, &k)));
    mdl_golden(t, "data/vocab.txt", text.at);
}

void suite_data(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    philox(t);
    shuffles(t);
    tokenizer(t, arena);
    tokenizer_malformed(t, arena);
    mdl_arena_free(arena);
}
