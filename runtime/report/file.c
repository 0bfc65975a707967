/* Atomic replacement of a file. */
#include "runtime/report/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/arena.h"

static mdl_status write_all(int fd, const char *at, size_t n, const char *path) {
    while (n) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return mdl_fail_errno("%s", path);
        at += done;
        n -= (size_t)done;
    }
    return fsync(fd) ? mdl_fail_errno("%s", path) : MDL_OK;
}

static mdl_status sync_folder(mdl_arena *memory, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *dir = slash ? mdl_strndup(memory, path, (size_t)(slash - path) + 1) : ".";
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return mdl_fail_errno("%s", dir);
    fsync(fd); /* some file systems refuse it for folders; the rename itself has succeeded */
    close(fd);
    return MDL_OK;
}

static mdl_status replace(mdl_arena *memory, const char *path, const void *bytes, size_t n) {
    const char *temporary = mdl_printf(memory, "%s.tmp-%d", path, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return mdl_fail_errno("%s", temporary);
    mdl_status status = write_all(fd, bytes, n, temporary);
    if (close(fd) && !status) status = mdl_fail_errno("%s", temporary);
    if (!status && rename(temporary, path)) status = mdl_fail_errno("%s", path);
    if (status) unlink(temporary);
    return status ? status : sync_folder(memory, path);
}

mdl_status mdl_file_write(const char *path, const void *bytes, size_t n) {
    mdl_arena *memory = mdl_arena_new();
    mdl_status status = replace(memory, path, bytes, n);
    mdl_arena_free(memory);
    return status;
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
