/* Suite `mixture`: which records a run sees, in which turns, with which numbers, and that it goes on from where it was. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/walk.h"
#include "runtime/train/start.h"
#include "tests/data/fixture.h"

enum { MOST = 4096 };

/* Sequences of length 1 to 20 that say whose they are: n times "XXAC..." with the first letter given. */
static const char *lettered(mdl_test *t, mdl_arena *arena, const char *name, char letter, int n) {
    mdl_text text = {.arena = arena};
    for (int i = 0; i < n; i++) {
        mdl_text_printf(&text, ">%d\n%c", i, letter);
        for (int k = i; k; k /= 19) mdl_text_append(&text, &"AGVSERTIDPKQNFYMHWC"[k % 19], 1);
        mdl_text_append(&text, "\n", 1);
    }
    return fixture_file(t, arena, name, text.at);
}

static bool opened(mdl_test *t, mdl_arena *arena, const mdl_dataset_options *options, mdl_dataset *set) {
    mdl_status status = mdl_dataset_open(options, arena, set);
    CHECK(t, !status, "%s", mdl_message(status));
    bool ok = !status;
    mdl_status_free(status);
    return ok;
}

/* The next n records as "letter" and place; returns how many came. */
static int take(mdl_walk *walk, int n, char *letters, int64_t *sequence) {
    mdl_found found;
    int i = 0;
    for (; i < n && mdl_walk_find(walk, &found); i++, mdl_walk_pass(walk)) {
        if (letters) letters[i] = found.corpus->residues[found.record->start];
        if (sequence) sequence[i] = found.sequence;
    }
    return i;
}

static void weights(mdl_test *t, mdl_arena *arena) {
    const char *files[] = {lettered(t, arena, "w1.fa", 'L', 100), lettered(t, arena, "w2.fa", 'D', 30),
                           lettered(t, arena, "w3.fa", 'W', 7)};
    const double weight[] = {5, 3, 2};
    static char letters[MOST], again[MOST];
    static int64_t sequence[MOST];
    mdl_dataset set;
    mdl_case(t, "weights: sources come in their shares, each with epochs of its own; the same again is the same");
    mdl_dataset_options options = {.files = files, .n_files = 3, .weights = weight};
    if (!opened(t, arena, &options, &set)) return;
    mdl_walk start = {.set = &set, .seed = 3, .shuffle = true}, walk = start;
    CHECK(t, take(&walk, MOST, letters, sequence) == MOST, "it ends");
    for (int s = 0; s < 3; s++) {
        int n = 0, size = (int)set.source[s].n, seen[100] = {0}, uneven = 0;
        for (int i = 0; i < MOST; i++)
            if (letters[i] == "LDW"[s]) n++, seen[sequence[i] & 0xffff]++;
        for (int k = 0; k < size; k++) uneven += abs(seen[k] - n / size) > 1;
        double p = weight[s] / 10, deviation = (n - MOST * p) / sqrt(MOST * p * (1 - p));
        CHECK(t, fabs(deviation) < 5, "source %d: %d of %d", s, n, MOST); /* standard deviations: off once in 1.7 million */
        CHECK(t, !uneven && walk.at.source[s].epoch == n / size, "source %d: %d records came too often or too rarely", s, uneven);
    }
    mdl_case(t, "weights: a position goes on with the same records, wherever it was taken");
    for (int k = 0; k < MOST; k += 333) {
        mdl_walk a = start, b = start;
        take(&a, k, NULL, NULL);
        b.at = a.at;
        CHECK(t, take(&b, MOST - k, again, NULL) == MOST - k && !memcmp(again, letters + k, (size_t)(MOST - k)), "from %d", k);
    }
    mdl_case(t, "once: every record of every source one time, then the end");
    walk = (mdl_walk){.set = &set, .once = true};
    CHECK(t, take(&walk, MOST, letters, NULL) == 137 && letters[99] == 'L' && letters[100] == 'D' && letters[136] == 'W', "order");
    mdl_dataset_close(&set);
}

