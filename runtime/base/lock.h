/* One process at a time in a folder. */
#ifndef MDL_BASE_LOCK_H
#define MDL_BASE_LOCK_H

#include <stdbool.h>

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

typedef struct {
    int fd; /* -1: nothing is held */
    const char *path;
} mdl_lock;
#define MDL_NO_LOCK ((mdl_lock){.fd = -1})

/* Locks DIR/.mdlrun.lock, which names the process. The kernel gives it up when the process ends, however it ends. MDL_USAGE:
 * another one lives, which the message names. path is in `arena`. */
mdl_status mdl_lock_folder(mdl_arena *arena, const char *dir, mdl_lock *lock);
/* Removes the file too. */
void mdl_lock_release(mdl_lock *lock);

#endif
