/* Aligned tables of text. */
#include "runtime/report/table.h"

#include <inttypes.h>
#include <string.h>

void mdl_table_cell(mdl_table *table, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = mdl_vprintf(table->arena, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) *c = '?';
    MDL_PUSH(table->arena, table->cells, text);
}

const char *mdl_bytes_text(mdl_arena *arena, int64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes / 1024;
    if (bytes < 1024) return mdl_printf(arena, "%" PRId64 " B", bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    return mdl_printf(arena, "%.1f %s", value, units[unit]);
}

void mdl_table_bytes(mdl_table *table, int64_t bytes) { mdl_table_cell(table, "%s", mdl_bytes_text(table->arena, bytes)); }

void mdl_table_print(const mdl_table *table, FILE *out) {
    int columns = (int)strlen(table->align);
    int *width = MDL_NEW_ARRAY(table->arena, int, columns);
    for (int i = 0; i < table->cells.n; i++) {
        int n = (int)strlen(table->cells.at[i]);
        if (n > width[i % columns]) width[i % columns] = n;
    }
    for (int i = 0; i < table->cells.n; i++) {
        int column = i % columns;
        bool last = column == columns - 1;
        fputs("  ", out);
        if (table->align[column] == 'r')
            fprintf(out, "%*s", width[column], table->cells.at[i]);
        else if (last)
            fputs(table->cells.at[i], out);
        else
            fprintf(out, "%-*s", width[column], table->cells.at[i]);
        if (last) fputc('\n', out);
    }
}
