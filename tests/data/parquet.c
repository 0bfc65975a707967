/* Suite `parquet`: Parquet holds what the same table holds as CSV; what is no Parquet, or not what was asked for, gives a message.
 * Without the module (no Arrow when this was built) there is one message to test, that of its absence. tests/data/files/make.py
 * made the files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/data/fixture.h"

static const char *const columns[] = {"value", "count", "flag"};

static const char *file(mdl_test *t, mdl_arena *arena, const char *name) {
    return mdl_printf(arena, "%s/tests/data/files/%s", mdl_test_source(t), name);
}

static mdl_status open_file(mdl_test *t, mdl_arena *arena, const char *path, const mdl_format_options *options, mdl_corpus *c) {
    const char *note;
    return mdl_corpus_open(path, options, mdl_test_scratch(t), arena, c, &note);
}

static bool same_record(const mdl_corpus *a, const mdl_corpus *b, int64_t i) {
    const mdl_record *x = mdl_corpus_at(a, i), *y = mdl_corpus_at(b, i);
    bool same = x->hash == y->hash && x->length == y->length;
    for (int k = 0; k < 3; k++) same = same && (x->number[k] == y->number[k] || (isnan(x->number[k]) && isnan(y->number[k])));
    return same;
}

static void contents(mdl_test *t, mdl_arena *arena) {
    static const char *const names[] = {"table.parquet", "dictionary.parquet"};
    const mdl_format_options options = {.columns = columns, .n_columns = 3};
    mdl_corpus csv, c;
    mdl_case(t, "parquet: several row groups, dictionary pages that fall back to plain ones, nulls, every kind of column");
    mdl_status status = open_file(t, arena, file(t, arena, "table.csv"), &options, &csv);
    CHECK(t, !status && csv.n == 298, "%s", mdl_message(status));
    for (int f = 0; f < 2 && !status; f++) {
        status = open_file(t, arena, file(t, arena, names[f]), &options, &c);
        CHECK(t, !status && c.n == csv.n, "%s: %s", names[f], mdl_message(status));
        int64_t same = 0;
        while (!status && same < c.n && same_record(&csv, &c, same)) same++;
        CHECK(t, status || same == c.n, "%s: row %lld differs", names[f], (long long)same);
        CHECK(t, status || (c.head->facts.empty == 2 && c.head->facts.empty_line == 121), "%s: empty rows", names[f]);
        mdl_corpus_close(&c);
    }
    mdl_status_free(status);
    mdl_corpus_close(&csv);
}

static void report(mdl_test *t, mdl_arena *arena, mdl_text *text, const char *about, const char *path,
                   const mdl_format_options *options) {
    mdl_corpus c;
    mdl_status status = open_file(t, arena, path, options, &c);
    CHECK(t, status && !c.map, "%s: was accepted", about);
    const char *message = fixture_message(t, arena, status), *name = strstr(message, "files/");
    mdl_text_printf(text, "%s\n    %s\n", about, name ? name + strlen("files/") : message);
    mdl_corpus_close(&c);
}

static void refused(mdl_test *t, mdl_arena *arena) {
    static const char *const wrong[] = {"id"};
    mdl_text text = {.arena = arena};
    mdl_format_options plain = {0}, column = {.sequence_column = "seq"}, number = {.sequence_column = "value"},
                       words = {.columns = wrong, .n_columns = 1};
    if (!mdl_case(t, "parquet: what is refused, one message each")) return;
    report(t, arena, &text, "no such column", file(t, arena, "table.parquet"), &column);
    report(t, arena, &text, "sequences that are numbers", file(t, arena, "table.parquet"), &number);
    report(t, arena, &text, "numbers that are texts", file(t, arena, "table.parquet"), &words);
    report(t, arena, &text, "text", fixture_file(t, arena, "text.parquet", ">a\nMKV\n"), &plain);
    mdl_golden(t, "data/parquet.txt", text.at);
    mdl_case(t, "parquet: files that are cut off or damaged");
    for (int keep = 8; keep < 8479; keep += 700) {
        int failed =
            mdl_shell(t, NULL, "head -c %d '%s' > '%s/cut.parquet'", keep, file(t, arena, "table.parquet"), mdl_test_scratch(t));
        CHECK(t, !failed, "head");
        report(t, arena, &text, "cut", fixture_path(t, arena, "cut.parquet"), &plain);
    }
    int failed = mdl_shell(t, NULL, "cd '%s' && (head -c 1700 '%s'; printf XXXX; tail -c +1705 '%s') > flip.parquet",
                           mdl_test_scratch(t), file(t, arena, "table.parquet"), file(t, arena, "table.parquet"));
    CHECK(t, !failed, "the shell exits with %d", failed);
    report(t, arena, &text, "damaged page", fixture_path(t, arena, "flip.parquet"), &plain);
}

static void absent(mdl_test *t, mdl_arena *arena) {
    const char *output;
    mdl_case(t, "parquet: without the module the message says how to get it, and other files are read");
    int code = mdl_shell(t, &output, "cd '%s' && mkdir -p alone && cp '%s/mdlrun' alone && alone/mdlrun data --cache-dir . '%s'",
                         mdl_test_scratch(t), MDL_BINARY_DIR, file(t, arena, "table.parquet"));
    CHECK(t,
          code == 4 && strstr(output, "Parquet needs Arrow's library (scripts/install-dependencies --parquet, then build again)"),
          "exit %d: %s", code, output);
    code =
        mdl_shell(t, &output, "cd '%s' && alone/mdlrun data --cache-dir . '%s'", mdl_test_scratch(t), file(t, arena, "table.csv"));
    CHECK(t, !code, "exit %d: %s", code, output);
}

void suite_parquet(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    if (!access(MDL_BINARY_DIR "/libmdl_parquet.so", F_OK)) {
        contents(t, arena);
        refused(t, arena);
    }
    absent(t, arena);
    mdl_arena_free(arena);
}
