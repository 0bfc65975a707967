/* Suite `corpus`: what is kept of a file is used again, and never when it should not be. */
#include "runtime/data/corpus.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/data/fixture.h"

/* A file of one record, last changed an hour before now and `seconds` more. */
static const char *old_file(mdl_test *t, mdl_arena *arena, const char *name, const char *text, int seconds) {
    const char *path = fixture_file(t, arena, name, text);
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec += seconds - 3600;
    CHECK(t, !utimensat(AT_FDCWD, path, times, 0), "cannot set the time of %s", path);
    return path;
}

/* Opens, compares the residues, and tells whether what was kept is what it was before: its inode, 0 when there is none. */
static ino_t opens(mdl_test *t, mdl_arena *arena, const char *path, const char *folder, const char *kept, const char *residues,
                   const char *note) {
    mdl_format_options options = {0};
    mdl_corpus c;
    const char *why;
    struct stat info;
    mdl_status status = mdl_corpus_open(path, &options, folder, arena, &c, &why);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    CHECK(t, c.n && !strncmp(c.residues, residues, strlen(residues)), "%s holds \"%.20s\"", path, c.n ? c.residues : "");
    CHECK(t, note ? why && strstr(why, note) : !why, "the note is \"%s\"", why ? why : "");
    mdl_corpus_close(&c);
    return stat(kept, &info) ? 0 : info.st_ino;
}

static void reuse(mdl_test *t, mdl_arena *arena) {
    const char *path = old_file(t, arena, "k.fa", ">a\nMKV\n", 0), *kept = fixture_path(t, arena, "k.fa.mdldata");
    mdl_case(t, "corpus: kept beside the file and used again");
    ino_t first = opens(t, arena, path, NULL, kept, "MKV", NULL);
    CHECK(t, first && first == opens(t, arena, path, NULL, kept, "MKV", NULL), "it was made twice");
    mdl_case(t, "corpus: made anew, once, when the file's size, time or place changes");
    old_file(t, arena, "k.fa", ">a\nMKVL\n", 0);
    ino_t second = opens(t, arena, path, NULL, kept, "MKVL", "is of another state of");
    CHECK(t, second == opens(t, arena, path, NULL, kept, "MKVL", NULL), "it was made twice");
    old_file(t, arena, "k.fa", ">a\nLKVM\n", 1);
    opens(t, arena, path, NULL, kept, "LKVM", "is of another state of");
    int failed = mdl_shell(t, NULL, "cd '%s' && cp -p k.fa.mdldata l.fa.mdldata && cp -p k.fa l.fa", mdl_test_scratch(t));
    CHECK(t, !failed, "cp");
    opens(t, arena, fixture_path(t, arena, "l.fa"), NULL, kept, "LKVM", "is of another state of");
    mdl_case(t, "corpus: a file that has only just changed is not trusted to keep its time");
    path = fixture_file(t, arena, "now.fa", ">a\nMKV\n");
    opens(t, arena, path, NULL, kept, "MKV", NULL);
    fixture_file(t, arena, "now.fa", ">a\nVKM\n");
    opens(t, arena, path, NULL, kept, "VKM", NULL);
}

static void places(mdl_test *t, mdl_arena *arena) {
    const char *folder = fixture_path(t, arena, "shared/deep"), *cache = fixture_path(t, arena, "cache");
    const char *path = old_file(t, arena, "p.fa", ">a\nMKV\n", 0), *output;
    mdl_case(t, "corpus: in a folder that is asked for, made if need be");
    opens(t, arena, path, folder, path, "MKV", NULL);
    CHECK(t, access(fixture_path(t, arena, "p.fa.mdldata"), F_OK), "it is beside the file");
    int failed = mdl_shell(t, &output, "ls '%s'/*-p.fa.mdldata | wc -l", folder);
    CHECK(t, !failed && atoi(output) == 1, "%s", output);
    mdl_case(t, "corpus: what a run that was killed has left is swept away, what another is writing is not");
    old_file(t, arena, "s.fa.mdldata.tmp-17", "part", -60);
    old_file(t, arena, "s.fa.mdldata.tmp-18", "part", 3600);
    opens(t, arena, old_file(t, arena, "s.fa", ">a\nMKV\n", 0), NULL, path, "MKV", NULL);
    CHECK(t, access(fixture_path(t, arena, "s.fa.mdldata.tmp-17"), F_OK), "it is still there");
    CHECK(t, !access(fixture_path(t, arena, "s.fa.mdldata.tmp-18"), F_OK), "it is gone");
    mdl_case(t, "corpus: what cannot be kept serves all the same: a pipe");
    CHECK(t,
          !mdl_shell(t, NULL, "mkfifo '%s/pipe' || exit 1; (printf '>a\\nMKV\\n' > '%s/pipe') >/dev/null 2>&1 &",
                     mdl_test_scratch(t), mdl_test_scratch(t)),
          "mkfifo");
    const char *pipe = fixture_path(t, arena, "pipe");
    CHECK(t, !opens(t, arena, pipe, NULL, fixture_path(t, arena, "pipe.mdldata"), "MKV", NULL), "a pipe's was kept");
    mdl_case(t, "corpus: in the user's cache when there is no writing beside the file");
    CHECK(t, !mdl_shell(t, NULL, "cd '%s' && cp -p p.fa q.fa && mkdir q.fa.mdldata.tmp-%ld", mdl_test_scratch(t), (long)getpid()),
          "mkdir"); /* a name that is taken; folders without write permission do not stop root */
    setenv("XDG_CACHE_HOME", cache, 1);
    ino_t first = opens(t, arena, fixture_path(t, arena, "q.fa"), NULL, path, "MKV", NULL);
    CHECK(t, first == opens(t, arena, fixture_path(t, arena, "q.fa"), NULL, path, "MKV", NULL), "made twice");
    failed = mdl_shell(t, &output, "ls '%s'/mdl/data/*-q.fa.mdldata | wc -l", cache);
    CHECK(t, !failed && atoi(output) == 1, "%s", output);
    unsetenv("XDG_CACHE_HOME");
}

