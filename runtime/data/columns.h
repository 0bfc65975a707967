/* Numbers of records in batches: the plan's inputs from("column"), one row a sequence, and from("present"), which of them there
 * are. The columns of a run are dealt out in order: each column input takes as many as its rows are wide. */
#ifndef MDL_DATA_COLUMNS_H
#define MDL_DATA_COLUMNS_H

#include "runtime/data/corpus.h"
#include "runtime/plan/plan.h"

typedef struct {
    int input; /* of the plan */
    bool present;
    int first, width; /* the columns that it is made of */
    bool all;         /* present, one flag a sequence: whether all of them are there */
} mdl_column_input;

typedef struct {
    mdl_column_input *at;
    int n;
    int n_columns;
    bool *may_miss; /* [n_columns] some input tells whether it is there */
} mdl_columns;

/* A present input belongs to the column input before it (the first one, if there is none before): bool of the same shape, or one
 * flag a sequence. MDL_BAD_INPUT: shapes; MDL_USAGE: another number of columns than the inputs take. */
mdl_status mdl_columns_find(const mdl_plan *plan, int n_columns, mdl_arena *memory, mdl_columns *columns);
/* Writes row `sequence` of an input's batch: its record's numbers, 0 for what is absent. record NULL: no sequence is there. */
void mdl_columns_write(const mdl_column_input *input, const mdl_record *record, int64_t sequence, void *batch);

#endif
