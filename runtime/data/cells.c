/* What cells of tables mean, whatever the format. */
#include "runtime/data/cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/base/arena.h"

bool mdl_cell_number(const char *text, double *value) {
    static const char *const absent[] = {"", "NA", "N/A", "null", "None", "NaN"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (!strcasecmp(text, absent[i])) return *value = NAN, true;
    char *end;
    *value = strtod(text, &end);
    return end != text && !end[strspn(end, " ")] && !strpbrk(text, "xXpP") && isfinite((float)*value);
}

mdl_status mdl_cell_column(const char *name, int n, const char *const *names, int *at) {
    for (*at = 0; *at < n; ++*at)
        if (!strcmp(names[*at], name)) return MDL_OK;
    mdl_arena *scratch = mdl_arena_new();
    mdl_text all = {.arena = scratch};
    mdl_text_append(&all, "", 0);
    for (int i = 0; i < n && i < 20; i++) mdl_text_printf(&all, "%s\"%.60s\"", i ? ", " : "", names[i]);
    mdl_status status =
        mdl_fail(MDL_BAD_INPUT, "there is no column \"%s\"; the columns are %s%s", name, all.at, n > 20 ? ", ..." : "");
    mdl_arena_free(scratch);
    return status;
}
