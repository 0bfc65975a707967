/* Checkpoints as folders: DIR/checkpoint-N and DIR/checkpoint-last. A folder is a checkpoint when its COMMIT.json, written last,
 * names every other file with its size and hash, and they are so. What the files mean is not known here. */
#ifndef MDL_CHECKPOINT_CHECKPOINT_H
#define MDL_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#define MDL_COMMIT_FILE "COMMIT.json"
#define MDL_CHECKPOINT_LAST "checkpoint-last"
enum { MDL_COMMIT_FORMAT = 1 };

/* ---- writing: commit.c ---- */
typedef struct {
    mdl_arena *memory;
    const char *dir, *name, *run; /* run: of one training run, kept when it is resumed */
    const char *folder;           /* DIR/NAME.tmp-RUN-PID: write the files here */
} mdl_new_checkpoint;

/* A name for a run that no other has. */
const char *mdl_checkpoint_new_run(mdl_arena *memory);
mdl_status mdl_checkpoint_begin(mdl_arena *memory, const char *dir, const char *name, const char *run, mdl_new_checkpoint *c);
/* status: how the writing went. Hashes what is in the folder, writes COMMIT.json, then the name: all of it is on disk before the
 * name is, and the name before this returns. A checkpoint of that name is replaced in one step. On failure, also of `status`, which
 * is passed on, nothing but the temporary folder has changed, and that is removed. *bytes: of all files. */
mdl_status mdl_checkpoint_commit(mdl_new_checkpoint *c, int64_t step, mdl_status status, int64_t *bytes);

/* ---- reading: verify.c ---- */
typedef struct {
    const char *name, *hash; /* hash: XXH3-128, 32 hex digits */
    int64_t bytes;
} mdl_committed_file;
typedef struct {
    const char *run;
    int64_t step, time; /* time: of the commit, milliseconds since 1970 */
    MDL_VEC(mdl_committed_file) files;
} mdl_commit;

/* COMMIT.json alone: its own hash, and names without a slash. MDL_BAD_INPUT says why a folder is none. */
mdl_status mdl_commit_read(mdl_arena *memory, const char *folder, mdl_commit *commit);
/* Every file too: there, of its size, and of its hash. */
mdl_status mdl_checkpoint_verify(mdl_arena *memory, const char *folder, mdl_commit *commit);
bool mdl_commit_has(const mdl_commit *commit, const char *name);
/* In `memory`; also its length. */
mdl_status mdl_checkpoint_hash(mdl_arena *memory, const char *path, const char **hash, int64_t *bytes);
/* What COMMIT.json's own field "self" must be, of the rest; NULL: no memory. */
struct json_t;
const char *mdl_commit_self(mdl_arena *memory, const struct json_t *commit);

/* ---- which ones there are: find.c ---- */
typedef struct {
    const char *name, *path;
    mdl_commit commit; /* all zero where `refused` says why not */
    const char *refused;
} mdl_checkpoint;
typedef MDL_VEC(mdl_checkpoint) mdl_checkpoints;

/* DIR/checkpoint-N, those that were committed last first; then the refused ones. Files are not looked at. */
mdl_status mdl_checkpoint_list(mdl_arena *memory, const char *dir, mdl_checkpoints *list);
/* The first of DIR's list that verifies, of step at_most or an earlier one; NULL when there is none. *skipped: a line for each that
 * was refused on the way, NULL when none was. */
mdl_status mdl_checkpoint_find(mdl_arena *memory, const char *dir, int64_t at_most, mdl_checkpoint **found, const char **skipped);
/* Deals with what a run that ended suddenly has left in DIR, which no run may be using: a folder that was whole but for its name
 * gets it; others are removed, and so are files NAME.tmp-PROCESS. *said: a line for each, or NULL. */
mdl_status mdl_checkpoint_tidy(mdl_arena *memory, const char *dir, const char **said);

/* ---- prune.c ---- */
/* Keeps the `limit` newest checkpoints of the run (0: all) and, where foreign, removes those of other runs; the one at `best`
 * (NULL: none) stays. Refused ones are left alone. */
mdl_status mdl_checkpoint_prune(mdl_arena *memory, const char *dir, const char *run, int64_t limit, bool foreign, const char *best);

#endif