/* Sources of one size are ordered, and their sequences masked, independently. */
static void twins(mdl_test *t, mdl_arena *arena) {
    const char *path = lettered(t, arena, "twin.fa", 'L', 200), *files[] = {path, path};
    const double weight[] = {1, 1};
    static int64_t sequence[MOST];
    int64_t order[2][200];
    int n[2] = {0}, equal = 0;
    mdl_dataset set;
    mdl_case(t, "weights: two sources of one size have orders and random numbers of their own");
    mdl_dataset_options options = {.files = files, .n_files = 2, .weights = weight};
    if (!opened(t, arena, &options, &set)) return;
    mdl_walk walk = {.set = &set, .seed = 3, .shuffle = true};
    take(&walk, 1000, NULL, sequence);
    for (int i = 0; i < 1000; i++) {
        int s = (int)(sequence[i] >> 48);
        if (n[s] < 200) order[s][n[s]++] = sequence[i] & 0xffff;
    }
    for (int i = 0; i < 200; i++) equal += order[0][i] == order[1][i];
    CHECK(t, n[0] == 200 && n[1] == 200 && equal < 10, "%d of 200 agree", equal); /* 1 is expected */
    mdl_dataset_close(&set);
}

/* The records of one pass, as a text of lines in file order. */
static const char *pass(mdl_test *t, mdl_arena *arena, const mdl_dataset_options *options, int *n) {
    mdl_dataset set;
    mdl_found found;
    mdl_text text = {.arena = arena};
    mdl_text_append(&text, "", *n = 0);
    if (!opened(t, arena, options, &set)) return "";
    for (mdl_walk walk = {.set = &set, .once = true}; mdl_walk_find(&walk, &found); mdl_walk_pass(&walk), ++*n)
        mdl_text_printf(&text, "%.*s\n", (int)found.record->length, found.corpus->residues + found.record->start);
    mdl_dataset_close(&set);
    return text.at;
}

static void left_out(mdl_test *t, mdl_arena *arena) {
    const char *files[] = {fixture_file(t, arena, "o1.fa", ">a\nMKV\n>b\nLA\n>c\nMKV\n>d\nGVSE\n"),
                           fixture_file(t, arena, "o2.fa", ">e\nRT\n>f\nGVSE\n>g\nLA\n>h\nmkv\n")};
    mdl_dataset_options options = {.files = files, .n_files = 2, .deduplicate = true};
    int n;
    mdl_case(t, "deduplicate: the first of equal sequences stays, over all files");
    CHECK(t, !strcmp(pass(t, arena, &options, &n), "MKV\nLA\nGVSE\nRT\nmkv\n"), "%s", pass(t, arena, &options, &n));
    mdl_case(t, "min_residues: shorter ones are left out");
    options.deduplicate = false;
    options.min_residues = 3;
    CHECK(t, !strcmp(pass(t, arena, &options, &n), "MKV\nMKV\nGVSE\nGVSE\nmkv\n"), "%s", pass(t, arena, &options, &n));
    mdl_case(t, "patterns: all files of such names, in order, without what is kept of them");
    const char *pattern = fixture_path(t, arena, "o[12].fa*");
    options = (mdl_dataset_options){.files = &pattern, .n_files = 1};
    CHECK(t, !strncmp(pass(t, arena, &options, &n), "MKV\nLA\nMKV\nGVSE\nRT\n", 19) && n == 8, "%d records", n);
}

