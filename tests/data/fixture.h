/* What the data tests share: a plan built in memory, files in the scratch folder, a seeded protein set. */
#ifndef MDL_TESTS_DATA_FIXTURE_H
#define MDL_TESTS_DATA_FIXTURE_H

#include "runtime/data/corpus.h"
#include "runtime/data/loader.h"
#include "tests/check.h"

/* 33 tokens with residues, ambiguity codes, gaps and null tokens; specials bos 0, pad 1, eos 2, unk 3, mask 32. */
extern const char *const fixture_vocab;
enum { FIX_BOS = 0, FIX_PAD = 1, FIX_EOS = 2, FIX_UNK = 3, FIX_MASK = 32, FIX_VOCAB = 33 };

/* A plan of T tokens and S sequences with inputs named after their sources; sources end with NULL. No max_length. */
mdl_plan *fixture_plan(mdl_arena *arena, int64_t tokens, int64_t segments, const char *const *sources);
mdl_plan *fixture_masked_plan(mdl_arena *arena, int64_t tokens, int64_t segments); /* tokens, lr (a scalar), masked, segments */
void fixture_special(mdl_plan *plan, const char *name, int64_t id); /* sets, adds, or with -1 removes a special token */

const char *fixture_path(mdl_test *t, mdl_arena *arena, const char *name);
const char *fixture_file(mdl_test *t, mdl_arena *arena, const char *name, const char *text);
/* n random sequences of 1 to `longest` residues, as FASTA. */
const char *fixture_fasta(mdl_test *t, mdl_arena *arena, const char *name, int n, int longest);

/* One file, HF's masking, seed 7, shuffled, one micro-batch; `path` must outlive the options. */
mdl_loader_options fixture_options(const char *const *path);

/* What a file holds, by the format that its name says; a failed check if that cannot be had. Close it. */
mdl_corpus fixture_corpus(mdl_test *t, mdl_arena *arena, const char *path);

/* A message without the scratch folder, and its status freed; "accepted" for success. */
const char *fixture_message(mdl_test *t, mdl_arena *arena, mdl_status status);

#endif
