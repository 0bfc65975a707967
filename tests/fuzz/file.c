/* The input as a file. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

const char *mdl_fuzz_file(const uint8_t *bytes, size_t size) {
    static int files[2] = {-1, -1}, next; /* two: the input stays mapped while its copy is read */
    static char path[64];
    int *fd = &files[next];
    next = !next;
    if (*fd < 0) *fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, 0) || (size && pwrite(*fd, bytes, size, 0) != (ssize_t)size)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", *fd);
    return path;
}
