/* Preloaded into mdlrun (LD_PRELOAD): counts the calls that change what is on disk below MDL_FAULT_DIR, and at the k-th one does
 * what MDL_FAULT says: count          nothing kill:K         SIGKILL; a write is half done first enospc:K       from the k-th on:
 * no space for writes, new files and folders eio:K          this one call fails with EIO short:K        this one write takes half
 * of its bytes enomem:K       while the first checkpoint is being written, its thread's k-th allocation fails The number of calls
 * (of allocations, for enomem) is written to MDL_FAULT_COUNT when the process ends by itself. MDL_FAULT_ROOM is the room that
 * the disk has at the start. With MDL_FAULT_LOG every call is also
 * logged, with its bytes: tests/faults/power.c says how a log reads. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FILES = 1024, PATH = 512 };
typedef enum { COUNT, KILL, ENOSPACE, EIO_ONCE, SHORT, NO_MEMORY } mode;
typedef enum { WRITE, CREATE, SYNC, MOVE, FOLDER, REMOVE } kind;

static struct {
    bool ready;
    mode mode;
    long at;
    const char *dir, *count_to;
    int log; /* -1: none */
    atomic_long calls, allocations;
    char path[FILES][PATH]; /* of open files below dir; "": another file */
} shim = {.log = -1};
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool saving; /* this thread is writing the first checkpoint: others are written alike */
static atomic_bool saved;

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    static const char *const names[] = {"count", "kill", "enospc", "eio", "short", "enomem"};
    const char *fault = getenv("MDL_FAULT"), *log = getenv("MDL_FAULT_LOG");
    shim.dir = getenv("MDL_FAULT_DIR");
    shim.count_to = getenv("MDL_FAULT_COUNT");
    if (!fault || !shim.dir) return;
    for (int i = 0; i < 6; i++)
        if (!strncmp(fault, names[i], strlen(names[i]))) shim.mode = (mode)i;
    const char *colon = strchr(fault, ':');
    shim.at = colon ? atol(colon + 1) : 0;
    if (log) shim.log = REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    shim.ready = true;
}

__attribute__((destructor)) static void end(void) {
    char text[32];
    if (!shim.ready || !shim.count_to) return;
    int fd = REAL(open)(shim.count_to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int n = snprintf(text, sizeof text, "%ld\n", shim.mode == NO_MEMORY ? shim.allocations : shim.calls);
    if (fd >= 0 && REAL(write)(fd, text, (size_t)n) == n) REAL(close)(fd);
}

static bool below(const char *path) { return shim.ready && path && !strncmp(path, shim.dir, strlen(shim.dir)); }
static bool tracked(int fd) { return shim.ready && fd >= 0 && fd < FILES && shim.path[fd][0]; }

/* "KIND A-LENGTH B-LENGTH OFFSET N\n", then A, B, and N bytes. */
static void note(const char *what, const char *a, const char *b, long offset, const void *bytes, size_t n) {
    if (shim.log < 0) return;
    char head[128];
    int length = snprintf(head, sizeof head, "%s %zu %zu %ld %zu\n", what, strlen(a), strlen(b), offset, n);
    pthread_mutex_lock(&log_lock);
    bool good = REAL(write)(shim.log, head, (size_t)length) == length;
    good = good && REAL(write)(shim.log, a, strlen(a)) >= 0 && REAL(write)(shim.log, b, strlen(b)) >= 0;
    if (!good || (n && REAL(write)(shim.log, bytes, n) != (ssize_t)n)) abort();
    pthread_mutex_unlock(&log_lock);
}

/* Counts a call. True: it fails, with errno set. */
static bool strikes(kind kind) {
    long k = atomic_fetch_add(&shim.calls, 1) + 1;
    bool now = k == shim.at;
    if (shim.mode == KILL && now && kind != WRITE) raise(SIGKILL);
    if (shim.mode == EIO_ONCE && now) return errno = EIO, true;
    bool takes_room = kind == WRITE || kind == CREATE || kind == FOLDER;
    if (shim.mode == ENOSPACE && k >= shim.at && takes_room) return errno = ENOSPC, true;
    return false;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    if (!tracked(fd)) return REAL(write)(fd, bytes, n);
    if (strikes(WRITE)) return -1;
    bool now = shim.calls == shim.at && (shim.mode == KILL || shim.mode == SHORT);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = REAL(write)(fd, bytes, now && n > 1 ? n / 2 : n);
    if (now && shim.mode == KILL) raise(SIGKILL);
    if (done > 0) note("write", shim.path[fd], "", offset, bytes, (size_t)done);
    return done;
}

static int opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= FILES || !below(path)) return fd;
    snprintf(shim.path[fd], PATH, "%s", path);
    if (flags & O_CREAT) note("create", path, "", (flags & O_TRUNC) != 0, "", 0);
    return fd;
}

