/* What the views of `mdlrun inspect` share. */
#include "runtime/command/inspect_views.h"

#include <stdlib.h>
#include <string.h>

mdl_table mdl_inspect_headed(const mdl_inspection *in, const char *align, const char *names) {
    mdl_table table = {.arena = in->scratch, .align = align};
    for (char *rest = mdl_strdup(in->scratch, names), *name; (name = strsep(&rest, "|"));) mdl_table_cell(&table, "%s", name);
    return table;
}

void mdl_inspect_finish(const char *title, const mdl_table *table) {
    printf("%s\n", title);
    mdl_table_print(table, stdout);
}

mdl_status mdl_inspect_program(const mdl_inspection *in, const mdl_plan_program **program) {
    *program = in->argument ? mdl_plan_find_program(in->plan, in->argument) : NULL;
    if (*program) return MDL_OK;
    mdl_text names = {.arena = in->scratch};
    mdl_text_append(&names, "", 0);
    for (int i = 0; i < in->plan->programs.n; i++) mdl_text_printf(&names, "%s%s", i ? ", " : "", in->plan->programs.at[i].name);
    if (!in->argument) return mdl_fail(MDL_USAGE, "which program? The plan has: %s", names.at);
    return mdl_fail(MDL_USAGE, "no program %s; the plan has: %s", in->argument, names.at);
}

mdl_status mdl_inspect_kernel(const mdl_inspection *in, const char *view, const mdl_plan_kernel **kernel) {
    const mdl_plan *plan = in->plan;
    if (!in->argument) return mdl_fail(MDL_USAGE, "inspect %s: which kernel? Give its number or its symbol", view);
    char *end;
    long index = strtol(in->argument, &end, 10);
    if (*end || end == in->argument)
        for (index = 0; index < plan->kernels.n && strcmp(plan->kernels.at[index].symbol, in->argument);) index++;
    if (index < 0 || index >= plan->kernels.n)
        return mdl_fail(MDL_USAGE, "inspect %s: no kernel %s; the plan has %d, see: inspect PLAN kernels", view, in->argument,
                        plan->kernels.n);
    *kernel = &plan->kernels.at[index];
    return MDL_OK;
}
