/* Suite `batches`: masking statistics, packing invariants, what the loader gives and that it gives it again. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/loader.h"
#include "runtime/data/mask.h"
#include "runtime/data/random.h"
#include "runtime/data/shuffle.h"
#include "tests/data/fixture.h"

enum { IN_TOKENS, IN_SCALAR, IN_MASKED, IN_SEGMENTS }; /* of fixture_masked_plan */

static const int32_t *input(const mdl_batch *batch, int i) { return batch->input[i]; }

static mdl_loader *open_or_fail(mdl_test *t, const mdl_plan *plan, const mdl_loader_options *options) {
    mdl_loader *loader = NULL;
    mdl_status status = mdl_loader_open(plan, options, &loader);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return loader;
}

static const mdl_batch *next_step(mdl_test *t, mdl_loader *loader, mdl_data_position *position, double *epoch) {
    const mdl_batch *batches = NULL;
    mdl_status status = mdl_loader_next(loader, &batches, position, epoch);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return batches;
}

static mdl_data_position place(int64_t epoch, int64_t next) { return (mdl_data_position){0, {{epoch, next}}}; }

static void seek(mdl_test *t, mdl_loader *loader, mdl_data_position position) {
    mdl_status status = mdl_loader_seek(loader, position);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* A count of successes in n trials of probability p, within 5 standard deviations: a right one fails once in 1.7 million. */
static void expect(mdl_test *t, const char *what, int64_t count, int64_t n, double p) {
    double deviation = ((double)count - (double)n * p) / sqrt((double)n * p * (1 - p));
    CHECK(t, fabs(deviation) < 5, "%s: %" PRId64 " of %" PRId64 ", expected %g: %.1f standard deviations off", what, count, n, p,
          deviation);
}

typedef struct {
    int64_t plain, selected, masked, kept, other[FIX_VOCAB], others, wrong;
} mask_counts;

static void count_masks(mask_counts *c, int64_t n, const int32_t *before, const int32_t *ids, const int32_t *labels) {
    for (int64_t i = 0; i < n; i++) {
        bool special = before[i] <= FIX_UNK || before[i] == FIX_MASK, chosen = labels[i] != MDL_IGNORED_LABEL;
        c->wrong += (special || !chosen) ? chosen || ids[i] != before[i] : labels[i] != before[i];
        c->plain += !special;
        if (!chosen) continue;
        c->selected++;
        c->masked += ids[i] == FIX_MASK;
        c->kept += ids[i] == before[i];
        if (ids[i] == FIX_MASK || ids[i] == before[i]) continue;
        c->other[ids[i]]++;
        c->others++;
    }
}

static void mask_statistics(mdl_test *t, mdl_arena *arena) {
    enum { N = 1000, SEQUENCES = 3000 }; /* a probability that is off by 1 % is seen */
    mdl_tokenizer tokenizer;
    mdl_masking masking;
    int32_t ids[N], before[N], labels[N];
    mask_counts c = {0};
    mdl_case(t, "mask: 15 %% selected; of these 80 %% masked, 10 %% uniform over all ids, 10 %% kept; specials never");
    mdl_status status = mdl_tokenizer_open(fixture_masked_plan(arena, N, 1), arena, &tokenizer);
    if (!status) status = mdl_masking_make(&tokenizer, 0.15, 0.8, 0.1, 11, &masking);
    CHECK(t, !status, "%s", mdl_message(status));
    for (int s = 0; s < SEQUENCES; s++) {
        for (int i = 0; i < N; i++) before[i] = ids[i] = (i * 7 + s) % FIX_VOCAB; /* every id, specials and X B U Z O . - too */
        mdl_mask(&masking, 0, s, N, ids, labels);
        count_masks(&c, N, before, ids, labels);
    }
    CHECK(t, !c.wrong, "%" PRId64 " tokens are special and selected, changed though not selected, or have a wrong label", c.wrong);
    expect(t, "selected", c.selected, c.plain, 0.15);
    expect(t, "masked", c.masked, c.selected, 0.8 + 0.1 / FIX_VOCAB); /* a random id may be <mask>, or the token itself */
    expect(t, "kept", c.kept, c.selected, 0.1 + 0.1 / FIX_VOCAB);
    for (int i = 0; i < FIX_MASK; i++) /* of 28 plain ids, all can become a special one, 27 another plain one */
        expect(t, "random id", c.other[i], c.others, (i <= FIX_UNK ? 28.0 : 27.0) / (4 * 28 + 28 * 27));
}

static void mask_extremes(mdl_test *t, mdl_arena *arena) {
    mdl_tokenizer tokenizer;
    mdl_masking masking;
    int32_t ids[4] = {FIX_BOS, 5, 6, FIX_EOS}, labels[4];
    mdl_case(t, "mask: probability 0 selects nothing, 1 everything but specials");
    mdl_status status = mdl_tokenizer_open(fixture_masked_plan(arena, 8, 1), arena, &tokenizer);
    if (!status) status = mdl_masking_make(&tokenizer, 0, 0.8, 0.1, 1, &masking);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_mask(&masking, 0, 0, 4, ids, labels);
    CHECK(t, ids[1] == 5 && labels[0] == -100 && labels[1] == -100 && labels[2] == -100, "something was selected");
    status = mdl_masking_make(&tokenizer, 1, 1, 0, 1, &masking);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_mask(&masking, 0, 0, 4, ids, labels);
    CHECK(t, ids[0] == FIX_BOS && ids[1] == FIX_MASK && ids[2] == FIX_MASK && ids[3] == FIX_EOS, "ids %d %d %d %d", ids[0], ids[1],
          ids[2], ids[3]);
    CHECK(t, labels[0] == -100 && labels[1] == 5 && labels[2] == 6 && labels[3] == -100, "labels %d %d", labels[1], labels[2]);
}

/* What a batch must hold at `at`: the tokens of sequence `index`, before masking. Returns their number, or 0 and a failed check. */
static int64_t check_sequence(mdl_test *t, const mdl_corpus *data, int64_t index, const mdl_batch *batch, int64_t at, int64_t end,
                              int64_t limit) {
    static const char residues[] = "....LAGVSERTIDPKQNFYMHWCXBUZO.-";
    const int32_t *ids = input(batch, IN_TOKENS), *labels = input(batch, IN_MASKED);
    const mdl_record *record = mdl_corpus_at(data, index);
    int64_t start = record->start, length = record->length + 2, wrong = 0;
    if (length > limit) length = limit;
    CHECK(t, end - at == length, "sequence %" PRId64 " has %" PRId64 " tokens, expected %" PRId64, index, end - at, length);
    if (end - at != length) return 0;
    CHECK(t, ids[at] == FIX_BOS && ids[end - 1] == FIX_EOS, "sequence %" PRId64 " has no bos or eos", index);
    for (int64_t i = 1; i + 1 < length; i++) {
        int32_t id = labels[at + i] >= 0 ? labels[at + i] : ids[at + i];
        wrong += id < 4 || id > 30 || residues[id] != data->residues[start + i - 1];
    }
    CHECK(t, !wrong, "sequence %" PRId64 ": %" PRId64 " residues differ", index, wrong);
    return length;
}

static void check_tail(mdl_test *t, const mdl_batch *batch, int64_t tokens, int64_t segments) {
    const int32_t *ids = input(batch, IN_TOKENS), *labels = input(batch, IN_MASKED), *cu = input(batch, IN_SEGMENTS);
    int64_t wrong = 0;
    for (int64_t i = batch->tokens; i < tokens; i++) wrong += ids[i] != FIX_PAD || labels[i] != -100;
    for (int64_t i = batch->sequences; i <= segments; i++) wrong += cu[i] != batch->tokens;
    CHECK(t, !wrong && batch->sequences <= segments && batch->tokens <= tokens, "%" PRId64 " faults in the tail", wrong);
}

/* Follows the batches of a run beside the data, sequence by sequence. */
typedef struct {
    const mdl_corpus *data;
    int64_t tokens, segments, limit, seed;
    int64_t seen, truncated, room; /* room: tokens left in the batch before, 0 when S closed it */
    bool by_segments, by_tokens, lost;
} follower;

static void follow(mdl_test *t, follower *f, const mdl_batch *batch) {
    const int32_t *cu = input(batch, IN_SEGMENTS);
    for (int64_t i = 0; i < batch->sequences && !f->lost; i++, f->seen++) {
        mdl_shuffle order = mdl_shuffle_make(f->data->n, (uint64_t)f->seed, f->seen / f->data->n);
        int64_t index = mdl_shuffle_at(&order, f->seen % f->data->n);
        int64_t n = check_sequence(t, f->data, index, batch, cu[i], cu[i + 1], f->limit);
        CHECK(t, i || n > f->room, "a sequence of %" PRId64 " tokens fitted in the batch before", n);
        f->lost = !n;
        f->truncated += f->seen < f->data->n && mdl_corpus_at(f->data, index)->length + 2 > f->limit;
    }
    bool full = batch->sequences == f->segments;
    f->room = full ? 0 : f->tokens - batch->tokens;
    f->by_segments |= full;
    f->by_tokens |= !full;
    check_tail(t, batch, f->tokens, f->segments);
}

static void follow_steps(mdl_test *t, follower *f, mdl_loader *loader, int micro, int64_t goal) {
    while (f->seen < goal && !f->lost) {
        mdl_data_position position;
        double epoch, n = (double)f->data->n;
        const mdl_batch *batches = next_step(t, loader, &position, &epoch);
        CHECK(t, position.source[0].epoch * f->data->n + position.source[0].next == f->seen, "position %" PRId64 ", %" PRId64,
              position.source[0].epoch, position.source[0].next);
        for (int b = 0; b < micro; b++) follow(t, f, &batches[b]);
        CHECK(t, fabs(epoch * n - (double)f->seen) < 1e-3, "epoch %g after %" PRId64 " sequences", epoch,
              f->seen); /* rounding of a quotient */
        CHECK(t, !batches[0].input[IN_SCALAR], "a scalar input has bytes");
    }
}

static void packing(mdl_test *t, mdl_arena *arena) {
    enum { T = 2048, S = 9, LIMIT = 1024, MICRO = 3 };
    const char *path = mdl_printf(arena, "%s/data/uniref_sample.fasta.gz", mdl_test_source(t));
    mdl_loader_options options = fixture_options(&path);
    options.max_seq_length = LIMIT;
    options.micro_batches = MICRO;
    mdl_case(
        t,
        "pack: each sequence of an epoch once, in the shuffle's order, whole or truncated; batches close no sooner than they must");
    mdl_corpus data = fixture_corpus(t, arena, path);
    mdl_loader *loader = open_or_fail(t, fixture_masked_plan(arena, T, S), &options);
    if (loader && data.n) {
        follower f = {.data = &data, .tokens = T, .segments = S, .limit = LIMIT, .seed = (int64_t)options.seed};
        follow_steps(t, &f, loader, MICRO, data.n + data.n / 10);
        CHECK(t, f.by_segments && f.by_tokens, "no batch was closed by %s", f.by_tokens ? "S" : "T");
        const mdl_data_facts *facts = mdl_loader_facts(loader);
        CHECK(t, facts->sequences == data.n && facts->residues == data.head->facts.residues, "%" PRId64 " residues",
              facts->residues);
        CHECK(t, facts->truncated == f.truncated && f.truncated > 0, "%" PRId64 " truncated, not %" PRId64, facts->truncated,
              f.truncated);
        CHECK(t, !facts->unknown && !facts->lower_case, "unknown or lower-case residues in the sample");
    }
    mdl_loader_close(loader);
    mdl_corpus_close(&data);
}

/* The bytes of `steps` optimizer steps from wherever the loader is. */
static const unsigned char *record(mdl_test *t, mdl_arena *arena, mdl_loader *loader, const mdl_plan *plan, int micro, int steps,
                                   size_t *n) {
    mdl_text text = {.arena = arena};
    for (int i = 0; i < steps; i++) {
        const mdl_batch *batches = next_step(t, loader, NULL, NULL);
        for (int b = 0; b < micro; b++)
            for (int k = 0; k < plan->inputs.n; k++)
                if (batches[b].input[k])
                    mdl_text_append(&text, batches[b].input[k], (size_t)mdl_type_bytes(&plan->inputs.at[k].type));
    }
    *n = text.n;
    return (const unsigned char *)text.at;
}

static void repeatable(mdl_test *t, mdl_arena *arena) {
    enum { MICRO = 2 };
    const char *path = fixture_fasta(t, arena, "r.fa", 300, 40);
    mdl_plan *plan = fixture_masked_plan(arena, 256, 16);
    mdl_loader_options options = fixture_options(&path);
    mdl_data_position at[60];
    size_t n, m;
    options.micro_batches = MICRO;
    mdl_case(t, "loader: the same settings give the same bytes; a seek continues bit by bit, over an epoch's end too");
    mdl_loader *a = open_or_fail(t, plan, &options), *b = open_or_fail(t, plan, &options);
    if (!a || !b) return;
    const unsigned char *all = record(t, arena, a, plan, MICRO, 60, &n), *again = record(t, arena, b, plan, MICRO, 60, &m);
    CHECK(t, n == m && !memcmp(all, again, n), "two loaders differ");
    seek(t, a, place(0, 0));
    for (int i = 0; i < 60; i++) next_step(t, a, &at[i], NULL);
    CHECK(t, at[59].source[0].epoch > 1, "60 steps end in epoch %" PRId64, at[59].source[0].epoch);
    for (int i = 59; i >= 0; i -= 7) {
        seek(t, b, place(5, 17)); /* dropped at once, whatever the thread was doing */
        seek(t, b, at[i]);
        const unsigned char *rest = record(t, arena, b, plan, MICRO, 60 - i, &m);
        CHECK(t, m == n / 60 * (size_t)(60 - i) && !memcmp(rest, all + n - m, m), "differs after a seek to step %d", i);
    }
    mdl_case(t, "loader: epochs differ, and so do seeds");
    seek(t, a, place(0, 0));
    const unsigned char *zero = record(t, arena, a, plan, MICRO, 1, &n);
    seek(t, a, place(1, 0));
    const unsigned char *one = record(t, arena, a, plan, MICRO, 1, &m);
    CHECK(t, memcmp(zero, one, n), "epoch 1 repeats epoch 0");
    mdl_loader_close(b);
    options.seed++;
    b = open_or_fail(t, plan, &options);
    CHECK(t, b && memcmp(zero, record(t, arena, b, plan, MICRO, 1, &m), n), "the next seed gives the same batch");
    mdl_loader_close(a);
    mdl_loader_close(b);
}

/* Reads `steps` steps in file order and hashes every sequence's masked tokens and labels by its index. */
static void masks_by_sequence(mdl_test *t, const mdl_plan *plan, const mdl_loader_options *options, uint64_t *hash, int64_t n) {
    mdl_loader *loader = open_or_fail(t, plan, options);
    for (int64_t seen = 0; loader && seen < n;) {
        const mdl_batch *batches = next_step(t, loader, NULL, NULL);
        for (int b = 0; b < options->micro_batches; b++) {
            const int32_t *cu = input(&batches[b], IN_SEGMENTS);
            for (int64_t i = 0; i < batches[b].sequences && seen < n; i++, seen++)
                for (int32_t k = cu[i]; k < cu[i + 1]; k++)
                    hash[seen] = hash[seen] * 1000003 +
                                 (uint64_t)(input(&batches[b], IN_TOKENS)[k] * 1000 + input(&batches[b], IN_MASKED)[k]);
        }
    }
    mdl_loader_close(loader);
}

static void packing_free(mdl_test *t, mdl_arena *arena) {
    enum { N = 200 };
    const char *path = fixture_fasta(t, arena, "m.fa", N, 60);
    uint64_t small[N] = {0}, large[N] = {0};
    int equal = 0, distinct = 0;
    mdl_loader_options options = fixture_options(&path);
    options.shuffle = false;
    mdl_case(t, "mask: a sequence is masked alike whatever T, S and the number of micro-batches; each sequence its own way");
    masks_by_sequence(t, fixture_masked_plan(arena, 128, 3), &options, small, N);
    options.micro_batches = 4;
    masks_by_sequence(t, fixture_masked_plan(arena, 1024, 64), &options, large, N);
    for (int i = 0; i < N; i++) equal += small[i] == large[i], distinct += i && small[i] != small[i - 1];
    CHECK(t, equal == N && distinct > N - 10, "%d of %d agree, %d differ from their neighbour", equal, N, distinct);
}

static void next_token(mdl_test *t, mdl_arena *arena) {
    const char *path = fixture_file(t, arena, "n.fa", ">a\nLAG\n>b\nV\n>c\nSER\n");
    mdl_plan *plan = fixture_plan(arena, 10, 4, (const char *const[]){"tokens", "next", "segments", NULL});
    mdl_loader_options options = fixture_options(&path);
    options.shuffle = false;
    options.mlm_probability = -1; /* of no concern to a plan without a masked input */
    mdl_case(t, "next: labels are the following token of the same sequence, -100 at its end and in the tail; tokens stay unmasked");
    fixture_special(plan, "bos", -1);
    mdl_loader *loader = open_or_fail(t, plan, &options);
    const mdl_batch *batch = loader ? next_step(t, loader, NULL, NULL) : NULL;
    if (!batch) return;
    const int32_t ids[10] = {4, 5, 6, 2, 7, 2, 8, 9, 10, 2}, labels[10] = {5, 6, 2, -100, 2, -100, 9, 10, 2, -100},
                  cu[5] = {0, 4, 6, 10, 10};
    CHECK(t, !memcmp(batch->input[0], ids, sizeof ids), "ids differ");
    CHECK(t, !memcmp(batch->input[1], labels, sizeof labels), "labels differ");
    CHECK(t, !memcmp(batch->input[2], cu, sizeof cu) && batch->tokens == 10 && batch->sequences == 3, "cu_seqlens differ");
    mdl_loader_close(loader);
    mdl_case(t, "next: sequences of one token, S reached before T, no pad token");
    fixture_special(plan, "eos", -1);
    fixture_special(plan, "pad", -1);
    path = fixture_file(t, arena, "one.fa", ">a\nL\n>b\nA\n>c\nG\n");
    loader = open_or_fail(t, plan, &options);
    batch = loader ? next_step(t, loader, NULL, NULL) : NULL;
    if (!batch) return;
    const int32_t single[10] = {4, 5, 6, 4}, steps[5] = {0, 1, 2, 3, 4};
    CHECK(t, !memcmp(batch->input[0], single, sizeof single) && !memcmp(batch->input[2], steps, sizeof steps),
          "ids or cu_seqlens differ");
    int labelled = 0;
    for (int i = 0; i < 10; i++) labelled += ((const int32_t *)batch->input[1])[i] != -100;
    CHECK(t, !labelled && batch->tokens == 4 && batch->sequences == 4, "%d labels, %" PRId64 " tokens", labelled, batch->tokens);
    mdl_loader_close(loader);
}

static void crops(mdl_test *t, mdl_arena *arena) {
    const char *path = fixture_file(t, arena, "c.fa", ">a\nLAGVSERTIDPKQNFYMHWC\n");
    mdl_plan *plan = fixture_plan(arena, 64, 1, (const char *const[]){"tokens", NULL});
    mdl_loader_options options = fixture_options(&path);
    int starts[20] = {0}, wrong = 0, used = 0;
    options.random_crop = true;
    plan->max_length = 8; /* 6 of 20 residues, whose ids are 4 .. 23 in order: 15 windows */
    mdl_case(t, "crop: a window of the right length, every start possible, the last one included");
    mdl_loader *loader = open_or_fail(t, plan, &options);
    for (int i = 0; loader && i < 300; i++) {
        const mdl_batch *batch = next_step(t, loader, NULL, NULL);
        const int32_t *ids = input(batch, 0);
        wrong += batch->tokens != 8 || ids[0] != FIX_BOS || ids[7] != FIX_EOS || ids[1] < 4 || ids[1] > 18;
        for (int k = 2; k < 7; k++) wrong += ids[k] != ids[1] + k - 1;
        if (!wrong) starts[ids[1] - 4]++;
    }
    for (int i = 0; i < 20; i++) used += starts[i] > 0;
    CHECK(t, !wrong && used == 15, "%d faults, %d starts", wrong, used); /* a start is missed in 300 draws once in 1e9 */
    mdl_loader_close(loader);
}

static void counts(mdl_test *t, mdl_arena *arena) {
    const char *paths[] = {fixture_file(t, arena, "f.fa", ">a\nlaG*J\n>b\nLAGVSERTIDP\n"),
                           fixture_file(t, arena, "g.fa", ">c\nvX\n")};
    mdl_loader_options options = fixture_options(paths);
    options.data.n_files = 2;
    options.max_seq_length = 10;
    mdl_case(t, "facts: sequences, residues, truncated, unknown and lower-case ones over all files");
    mdl_loader *loader = open_or_fail(t, fixture_masked_plan(arena, 16, 4), &options);
    if (!loader) return;
    const mdl_data_facts *f = mdl_loader_facts(loader);
    CHECK(t, f->sequences == 3 && f->residues == 18 && f->truncated == 1, "%" PRId64 " sequences, %" PRId64 " residues",
          f->sequences, f->residues);
    CHECK(t, f->unknown == 2 && f->lower_case == 3, "%" PRId64 " unknown, %" PRId64 " lower-case", f->unknown, f->lower_case);
    mdl_loader_close(loader); /* while its thread may still be packing */
}

static void refuse(mdl_test *t, mdl_arena *arena, mdl_text *text, const char *about, const mdl_plan *plan,
                   const mdl_loader_options *options) {
    mdl_loader *loader = NULL;
    mdl_status status = mdl_loader_open(plan, options, &loader);
    CHECK(t, status && !loader, "%s: was accepted", about);
    mdl_text_printf(text, "%s\n    %s\n", about, fixture_message(t, arena, status));
    mdl_loader_close(loader);
}

static void refused_options(mdl_test *t, mdl_arena *arena, mdl_text *text, const char *const *path) {
    const mdl_plan *plan = fixture_masked_plan(arena, 16, 4);
    const mdl_loader_options good = fixture_options(path);
    mdl_loader_options o = good;
    o.data.n_files = 0;
    refuse(t, arena, text, "no files", plan, &o);
    o = good, o.micro_batches = 0;
    refuse(t, arena, text, "no micro-batches", plan, &o);
    o = good, o.max_seq_length = -1;
    refuse(t, arena, text, "negative length", plan, &o);
    o = good, o.max_seq_length = 2;
    refuse(t, arena, text, "no room", plan, &o);
    o = good, o.mlm_probability = NAN;
    refuse(t, arena, text, "not a probability", plan, &o);
    o = good, o.random_fraction = 0.3;
    refuse(t, arena, text, "fractions over 1", plan, &o);
    const char *absent = fixture_path(t, arena, "absent.fa");
    o = good, o.data.files = &absent;
    refuse(t, arena, text, "absent file", plan, &o);
}

static void refused_plans(mdl_test *t, mdl_arena *arena, mdl_text *text, const char *const *path) {
    const mdl_loader_options options = fixture_options(path);
    refuse(t, arena, text, "column", fixture_plan(arena, 16, 4, (const char *const[]){"tokens", "column", NULL}), &options);
    refuse(t, arena, text, "present", fixture_plan(arena, 16, 4, (const char *const[]){"present", NULL}), &options);
    mdl_plan *plan = fixture_masked_plan(arena, 16, 4);
    plan->inputs.at[IN_MASKED].type.dim[0] = 15;
    refuse(t, arena, text, "wrong type", plan, &options);
    plan = fixture_masked_plan(arena, 0, 4);
    refuse(t, arena, text, "no tokens", plan, &options);
    plan = fixture_masked_plan(arena, 16, 4);
    fixture_special(plan, "mask", -1);
    refuse(t, arena, text, "no mask token", plan, &options);
    plan = fixture_masked_plan(arena, 16, 4);
    fixture_special(plan, "unk", -1);
    refuse(t, arena, text, "no unknown token", plan, &options);
    plan = fixture_masked_plan(arena, 16, 4);
    plan->vocab = "assets/other.txt";
    refuse(t, arena, text, "vocabulary not in the plan", plan, &options);
}

static void refused(mdl_test *t, mdl_arena *arena) {
    const char *path = fixture_file(t, arena, "u.fa", ">a\nLAG\n>b\nL*A\n");
    mdl_text text = {.arena = arena};
    if (!mdl_case(t, "loader: what it refuses, one message each")) return;
    refused_options(t, arena, &text, &path);
    refused_plans(t, arena, &text, &path);
    mdl_loader_options options = fixture_options(&path);
    mdl_loader *loader = open_or_fail(t, fixture_masked_plan(arena, 16, 4), &options);
    if (!loader) return;
    mdl_text_printf(&text, "seek past the end\n    %s\n", fixture_message(t, arena, mdl_loader_seek(loader, place(0, 2))));
    mdl_text_printf(&text, "negative seek\n    %s\n", fixture_message(t, arena, mdl_loader_seek(loader, place(-1, 0))));
    mdl_loader_close(loader);
    mdl_golden(t, "data/loader.txt", text.at);
}

/* The thread packs what there is room for and then waits; whoever asks for nothing does not wait for it. */
static void who_waits(mdl_test *t, mdl_arena *arena) {
    const char *path = fixture_fasta(t, arena, "w.fa", 50, 60);
    mdl_loader_options options = fixture_options(&path);
    mdl_case(t, "the loader's clock");
    mdl_loader *loader = open_or_fail(t, fixture_masked_plan(arena, 64, 4), &options);
    if (!loader) return;
    next_step(t, loader, NULL, NULL);
    for (int i = 0; i < 10000 && mdl_loader_spent(loader).for_room == 0; i++) usleep(1000);
    mdl_loader_times first = mdl_loader_spent(loader);
    usleep(20000);
    mdl_loader_times later = mdl_loader_spent(loader);
    CHECK(t, first.packing > 0 && later.packing == first.packing, "packing: %g s, then %g", first.packing, later.packing);
    CHECK(t, later.for_room - first.for_room >= 0.02, "20 ms of waiting count as %g s", later.for_room - first.for_room);
    CHECK(t, later.for_batch == first.for_batch, "nobody has asked for a batch");
    mdl_loader_close(loader);
}

void suite_batches(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mask_statistics(t, arena);
    mask_extremes(t, arena);
    packing(t, arena);
    repeatable(t, arena);
    packing_free(t, arena);
    next_token(t, arena);
    crops(t, arena);
    counts(t, arena);
    who_waits(t, arena);
    refused(t, arena);
    mdl_arena_free(arena);
}
