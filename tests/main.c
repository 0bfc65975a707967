/* mdltest: runs the suites of tests/suites.def, or those named on the command line, and prints their counts. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/arena.h"
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
            if (!strcmp(argv[i], "--filter")) i++;
            continue;
        }
        any = true;
        if (!strcmp(argv[i], name)) return true;
    }
    return !any;
}

static void usage(void) {
    puts("usage: mdltest [--verbose] [--update] [--filter TEXT] [SUITE ...]\nsuites:");
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) printf("  %-12s %s\n", suites[i].name, suites[i].about);
}

int main(int argc, char **argv) {
    mdl_test t = {.arena = mdl_arena_new()};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) return usage(), 0;
        if (!strcmp(argv[i], "--verbose")) t.verbose = true;
        if (!strcmp(argv[i], "--update")) t.update = true;
        if (!strcmp(argv[i], "--filter") && i + 1 < argc) t.filter = argv[i + 1];
    }
    const char *tmp = getenv("TMPDIR");
    snprintf(t.scratch, sizeof t.scratch, "%s/mdltest.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(t.scratch)) return perror(t.scratch), 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        if (!wanted(suites[i].name, argc, argv)) continue;
        int passed = t.passed, failed = t.failed;
        if (t.verbose) printf("%s\n", suites[i].name);
        suites[i].run(&t);
        close_case(&t);
        printf("%-12s %4d passed, %d failed   %s\n", suites[i].name, t.passed - passed, t.failed - failed, suites[i].about);
    }
    mdl_shell(&t, NULL, "rm -rf '%s'", t.scratch);
    printf("%d passed, %d failed\n", t.passed, t.failed);
    mdl_arena_free(t.arena);
    return t.failed || !t.passed;
}