static void validation(mdl_test *t, mdl_arena *arena) {
    const char *all = fixture_fasta(t, arena, "v.fa", 3000, 40), *half = fixture_fasta(t, arena, "h.fa", 1500, 40);
    mdl_dataset_options train = {.files = &all, .n_files = 1, .validation_fraction = 0.1, .deduplicate = true}, aside = train;
    int n_train, n_aside, n_all, n_half;
    aside.validation = true;
    mdl_case(t, "validation: a tenth is set aside, and nothing is in both or in neither");
    const char *kept = pass(t, arena, &train, &n_train), *away = pass(t, arena, &aside, &n_aside);
    train.validation_fraction = 0;
    pass(t, arena, &train, &n_all);
    CHECK(t, n_train + n_aside == n_all, "%d and %d of %d", n_train, n_aside, n_all);
    CHECK(t, abs(n_aside - n_all / 10) < 5 * 17, "%d of %d are set aside", n_aside, n_all); /* sqrt(3000 * 0.1 * 0.9) = 16.4 */
    int both = 0;
    for (const char *line = away; *line; line = strchr(line, '\n') + 1)
        both += strstr(mdl_printf(arena, "\n%s", kept), mdl_printf(arena, "\n%.*s\n", (int)strcspn(line, "\n"), line)) != NULL;
    CHECK(t, !both, "%d sequences are in both", both);
    mdl_case(t, "validation: a sequence stays on its side whatever file it is in");
    aside.files = &half;
    const char *part = pass(t, arena, &aside, &n_half);
    CHECK(t, n_half > 50 && !strncmp(part, away, strlen(part)), "%d sequences", n_half); /* h.fa is the beginning of v.fa */
}

