/* Collects messages about the user's files and renders them with the source line and a caret. */
#include "grammar/diagnostics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 20, MAX_LINE = 200, MAX_FILE = 64 << 20 };

typedef struct {
    mdl_severity severity;
    mdl_loc loc;
    const char *message;
    mdl_text under; /* details and notes, rendered */
} message;

struct mdl_diagnostics {
    mdl_arena *arena;
    MDL_VEC(message) messages;
    int errors;
    bool dropped; /* the last report repeated an earlier one */
};

mdl_diagnostics *mdl_diagnostics_new(mdl_arena *arena) {
    mdl_diagnostics *d = MDL_NEW(arena, mdl_diagnostics);
    d->arena = arena;
    return d;
}

const mdl_file *mdl_file_new(mdl_arena *arena, const char *path, const char *text, int length) {
    mdl_file *file = MDL_NEW(arena, mdl_file);
    MDL_VEC(int) lines = {0};
    MDL_PUSH(arena, lines, 0);
    for (int i = 0; i < length; i++)
        if (text[i] == '\n') MDL_PUSH(arena, lines, i + 1);
    *file = (mdl_file){.path = mdl_strdup(arena, path),
                       .text = mdl_strndup(arena, text, (size_t)length),
                       .length = length,
                       .n_lines = lines.n,
                       .lines = lines.at};
    return file;
}

const mdl_file *mdl_file_read(mdl_arena *arena, const char *path, const char *shown, const char **why) {
    FILE *in = fopen(path, "rb");
    if (!in) return *why = mdl_strdup(arena, strerror(errno)), NULL;
    mdl_text text = {.arena = arena};
    char block[4096];
    size_t n;
    mdl_text_append(&text, "", 0);
    while (text.n <= MAX_FILE && (n = fread(block, 1, sizeof block, in))) mdl_text_append(&text, block, n);
    bool failed = ferror(in);
    fclose(in);
    if (failed) return *why = "it cannot be read", NULL;
    if (text.n > MAX_FILE) return *why = "it is larger than 64 MiB", NULL;
    if (memchr(text.at, 0, text.n)) return *why = "it is not a text file", NULL;
    return mdl_file_new(arena, shown, text.at, (int)text.n);
}

/* Index of the line that holds byte `at`. */
static int line_of(const mdl_file *file, int at) {
    int low = 0, high = file->n_lines;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (file->lines[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* UTF-8 characters in bytes begin..end-1. */
static int characters(const char *text, int begin, int end) {
    int n = 0;
    for (int i = begin; i < end; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

void mdl_locate(mdl_loc loc, int *line, int *column) {
    *line = *column = 0;
    if (!loc.file) return;
    int l = line_of(loc.file, loc.begin);
    *line = l + 1;
    *column = characters(loc.file->text, loc.file->lines[l], loc.begin) + 1;
}

const char *mdl_place(mdl_arena *arena, mdl_loc loc, const mdl_file *here) {
    int line, column;
    mdl_locate(loc, &line, &column);
    if (!loc.file) return "the command line";
    if (loc.file == here) return mdl_printf(arena, "%d:%d", line, column);
    return mdl_printf(arena, "%s:%d:%d", loc.file->path, line, column);
}

bool mdl_vreport(mdl_diagnostics *d, mdl_severity severity, mdl_loc loc, const char *format, va_list args) {
    const char *text = mdl_vprintf(d->arena, format, args);
    d->dropped = false;
    if (severity == MDL_SEVERITY_ERROR) d->errors++;
    for (int i = 0; i < d->messages.n; i++) {
        const message *m = &d->messages.at[i];
        d->dropped |= m->loc.file == loc.file && m->loc.begin == loc.begin && !strcmp(m->message, text);
    }
    if (d->dropped) return false;
    message m = {.severity = severity, .loc = loc, .message = text, .under = {.arena = d->arena}};
    MDL_PUSH(d->arena, d->messages, m);
    return true;
}

bool mdl_report(mdl_diagnostics *d, mdl_severity severity, mdl_loc loc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    bool fresh = mdl_vreport(d, severity, loc, format, args);
    va_end(args);
    return fresh;
}

static void under(mdl_diagnostics *d, const char *prefix, const char *format, va_list args) {
    if (d->dropped || !d->messages.n) return;
    mdl_text_printf(&d->messages.at[d->messages.n - 1].under, "  %s%s\n", prefix, mdl_vprintf(d->arena, format, args));
}

void mdl_detail(mdl_diagnostics *d, const char *format, ...) {
    va_list args;
    va_start(args, format);
    under(d, "", format, args);
    va_end(args);
}

void mdl_note(mdl_diagnostics *d, const char *format, ...) {
    va_list args;
    va_start(args, format);
    under(d, "note: ", format, args);
    va_end(args);
}

int mdl_error_count(const mdl_diagnostics *d) { return d->errors; }

int mdl_distinct_errors(const mdl_diagnostics *d) {
    int n = 0;
    for (int i = 0; i < d->messages.n; i++) n += d->messages.at[i].severity == MDL_SEVERITY_ERROR;
    return n;
}

/* The source line and, below it, a caret at the place and tildes up to its end on that line. */
static void render_source(mdl_text *out, mdl_loc loc) {
    const mdl_file *file = loc.file;
    int line = line_of(file, loc.begin), begin = file->lines[line];
    int end = begin + (int)strcspn(file->text + begin, "\r\n");
    int shown = end - begin > MAX_LINE && loc.begin - begin < MAX_LINE ? begin + MAX_LINE : end;
    while (shown < end && ((unsigned char)file->text[shown] & 0xc0) == 0x80) shown++;
    char *copy = mdl_strndup(out->arena, file->text + begin, (size_t)(shown - begin));
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    int width = characters(file->text, loc.begin, loc.end < shown ? loc.end : shown);
    mdl_text_printf(out, "  %s\n  %*s^", copy, characters(file->text, begin, loc.begin), "");
    for (int i = 1; i < width; i++) mdl_text_append(out, "~", 1);
    mdl_text_append(out, "\n", 1);
}

static void render(mdl_text *out, const message *m) {
    const char *severity = m->severity == MDL_SEVERITY_ERROR ? "error" : "warning";
    if (m->loc.file) {
        int line, column;
        mdl_locate(m->loc, &line, &column);
        mdl_text_printf(out, "%s:%d:%d: %s: %s\n", m->loc.file->path, line, column, severity, m->message);
        render_source(out, m->loc);
    } else {
        mdl_text_printf(out, "%s: %s\n", severity, m->message);
    }
    if (m->under.n) mdl_text_append(out, m->under.at, m->under.n);
}

const char *mdl_diagnostics_text(const mdl_diagnostics *d) {
    mdl_text out = {.arena = d->arena};
    mdl_text_append(&out, "", 0);
    for (int i = 0; i < d->messages.n && i < MAX_SHOWN; i++) render(&out, &d->messages.at[i]);
    if (d->messages.n > MAX_SHOWN) mdl_text_printf(&out, "%d more messages are not shown\n", d->messages.n - MAX_SHOWN);
    return out.at;
}
