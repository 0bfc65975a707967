/* Folders: making, moving and removing them as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/file.h"

/* A new folder's own name must reach the disk too. Somebody else's folder may not be ours to open. */
static void sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    char *parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (parent) mdl_status_free(mdl_file_sync_folder(parent));
    free(parent);
}

mdl_status mdl_file_make_folder(const char *path) {
    char *copy = strdup(path);
    mdl_status status = MDL_OK;
    if (!copy) return mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    for (char *at = copy + 1; !status; at++) {
        if (*at && *at != '/') continue;
        char end = *at;
        *at = 0;
        if (!mkdir(copy, 0777))
            sync_parent(copy);
        else if (errno != EEXIST)
            status = mdl_fail_errno("%s: cannot make this folder", copy);
        *at = end;
        if (!end) break;
    }
    free(copy);
    return status;
}

/* Where the kernel cannot exchange two names (EINVAL: the file system; ENOSYS: its age), the old folder steps aside first. */
static bool exchange(const char *from, const char *to) {
    if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE)) return true;
    if (errno != EINVAL && errno != ENOSYS) return false;
    char *aside = NULL;
    if (asprintf(&aside, "%s.old", from) < 0) return errno = ENOMEM, false;
    bool done = !rename(to, aside) && !rename(from, to) && !rename(aside, from);
    free(aside);
    return done;
}

mdl_status mdl_file_move_folder(const char *from, const char *to, bool *replaced) {
    struct stat s;
    *replaced = !lstat(to, &s);
    bool done = *replaced ? exchange(from, to) : !rename(from, to);
    if (!done) *replaced = false;
    return done ? MDL_OK : mdl_fail_errno("%s: cannot put it in place", to);
}

static int remove_one(const char *path, const struct stat *facts, int type, struct FTW *at) {
    (void)facts, (void)type, (void)at;
    return remove(path) && errno != ENOENT ? -1 : 0;
}

mdl_status mdl_file_remove_folder(const char *path) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT) return mdl_fail_errno("%s: cannot remove it", path);
    return MDL_OK;
}
