/* The runtime's error channel: a status is NULL for success, else an owned message that gains context
 * on its way up. Only main() prints it and chooses the exit code. */
#ifndef MDL_BASE_STATUS_H
#define MDL_BASE_STATUS_H

#include <stdbool.h>

typedef enum {
    MDL_USAGE = 2,         /* wrong command line or configuration: exit code 2 */
    MDL_BAD_INPUT = 3,     /* a file is missing, malformed or does not fit: exit code 3 */
    MDL_SYSTEM = 4,        /* the operating system or a library refused: exit code 4 */
    MDL_MISMATCH = 1,      /* a check ran and its answer is no: exit code 1 */
    MDL_INTERRUPTED = 130, /* a signal asked for the end, and it came in good order: exit code 130 */
} mdl_code;

typedef struct mdl_error mdl_error;
typedef mdl_error *mdl_status;
#define MDL_OK ((mdl_status)0)

mdl_status mdl_fail(mdl_code code, const char *format, ...) __attribute__((format(printf, 2, 3), warn_unused_result));
/* "errno"-style failure: appends strerror(errno). */
mdl_status mdl_fail_errno(const char *format, ...) __attribute__((format(printf, 1, 2), warn_unused_result));
/* Puts "format: " in front of the message; passes NULL through. */
mdl_status mdl_context(mdl_status status, const char *format, ...) __attribute__((format(printf, 2, 3), warn_unused_result));
const char *mdl_message(mdl_status status);
mdl_code mdl_status_code(mdl_status status);
void mdl_status_free(mdl_status status);

/* Returns on failure, adding context; for functions that hold no resource. */
#define MDL_TRY(expr, ...)                                       \
    do {                                                         \
        mdl_status mdl_try_ = (expr);                            \
        if (mdl_try_) return mdl_context(mdl_try_, __VA_ARGS__); \
    } while (0)
/* Sets `status` and jumps to `done` on failure; for functions that hold resources. */
#define MDL_TRY_OR_DONE(expr, ...)                     \
    do {                                               \
        if ((status = (expr))) {                       \
            status = mdl_context(status, __VA_ARGS__); \
            goto done;                                 \
        }                                              \
    } while (0)

/* An invariant of our own is broken: prints file, line and message, then aborts. */
_Noreturn void mdl_bug_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define mdl_bug(...) mdl_bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define MDL_ASSERT(cond) ((cond) ? (void)0 : mdl_bug("assertion failed: %s", #cond))

#endif
