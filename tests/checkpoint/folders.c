/* The commit protocol alone: folders, damage, which one is found, what is removed; and snapshots, on a fake device. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/lock.h"
#include "runtime/base/safetensors.h"
#include "runtime/checkpoint/snapshot.h"
#include "tests/check.h"
#include "tests/train/fake.h"

typedef struct {
    mdl_test *t;
    mdl_arena *memory;
    const char *dir;
} folder;

static folder begin(mdl_test *t, const char *name) {
    folder f = {t, mdl_arena_new(), NULL};
    f.dir = mdl_printf(f.memory, "%s/%s", mdl_test_scratch(t), name);
    mdl_status_free(mdl_file_remove_folder(f.dir));
    mdl_status_free(mdl_file_make_folder(f.dir));
    return f;
}

static void ok(const folder *f, mdl_status status) {
    CHECK(f->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* Expects an error whose text has `text` in it. */
static void refused(const folder *f, mdl_status status, const char *text) {
    CHECK(f->t, status && strstr(mdl_message(status), text), "expected '%s', got: %s", text, mdl_message(status));
    mdl_status_free(status);
}

static const char *at(const folder *f, const char *name) { return mdl_printf(f->memory, "%s/%s", f->dir, name); }

static void put(const folder *f, const char *name, const char *text) { ok(f, mdl_file_write(at(f, name), text, strlen(text))); }

/* A checkpoint with two files; `text` is in one of them. */
static void make(const folder *f, const char *name, const char *run, int64_t step, const char *text) {
    mdl_new_checkpoint c;
    int64_t bytes = 0;
    ok(f, mdl_checkpoint_begin(f->memory, f->dir, name, run, &c));
    mdl_status status = mdl_file_write(mdl_printf(f->memory, "%s/a.txt", c.folder), text, strlen(text));
    if (!status) status = mdl_file_write(mdl_printf(f->memory, "%s/b.json", c.folder), "{}\n", 3);
    ok(f, mdl_checkpoint_commit(&c, step, status, &bytes));
    CHECK(f->t, bytes == (int64_t)strlen(text) + 3, "%lld bytes", (long long)bytes);
    usleep(2000); /* the order of commits is told by milliseconds */
}

/* The names in the folder, sorted, with blanks between. */
static const char *listing(const folder *f) {
    const char *names;
    mdl_shell(f->t, &names, "ls -A '%s' | tr '\\n' ' '", f->dir);
    return mdl_strdup(f->memory, names);
}

static void expect_listing(const folder *f, const char *expected) {
    CHECK(f->t, !strcmp(listing(f), expected), "the folder holds %s, expected %s", listing(f), expected);
}

static void test_commit(mdl_test *t) {
    folder f = begin(t, "commit");
    mdl_commit commit;
    mdl_case(t, "a committed folder verifies, and nothing is left beside it");
    make(&f, "checkpoint-3", "r", 3, "some text");
    ok(&f, mdl_checkpoint_verify(f.memory, at(&f, "checkpoint-3"), &commit));
    CHECK(t, commit.step == 3 && commit.files.n == 2 && mdl_commit_has(&commit, "a.txt"), "step %lld", (long long)commit.step);
    expect_listing(&f, "checkpoint-3 ");
    mdl_case(t, "one of the same name is replaced");
    make(&f, "checkpoint-3", "r", 3, "other text");
    ok(&f, mdl_checkpoint_verify(f.memory, at(&f, "checkpoint-3"), &commit));
    expect_listing(&f, "checkpoint-3 ");
    mdl_case(t, "a save that failed leaves what was there");
    mdl_new_checkpoint c;
    int64_t bytes;
    ok(&f, mdl_checkpoint_begin(f.memory, f.dir, "checkpoint-3", "r", &c));
    refused(&f, mdl_checkpoint_commit(&c, 3, mdl_fail(MDL_SYSTEM, "the disk is full"), &bytes), "the disk is full");
    ok(&f, mdl_checkpoint_verify(f.memory, at(&f, "checkpoint-3"), &commit));
    expect_listing(&f, "checkpoint-3 ");
    mdl_arena_free(f.memory);
}

