/* Golden diagnostics: every tests/language/diagnostics/NAME.mdl is elaborated, and what is reported is NAME.txt. Lines
 * "# set: name=value" in a file are given as --set. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/front/front.h"
#include "tests/check.h"

enum { MAX_CASES = 200, MAX_SETS = 16 };

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int list_cases(mdl_arena *arena, const char *folder, char **names) {
    int n = 0;
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir)) && n < MAX_CASES;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && !strcmp(dot, ".mdl")) names[n++] = mdl_strndup(arena, entry->d_name, (size_t)(dot - entry->d_name));
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

static int read_sets(mdl_arena *arena, const char *path, const char **sets) {
    static const char mark[] = "# set: ";
    const char *why;
    const mdl_file *file = mdl_file_read(arena, path, path, &why);
    int n = 0;
    for (int i = 0; file && i < file->n_lines && n < MAX_SETS; i++) {
        const char *line = file->text + file->lines[i];
        if (!strncmp(line, mark, sizeof mark - 1))
            sets[n++] = mdl_strndup(arena, line + sizeof mark - 1, strcspn(line, "\n") - sizeof mark + 1);
    }
    return n;
}

/* Paths in messages start at the root of the source tree. */
static const char *relative(mdl_arena *arena, const char *text, const char *root) {
    mdl_text out = {.arena = arena};
    char *prefix = mdl_printf(arena, "%s/", root);
    mdl_text_append(&out, "", 0);
    for (const char *at; (at = strstr(text, prefix)); text = at + strlen(prefix)) mdl_text_append(&out, text, (size_t)(at - text));
    mdl_text_append(&out, text, strlen(text));
    return out.at;
}

static void run_case(mdl_test *t, const char *root, const char *name) {
    mdl_arena *arena = mdl_arena_new();
    mdl_diagnostics *d = mdl_diagnostics_new(arena);
    const char *sets[MAX_SETS], *path = mdl_printf(arena, "%s/tests/language/diagnostics/%s.mdl", root, name);
    mdl_front_options options = {.path = path, .library = mdl_printf(arena, "%s/models", root), .sets = sets};
    options.n_sets = read_sets(arena, path, sets);
    mdl_module *module = mdl_front(arena, &options, d);
    const char *text = relative(arena, mdl_diagnostics_text(d), root);
    CHECK(t, *text, "nothing was reported");
    CHECK(t, !module == (mdl_error_count(d) > 0), "a module comes exactly without errors");
    int errors = 0;
    for (const char *at = text; (at = strstr(at, "error: ")); at++) errors++;
    CHECK(t, errors == mdl_distinct_errors(d) || strstr(text, " are not shown"), "%d errors, counted as %d", errors,
          mdl_distinct_errors(d));
    mdl_golden(t, mdl_printf(arena, "language/diagnostics/%s.txt", name), text);
    mdl_arena_free(arena);
}

void suite_diagnostics(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    char *names[MAX_CASES];
    const char *root = mdl_test_source(t);
    int n = list_cases(arena, mdl_printf(arena, "%s/tests/language/diagnostics", root), names);
    for (int i = 0; i < n; i++)
        if (mdl_case(t, "%s", names[i])) run_case(t, root, names[i]);
    mdl_case(t, "there are cases");
    CHECK(t, n > 40, "only %d", n);
    mdl_arena_free(arena);
}
