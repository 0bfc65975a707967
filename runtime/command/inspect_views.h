/* Inside `mdlrun inspect`: what its views share, and those that have a file of their own. */
#ifndef MDL_COMMAND_INSPECT_VIEWS_H
#define MDL_COMMAND_INSPECT_VIEWS_H

#include "runtime/plan/plan.h"
#include "runtime/report/table.h"

typedef struct {
    const mdl_plan *plan;
    mdl_arena *scratch;
    const char *argument; /* a kernel or a program; NULL when absent */
} mdl_inspection;

/* A table with its header's names, given as one text with | between them. */
mdl_table mdl_inspect_headed(const mdl_inspection *in, const char *align, const char *names);
/* Prints it under a title. */
void mdl_inspect_finish(const char *title, const mdl_table *table);
/* The program that the argument names, or an error that lists them. */
mdl_status mdl_inspect_program(const mdl_inspection *in, const mdl_plan_program **program);
/* The kernel of this number or symbol; view: "source", for the error. */
mdl_status mdl_inspect_kernel(const mdl_inspection *in, const char *view, const mdl_plan_kernel **kernel);

void mdl_inspect_arenas(const mdl_inspection *in);
mdl_status mdl_inspect_memory(const mdl_inspection *in);
mdl_status mdl_inspect_ptx(const mdl_inspection *in);
mdl_status mdl_inspect_sass(const mdl_inspection *in);

#endif
