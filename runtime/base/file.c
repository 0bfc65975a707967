/* Atomic replacement of a file. */
#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_special(const char *path) {
    struct stat s;
    return !stat(path, &s) && !S_ISREG(s.st_mode);
}

static void release(mdl_new_file *file) {
    free(file->path);
    free(file->temporary);
    *file = (mdl_new_file){0};
}

mdl_status mdl_file_create(const char *path, mdl_new_file *file) {
    char *resolved = realpath(path, NULL); /* NULL: not there yet */
    *file = (mdl_new_file){.path = resolved ? resolved : strdup(path)};
    if (!file->path) abort();
    if (!is_special(file->path) && asprintf(&file->temporary, "%s.tmp-%ld", file->path, (long)getpid()) < 0) abort();
    file->out = fopen(file->temporary ? file->temporary : file->path, "wbe");
    if (file->out) return MDL_OK;
    mdl_status status = mdl_fail_errno("%s: cannot write it", path);
    release(file);
    return status;
}

/* After a rename the folder itself must reach the disk, or a crash may undo it. */
static mdl_status sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!dir) abort();
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mdl_status status = fd < 0 ? mdl_fail_errno("%s", dir) : MDL_OK;
    free(dir);
    if (fd < 0) return status;
    fsync(fd); /* some file systems refuse it for folders; the rename itself has succeeded */
    close(fd);
    return MDL_OK;
}

mdl_status mdl_file_commit(mdl_new_file *file, mdl_status status) {
    bool whole = !ferror(file->out) && !fflush(file->out) && (!file->temporary || !fsync(fileno(file->out)));
    if (!status && !whole) status = mdl_fail_errno("%s: cannot write it", file->path);
    if (fclose(file->out) && !status) status = mdl_fail_errno("%s: cannot write it", file->path);
    if (file->temporary) {
        if (!status && rename(file->temporary, file->path)) status = mdl_fail_errno("%s: cannot put it in place", file->path);
        if (status) unlink(file->temporary);
        if (!status) status = sync_folder(file->path);
    }
    release(file);
    return status;
}

mdl_status mdl_file_write(const char *path, const void *bytes, size_t n) {
    mdl_new_file file;
    mdl_status status = mdl_file_create(path, &file);
    if (status) return status;
    fwrite(bytes, 1, n, file.out);
    return mdl_file_commit(&file, MDL_OK);
}

mdl_status mdl_file_make_folder(const char *path) {
    char *copy = strdup(path);
    mdl_status status = MDL_OK;
    if (!copy) abort();
    for (char *at = copy + 1; !status; at++) {
        if (*at && *at != '/') continue;
        char end = *at;
        *at = 0;
        if (mkdir(copy, 0777) && errno != EEXIST) status = mdl_fail_errno("%s: cannot make this folder", copy);
        *at = end;
        if (!end) break;
    }
    free(copy);
    return status;
}

mdl_status mdl_file_flush_stdout(void) {
    if (!ferror(stdout) && !fflush(stdout)) return MDL_OK;
    return mdl_fail_errno("cannot write to standard output");
}

const char *mdl_file_in_cache(mdl_arena *arena, const char *name) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache) return mdl_printf(arena, "%s/mdl/%s", cache, name);
    return home && *home ? mdl_printf(arena, "%s/.cache/mdl/%s", home, name) : NULL;
}
