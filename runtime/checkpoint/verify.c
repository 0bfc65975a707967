/* Is a folder what its COMMIT.json says? The hash is XXH3-128, as in plans: it guards against damage, not against an adversary, and
 * at the speed of memory it can be asked for at every resume. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/file.h"
#include "runtime/checkpoint/checkpoint.h"

enum { BLOCK = 1 << 20 };

static const char *hex(mdl_arena *memory, XXH128_hash_t hash) {
    return mdl_printf(memory, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

mdl_status mdl_checkpoint_hash(mdl_arena *memory, const char *path, const char **hash, int64_t *bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return mdl_fail(MDL_BAD_INPUT, "%s: %s", path, strerror(errno));
    XXH3_state_t *state = XXH3_createState();
    char *block = malloc(BLOCK);
    mdl_status status = state && block ? MDL_OK : mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    ssize_t got = 0;
    *bytes = 0;
    if (!status) XXH3_128bits_reset(state);
    while (!status && (got = read(fd, block, BLOCK)) > 0) {
        XXH3_128bits_update(state, block, (size_t)got);
        *bytes += got;
    }
    if (got < 0) status = mdl_fail_errno("%s: cannot read it", path);
    if (!status) *hash = hex(memory, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    free(block);
    close(fd);
    return status;
}

/* Of its values, not of its spelling: white space may change. */
const char *mdl_commit_self(mdl_arena *memory, const json_t *commit) {
    char *text = json_dumps(commit, JSON_COMPACT | JSON_SORT_KEYS);
    const char *self = text ? hex(memory, XXH3_128bits(text, strlen(text))) : NULL;
    free(text);
    return self;
}

/* Takes "self" out of the commit: does it fit the rest? */
static bool fits_self(mdl_arena *memory, json_t *commit, const char *self) {
    self = mdl_strdup(memory, self);
    json_object_del(commit, "self");
    const char *expected = mdl_commit_self(memory, commit);
    return expected && !strcmp(self, expected);
}

enum { HASH_DIGITS = 32 };

static mdl_status read_file(mdl_arena *memory, const char *name, json_t *value, mdl_commit *to) {
    mdl_committed_file file = {.name = mdl_strdup(memory, name)};
    const char *hash = NULL;
    json_int_t bytes = -1;
    if (json_unpack(value, "{s:I, s:s}", "bytes", &bytes, "hash", &hash) || bytes < 0 ||
        strlen(hash) != HASH_DIGITS || strspn(hash, "0123456789abcdef") != HASH_DIGITS)
        return mdl_fail(MDL_BAD_INPUT, "\"files\": \"%s\" has no size and hash", name);
    if (strchr(name, '/') || name[0] == '.') return mdl_fail(MDL_BAD_INPUT, "\"files\": \"%s\" is not a file of the folder", name);
    file.bytes = bytes;
    file.hash = mdl_strdup(memory, hash);
    MDL_PUSH(memory, to->files, file);
    return MDL_OK;
}

static mdl_status read_commit(mdl_arena *memory, json_t *root, mdl_commit *to) {
    const char *run, *self, *name;
    json_int_t step, time;
    int format;
    json_t *files, *value;
    if (json_unpack(root, "{s:i}", "format", &format)) return mdl_fail(MDL_BAD_INPUT, "it has no \"format\"");
    if (format != MDL_COMMIT_FORMAT)
        return mdl_fail(MDL_BAD_INPUT, "its format is %d; this program reads %d", format, MDL_COMMIT_FORMAT);
    if (json_unpack(root, "{s:s, s:I, s:I, s:s, s:o}", "run", &run, "step", &step, "time", &time, "self", &self, "files", &files) ||
        !json_is_object(files) || step < 0)
        return mdl_fail(MDL_BAD_INPUT, "it lacks one of \"run\", \"step\", \"time\", \"files\" and \"self\"");
    if (!fits_self(memory, root, self)) return mdl_fail(MDL_BAD_INPUT, "it is damaged: \"self\" is not its hash");
    *to = (mdl_commit){.run = mdl_strdup(memory, run), .step = step, .time = time};
    mdl_status status = MDL_OK;
    json_object_foreach(files, name, value) {
        if (!status) status = read_file(memory, name, value, to);
    }
    return status;
}

mdl_status mdl_commit_read(mdl_arena *memory, const char *folder, mdl_commit *commit) {
    char *text;
    size_t n;
    json_error_t error;
    *commit = (mdl_commit){0};
    mdl_status status = mdl_file_load(memory, mdl_printf(memory, "%s/" MDL_COMMIT_FILE, folder), &text, &n);
    if (status) return status;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (root)
        status = read_commit(memory, root, commit);
    else
        status = mdl_fail(MDL_BAD_INPUT, "line %d: %s", error.line, error.text);
    json_decref(root);
    return mdl_context(status, "%s/" MDL_COMMIT_FILE, folder);
}

mdl_status mdl_checkpoint_verify(mdl_arena *memory, const char *folder, mdl_commit *commit) {
    mdl_status status = mdl_commit_read(memory, folder, commit);
    for (int i = 0; i < commit->files.n && !status; i++) {
        const mdl_committed_file *file = &commit->files.at[i];
        const char *path = mdl_printf(memory, "%s/%s", folder, file->name), *hash;
        int64_t bytes;
        status = mdl_checkpoint_hash(memory, path, &hash, &bytes);
        if (status) break;
        if (bytes != file->bytes)
            status = mdl_fail(MDL_BAD_INPUT, "%s has %lld bytes, not %lld", path, (long long)bytes, (long long)file->bytes);
        else if (strcmp(hash, file->hash))
            status = mdl_fail(MDL_BAD_INPUT, "%s is damaged: its hash is not that of " MDL_COMMIT_FILE, path);
    }
    return status;
}

bool mdl_commit_has(const mdl_commit *commit, const char *name) {
    for (int i = 0; i < commit->files.n; i++)
        if (!strcmp(commit->files.at[i].name, name)) return true;
    return false;
}
