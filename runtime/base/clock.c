/* The clock, and marks on it. */
#include "runtime/base/clock.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static double read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double mdl_seconds_now(void) { return read_clock(CLOCK_MONOTONIC); }

/* The 22nd field of /proc/self/stat: ticks from the system's start to the process's. The second is the program's name in
 * parentheses, which may hold anything. */
double mdl_seconds_of_process(void) {
    enum { FIELD = 22, BEHIND_NAME = 2 };
    char text[1024] = "";
    FILE *f = fopen("/proc/self/stat", "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    unsigned long long ticks = 0;
    if (f) fclose(f);
    text[n] = 0;
    const char *at = strrchr(text, ')');
    for (int field = BEHIND_NAME; at && field < FIELD; field++) at = strchr(at + 1, ' ');
    if (!at || sscanf(at, "%llu", &ticks) != 1) return 0;
    return read_clock(CLOCK_BOOTTIME) - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static struct {
    const char *what;
    double seconds;
} marks[MDL_MARKS];
static int n_marks;
static double last_mark;

void mdl_mark(const char *what) {
    double now = mdl_seconds_now(), seconds = n_marks ? now - last_mark : mdl_seconds_of_process();
    last_mark = now;
    if (n_marks == MDL_MARKS) return;
    marks[n_marks].what = what;
    marks[n_marks++].seconds = seconds;
}

void mdl_marks_print(FILE *out) {
    for (int i = 0; i < n_marks; i++) fprintf(out, "  %6.3f s  %s\n", marks[i].seconds, marks[i].what);
}
