/* The rows of check_rows.def, filled and printed. */
#include "runtime/command/check_table.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *option;
    double f32, bf16;
    const char *what, *why;
} rows[MDL_ROW_COUNT] = {
#define ROW(id, option, f32, bf16, what, why) {option, f32, bf16, what, why},
#include "runtime/command/check_rows.def"
#undef ROW
};

void mdl_check_table_init(mdl_check_table *table) {
    *table = (mdl_check_table){0};
    mdl_check_table_for(table, "f32");
}

void mdl_check_table_for(mdl_check_table *table, const char *precision) {
    bool narrow = strcmp(precision, "f32") != 0;
    for (int i = 0; i < MDL_ROW_COUNT; i++)
        if (!table->row[i].given) table->row[i].tolerance = narrow ? rows[i].bf16 : rows[i].f32;
}

bool mdl_check_table_set_tolerance(mdl_check_table *table, const char *option, double tolerance) {
    for (int i = 0; i < MDL_ROW_COUNT; i++)
        if (!strcmp(rows[i].option, option)) return table->row[i].tolerance = tolerance, table->row[i].given = true;
    return false;
}

void mdl_check_table_note(mdl_check_table *table, mdl_row_id id, const char *name, double error) {
    mdl_row *row = &table->row[id];
    if (table->verbose) printf("  %-26s %-10.3g %s\n", rows[id].what, error, name);
    bool worse = !row->n || error > row->worst || isnan(error);
    row->n++;
    if (!worse || (row->n > 1 && isnan(row->worst))) return;
    row->worst = error;
    snprintf(row->name, sizeof row->name, "%s", name);
}

static bool passes(const mdl_row *row) { return row->worst <= row->tolerance; }

void mdl_check_table_print(FILE *out, const mdl_check_table *table) {
    fprintf(out, "%-26s %6s  %-10s %-10s %-4s  %s\n", "compared", "items", "error", "tolerance", "", "worst");
    for (int i = 0; i < MDL_ROW_COUNT; i++) {
        const mdl_row *row = &table->row[i];
        if (!row->n) continue;
        fprintf(out, "%-26s %6d  %-10.3g %-10.3g %s%s%s\n", rows[i].what, row->n, row->worst, row->tolerance,
                passes(row) ? "pass" : "FAIL", *row->name ? "  " : "", row->name);
    }
}

mdl_status mdl_check_table_result(const mdl_check_table *table) {
    int used = 0, failed = 0;
    for (int i = 0; i < MDL_ROW_COUNT; i++) {
        used += table->row[i].n > 0;
        failed += table->row[i].n > 0 && !passes(&table->row[i]);
    }
    if (used == (table->row[MDL_ROW_NO_DECAY].n > 0)) /* names alone say nothing of numbers */
        return mdl_fail(MDL_MISMATCH, "no numbers were compared: the reference holds none of those that docs/training.md lists");
    return failed ? mdl_fail(MDL_MISMATCH, "%d of %d rows are over tolerance", failed, used) : MDL_OK;
}

void mdl_check_table_help(FILE *out) {
    for (int i = 0; i < MDL_ROW_COUNT; i++)
        fprintf(out, "  --tol-%-14s %-6g %-6g %s: %s\n", rows[i].option, rows[i].f32, rows[i].bf16, rows[i].what, rows[i].why);
}
