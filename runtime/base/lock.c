/* flock on a file that its last owner removes. */
#include "runtime/base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 100, OWNER = 128 };

/* Its last owner may have removed the file between our open and our flock: then the lock is on a file without a name. */
static bool has_name(int fd, const char *path) {
    struct stat held, named;
    return !fstat(fd, &held) && !stat(path, &named) && held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

static mdl_status refuse(int fd, const char *dir) {
    char owner[OWNER + 1] = "";
    ssize_t n = pread(fd, owner, OWNER, 0);
    owner[n > 0 ? n : 0] = 0;
    owner[strcspn(owner, "\n")] = 0;
    close(fd);
    return mdl_fail(MDL_USAGE, "%s: another run is writing there%s%s", dir, *owner ? ": " : "", owner);
}

static void write_owner(int fd) {
    char host[64] = "", text[OWNER];
    gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n) return; /* only for the message of another run */
}

mdl_status mdl_lock_folder(mdl_arena *arena, const char *dir, mdl_lock *lock) {
    *lock = MDL_NO_LOCK;
    lock->path = mdl_printf(arena, "%s/.mdlrun.lock", dir);
    for (int i = 0; i < TRIES; i++) {
        int fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return mdl_fail_errno("%s: cannot write there", dir);
        int error = flock(fd, LOCK_EX | LOCK_NB) ? errno : 0;
        if (error == EWOULDBLOCK) return refuse(fd, dir);
        bool unsupported = error == ENOLCK || error == ENOTSUP || error == ENOSYS; /* some network file systems */
        if (error && !unsupported) {
            close(fd);
            return mdl_fail(MDL_SYSTEM, "%s: cannot lock it: %s", lock->path, strerror(error));
        }
        if (has_name(fd, lock->path)) return lock->fd = fd, write_owner(fd), MDL_OK;
        close(fd);
    }
    return mdl_fail(MDL_SYSTEM, "%s: cannot lock it: it is removed again and again", lock->path);
}

void mdl_lock_release(mdl_lock *lock) {
    if (lock->fd < 0) return;
    unlink(lock->path);
    close(lock->fd);
    lock->fd = -1;
}
