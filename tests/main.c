/* mdltest: runs the suites of tests/suites.def, or those named on the command line, and prints their counts. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "tests/check.h"

struct mdl_test {
    const char *filter;
    bool update, verbose, skipping, failed_here;
    char name[256];
    int passed, failed;
    bool open;
    char scratch[256];
    mdl_arena *arena;
    mdl_text shell;
};

#define SUITE(name, about) void suite_##name(mdl_test *t);
#include "tests/suites.def"
#undef SUITE

static const struct {
    const char *name, *about;
    void (*run)(mdl_test *t);
} suites[] = {
#define SUITE(name, about) {#name, about, suite_##name},
#include "tests/suites.def"
#undef SUITE
};
enum { SUITES = sizeof suites / sizeof *suites, MAX_JOBS = 64 };

static void close_case(mdl_test *t) {
    if (!t->open) return;
    t->open = false;
    if (t->failed_here)
        t->failed++;
    else
        t->passed++;
    if (t->verbose && !t->failed_here) printf("  ok    %s\n", t->name);
}

bool mdl_case(mdl_test *t, const char *format, ...) {
    close_case(t);
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->skipping = t->filter && !strstr(t->name, t->filter);
    t->open = !t->skipping;
    t->failed_here = false;
    return t->open;
}

void mdl_skip(mdl_test *t, const char *why) {
    (void)t;
    printf("  skipped: %s\n", why);
}

void mdl_check(mdl_test *t, bool ok, const char *file, int line, const char *format, ...) {
    if (ok || t->skipping) return;
    t->failed_here = true;
    printf("  FAIL  %s\n        %s:%d: ", t->name, file, line);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

const char *mdl_test_source(mdl_test *t) {
    (void)t;
    return MDL_SOURCE_DIR;
}

const char *mdl_test_scratch(mdl_test *t) { return t->scratch; }

static char *slurp(mdl_test *t, FILE *f) {
    mdl_text text = {.arena = t->arena};
    char block[4096];
    size_t n;
    mdl_text_append(&text, "", 0);
    while ((n = fread(block, 1, sizeof block, f))) mdl_text_append(&text, block, n);
    return text.at;
}

void mdl_golden(mdl_test *t, const char *path, const char *actual) {
    char full[1024];
    snprintf(full, sizeof full, "%s/tests/%s", MDL_SOURCE_DIR, path);
    FILE *f = fopen(full, "r");
    char *expected = f ? slurp(t, f) : "";
    if (f) fclose(f);
    if (!strcmp(expected, actual)) return;
    if (t->update && !t->skipping && (f = fopen(full, "w"))) {
        fputs(actual, f);
        fclose(f);
        printf("  wrote tests/%s\n", path);
        return;
    }
    CHECK(t, false, "tests/%s differs (--update rewrites it)\n--- expected\n%s\n--- actual\n%s", path, expected, actual);
}

int mdl_shell(mdl_test *t, const char **output, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *command = mdl_vprintf(t->arena, format, args);
    va_end(args);
    FILE *pipe =
        popen(mdl_printf(t->arena, "exec 2>&1; cd '%s'; PATH='%s':$PATH; %s", MDL_SOURCE_DIR, MDL_BINARY_DIR, command), "r");
    if (!pipe) return -1;
    char *text = slurp(t, pipe);
    if (output) *output = text;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool wanted(const char *name, int argc, char **argv) {
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (!strcmp(argv[i], "--filter") || !strcmp(argv[i], "--jobs")) i++;
            continue;
        }
        any = true;
        if (!strcmp(argv[i], name)) return true;
    }
    return !any;
}

/* Seconds of processors spent by this process and by the programs that it has run. */
static double cpu_seconds(void) {
    static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        struct rusage used;
        getrusage(whose[i], &used);
        sum +=
            (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    }
    return sum;
}

static void usage(void) {
    puts("usage: mdltest [--verbose] [--update] [--filter TEXT] [--jobs N] [SUITE ...]\n--jobs: suites at once\nsuites:");
    for (int i = 0; i < SUITES; i++) printf("  %-12s %s\n", suites[i].name, suites[i].about);
}

static bool make_scratch(mdl_test *t) {
    const char *tmp = getenv("TMPDIR");
    snprintf(t->scratch, sizeof t->scratch, "%s/mdltest.XXXXXX", tmp ? tmp : "/tmp");
    if (mkdtemp(t->scratch)) return true;
    perror(t->scratch);
    return false;
}