static void loader_of(mdl_test *t, const mdl_plan *plan, const mdl_loader_options *options, mdl_loader **loader) {
    mdl_status status = mdl_loader_open(plan, options, loader);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

static const mdl_batch *step(mdl_test *t, mdl_loader *loader, mdl_data_position *position) {
    const mdl_batch *batch;
    mdl_status status = mdl_loader_next(loader, &batch, position, NULL);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return batch;
}

/* A position is what follows the step before; it goes through JSON; it says which records come. */
static void positions(mdl_test *t, mdl_arena *arena, mdl_loader *loader, const mdl_data_position *at, int steps) {
    mdl_status status = mdl_loader_seek(loader, at[0]);
    for (int i = 0; i < steps; i++) {
        mdl_data_position read;
        int64_t ids[64];
        json_t *json = mdl_data_position_save(&at[i]);
        if (!status) status = mdl_data_position_load(json, &read);
        json_decref(json);
        CHECK(t, !status && !memcmp(&read, &at[i], sizeof read), "step %d: JSON: %s", i, mdl_message(status));
        const mdl_batch *batch = step(t, loader, NULL);
        mdl_data_position after = mdl_loader_after(loader);
        CHECK(t, i + 1 == steps || !memcmp(&after, &at[i + 1], sizeof after), "step %d: where the next begins", i);
        mdl_loader_sequences(loader, at[i], batch->sequences, ids);
        for (int64_t k = 0; k < batch->sequences; k++) /* a record of fixture_fasta has two lines */
            CHECK(t,
                  ids[k] >= 0 && ids[k] < 250 &&
                      strstr(mdl_loader_place(loader, ids[k], arena),
                             mdl_printf(arena, "s%d.fa: line %d", ids[k] < 200 ? 1 : 2, (int)(ids[k] % 200) * 2 + 1)),
                  "record %d: %s", (int)ids[k], mdl_loader_place(loader, ids[k], arena));
    }
    mdl_data_position next = mdl_loader_next_epoch(loader, &at[steps - 1]);
    for (int s = 0; s < 2; s++) /* not begun by any source, and where all of them can be */
        CHECK(t, next.source[s].epoch > at[steps - 1].source[0].epoch && next.source[s].epoch > at[steps - 1].source[1].epoch, "%d",
              s);
    status = mdl_loader_seek(loader, next);
    CHECK(t, !status, "the next epoch: %s", mdl_message(status));
    mdl_status_free(status);
}

static void resume(mdl_test *t, mdl_arena *arena) {
    enum { STEPS = 80, T = 128 };
    const char *files[] = {fixture_fasta(t, arena, "s1.fa", 200, 40), fixture_fasta(t, arena, "s2.fa", 50, 60)};
    const double weight[] = {2, 1};
    mdl_plan *plan = fixture_masked_plan(arena, T, 16);
    mdl_loader_options options = fixture_options(files);
    options.data =
        (mdl_dataset_options){.files = files, .n_files = 2, .weights = weight, .deduplicate = true, .validation_fraction = 0.2};
    options.min_seq_length = 8;
    static int32_t ids[STEPS][T];
    mdl_data_position at[STEPS];
    mdl_loader *loader, *other;
    mdl_case(t, "loader: with weights, a split, repeats and a minimal length, a seek continues bit by bit");
    loader_of(t, plan, &options, &loader);
    loader_of(t, plan, &options, &other);
    if (!loader || !other) return;
    for (int i = 0; i < STEPS; i++) memcpy(ids[i], step(t, loader, &at[i])->input[0], sizeof ids[i]);
    CHECK(t, at[STEPS - 1].source[0].epoch >= 1 && at[STEPS - 1].source[1].epoch > 1, "epochs %" PRId64 " %" PRId64,
          at[STEPS - 1].source[0].epoch, at[STEPS - 1].source[1].epoch);
    for (int i = STEPS - 1; i >= 0; i -= 9) {
        mdl_status status = mdl_loader_seek(other, at[i]);
        CHECK(t, !status, "%s", mdl_message(status));
        for (int k = i; k < STEPS; k++)
            CHECK(t, !memcmp(ids[k], step(t, other, NULL)->input[0], sizeof ids[k]), "step %d after a seek to %d", k, i);
    }
    positions(t, arena, loader, at, STEPS);
    const mdl_data_facts *f = mdl_loader_facts(loader);
    CHECK(t, f->sources == 2 && f->sequences + f->left_out == 250 && f->left_out > 50, "%" PRId64 " left out", f->left_out);
    options.data.validation_fraction = 0.3;
    uint64_t before = f->fingerprint;
    mdl_loader_close(other);
    loader_of(t, plan, &options, &other);
    CHECK(t, other && mdl_loader_facts(other)->fingerprint != before, "the fingerprint does not see the split");
    mdl_loader_close(loader);
    mdl_loader_close(other);
}

enum { SOURCES = 2, EPOCHS = 2, RECORDS = 2, TOKENS = 1002, MASKS = SOURCES * EPOCHS * RECORDS };

/* Which tokens of each record are selected, in each epoch of its source. A batch is one record. */
static void selections(mdl_test *t, mdl_loader *loader, bool selected[MASKS][TOKENS]) {
    int missing = MASKS;
    bool have[MASKS] = {0};
    for (int i = 0; i < 100 && missing; i++) {
        mdl_data_position at;
        int64_t id;
        const mdl_batch *batch = step(t, loader, &at);
        mdl_loader_sequences(loader, at, 1, &id);
        int64_t source = id / RECORDS, epoch = at.source[source].epoch, mask = (source * EPOCHS + epoch) * RECORDS + id % RECORDS;
        if (epoch >= EPOCHS || have[mask]) continue;
        for (int k = 0; k < TOKENS; k++) selected[mask][k] = ((const int32_t *)batch->input[2])[k] >= 0;
        have[mask] = true;
        missing--;
    }
    CHECK(t, !missing, "%d masks have not come", missing);
}

/* Half of the tokens are selected, so that two masks agree at half of them by chance, at the same place or shifted by one. */
static void masks_apart(mdl_test *t, mdl_arena *arena) {
    char residues[TOKENS - 1] = {0}; /* with the two special tokens, a record fills a batch */
    const char *files[SOURCES];
    memset(residues, 'L', TOKENS - 2);
    for (int s = 0; s < SOURCES; s++)
        files[s] =
            fixture_file(t, arena, mdl_printf(arena, "mask%d.fa", s), mdl_printf(arena, ">a\n%s\n>b\n%s\n", residues, residues));
    const double weight[SOURCES] = {1, 1};
    mdl_loader_options options = fixture_options(files);
    static bool selected[MASKS][TOKENS];
    mdl_loader *loader;
    mdl_case(t, "mask: sources, their epochs and their sequences have random numbers of their own");
    options.data.n_files = SOURCES;
    options.data.weights = weight;
    options.mlm_probability = 0.5;
    options.shuffle = false;
    loader_of(t, fixture_masked_plan(arena, TOKENS, 1), &options, &loader);
    if (!loader) return;
    selections(t, loader, selected);
    for (int a = 0; a < MASKS; a++)
        for (int b = 0; b < a; b++)
            for (int shift = -1; shift <= 1; shift++) {
                int n = TOKENS - 4, agree = 0; /* the n residues that have a neighbour on both sides */
                for (int k = 2; k < n + 2; k++) agree += selected[a][k] == selected[b][k + shift];
                CHECK(t, abs(agree - n / 2) < 5 * 16, "masks %d and %d, shifted by %d, agree at %d of %d", a, b, shift, agree, n);
            } /* 5 standard deviations, sqrt(n) / 2 */
    mdl_loader_close(loader);
}

static void one_pass(mdl_test *t, mdl_arena *arena) {
    const char *path = fixture_fasta(t, arena, "e.fa", 100, 40);
    mdl_loader_options options = fixture_options(&path);
    int64_t seen = 0, tokens = 0;
    mdl_loader *loader;
    mdl_case(t, "loader: once, every sequence comes one time; then batches are empty");
    options.once = true;
    loader_of(t, fixture_masked_plan(arena, 128, 16), &options, &loader);
    if (!loader) return;
    for (const mdl_batch *b; (b = step(t, loader, NULL))->sequences;) seen += b->sequences, tokens += b->tokens;
    CHECK(t, seen == 100 && tokens == mdl_loader_facts(loader)->residues + 200, "%" PRId64 " sequences", seen);
    const mdl_batch *b = step(t, loader, NULL);
    CHECK(t, !b->sequences && !b->tokens && ((const int32_t *)b->input[0])[0] == FIX_PAD, "not empty");
    mdl_loader_close(loader);
}

/* A plan with inputs of rows: f32[S, 2], bool[S, 2], f32[S], bool[S]. */
static mdl_plan *column_plan(mdl_arena *arena, int64_t S, bool with_flags) {
    mdl_plan *plan =
        fixture_plan(arena, 32, S, (const char *const[]){"tokens", "column", "present", "column", "present", "segments", NULL});
    plan->inputs.at[1].type = mdl_type_make(MDL_F32, 2, (int64_t[]){S, 2});
    plan->inputs.at[2].type = mdl_type_make(MDL_BOOL, 2, (int64_t[]){S, 2});
    plan->inputs.at[3].type = mdl_type_make(MDL_F32, 1, &S);
    plan->inputs.at[4].type = mdl_type_make(MDL_BOOL, 1, &S);
    if (!with_flags) plan->inputs.at[2] = plan->inputs.at[4] = plan->inputs.at[0];
    return plan;
}

static const char *open_message(mdl_test *t, mdl_arena *arena, const mdl_plan *plan, const mdl_loader_options *options) {
    mdl_loader *loader;
    mdl_status status = mdl_loader_open(plan, options, &loader);
    mdl_loader_close(loader);
    return fixture_message(t, arena, status);
}

static void columns(mdl_test *t, mdl_arena *arena) {
    static const char *const names[] = {"a", "b", "age"};
    const char *path = fixture_file(t, arena, "c.csv", "age,sequence,b,a\n7,MKV,2,1\n,LAG,NA,3\n9,GVSERT,4,\n");
    mdl_loader_options options = fixture_options(&path);
    mdl_loader *loader;
    options.shuffle = false;
    options.data.format = (mdl_format_options){.columns = names, .n_columns = 3};
    mdl_case(t, "columns: rows of numbers beside their sequences, and which of them there are");
    loader_of(t, column_plan(arena, 5, true), &options, &loader);
    const mdl_batch *b = loader ? step(t, loader, NULL) : NULL;
    if (!b) return;
    /* 5 + 5 + 8 tokens, then MKV and LAG again */
    const float ab[10] = {1, 2, 3, 0, 0, 4, 1, 2, 3, 0}, age[5] = {7, 0, 9, 7, 0};
    const unsigned char ab_there[10] = {1, 1, 1, 0, 0, 1, 1, 1, 1, 0}, age_there[5] = {1, 0, 1, 1, 0};
    CHECK(t, b->sequences == 5 && !memcmp(b->input[1], ab, sizeof ab) && !memcmp(b->input[3], age, sizeof age), "numbers");
    CHECK(t, !memcmp(b->input[2], ab_there, 10) && !memcmp(b->input[4], age_there, 5), "flags");
    mdl_loader_close(loader);
    mdl_case(t, "columns: an empty tail; one flag for a row");
    mdl_plan *plan = column_plan(arena, 4, true);
    plan->inputs.at[2].type = mdl_type_make(MDL_BOOL, 1, (int64_t[]){4});
    options.once = true;
    loader_of(t, plan, &options, &loader);
    b = loader ? step(t, loader, NULL) : NULL;
    if (!b) return;
    CHECK(t, b->sequences == 3 && !memcmp(b->input[2], "\1\0\0\0", 4) && ((const float *)b->input[1])[6] == 0, "a row's flag");
    mdl_loader_close(loader);
    mdl_case(t, "columns: nothing of an earlier batch stays behind the last sequence");
    plan = column_plan(arena, 4, true);
    plan->tokens = plan->inputs.at[0].type.dim[0] = 10; /* one sequence or two, in any order */
    plan->inputs.at[5].type.dim[1] = 10;
    options.once = false;
    options.shuffle = true;
    loader_of(t, plan, &options, &loader);
    for (int i = 0; loader && i < 30; i++) {
        b = step(t, loader, NULL);
        const float *rows = b->input[3];
        const unsigned char *flags = b->input[4];
        for (int64_t k = b->sequences; k < 4; k++) CHECK(t, !rows[k] && !flags[k], "step %d, row %d is not empty", i, (int)k);
    }
    mdl_loader_close(loader);
    mdl_text text = {.arena = arena};
    if (!mdl_case(t, "columns: what does not fit, one message each")) return;
    mdl_text_printf(&text, "missing without a flag\n    %s\n", open_message(t, arena, column_plan(arena, 4, false), &options));
    options.data.format.n_columns = 2;
    mdl_text_printf(&text, "too few\n    %s\n", open_message(t, arena, column_plan(arena, 4, true), &options));
    options.data.format.n_columns = 0;
    mdl_text_printf(&text, "none\n    %s\n", open_message(t, arena, column_plan(arena, 4, true), &options));
    plan = column_plan(arena, 4, true);
    plan->inputs.at[1].type = mdl_type_make(MDL_F32, 2, (int64_t[]){32, 2});
    mdl_text_printf(&text, "by token\n    %s\n", open_message(t, arena, plan, &options));
    plan = column_plan(arena, 4, true);
    plan->inputs.at[2].type = mdl_type_make(MDL_BOOL, 2, (int64_t[]){4, 3});
    mdl_text_printf(&text, "flags of another width\n    %s\n", open_message(t, arena, plan, &options));
    mdl_golden(t, "data/columns.txt", text.at);
}

static void malformed_positions(mdl_test *t, mdl_arena *arena) {
    static const char *const cases[] = {"{}",
                                        "[]",
                                        "{\"drawn\": 1, \"sources\": 3}",
                                        "{\"drawn\": 1, \"sources\": [[1, 2], [3]]}",
                                        "{\"drawn\": 1.5, \"sources\": []}",
                                        "{\"drawn\": 1, \"sources\": [[1, 2, 3]]}"};
    mdl_text text = {.arena = arena};
    if (!mdl_case(t, "positions: what is none, one message each")) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mdl_data_position position;
        json_t *json = json_loads(cases[i], 0, NULL);
        mdl_text_printf(&text, "%s\n    %s\n", cases[i], fixture_message(t, arena, mdl_data_position_load(json, &position)));
        json_decref(json);
    }
    mdl_golden(t, "data/positions.txt", text.at);
}