static void test_refusals(mdl_test *t) {
    folder f = begin(t, "refusals");
    mdl_commit commit;
    const char *c = at(&f, "checkpoint-1");
    mdl_case(t, "why a folder is no checkpoint");
    make(&f, "checkpoint-1", "r", 1, "text");
    put(&f, "checkpoint-1/extra.txt", "a file that nobody committed does no harm");
    ok(&f, mdl_checkpoint_verify(f.memory, c, &commit));
    put(&f, "checkpoint-1/a.txt", "longer text");
    refused(&f, mdl_checkpoint_verify(f.memory, c, &commit), "a.txt has 11 bytes, not 4");
    put(&f, "checkpoint-1/a.txt", "Text");
    refused(&f, mdl_checkpoint_verify(f.memory, c, &commit), "a.txt is damaged");
    unlink(at(&f, "checkpoint-1/a.txt"));
    refused(&f, mdl_checkpoint_verify(f.memory, c, &commit), "a.txt: No such file");
    put(&f, "checkpoint-1/COMMIT.json", "{\"format\": 2}");
    refused(&f, mdl_commit_read(f.memory, c, &commit), "its format is 2; this program reads 1");
    put(&f, "checkpoint-1/COMMIT.json", "{\"format\": 1, \"format\": 1}");
    refused(&f, mdl_commit_read(f.memory, c, &commit), "duplicate");
    put(&f, "checkpoint-1/COMMIT.json", "{\"format\": 1}");
    refused(&f, mdl_commit_read(f.memory, c, &commit), "it lacks one of");
    unlink(at(&f, "checkpoint-1/COMMIT.json"));
    refused(&f, mdl_commit_read(f.memory, c, &commit), "COMMIT.json: No such file");
    mdl_arena_free(f.memory);
}

static bool same_commit(const mdl_commit *a, const mdl_commit *b) {
    bool same = !strcmp(a->run, b->run) && a->step == b->step && a->time == b->time && a->files.n == b->files.n;
    for (int i = 0; i < a->files.n && same; i++)
        same = !strcmp(a->files.at[i].name, b->files.at[i].name) && !strcmp(a->files.at[i].hash, b->files.at[i].hash) &&
               a->files.at[i].bytes == b->files.at[i].bytes;
    return same;
}

/* Every bit of a file, one after the other. Returns how many offsets had a flip that was not noticed: harmless ones. */
static int flip_all(const folder *f, const char *name, const mdl_commit *good) {
    const char *path = at(f, mdl_printf(f->memory, "checkpoint-1/%s", name));
    char *bytes;
    size_t n;
    int harmless = 0;
    ok(f, mdl_file_load(f->memory, path, &bytes, &n));
    for (size_t i = 0; i < 8 * n; i++) {
        mdl_commit read;
        mdl_arena *scratch = mdl_arena_new();
        FILE *file = fopen(path, "w");
        bytes[i / 8] ^= (char)(1 << i % 8);
        if (file) fwrite(bytes, 1, n, file), fclose(file);
        mdl_status status = mdl_checkpoint_verify(scratch, at(f, "checkpoint-1"), &read);
        bool same = !status && same_commit(&read, good);
        CHECK(f->t, status || same, "%s: bit %d of byte %zu passes, and the commit reads otherwise", name, (int)(i % 8), i / 8);
        harmless += same;
        mdl_status_free(status);
        bytes[i / 8] ^= (char)(1 << i % 8);
        mdl_arena_free(scratch);
    }
    ok(f, mdl_file_write(path, bytes, n));
    return harmless;
}

static void test_flips(mdl_test *t) {
    folder f = begin(t, "flips");
    mdl_commit good;
    mdl_case(t, "a bit flipped anywhere is refused, or reads the same");
    make(&f, "checkpoint-1", "r", 1, "The quick brown fox jumps over the lazy dog, and nobody knows why it does so.");
    ok(&f, mdl_checkpoint_verify(f.memory, at(&f, "checkpoint-1"), &good));
    CHECK(t, !flip_all(&f, "a.txt", &good), "a flip in a.txt passes");
    CHECK(t, !flip_all(&f, "b.json", &good), "a flip in b.json passes");
    flip_all(&f, "COMMIT.json", &good); /* white space may become other white space */
    ok(&f, mdl_checkpoint_verify(f.memory, at(&f, "checkpoint-1"), &good));
    mdl_arena_free(f.memory);
}

static void expect_found(const folder *f, int64_t at_most, const char *name, const char *says) {
    mdl_checkpoint *found;
    const char *skipped;
    ok(f, mdl_checkpoint_find(f->memory, f->dir, at_most, &found, &skipped));
    const char *got = found ? found->name : "none";
    CHECK(f->t, !strcmp(got, name), "found %s, expected %s", got, name);
    CHECK(f->t, says ? skipped && strstr(skipped, says) : !skipped, "it says: %s", skipped);
}

