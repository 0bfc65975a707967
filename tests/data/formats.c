/* Suite `formats`: what each reader makes of a file, and a message with the line for each that it does not take. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"

/* "MKV LAG" for two records; a record's numbers in brackets. */
static const char *show(mdl_arena *arena, const mdl_corpus *c) {
    mdl_text text = {.arena = arena};
    mdl_text_append(&text, "", 0);
    for (int64_t i = 0; i < c->n; i++) {
        const mdl_record *r = mdl_corpus_at(c, i);
        mdl_text_printf(&text, "%s%.*s", i ? " " : "", (int)r->length, c->residues + r->start);
        for (uint32_t k = 0; k < c->head->columns; k++) mdl_text_printf(&text, "%s%g", k ? "," : "[", (double)r->number[k]);
        if (c->head->columns) mdl_text_append(&text, "]", 1);
    }
    return text.at;
}

/* Reads a file of this name and text and compares what is in it; returns its facts, which live as long as the arena. */
static const mdl_corpus_facts *reads(mdl_test *t, mdl_arena *arena, const char *name, const char *text, const char *expected) {
    mdl_corpus c = fixture_corpus(t, arena, fixture_file(t, arena, name, text));
    const char *got = c.n ? show(arena, &c) : "nothing";
    CHECK(t, !strcmp(got, expected), "%s gives \"%s\", expected \"%s\"", name, got, expected);
    mdl_corpus_facts *facts = MDL_NEW(arena, mdl_corpus_facts);
    if (c.n) *facts = c.head->facts;
    mdl_corpus_close(&c);
    return facts;
}

static void fasta_text(mdl_test *t, mdl_arena *arena) {
    mdl_case(t, "fasta: line ends, blanks, wrapped lines, no last newline, a byte order mark, lower case");
    reads(t, arena, "a.fa", "\r\n>one two > three\r\nAC D\r\n\r\nEF\t\r\n>x\nG*-\n>y\nhk\nl", "ACDEF G*- hkl");
    reads(t, arena, "mark.fa", "\xef\xbb\xbf>a\nMKV", "MKV");
    reads(t, arena, "high.fa", ">caf\xe9 \xff\nMKV\n", "MKV"); /* headers may have any encoding */
    mdl_case(t, "fasta: remarks, empty records and the stop of a translation are counted");
    const mdl_corpus_facts *f = reads(t, arena, "r.fa", "; all\n>a\n; inside\nMK\nV*\n>b\n\n>c\n>d\nL*A\n>e\n*\n", "MKV L*A");
    CHECK(t, f->comments == 2 && f->stops == 2, "%" PRId64 " remarks, %" PRId64 " stops", f->comments, f->stops);
    CHECK(t, f->empty == 3 && f->empty_line == 6, "%" PRId64 " empty, the first in line %" PRId64, f->empty, f->empty_line);
    CHECK(t, f->records == 2 && f->residues == 6 && f->longest == 3 && f->shortest == 3, "counts");
    CHECK(t, f->letter['*'] == 1 && f->letter_line['*'] == 9 && f->letter['K'] == 1, "letters");
    mdl_case(t, "fasta: a sequence on one line of 3 MB");
    size_t n = 3000000;
    char *text = memset(mdl_alloc(arena, n + 4), 'A', n + 3);
    memcpy(text, ">a\n", 3);
    mdl_corpus c = fixture_corpus(t, arena, fixture_file(t, arena, "long.fa", text));
    CHECK(t, c.n == 1 && mdl_corpus_at(&c, 0)->length == n, "its length");
    mdl_corpus_close(&c);
}

static bool same(const mdl_corpus *a, const mdl_corpus *b) {
    return a->n && a->n == b->n && a->head->rows_hash == b->head->rows_hash &&
           !memcmp(a->residues, b->residues, (size_t)a->head->facts.residues);
}