/* A table's columns are part of what is kept. */
static void variants(mdl_test *t, mdl_arena *arena) {
    static const char *const columns[] = {"x", "y"};
    const char *path = old_file(t, arena, "v.csv", "sequence,other,x,y\nMKV,LAG,1,2\n", 0), *note;
    mdl_format_options options[] = {
        {0}, {.sequence_column = "other"}, {.columns = columns, .n_columns = 1}, {.columns = columns + 1, .n_columns = 1}};
    mdl_case(t, "corpus: one for each choice of columns, side by side");
    for (int again = 0; again < 2; again++)
        for (int i = 0; i < 4; i++) {
            mdl_corpus c;
            mdl_status status = mdl_corpus_open(path, &options[i], NULL, arena, &c, &note);
            CHECK(t, !status && !note, "%s", status ? mdl_message(status) : note);
            CHECK(t, c.n == 1 && !memcmp(c.residues, i == 1 ? "LAG" : "MKV", 3), "variant %d", i);
            CHECK(t, i < 2 || mdl_corpus_at(&c, 0)->number[0] == (float)(i - 1), "its number");
            mdl_corpus_close(&c);
        }
}

static void write_bytes(const char *path, const unsigned char *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) abort();
}

/* Whatever happens to a byte: seen at once, made anew; but for residues, which are looked at when they are used. */
static void damage(mdl_test *t, mdl_arena *arena) {
    const char *path = old_file(t, arena, "d.fa", ">a\nMKVLAGSERT\n>b\nLLLL\n", 0), *kept = fixture_path(t, arena, "d.fa.mdldata");
    unsigned char whole[8192];
    mdl_case(t, "corpus: any byte that is changed, any end that is cut off is seen");
    opens(t, arena, path, NULL, kept, "MKVLAGSERT", NULL);
    FILE *f = fopen(kept, "rb");
    size_t n = f ? fread(whole, 1, sizeof whole, f) : 0, residues = n - 64 - 2 * 32;
    if (f) fclose(f);
    CHECK(t, n > 4096 && n < sizeof whole && !memcmp(whole + residues, "MKVLAGSERTLLLL", 14), "%zu bytes", n);
    for (size_t i = 0; i < n; i += i < 64 || i > residues - 8 ? 1 : 97) {
        if (i >= sizeof(mdl_corpus_head) && i < residues + 64) continue; /* residues, and what fills up around them */
        whole[i] ^= 0x10;
        write_bytes(kept, whole, n);
        whole[i] ^= 0x10;
        opens(t, arena, path, NULL, kept, "MKVLAGSERT", "and is made anew");
    }
    for (size_t i = 0; i < n; i += i < 100 ? 9 : 211) {
        write_bytes(kept, whole, i);
        opens(t, arena, path, NULL, kept, "MKVLAGSERT", "and is made anew");
    }
    mdl_case(t, "corpus: residues that are damaged are not trained on");
    whole[residues + 11] ^= 1;
    write_bytes(kept, whole, n);
    mdl_loader_options options = fixture_options(&path);
    mdl_loader *loader = NULL;
    const mdl_batch *batches;
    mdl_status status = mdl_loader_open(fixture_masked_plan(arena, 64, 4), &options, &loader);
    if (!status) status = mdl_loader_next(loader, &batches, NULL, NULL);
    CHECK(t, status && strstr(mdl_message(status), "d.fa: what is kept of its record at line 3 is damaged"), "%s",
          status ? mdl_message(status) : "accepted");
    mdl_status_free(status);
    mdl_loader_close(loader);
}

/* A disk that is full, in the shape of a limit on file sizes: an error, and nothing left behind. */
static void no_room(mdl_test *t, mdl_arena *arena) {
    const char *output, *path = fixture_fasta(t, arena, "room.fa", 3000, 40);
    mdl_case(t, "corpus: no room for it, at any size");
    for (int blocks = 0; blocks < 320; blocks += blocks < 16 ? 4 : 60) { /* of 512 bytes: 63,000 residues, rows of 96,000 bytes */
        int code = mdl_shell(t, &output, "trap '' XFSZ; ulimit -f %d; mdlrun data '%s' 2>&1 | cat", blocks, path);
        CHECK(t, strstr(output, "room.fa: cannot keep what is decoded of it") || strstr(output, "room.fa.mdldata: cannot write it"),
              "%d blocks: exit %d: %s", blocks, code, output);
        code = mdl_shell(t, &output, "ls '%s' | grep 'room.fa.'", mdl_test_scratch(t));
        CHECK(t, code, "%d blocks: this is left: %s", blocks, output);
    }
    mdl_corpus c = fixture_corpus(t, arena, path);
    CHECK(t, c.n == 3000, "with room it is made");
    mdl_corpus_close(&c);
}

void suite_corpus(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    reuse(t, arena);
    places(t, arena);
    variants(t, arena);
    damage(t, arena);
    no_room(t, arena);
    mdl_arena_free(arena);
}