static void run_suite(mdl_test *t, int i) {
    int passed = t->passed, failed = t->failed;
    double start = mdl_seconds_now(), cpu = cpu_seconds();
    if (t->verbose) printf("%s\n", suites[i].name);
    suites[i].run(t);
    close_case(t);
    printf("%-12s %4d passed, %d failed   %s (%.1f s, %.1f of processors)\n", suites[i].name, t->passed - passed,
           t->failed - failed, suites[i].about, mdl_seconds_now() - start, cpu_seconds() - cpu);
}

/* ---- suites side by side, each in a process of its own ---- */
typedef struct {
    pid_t pid; /* 0: none */
    int suite;
    FILE *output;
} job;
typedef struct {
    int passed, failed;
} counts; /* in memory that all share */

static _Noreturn void work(mdl_test *t, const job *j, counts *to) {
    dup2(fileno(j->output), STDOUT_FILENO);
    dup2(fileno(j->output), STDERR_FILENO);
    t->passed = t->failed = 0; /* those of suites that have ended are the parent's */
    if (!make_scratch(t)) exit(1);
    run_suite(t, j->suite);
    *to = (counts){t->passed, t->failed};
    mdl_shell(t, NULL, "rm -rf '%s'", t->scratch);
    mdl_arena_free(t->arena);
    exit(0); /* with its checks for leaks */
}

static bool start(mdl_test *t, int suite, job *j, counts *to) {
    fflush(NULL);
    *j = (job){.suite = suite, .output = tmpfile()};
    if (j->output && !(j->pid = fork())) work(t, j, to);
    return j->output && j->pid > 0;
}

/* Waits for any of them, shows what it has printed, and adds its counts. */
static void finish_one(mdl_test *t, job *jobs, int n, const counts *all) {
    int status = 0, c;
    pid_t pid = wait(&status);
    for (job *j = jobs; j < jobs + n; j++) {
        if (!j->pid || j->pid != pid) continue;
        rewind(j->output);
        while ((c = getc(j->output)) != EOF) putchar(c);
        fclose(j->output);
        t->passed += all[j->suite].passed;
        t->failed += all[j->suite].failed;
        if (status) t->failed++, printf("%-12s died: wait status %d\n", suites[j->suite].name, status);
        j->pid = 0;
    }
}

static job *free_job(job *jobs, int n) {
    for (job *j = jobs; j < jobs + n; j++)
        if (!j->pid) return j;
    return NULL;
}

static bool run_side_by_side(mdl_test *t, int n, const bool *chosen) {
    job jobs[MAX_JOBS] = {0}, *free;
    counts *all = mmap(NULL, SUITES * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return false;
    bool ok = true;
    for (int i = 0; i < SUITES && ok; i++) {
        if (!chosen[i]) continue;
        while (!(free = free_job(jobs, n))) finish_one(t, jobs, n, all);
        ok = start(t, i, free, &all[i]);
    }
    for (int i = 0; i < n; i++)
        if (jobs[i].pid > 0) finish_one(t, jobs, n, all), i = -1;
    munmap(all, SUITES * sizeof *all);
    return ok;
}

static bool run_in_turn(mdl_test *t, const bool *chosen) {
    if (!make_scratch(t)) return false;
    for (int i = 0; i < SUITES; i++)
        if (chosen[i]) run_suite(t, i);
    mdl_shell(t, NULL, "rm -rf '%s'", t->scratch);
    return true;
}

int main(int argc, char **argv) {
    mdl_test t = {.arena = mdl_arena_new()};
    bool chosen[SUITES];
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) return usage(), 0;
        if (!strcmp(argv[i], "--verbose")) t.verbose = true;
        if (!strcmp(argv[i], "--update")) t.update = true;
        if (!strcmp(argv[i], "--filter") && i + 1 < argc) t.filter = argv[i + 1];
        if (!strcmp(argv[i], "--jobs") && i + 1 < argc) n = atoi(argv[i + 1]);
    }
    for (int i = 0; i < SUITES; i++) chosen[i] = wanted(suites[i].name, argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool ran = n > 1 ? run_side_by_side(&t, n < MAX_JOBS ? n : MAX_JOBS, chosen) : run_in_turn(&t, chosen);
    printf("%d passed, %d failed\n", t.passed, t.failed);
    mdl_arena_free(t.arena);
    return !ran || t.failed || !t.passed;
}
