/* Inside `mdlrun check`: the rows of its table. */
#ifndef MDL_COMMAND_CHECK_TABLE_H
#define MDL_COMMAND_CHECK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "runtime/base/status.h"

typedef enum {
#define ROW(id, option, f32, bf16, what, why) MDL_ROW_##id,
#include "runtime/command/check_rows.def"
#undef ROW
    MDL_ROW_COUNT
} mdl_row_id;

typedef struct {
    double tolerance, worst; /* worst is NAN as soon as one error is */
    int n;                   /* errors noted; 0: the row is left out */
    bool given;              /* the tolerance is one that was asked for */
    char name[128];          /* of the worst */
} mdl_row;

typedef struct {
    mdl_row row[MDL_ROW_COUNT];
    bool verbose; /* print every error as it is noted */
} mdl_check_table;

void mdl_check_table_init(mdl_check_table *table);
/* The tolerances of plans in this precision, but for those that were asked for. */
void mdl_check_table_for(mdl_check_table *table, const char *precision);
/* --tol-<option>; false when there is no such row. */
bool mdl_check_table_set_tolerance(mdl_check_table *table, const char *option, double tolerance);
void mdl_check_table_note(mdl_check_table *table, mdl_row_id row, const char *name, double error);
void mdl_check_table_print(FILE *out, const mdl_check_table *table);
/* MDL_MISMATCH when a row is over tolerance or the table is empty. */
mdl_status mdl_check_table_result(const mdl_check_table *table);
/* The options and reasons, for --help. */
void mdl_check_table_help(FILE *out);

#endif