/* Through the configuration: sequences for training and for evaluation, 0 for none. */
static void split_of(mdl_test *t, mdl_arena *arena, int n, char **settings, int64_t *train, int64_t *validation) {
    const mdl_plan *plan = fixture_masked_plan(arena, 128, 16);
    mdl_config *config;
    mdl_loader *a = NULL, *b = NULL;
    mdl_status status = mdl_config_read(NULL, n, settings, &config);
    if (!status) status = mdl_start_data(config, plan, 2, &a);
    if (!status) status = mdl_start_validation(config, plan, &b);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    *train = a ? mdl_loader_facts(a)->sequences : 0;
    *validation = b ? mdl_loader_facts(b)->sequences : 0;
    mdl_loader_close(a);
    mdl_loader_close(b);
    mdl_config_free(config);
}

static void configured(mdl_test *t, mdl_arena *arena) {
    char *settings[] = {mdl_printf(arena, "data.files=%s", fixture_fasta(t, arena, "conf.fa", 500, 40)),
                        "data.validation_fraction=0.2",
                        mdl_printf(arena, "data.validation_files=%s", lettered(t, arena, "vf.fa", 'L', 30))};
    int64_t train, validation;
    mdl_case(t, "validation: none, a share, or files of its own, as the configuration says");
    split_of(t, arena, 1, settings, &train, &validation);
    CHECK(t, train == 500 && !validation, "%" PRId64 " and %" PRId64, train, validation);
    split_of(t, arena, 2, settings, &train, &validation);
    CHECK(t, train + validation == 500 && validation > 60 && validation < 140, "%" PRId64 " and %" PRId64, train, validation);
    split_of(t, arena, 3, settings, &train, &validation);
    CHECK(t, train == 500 && validation == 30, "%" PRId64 " and %" PRId64, train, validation);
}