static void test_find(mdl_test *t) {
    folder f = begin(t, "find");
    mdl_case(t, "the newest checkpoint that verifies; why others are skipped");
    expect_found(&f, INT64_MAX, "none", NULL);
    make(&f, "checkpoint-2", "r", 2, "two");
    make(&f, "checkpoint-10", "r", 10, "ten");
    make(&f, "checkpoint-4", "r", 4, "four: a run that went on from 2 again");
    make(&f, "checkpoint-last", "r", 12, "last: not one to go on from by itself");
    put(&f, "checkpoint-x", "no folder, and no number");
    expect_found(&f, INT64_MAX, "checkpoint-4", NULL);
    expect_found(&f, 3, "checkpoint-2", NULL);
    expect_found(&f, 1, "none", NULL);
    put(&f, "checkpoint-4/a.txt", "changed");
    expect_found(&f, INT64_MAX, "checkpoint-10", "skipped checkpoint-4: ");
    ok(&f, mdl_file_make_folder(at(&f, "checkpoint-11")));
    expect_found(&f, INT64_MAX, "checkpoint-10", "skipped checkpoint-11: ");
    mdl_arena_free(f.memory);
}

static void test_prune(mdl_test *t) {
    folder f = begin(t, "prune");
    mdl_case(t, "old checkpoints of the run go, the best one, refused and foreign ones stay");
    make(&f, "checkpoint-1", "r", 1, "one");
    make(&f, "checkpoint-2", "other", 2, "two");
    make(&f, "checkpoint-3", "r", 3, "three");
    make(&f, "checkpoint-4", "r", 4, "four");
    make(&f, "checkpoint-5", "r", 5, "five");
    ok(&f, mdl_file_make_folder(at(&f, "checkpoint-9")));
    ok(&f, mdl_checkpoint_prune(f.memory, f.dir, "r", 0, false, NULL));
    expect_listing(&f, "checkpoint-1 checkpoint-2 checkpoint-3 checkpoint-4 checkpoint-5 checkpoint-9 ");
    ok(&f, mdl_checkpoint_prune(f.memory, f.dir, "r", 2, false, at(&f, "checkpoint-1")));
    expect_listing(&f, "checkpoint-1 checkpoint-2 checkpoint-4 checkpoint-5 checkpoint-9 ");
    ok(&f, mdl_checkpoint_prune(f.memory, f.dir, "r", 1, true, NULL));
    expect_listing(&f, "checkpoint-5 checkpoint-9 ");
    mdl_arena_free(f.memory);
}

/* Renames a checkpoint to what a run that was killed leaves. */
static void unname(const folder *f, const char *name) {
    CHECK(f->t, !rename(at(f, name), at(f, mdl_printf(f->memory, "%s.tmp-r-1", name))), "cannot rename %s", name);
}

static void test_tidy(mdl_test *t) {
    folder f = begin(t, "tidy");
    const char *said;
    mdl_case(t, "what a killed run leaves: whole ones get their name, others go");
    make(&f, "checkpoint-1", "r", 1, "whole, without its name");
    unname(&f, "checkpoint-1");
    make(&f, "checkpoint-2", "r", 2, "the one that was replaced");
    unname(&f, "checkpoint-2");
    make(&f, "checkpoint-2", "r", 2, "the one that replaced it");
    ok(&f, mdl_file_make_folder(at(&f, "checkpoint-3.tmp-r-1")));
    put(&f, "checkpoint-3.tmp-r-1/a.txt", "a part");
    put(&f, "model.safetensors.tmp-123", "a part");
    put(&f, "notes.tmp-b", "somebody's");
    ok(&f, mdl_checkpoint_tidy(f.memory, f.dir, &said));
    expect_listing(&f, "checkpoint-1 checkpoint-2 notes.tmp-b ");
    CHECK(t,
          said && strstr(said, "checkpoint-1 was whole") && strstr(said, "removed checkpoint-3.tmp-r-1") &&
              strstr(said, "removed model.safetensors.tmp-123"),
          "it says: %s", said);
    mdl_arena_free(f.memory);
}

static void test_lock(mdl_test *t) {
    folder f = begin(t, "lock");
    mdl_lock one, two;
    mdl_case(t, "a folder has one owner");
    ok(&f, mdl_lock_folder(f.memory, f.dir, &one));
    refused(&f, mdl_lock_folder(f.memory, f.dir, &two), "another run is writing there: process ");
    mdl_lock_release(&one);
    expect_listing(&f, "");
    ok(&f, mdl_lock_folder(f.memory, f.dir, &two));
    mdl_lock_release(&two);
    mdl_arena_free(f.memory);
}

/* ---- snapshots ---- */
static void fill_device(mdl_session *s, float start) {
    static const mdl_arena_id arenas[] = {MDL_ARENA_PARAM, MDL_ARENA_MOMENT1, MDL_ARENA_MOMENT2, MDL_ARENA_FROZEN};
    for (int a = 0; a < 4; a++)
        for (int64_t at = 0; at < s->plan->arena_bytes[arenas[a]]; at += 4, start++)
            mdl_status_free(mdl_fake_backend.upload(s->device, arenas[a], at, &start, 4));
}

