/* Aligned tables of text: rows are added cell by cell, widths are known when it is printed. */
#ifndef MDL_REPORT_TABLE_H
#define MDL_REPORT_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "runtime/base/arena.h"

typedef struct {
    mdl_arena *arena;
    const char *align; /* one character a column: 'l' or 'r' */
    MDL_VEC(const char *) cells;
} mdl_table;

/* One cell; a row is full after strlen(align) of them. Control characters are shown as '?'. */
void mdl_table_cell(mdl_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mdl_table_bytes(mdl_table *table, int64_t bytes); /* "12.3 MiB" */
void mdl_table_print(const mdl_table *table, FILE *out);

/* "12.3 MiB", exact below 1 KiB. */
const char *mdl_bytes_text(mdl_arena *arena, int64_t bytes);

#endif
