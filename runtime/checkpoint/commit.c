/* The commit protocol: files, COMMIT.json, the name; each on disk before the next begins. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/checkpoint/checkpoint.h"

const char *mdl_checkpoint_new_run(mdl_arena *memory) {
    uint64_t bits = 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits)
        bits = (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 48;
    return mdl_printf(memory, "%016llx", (unsigned long long)bits);
}

mdl_status mdl_checkpoint_begin(mdl_arena *memory, const char *dir, const char *name, const char *run, mdl_new_checkpoint *c) {
    *c = (mdl_new_checkpoint){.memory = memory, .dir = dir, .name = name, .run = run};
    c->folder = mdl_printf(memory, "%s/%s.tmp-%s-%ld", dir, name, run, (long)getpid());
    mdl_status status = mdl_file_remove_folder(c->folder); /* of a save that failed */
    return status ? status : mdl_file_make_folder(c->folder);
}

static int is_file(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* {"NAME": {"bytes": N, "hash": "..."}, ...} of the folder's files. */
static mdl_status describe_files(const mdl_new_checkpoint *c, json_t *files, int64_t *total) {
    struct dirent **entries = NULL;
    mdl_status status = MDL_OK;
    int n = scandir(c->folder, &entries, is_file, alphasort);
    if (n < 0) return mdl_fail_errno("%s", c->folder);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name, *hash;
        int64_t bytes = 0;
        if (!status) status = mdl_checkpoint_hash(c->memory, mdl_printf(c->memory, "%s/%s", c->folder, name), &hash, &bytes);
        if (!status && json_object_set_new(files, name, json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "hash", hash)))
            status = mdl_fail(MDL_SYSTEM, "%s/%s: no memory, or its name is not UTF-8", c->folder, name);
        *total += bytes;
        free(entries[i]);
    }
    free(entries);
    return status;
}

static json_int_t milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static mdl_status write_commit(const mdl_new_checkpoint *c, int64_t step, int64_t *bytes) {
    json_t *files = json_object();
    *bytes = 0;
    mdl_status status = describe_files(c, files, bytes);
    json_t *commit = json_pack("{s:i, s:s, s:s, s:I, s:I, s:o}", "format", MDL_COMMIT_FORMAT, "hash", "xxh3-128", "run", c->run,
                               "step", (json_int_t)step, "time", milliseconds(), "files", files);
    bool complete = commit && !json_object_set_new(commit, "self", json_string(mdl_commit_self(c->memory, commit)));
    char *text = complete ? json_dumps(commit, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (!status && !text) status = mdl_fail(MDL_SYSTEM, "no memory for " MDL_COMMIT_FILE);
    if (!status) status = mdl_file_write(mdl_printf(c->memory, "%s/" MDL_COMMIT_FILE, c->folder), text, strlen(text));
    free(text);
    json_decref(commit);
    return status;
}

/* What has been written is what a resume will read, or has no name. */
static mdl_status read_back(const mdl_new_checkpoint *c) {
    mdl_commit commit;
    return mdl_commit_read(c->memory, c->folder, &commit);
}

/* The old one is removed only when the new one's name is on disk. */
static mdl_status put_in_place(const mdl_new_checkpoint *c) {
    bool replaced = false;
    mdl_status status = mdl_file_sync_folder(c->folder);
    if (!status) status = mdl_file_move_folder(c->folder, mdl_printf(c->memory, "%s/%s", c->dir, c->name), &replaced);
    if (status) return mdl_status_free(mdl_file_remove_folder(c->folder)), status;
    status = mdl_file_sync_folder(c->dir);
    return status || !replaced ? status : mdl_file_remove_folder(c->folder);
}

mdl_status mdl_checkpoint_commit(mdl_new_checkpoint *c, int64_t step, mdl_status status, int64_t *bytes) {
    if (!status) status = write_commit(c, step, bytes);
    if (!status) status = read_back(c);
    if (!status) return put_in_place(c);
    mdl_status_free(mdl_file_remove_folder(c->folder)); /* its own error would hide the cause */
    return status;
}