static void compressed(mdl_test *t, mdl_arena *arena) {
    static const struct {
        const char *name, *about;
    } made[] = {{"sample.fa", "plain text"},
                {"sample.gz", "gzip"},
                {"two.gz", "two members"},
                {"padded.gz", "zeros behind the end"},
                {"mixed.gz", "BGZF and then gzip"}};
    mdl_case(t, "compression: the sample as BGZF, gzip, several members, padded, mixed and plain is the same");
    const char *sample = mdl_printf(arena, "%s/data/uniref_sample.fasta.gz", mdl_test_source(t));
    int failed =
        mdl_shell(t, NULL,
                  "S='%s' && cd '%s' && gzip -dc \"$S\" > sample.fa && gzip -1 -c sample.fa > sample.gz && "
                  "(head -n 999 sample.fa | gzip; tail -n +1000 sample.fa | gzip) > two.gz && "
                  "(cat sample.gz; head -c 70000 /dev/zero) > padded.gz && "
                  "(cat \"$S\"; printf '>z\\nMKV\\n' | gzip) > more.gz && "
                  "gzip -dc more.gz | head -n -2 | cmp - sample.fa && (head -c -28 \"$S\"; printf '\\n' | gzip) > mixed.gz",
                  sample, mdl_test_scratch(t));
    CHECK(t, !failed, "the shell exits with %d", failed);
    mdl_corpus bgzf = fixture_corpus(t, arena, sample), other;
    CHECK(t, bgzf.n == 10000 && bgzf.head->facts.residues == 3353645, "%" PRId64 " sequences", bgzf.n);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        other = fixture_corpus(t, arena, fixture_path(t, arena, made[i].name));
        CHECK(t, same(&bgzf, &other), "%s differs", made[i].about);
        mdl_corpus_close(&other);
    }
    other = fixture_corpus(t, arena, fixture_path(t, arena, "more.gz"));
    CHECK(t, other.n == 10001, "a member after BGZF's end: %" PRId64 " sequences", other.n);
    mdl_corpus_close(&other);
    mdl_corpus_close(&bgzf);
}

static void tables(mdl_test *t, mdl_arena *arena) {
    mdl_case(t, "tables: quotes, doubled quotes, breaks inside of quotes, CR LF, blank lines, no last newline");
    const mdl_corpus_facts *f =
        reads(t, arena, "a.csv",
              "id,\"sequence\",note\r\n1,MKV,\"a \"\"b\"\", c\r\nd\"\r\n\r\n2,\"LA\nG\",\r\n3,,x\r\n4,hk,5\" pipe", "MKV LAG hk");
    CHECK(t, f->empty == 1 && f->empty_line == 7, "%" PRId64 " empty, line %" PRId64, f->empty, f->empty_line);
    reads(t, arena, "a.tsv", "sequence\tname, with comma\nMKV\tx,y\nLAG\t\n", "MKV LAG");
    reads(t, arena, "one.csv", "\xef\xbb\xbfsequence\nMKV\nLAG\n", "MKV LAG");
    mdl_case(t, "tables: columns of numbers, and absent ones");
    static const char *const names[] = {"y", "x"};
    mdl_format_options options = {.columns = names, .n_columns = 2, .sequence_column = "seq"};
    const char *path = fixture_file(t, arena, "n.csv", "x,seq,y\n1.5,MKV,-2e3\nNA,LAG,0.25 \n,hk,nan\n"), *note;
    mdl_corpus c;
    mdl_status status = mdl_corpus_open(path, &options, NULL, arena, &c, &note);
    CHECK(t, !status && !strcmp(show(arena, &c), "MKV[-2000,1.5] LAG[0.25,nan] hk[nan,nan]"), "%s",
          status ? mdl_message(status) : show(arena, &c));
    mdl_status_free(status);
    mdl_corpus_close(&c);
    mdl_case(t, "tables: blocks end anywhere");
    mdl_text text = {.arena = arena}, expected = {.arena = arena};
    mdl_text_printf(&text, "pad,sequence\r\n");
    for (int i = 0; i < 40000; i++) {
        mdl_text_printf(&text, "\"%.*s\"\"\",\"MK%c\"\r\n", i % 23, "bracket, and\r\nanother one", 'A' + i % 26);
        mdl_text_printf(&expected, "%sMK%c", i ? " " : "", 'A' + i % 26);
    }
    reads(t, arena, "blocks.csv", text.at, expected.at);
}

static void lines(mdl_test *t, mdl_arena *arena) {
    mdl_case(t, "lines: a sequence a line; blank lines and remarks are skipped");
    const mdl_corpus_facts *f = reads(t, arena, "a.txt", "# all\nMKV\r\n\r\n\nLA G\n;x\nhk", "MKV LAG hk");
    CHECK(t, f->comments == 2 && !f->empty, "%" PRId64 " remarks", f->comments);
}

