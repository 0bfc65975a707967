/* Any bytes as a plan's vocabulary: refused, or every letter has an id that it holds. */
#include <stdlib.h>

#include "runtime/data/tokenizer.h"
#include "tests/fuzz/fuzz.h"

int mdl_fuzz_vocabulary(const uint8_t *bytes, size_t size) {
    mdl_arena *memory = mdl_arena_new();
    mdl_plan_file file = {.path = "assets/vocab.txt", .bytes = (const char *)bytes, .size = (int64_t)size};
    mdl_plan_dim specials[] = {{"bos", 0}, {"pad", 1}, {"eos", 2}, {"unk", 3}, {"mask", 4}};
    mdl_plan plan = {.memory = memory, .vocab = file.path};
    plan.files.at = &file, plan.files.n = 1;
    plan.specials.at = specials, plan.specials.n = 5;
    mdl_tokenizer tokenizer;
    mdl_status status = mdl_tokenizer_open(&plan, memory, &tokenizer);
    int32_t ids[256 + 2];
    char letters[256];
    for (int i = 0; i < 256; i++) letters[i] = (char)i;
    int64_t n = status ? 0 : mdl_tokenize(&tokenizer, letters, 256, ids);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= tokenizer.vocab_size) abort();
    mdl_status_free(status);
    mdl_arena_free(memory);
    return 0;
}