static void refused(mdl_test *t, mdl_arena *arena) {
    static const double weight[] = {1, 0};
    const char *files[] = {fixture_file(t, arena, "u1.fa", ">a\nLAG\n"), fixture_file(t, arena, "u2.fa", ">a\n\n>b\nJJ*J\n")};
    const mdl_plan *plan = fixture_masked_plan(arena, 16, 4);
    mdl_loader_options options = fixture_options(files);
    mdl_text text = {.arena = arena};
    if (!mdl_case(t, "data sets that are refused, one message each")) return;
    options.data.n_files = 2;
    mdl_text_printf(&text, "unknown letters only\n    %s\n", open_message(t, arena, plan, &options));
    mdl_plan *letters = fixture_masked_plan(arena, 16, 4); /* tokens of two letters: no residue is one */
    letters->files.at[0].bytes = "<cls>\n<pad>\n<eos>\n<unk>\nMa\nKb\nTc\nAd\n<mask>\n";
    letters->files.at[0].size = (int64_t)strlen(letters->files.at[0].bytes);
    fixture_special(letters, "mask", 8);
    options.data.n_files = 1;
    mdl_text_printf(&text, "a vocabulary of pairs\n    %s\n", open_message(t, arena, letters, &options));
    options.data.n_files = 2;
    options.data.weights = weight;
    mdl_text_printf(&text, "weight 0\n    %s\n", open_message(t, arena, plan, &options));
    options.data.weights = NULL;
    options.data.n_files = 1;
    options.min_seq_length = 6;
    mdl_text_printf(&text, "all too short\n    %s\n", open_message(t, arena, plan, &options));
    options.min_seq_length = 0;
    options.data.validation = true;
    mdl_text_printf(&text, "nothing set aside\n    %s\n", open_message(t, arena, plan, &options));
    options.data.validation_fraction = 1.5;
    mdl_text_printf(&text, "fraction\n    %s\n", open_message(t, arena, plan, &options));
    files[0] = fixture_path(t, arena, "absent*.fa");
    options.data.validation_fraction = 0;
    mdl_text_printf(&text, "a pattern without files\n    %s\n", open_message(t, arena, plan, &options));
    mdl_golden(t, "data/mixture.txt", text.at);
}

void suite_mixture(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    weights(t, arena);
    twins(t, arena);
    left_out(t, arena);
    validation(t, arena);
    resume(t, arena);
    masks_apart(t, arena);
    one_pass(t, arena);
    columns(t, arena);
    malformed_positions(t, arena);
    configured(t, arena);
    refused(t, arena);
    mdl_arena_free(arena);
}