static int open_any(const char *name, const char *path, int flags, mode_t mode) {
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))real(name);
    if (below(path) && (flags & O_CREAT) && strikes(CREATE)) return -1;
    return opened(next(path, flags, mode), path, flags);
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_any("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_any("open64", path, flags, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FILES) shim.path[fd][0] = 0;
    return REAL(close)(fd);
}

int fsync(int fd) {
    if (tracked(fd) && strikes(SYNC)) return -1;
    int done = REAL(fsync)(fd);
    if (tracked(fd)) note("sync", shim.path[fd], "", 0, "", 0);
    return done;
}

int fdatasync(int fd) {
    if (tracked(fd) && strikes(SYNC)) return -1;
    int done = REAL(fdatasync)(fd);
    if (tracked(fd)) note("sync", shim.path[fd], "", 0, "", 0);
    return done;
}

/* checkpoint-N.tmp-RUN-PID gets its name: what follows allocates for the next step too. */
static bool ends_save(const char *from, const char *to) {
    const char *name = to + strlen(shim.dir) + 1;
    return strstr(from, ".tmp-") && !strncmp(name, "checkpoint-", 11) && !strchr(name, '/');
}

int rename(const char *from, const char *to) {
    if (below(to) && strikes(MOVE)) return -1;
    int done = REAL(rename)(from, to);
    if (below(to) && !done) note("rename", from, to, 0, "", 0);
    if (below(to) && ends_save(from, to)) saving = false, saved = true;
    return done;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (below(to) && strikes(MOVE)) return -1;
    int done = REAL(renameat2)(from_dir, from, to_dir, to, flags);
    if (below(to) && !done) note(flags ? "exchange" : "rename", from, to, 0, "", 0);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    if (below(path) && strikes(FOLDER)) return -1;
    int done = REAL(mkdir)(path, mode);
    if (below(path) && !done) note("mkdir", path, "", 0, "", 0);
    if (below(path) && strstr(path, ".tmp-")) saving = !saved;
    return done;
}

int remove(const char *path) {
    if (below(path) && strikes(REMOVE)) return -1;
    int done = REAL(remove)(path);
    if (below(path) && !done) note("remove", path, "", 0, "", 0);
    return done;
}

int unlink(const char *path) {
    if (below(path) && strikes(REMOVE)) return -1;
    int done = REAL(unlink)(path);
    if (below(path) && !done) note("remove", path, "", 0, "", 0);
    return done;
}

/* MDL_FAULT_ROOM: bytes that the disk has room for. */
int statvfs(const char *path, struct statvfs *facts) {
    int done = REAL(statvfs)(path, facts);
    const char *room = getenv("MDL_FAULT_ROOM");
    if (!done && room && below(path)) facts->f_bavail = strtoul(room, NULL, 10) / facts->f_frsize;
    return done;
}

/* ---- allocations of the thread that writes a checkpoint ---- */
static bool starves(void) {
    if (!saving || shim.mode != NO_MEMORY) return false;
    return atomic_fetch_add(&shim.allocations, 1) + 1 == shim.at ? errno = ENOMEM, true : false;
}

void *malloc(size_t n) { return starves() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return starves() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return starves() ? NULL : __libc_realloc(p, n); }
