/* The fixtures of the data tests. */
#include "tests/data/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/random.h"

const char *const fixture_vocab =
    "<cls>\n<pad>\n<eos>\n<unk>\nL\nA\nG\nV\nS\nE\nR\nT\nI\nD\nP\nK\nQ\nN\nF\nY\nM\nH\nW\nC\nX\nB\nU\nZ\nO\n.\n-\n<null_1>\n<mask>"
    "\n";

void fixture_special(mdl_plan *plan, const char *name, int64_t id) {
    int i = 0;
    while (i < plan->specials.n && strcmp(plan->specials.at[i].name, name)) i++;
    if (id >= 0) {
        mdl_plan_dim special = {name, id};
        if (i == plan->specials.n)
            MDL_PUSH(plan->memory, plan->specials, special);
        else
            plan->specials.at[i] = special;
    } else if (i < plan->specials.n) {
        plan->specials.at[i] = plan->specials.at[--plan->specials.n];
    }
}

mdl_plan *fixture_plan(mdl_arena *arena, int64_t tokens, int64_t segments, const char *const *sources) {
    mdl_plan *plan = MDL_NEW(arena, mdl_plan);
    *plan = (mdl_plan){.memory = arena, .tokens = tokens, .segments = segments, .vocab = "assets/vocab.txt"};
    mdl_plan_file vocab = {.path = plan->vocab, .bytes = fixture_vocab, .size = (int64_t)strlen(fixture_vocab)};
    MDL_PUSH(arena, plan->files, vocab);
    for (; *sources; sources++) {
        mdl_plan_input input = {*sources, *sources, mdl_type_make(MDL_I32, 1, &tokens), 0, 0};
        if (!strcmp(*sources, "segments")) input.type = mdl_type_make(MDL_SEG, 2, (int64_t[]){segments, tokens});
        if (!strcmp(*sources, "scalar")) input.type = mdl_type_make(MDL_F32, 0, NULL);
        MDL_PUSH(arena, plan->inputs, input);
    }
    fixture_special(plan, "bos", FIX_BOS);
    fixture_special(plan, "eos", FIX_EOS);
    fixture_special(plan, "pad", FIX_PAD);
    fixture_special(plan, "unk", FIX_UNK);
    fixture_special(plan, "mask", FIX_MASK);
    return plan;
}

mdl_plan *fixture_masked_plan(mdl_arena *arena, int64_t tokens, int64_t segments) {
    return fixture_plan(arena, tokens, segments, (const char *const[]){"tokens", "scalar", "masked", "segments", NULL});
}

const char *fixture_path(mdl_test *t, mdl_arena *arena, const char *name) {
    return mdl_printf(arena, "%s/%s", mdl_test_scratch(t), name);
}

const char *fixture_file(mdl_test *t, mdl_arena *arena, const char *name, const char *text) {
    const char *path = fixture_path(t, arena, name);
    FILE *f = fopen(path, "wb");
    if (!f || fputs(text, f) < 0 || fclose(f)) abort();
    return path;
}

const char *fixture_fasta(mdl_test *t, mdl_arena *arena, const char *name, int n, int longest) {
    mdl_text text = {.arena = arena};
    for (int i = 0; i < n; i++) {
        int length = 1 + (int)mdl_random_below(mdl_random_at(1, MDL_RANDOM_CROP, 0, i, 0).word[0], longest);
        mdl_text_printf(&text, ">s%d\n", i);
        for (int k = 0; k < length; k++)
            mdl_text_append(&text, &"LAGVSERTIDPKQNFYMHWC"[mdl_random_at(2, MDL_RANDOM_CROP, 0, i, k).word[0] % 20], 1);
        mdl_text_append(&text, "\n", 1);
    }
    return fixture_file(t, arena, name, text.at);
}

mdl_loader_options fixture_options(const char *const *path) {
    return (mdl_loader_options){.data = {.files = path, .n_files = 1},
                                .mlm_probability = 0.15,
                                .mask_fraction = 0.8,
                                .random_fraction = 0.1,
                                .seed = 7,
                                .shuffle = true,
                                .micro_batches = 1};
}

mdl_corpus fixture_corpus(mdl_test *t, mdl_arena *arena, const char *path) {
    mdl_format_options options = {0};
    mdl_corpus corpus;
    const char *note;
    mdl_status status = mdl_corpus_open(path, &options, NULL, arena, &corpus, &note);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return corpus;
}

const char *fixture_message(mdl_test *t, mdl_arena *arena, mdl_status status) {
    mdl_text text = {.arena = arena};
    const char *message = status ? mdl_message(status) : "accepted";
    size_t folder = strlen(mdl_test_scratch(t));
    while (*message) {
        if (!strncmp(message, mdl_test_scratch(t), folder) && message[folder] == '/') message += folder + 1;
        mdl_text_append(&text, message++, 1);
    }
    mdl_status_free(status);
    return text.at;
}
