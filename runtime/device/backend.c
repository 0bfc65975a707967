/* The one list of backends. */
#include <string.h>

#include "runtime/device/device.h"

static const mdl_backend *const backends[] = {&mdl_backend_cpu, &mdl_backend_cuda};

mdl_status mdl_backend_find(const char *target, const mdl_backend **backend) {
    enum { COUNT = sizeof backends / sizeof *backends };
    mdl_arena *scratch = mdl_arena_new();
    mdl_text names = {.arena = scratch};
    *backend = NULL;
    for (int i = 0; i < COUNT && !*backend; i++) {
        if (!strcmp(backends[i]->name, target)) *backend = backends[i];
        mdl_text_printf(&names, "%s%s", i ? ", " : "", backends[i]->name);
    }
    mdl_status status =
        *backend ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "the plan is for target %s, this program has: %s", target, names.at);
    mdl_arena_free(scratch);
    return status;
}
