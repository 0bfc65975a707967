/* The targets there are. */
#include "compiler/target/target.h"

#include <string.h>

const mdl_target *const mdl_targets[] = {&mdl_target_cpu, &mdl_target_cuda, NULL};

const mdl_target *mdl_target_find(const char *name) {
    for (int i = 0; mdl_targets[i]; i++)
        if (!strcmp(mdl_targets[i]->name, name)) return mdl_targets[i];
    return NULL;
}
