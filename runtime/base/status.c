/* Statuses: a code and a message on the heap; context is put in front on the way up. */
#include "runtime/base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mdl_error {
    mdl_code code;
    char *message;
};

static char *format_text(const char *format, va_list args) {
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) abort();
    return text;
}

static mdl_status make(mdl_code code, char *message) {
    mdl_status status = malloc(sizeof *status);
    if (!status) abort();
    *status = (mdl_error){code, message};
    return status;
}

mdl_status mdl_fail(mdl_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *message = format_text(format, args);
    va_end(args);
    return make(code, message);
}

static void prepend(mdl_status status, const char *head, const char *tail) {
    char *joined = NULL;
    if (asprintf(&joined, "%s: %s", head, tail) < 0) abort();
    free(status->message);
    status->message = joined;
}

mdl_status mdl_fail_errno(const char *format, ...) {
    int error = errno;
    va_list args;
    va_start(args, format);
    mdl_status status = make(MDL_SYSTEM, format_text(format, args));
    va_end(args);
    char *head = strdup(status->message);
    prepend(status, head, strerror(error));
    free(head);
    return status;
}

mdl_status mdl_context(mdl_status status, const char *format, ...) {
    if (!status) return NULL;
    va_list args;
    va_start(args, format);
    char *head = format_text(format, args);
    va_end(args);
    prepend(status, head, status->message);
    free(head);
    return status;
}

const char *mdl_message(mdl_status status) { return status ? status->message : ""; }

mdl_code mdl_status_code(mdl_status status) { return status->code; }

void mdl_status_free(mdl_status status) {
    if (!status) return;
    free(status->message);
    free(status);
}

void mdl_bug_at(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: internal error: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
