/* The test harness: suites listed in tests/suites.def, one binary, one line of counts at the end. */
#ifndef MDL_TESTS_CHECK_H
#define MDL_TESTS_CHECK_H

#include <stdbool.h>

typedef struct mdl_test mdl_test;

/* True in a build with AddressSanitizer. What only runs a library's code (NVRTC) is left to the other build there. */
#ifdef __SANITIZE_ADDRESS__
enum { MDL_TEST_SANITIZED = true };
#else
enum { MDL_TEST_SANITIZED = false };
#endif

/* Begins a named test case; every CHECK up to the next CASE belongs to it. Returns false when --filter leaves it out. */
bool mdl_case(mdl_test *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mdl_check(mdl_test *t, bool ok, const char *file, int line, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* CHECK(t, x == 3, "x is %d", x) */
#define CHECK(t, cond, ...) mdl_check((t), (cond), __FILE__, __LINE__, __VA_ARGS__)

/* Says that something is not tested here, and why; scripts/test counts these lines. */
void mdl_skip(mdl_test *t, const char *why);

/* Golden test: compares `actual` with the file under tests/ named `path`; --update rewrites it. */
void mdl_golden(mdl_test *t, const char *path, const char *actual);
/* Root of the source tree, and a scratch folder that is fresh for each run. */
const char *mdl_test_source(mdl_test *t);
const char *mdl_test_scratch(mdl_test *t);
/* Runs a shell command; returns its exit status and (in a buffer valid until the next call) stdout and stderr together. */
int mdl_shell(mdl_test *t, const char **output, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
