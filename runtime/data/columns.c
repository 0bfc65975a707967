/* Which input takes which columns. */
#include "runtime/data/columns.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Columns that a row of an input of [S] or [S, Y] has. */
static mdl_status width_of(const mdl_plan *plan, const mdl_plan_input *input, int *width) {
    const mdl_type *type = &input->type;
    bool present = !strcmp(input->source, "present");
    *width = type->rank == 2 ? (int)type->dim[1] : 1;
    if (type->dtype == (present ? MDL_BOOL : MDL_F32) && type->rank >= 1 && type->rank <= 2 && type->dim[0] == plan->segments &&
        (type->rank == 1 || (type->dim[1] >= 1 && type->dim[1] <= 65536)))
        return MDL_OK;
    mdl_arena *scratch = mdl_arena_new();
    mdl_status status =
        mdl_fail(MDL_BAD_INPUT, "source \"%s\" gives a row a sequence, %s[S] or [S, Y] with S = %" PRId64 "; the plan expects %s",
                 input->source, present ? "bool" : "f32", plan->segments, mdl_type_text(scratch, type));
    mdl_arena_free(scratch);
    return status;
}

static mdl_status add_column_input(const mdl_plan *plan, int i, mdl_columns *c, int *taken) {
    mdl_column_input *to = &c->at[c->n++];
    *to = (mdl_column_input){.input = i, .first = *taken};
    mdl_status status = width_of(plan, &plan->inputs.at[i], &to->width);
    if (!status) *taken += to->width;
    return mdl_context(status, "input \"%s\"", plan->inputs.at[i].name);
}

/* The column input that a present input tells of. */
static const mdl_column_input *owner(const mdl_columns *c, int n_column_inputs, int input) {
    const mdl_column_input *found = n_column_inputs ? &c->at[0] : NULL;
    for (int k = 0; k < n_column_inputs; k++)
        if (c->at[k].input < input) found = &c->at[k];
    return found;
}

static mdl_status add_present_input(const mdl_plan *plan, int i, mdl_columns *c, int n_column_inputs) {
    const mdl_plan_input *input = &plan->inputs.at[i];
    const mdl_column_input *of = owner(c, n_column_inputs, i);
    int width;
    if (!of)
        return mdl_fail(MDL_BAD_INPUT, "input \"%s\": the model has no input from(\"column\") that it could belong to",
                        input->name);
    mdl_status status = width_of(plan, input, &width);
    if (!status && width != of->width && input->type.rank != 1)
        status = mdl_fail(MDL_BAD_INPUT, "it has %d columns, and \"%s\" before it %d", width, plan->inputs.at[of->input].name,
                          of->width);
    if (status) return mdl_context(status, "input \"%s\"", input->name);
    c->at[c->n++] = (mdl_column_input){i, true, of->first, of->width, input->type.rank == 1};
    for (int k = 0; k < of->width && of->first + k < c->n_columns; k++) c->may_miss[of->first + k] = true;
    return MDL_OK;
}

static bool is_from(const mdl_plan *plan, int i, const char *source) { return !strcmp(plan->inputs.at[i].source, source); }

mdl_status mdl_columns_find(const mdl_plan *plan, int n_columns, mdl_arena *memory, mdl_columns *c) {
    int taken = 0;
    mdl_status status = MDL_OK;
    *c = (mdl_columns){.at = MDL_NEW_ARRAY(memory, mdl_column_input, plan->inputs.n + 1), .n_columns = n_columns};
    c->may_miss = MDL_NEW_ARRAY(memory, bool, n_columns + 1);
    for (int i = 0; i < plan->inputs.n && !status; i++)
        if (is_from(plan, i, "column")) status = add_column_input(plan, i, c, &taken);
    int n_column_inputs = c->n;
    for (int i = 0; i < plan->inputs.n && !status; i++)
        if (is_from(plan, i, "present")) status = add_present_input(plan, i, c, n_column_inputs);
    if (!status && taken != n_columns)
        return mdl_fail(MDL_USAGE, "%d columns are given, and the model's inputs from(\"column\") take %d", n_columns, taken);
    return status;
}

void mdl_columns_write(const mdl_column_input *input, const mdl_record *record, int64_t sequence, void *batch) {
    const float *number = record ? record->number + input->first : NULL;
    bool all = number;
    for (int k = 0; k < input->width; k++) {
        bool there = number && !isnan(number[k]);
        all = all && there;
        if (!input->present)
            ((float *)batch)[sequence * input->width + k] = there ? number[k] : 0;
        else if (!input->all)
            ((unsigned char *)batch)[sequence * input->width + k] = there;
    }
    if (input->all) ((unsigned char *)batch)[sequence] = all;
}
