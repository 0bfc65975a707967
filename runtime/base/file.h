/* Files that must be whole. Every byte that a run keeps goes through file.c: one write, one fsync, one rename. */
#ifndef MDL_BASE_FILE_H
#define MDL_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

/* A file being written under a temporary name beside `path`. */
typedef struct {
    FILE *out;                  /* write here, errors may be left to mdl_file_commit */
    char *path;                 /* links resolved */
    char *temporary;            /* NULL: a device or a pipe, which is written to and not replaced */
    struct mdl_file_sink *sink; /* below the stream */
} mdl_new_file;

mdl_status mdl_file_create(const char *path, mdl_new_file *file);
/* status: how the writing went. On success everything reaches the disk, then the name: fsync, rename, fsync of the folder. On
 * failure, also of `status`, which is passed on, `path` stays as it was. Call once after mdl_file_create succeeded. */
mdl_status mdl_file_commit(mdl_new_file *file, mdl_status status);

/* All at once. */
mdl_status mdl_file_write(const char *path, const void *bytes, size_t n);
/* The whole file, in `arena`, with a zero behind it. MDL_BAD_INPUT when it cannot be opened. */
mdl_status mdl_file_load(mdl_arena *arena, const char *path, char **bytes, size_t *n);

/* A file that grows: opened empty, or at its end. Bytes are added by single writes, so that a reader sees whole lines. */
mdl_status mdl_log_open(const char *path, bool empty, int *fd);
mdl_status mdl_log_add(int fd, const char *path, const void *bytes, size_t n);
mdl_status mdl_log_close(int fd, const char *path); /* after fsync */

/* Where what can be made again is kept: $XDG_CACHE_HOME/mdl/NAME, by default ~/.cache/mdl/NAME. In `arena`; NULL: there is no home.
 */
const char *mdl_file_in_cache(mdl_arena *arena, const char *name);
/* mkdir -p. */
mdl_status mdl_file_make_folder(const char *path);
mdl_status mdl_file_sync_folder(const char *path);
/* Renames a folder. *replaced: there was one of the new name, and it has the old name now; both exist at any moment. */
mdl_status mdl_file_move_folder(const char *from, const char *to, bool *replaced);
/* rm -r. What is not there needs no removing. */
mdl_status mdl_file_remove_folder(const char *path);

/* For programs whose standard output is their result: an error when something printed did not arrive. */
mdl_status mdl_file_flush_stdout(void);

#endif
