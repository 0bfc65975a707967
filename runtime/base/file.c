/* Atomic replacement of files, and files that grow. */
#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What lies below a stream: stdio's own descriptor would keep the cause of a failed write to itself. */
struct mdl_file_sink {
    int fd, error; /* errno of the first write that failed */
};

enum { BUFFER = 1 << 18 };

static bool is_special(const char *path) {
    struct stat s;
    return !stat(path, &s) && !S_ISREG(s.st_mode);
}

/* A short write is no error: what is left is written again, and fails then if it must. */
static bool write_all(int fd, const char *bytes, size_t n) {
    while (n) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        bytes += written;
        n -= (size_t)written;
    }
    return true;
}

static ssize_t sink_write(void *at, const char *bytes, size_t n) {
    struct mdl_file_sink *sink = at;
    if (sink->error) return 0;
    errno = EIO; /* of a write that takes nothing and gives no reason */
    if (write_all(sink->fd, bytes, n)) return (ssize_t)n;
    sink->error = errno;
    return 0;
}

static int sink_seek(void *at, off64_t *offset, int whence) {
    off64_t place = lseek64(((struct mdl_file_sink *)at)->fd, *offset, whence);
    if (place < 0) return -1;
    *offset = place;
    return 0;
}

static int open_for_writing(const char *path, int flags) { return open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666); }

static bool open_sink(mdl_new_file *file) {
    const char *path = file->temporary ? file->temporary : file->path;
    file->sink = calloc(1, sizeof *file->sink);
    if (!file->sink) return false;
    file->sink->fd = open_for_writing(path, O_TRUNC);
    if (file->sink->fd < 0) return false;
    file->out = fopencookie(file->sink, "w", (cookie_io_functions_t){.write = sink_write, .seek = sink_seek});
    if (file->out) return setvbuf(file->out, NULL, _IOFBF, BUFFER), true; /* refused: smaller writes */
    close(file->sink->fd);
    if (file->temporary) unlink(path);
    errno = ENOMEM;
    return false;
}

static void release(mdl_new_file *file) {
    free(file->path);
    free(file->temporary);
    free(file->sink);
    *file = (mdl_new_file){0};
}

mdl_status mdl_file_create(const char *path, mdl_new_file *file) {
    char *resolved = realpath(path, NULL); /* NULL: not there yet */
    *file = (mdl_new_file){.path = resolved ? resolved : strdup(path)};
    if (!file->path) return mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    if (!is_special(file->path) && asprintf(&file->temporary, "%s.tmp-%ld", file->path, (long)getpid()) < 0)
        file->temporary = NULL, errno = ENOMEM;
    else if (open_sink(file))
        return MDL_OK;
    mdl_status status = mdl_fail_errno("%s: cannot write it", path);
    release(file);
    return status;
}

mdl_status mdl_file_sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return mdl_fail_errno("%s", path);
    bool refused = fsync(fd) && errno != EINVAL && errno != ENOTSUP; /* some file systems cannot sync a folder */
    mdl_status status = refused ? mdl_fail_errno("%s: cannot write this folder to disk", path) : MDL_OK;
    close(fd);
    return status;
}

/* After a rename the folder itself must reach the disk, or a crash may undo it. */
static mdl_status sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!dir) return mdl_fail(MDL_SYSTEM, "%s: no memory", path);
    mdl_status status = mdl_file_sync_folder(dir);
    free(dir);
    return status;
}

/* All bytes are with the disk, and the descriptor is closed. */
static mdl_status finish_sink(mdl_new_file *file) {
    struct mdl_file_sink *sink = file->sink;
    bool whole = !fclose(file->out) && !sink->error;
    if (sink->error) errno = sink->error;
    whole = whole && (!file->temporary || !fsync(sink->fd));
    mdl_status status = whole ? MDL_OK : mdl_fail_errno("%s: cannot write it", file->path);
    if (close(sink->fd) && !status) status = mdl_fail_errno("%s: cannot write it", file->path);
    return status;
}

mdl_status mdl_file_commit(mdl_new_file *file, mdl_status status) {
    mdl_status written = finish_sink(file);
    if (status)
        mdl_status_free(written);
    else
        status = written;
    if (file->temporary) {
        if (!status && rename(file->temporary, file->path)) status = mdl_fail_errno("%s: cannot put it in place", file->path);
        if (status) unlink(file->temporary);
        if (!status) status = sync_folder_of(file->path);
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

mdl_status mdl_file_load(mdl_arena *arena, const char *path, char **bytes, size_t *n) {
    mdl_text text = {.arena = arena};
    char block[1 << 14];
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mdl_fail(MDL_BAD_INPUT, "%s: %s", path, strerror(errno));
    mdl_text_append(&text, "", 0);
    while ((got = read(fd, block, sizeof block)) > 0) mdl_text_append(&text, block, (size_t)got);
    mdl_status status = got < 0 ? mdl_fail_errno("%s: cannot read it", path) : MDL_OK;
    close(fd);
    *bytes = text.at;
    *n = text.n;
    return status;
}

mdl_status mdl_log_open(const char *path, bool empty, int *fd) {
    *fd = open_for_writing(path, O_APPEND | (empty ? O_TRUNC : 0));
    return *fd < 0 ? mdl_fail_errno("%s", path) : MDL_OK;
}

mdl_status mdl_log_add(int fd, const char *path, const void *bytes, size_t n) {
    return write_all(fd, bytes, n) ? MDL_OK : mdl_fail_errno("%s: cannot write it", path);
}

mdl_status mdl_log_close(int fd, const char *path) {
    struct stat s;
    bool regular = !fstat(fd, &s) && S_ISREG(s.st_mode);
    mdl_status status = regular && fsync(fd) ? mdl_fail_errno("%s: cannot write it", path) : MDL_OK;
    close(fd);
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