static mdl_session *fake_session(const folder *f, mdl_plan *plan) {
    mdl_session *s = NULL;
    ok(f, mdl_session_attach(plan, &mdl_fake_backend, 1, &s));
    return s;
}

static bool same_values(const mdl_device *a, const mdl_device *b, const mdl_plan *plan) {
    bool same = true;
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *p = &plan->params.at[i];
        size_t bytes = (size_t)mdl_type_bytes(&p->type);
        same &= !memcmp(mdl_snapshot_at(a, p->arena, p), mdl_snapshot_at(b, p->arena, p), bytes);
        if (p->arena != MDL_ARENA_PARAM) continue;
        same &= !memcmp(mdl_snapshot_at(a, MDL_ARENA_MOMENT1, p), mdl_snapshot_at(b, MDL_ARENA_MOMENT1, p), bytes);
        same &= !memcmp(mdl_snapshot_at(a, MDL_ARENA_MOMENT2, p), mdl_snapshot_at(b, MDL_ARENA_MOMENT2, p), bytes);
    }
    return same;
}

/* Commits a snapshot in shards of at most `limit` bytes. */
static void commit_snapshot(const folder *f, mdl_device *snapshot, int64_t limit) {
    mdl_new_checkpoint c;
    int64_t bytes;
    ok(f, mdl_checkpoint_begin(f->memory, f->dir, "checkpoint-1", "r", &c));
    ok(f, mdl_checkpoint_commit(&c, 1, mdl_snapshot_write(snapshot, c.folder, limit), &bytes));
}

static void round_trip(const folder *f, mdl_session *s, int64_t limit, int shards) {
    mdl_device *snapshot = NULL, *back = NULL;
    mdl_commit commit;
    ok(f, mdl_snapshot_open(s->plan, &snapshot));
    ok(f, mdl_snapshot_open(s->plan, &back));
    fill_device(s, 1);
    ok(f, mdl_snapshot_take(snapshot, s->backend, s->device));
    fill_device(s, 1000); /* training goes on */
    commit_snapshot(f, snapshot, limit);
    ok(f, mdl_checkpoint_verify(f->memory, at(f, "checkpoint-1"), &commit));
    CHECK(f->t, commit.files.n == shards, "%d shards, expected %d", commit.files.n, shards);
    CHECK(f->t, !same_values(snapshot, back, s->plan), "they are equal before");
    ok(f, mdl_snapshot_read(back, at(f, "checkpoint-1"), &commit));
    CHECK(f->t, same_values(snapshot, back, s->plan), "values differ");
    mdl_snapshot_close(snapshot);
    mdl_snapshot_close(back);
}

/* A plan of other parameters reads a checkpoint of the first one. */
static void test_other_plan(const folder *f, mdl_session *s) {
    mdl_device *snapshot = NULL;
    mdl_commit commit;
    mdl_case(f->t, "a snapshot of another model is refused, and says what differs");
    s->plan->params.at[0].type.dim[0] = 3;
    s->plan->params.at[0].type.dim[1] = 2;
    s->plan->params.at[1].name = "b.bias";
    ok(f, mdl_snapshot_open(s->plan, &snapshot));
    ok(f, mdl_checkpoint_verify(f->memory, at(f, "checkpoint-1"), &commit));
    mdl_status status = mdl_snapshot_read(snapshot, at(f, "checkpoint-1"), &commit);
    const char *said = mdl_message(status);
    bool all = strstr(said, "master.a.weight is f32[2,3], the plan has f32[3,2]") &&
               strstr(said, "exp_avg_sq.a.bias is not in the plan") && strstr(said, "master.b.bias is missing");
    CHECK(f->t, status && all, "%s", said);
    mdl_status_free(status);
    mdl_snapshot_close(snapshot);
}

static void test_snapshots(mdl_test *t) {
    folder f = begin(t, "snapshot");
    mdl_session *s = fake_session(&f, mdl_fake_plan());
    mdl_case(t, "a snapshot goes out and comes back in one file, and in shards");
    round_trip(&f, s, MDL_OPTIMIZER_SHARD_BYTES, 1);
    round_trip(&f, s, 1, 8);
    round_trip(&f, s, 40, 4); /* 24 + 12, 8 + 4 + 24, 12 + 24, 12 */
    test_other_plan(&f, s);
    mdl_session_close(s);
    mdl_arena_free(f.memory);
}

void suite_checkpoint(mdl_test *t) {
    test_commit(t);
    test_refusals(t);
    test_flips(t);
    test_find(t);
    test_prune(t);
    test_tidy(t);
    test_lock(t);
    test_snapshots(t);
}
