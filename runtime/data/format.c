/* The table of formats. */
#include "runtime/data/format.h"

#include <string.h>
#include <strings.h>

#include "runtime/base/arena.h"
#include "runtime/base/nearest.h"

const mdl_format mdl_formats[] = {
    {"fasta", "FASTA", ".fa.fasta.faa.fas.pep.mpfa.", mdl_read_fasta, false, "line"},
    {"csv", "a table with commas", ".csv.", mdl_read_csv, true, "line"},
    {"tsv", "a table with tabulators", ".tsv.tab.", mdl_read_tsv, true, "line"},
    {"lines", "a sequence a line", ".txt.seq.", mdl_read_lines, false, "line"},
    {"parquet", "Parquet", ".parquet.pq.", mdl_read_parquet, true, "row"},
};
const int mdl_n_formats = sizeof mdl_formats / sizeof *mdl_formats;

static const mdl_format *by_name(const char *name) {
    for (int i = 0; i < mdl_n_formats; i++)
        if (!strcmp(mdl_formats[i].name, name)) return &mdl_formats[i];
    return NULL;
}

static mdl_status unknown_format(const char *name) {
    const char *names[mdl_n_formats];
    mdl_arena *scratch = mdl_arena_new();
    mdl_text all = {.arena = scratch};
    for (int i = 0; i < mdl_n_formats; i++) {
        names[i] = mdl_formats[i].name;
        mdl_text_printf(&all, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = mdl_nearest(name, mdl_n_formats, names);
    mdl_status status = near ? mdl_fail(MDL_USAGE, "unknown format '%s'; did you mean '%s'?", name, near)
                             : mdl_fail(MDL_USAGE, "unknown format '%s'; the formats are %s", name, all.at);
    mdl_arena_free(scratch);
    return status;
}

/* Cuts the last extension off `name`, in place; without one: "". */
static const char *cut_extension(char *name) {
    char *dot = strrchr(name, '.');
    if (!dot || dot == name) return "";
    *dot = 0;
    return dot + 1;
}

static const mdl_format *by_extension(const char *path) {
    const char *slash = strrchr(path, '/');
    mdl_arena *scratch = mdl_arena_new();
    char *name = mdl_strdup(scratch, slash ? slash + 1 : path);
    const char *extension = cut_extension(name);
    if (!strcasecmp(extension, "gz") || !strcasecmp(extension, "bgz") || !strcasecmp(extension, "bgzf"))
        extension = cut_extension(name);
    const char *dotted = mdl_printf(scratch, ".%s.", extension);
    const mdl_format *found = &mdl_formats[0];
    for (int i = 0; *extension && i < mdl_n_formats; i++)
        if (strcasestr(mdl_formats[i].extensions, dotted)) found = &mdl_formats[i];
    mdl_arena_free(scratch);
    return found;
}

mdl_status mdl_format_of(const char *path, const mdl_format_options *options, const mdl_format **format) {
    const char *name = options->format;
    *format = name && *name ? by_name(name) : by_extension(path);
    if (!*format) return unknown_format(name);
    if (options->n_columns && !(*format)->table)
        return mdl_fail(MDL_USAGE, "%s has no columns, and '%s' is wanted", (*format)->about, options->columns[0]);
    return MDL_OK;
}