static void report(mdl_test *t, mdl_arena *arena, mdl_text *text, const char *about, const char *path, const char *column) {
    mdl_format_options options = {.columns = &column, .n_columns = column != NULL};
    mdl_corpus c;
    const char *note;
    mdl_status status = mdl_corpus_open(path, &options, NULL, arena, &c, &note);
    CHECK(t, status && !c.map, "%s: was accepted", about);
    mdl_text_printf(text, "%s\n    %s\n", about, fixture_message(t, arena, status));
}

static void malformed(mdl_test *t, mdl_arena *arena) {
    static const struct {
        const char *about, *name, *text, *column;
    } cases[] = {
        {"empty", "bad.fa", "", NULL},
        {"blank lines only", "bad.fa", "\n \r\n\n", NULL},
        {"not FASTA", "bad.fa", "\n# sequences\nACDE\n", NULL},
        {"FASTQ", "bad.fa", "@read\nACDE\n+\nIIII\n", NULL},
        {"a long first line", "bad.fa", "name,sequence,length,organism,taxonomy,cluster,evidence,reviewed\n", NULL},
        {"empty records only", "bad.fa", "\n>a\n>b\n", NULL},
        {"one line with CR ends", "bad.fa", ">a\rACD\r>b\rEF\r", NULL},
        {"header inside a sequence", "bad.fa", ">a\nACD>b\nEF\n", NULL},
        {"binary in a sequence", "bad.fa", ">a\nACD\n\x01\x02\n", NULL},
        {"not ASCII in a sequence", "bad.fa", ">a\nAC\xc3\x84\n", NULL},
        {"columns of FASTA", "bad.fa", ">a\nAC\n", "x"},
        {"table: empty", "bad.csv", "", NULL},
        {"table: no such column", "bad.csv", "id,seq\n1,MKV\n", NULL},
        {"table: no such number", "bad.csv", "id,sequence\n1,MKV\n", "x"},
        {"table: cells are missing", "bad.csv", "id,sequence\n1,MKV\n2\n", NULL},
        {"table: too many cells", "bad.csv", "id,sequence\n1,MKV,\n", NULL},
        {"table: a quote is never closed", "bad.csv", "id,sequence\n1,MKV\n\"2,LAG\n3,hk\n", NULL},
        {"table: text behind a quote", "bad.csv", "id,sequence\n\"1\"x,MKV\n", NULL},
        {"table: no number", "bad.csv", "x,sequence\n1,MKV\n\n0x1p3,LAG\n", "x"},
        {"table: infinite", "bad.csv", "x,sequence\ninf,MKV\n", "x"},
        {"table: beyond f32", "bad.csv", "x,sequence\n4e38,MKV\n", "x"},
        {"table: not ASCII", "bad.csv", "id,sequence\n\"1\n1\",M\xc3\x84\n", NULL},
        {"table: CR only", "bad.csv", "id,sequence\r1,MKV\r", NULL},
        {"table: FASTA inside", "bad.tsv", "sequence\n>a\n", NULL},
        {"lines: no sequence", "bad.txt", "# MKV\n", NULL},
        {"lines: binary", "bad.txt", "MKV\nM\x7fK\n", NULL},
        {"zstd", "bad.fa.zst", "\x28\xb5\x2f\xfd....", NULL},
    };
    mdl_text text = {.arena = arena};
    if (!mdl_case(t, "malformed files, one message each, with the line")) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        report(t, arena, &text, cases[i].about, fixture_file(t, arena, cases[i].name, cases[i].text), cases[i].column);
    report(t, arena, &text, "absent", fixture_path(t, arena, "absent.fa"), NULL);
    report(t, arena, &text, "a folder", fixture_path(t, arena, "."), NULL);
    mdl_golden(t, "data/formats.txt", text.at);
}

/* Files that are not text or whose compression is damaged, made from the sample ($S) in the scratch folder. Where a file is cut,
 * the line depends on who compressed it. */
static void damaged(mdl_test *t, mdl_arena *arena) {
    static const struct {
        const char *about, *name, *expected;
    } files[] = {
        {"binary", "junk.fa", "line 1: expected a FASTA header, which begins with '>', got \"PAR1\\x15\\x04\\x00\\x01\""},
        {"zero byte in a header", "zero.fa", "line 1: byte 0x00 in a header: this is not text"},
        {"compressed binary", "junk.gz", "line 1: expected a FASTA header"},
        {"zero byte in a table", "zero.csv", "line 2: byte 0x00: this is not text"},
        {"truncated gzip", "cut.gz", ": the file's compression ends here, too early: the file is truncated"},
        {"gzip header only", "head.gz", "line 1: the file's compression ends here, too early: the file is truncated"},
        {"truncated BGZF", "cut.bgzf", ": the file's compression ends here, too early: the file is truncated"},
        {"BGZF without its end", "end.bgzf", "line 71012: the block that ends a BGZF file is missing: the file is truncated"},
        {"text behind gzip", "behind.gz", "line 501: the file's compression is damaged: what follows is no gzip"},
        {"a row without end", "endless.csv", "line 3: a row of more than 64 MiB begins here: is a quote not closed?"},
        {"zeros and then more", "zeros.gz", "line 501: the file's compression is damaged: what follows is no gzip"},
        {"gzip damaged in the middle", "flip.gz", ": the file's compression is damaged from here on"},
        {"BGZF damaged in the middle", "flip.bgzf", ": the file's compression is damaged from here on"},
    };
    mdl_case(t, "binary files and damaged compression");
    int failed = mdl_shell(
        t, NULL,
        "S='%s/data/uniref_sample.fasta.gz' && cd '%s' && printf 'PAR1\\025\\004\\000\\001' > junk.fa && "
        "printf '>a\\0\\nAC\\n' > zero.fa && printf 'sequence\\nA\\0C\\n' > zero.csv && gzip -c junk.fa > junk.gz && (printf "
        "'sequence\nMKV\n\"'; head -c 70000000 /dev/zero | tr '\\0' A) > endless.csv && "
        "gzip -dc \"$S\" | head -n 500 | gzip -n > full.gz && head -c 9000 full.gz > cut.gz && head -c 12 full.gz > head.gz && "
        "head -c 100000 \"$S\" > cut.bgzf && head -c -28 \"$S\" > end.bgzf && (cat full.gz; echo x) > behind.gz && (cat full.gz; "
        "head -c 99 /dev/zero; cat full.gz) > zeros.gz && "
        "(head -c 5000 full.gz; printf 'XXXXXXXXXXXXXXXXXXXX'; tail -c +5021 full.gz) > flip.gz && "
        "(head -c 300000 \"$S\"; printf 'XXXX'; tail -c +300005 \"$S\") > flip.bgzf",
        mdl_test_source(t), mdl_test_scratch(t));
    CHECK(t, !failed, "the shell exits with %d", failed);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        mdl_text text = {.arena = arena};
        report(t, arena, &text, files[i].about, fixture_path(t, arena, files[i].name), NULL);
        CHECK(t, strstr(text.at, files[i].expected) && strstr(text.at, ": line "), "%s", text.at);
    }
}

static void names(mdl_test *t) {
    static const char *const expected[][2] = {
        {"a.fasta", "fasta"},   {"a.csv.gz", "csv"}, {"A.TSV", "tsv"}, {"x/y.z/a", "fasta"},     {".csv", "fasta"},
        {"a.txt.bgz", "lines"}, {"a.pq", "parquet"}, {"a.", "fasta"},  {"a.parquet", "parquet"}, {"a.s", "fasta"}};
    mdl_case(t, "formats: by the file's name, or as asked for");
    const mdl_format *format;
    mdl_format_options options = {0};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        mdl_status status = mdl_format_of(expected[i][0], &options, &format);
        CHECK(t, !status && !strcmp(format->name, expected[i][1]), "%s is %s", expected[i][0], status ? "refused" : format->name);
    }
    options.format = "lines";
    mdl_status status = mdl_format_of("a.csv", &options, &format);
    CHECK(t, !status && !strcmp(format->name, "lines"), "asked for");
    options.format = "line";
    status = mdl_format_of("a.csv", &options, &format);
    CHECK(t, status && strstr(mdl_message(status), "did you mean 'lines'"), "%s", mdl_message(status));
    mdl_status_free(status);
}

void suite_formats(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    fasta_text(t, arena);
    compressed(t, arena);
    tables(t, arena);
    lines(t, arena);
    malformed(t, arena);
    damaged(t, arena);
    names(t);
    mdl_arena_free(arena);
}
