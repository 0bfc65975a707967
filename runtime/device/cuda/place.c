/* What both places do with a launch, and whether programs run as graphs. */
#include "runtime/device/cuda/place.h"

int64_t *mdl_cuda_argument(mdl_arena *memory, const mdl_bound_launch *launch) {
    int64_t *words = MDL_NEW_ARRAY(memory, int64_t, launch->buffers + launch->immediates + 1);
    for (int i = 0; i < launch->buffers; i++) words[i] = (int64_t)(intptr_t)launch->buffer[i];
    for (int i = 0; i < launch->immediates; i++) words[launch->buffers + i] = launch->immediate[i];
    return words;
}

mdl_status mdl_cuda_blame(const mdl_device *d, int program, int l, mdl_status status) {
    const mdl_plan_program *p = &d->plan->programs.at[program];
    const mdl_plan_launch *launch = &p->launches.at[l];
    bool kernel = launch->kind == MDL_LAUNCH_KERNEL;
    return mdl_context(status, "program %s, launch %d (%s)%s%s%s%s", p->name, l, launch->label, kernel ? ", kernel " : "",
                       kernel ? d->plan->kernels.at[launch->kernel].symbol : "", *launch->span ? ", " : "", launch->span);
}

static bool graphs = true;

void mdl_cuda_set_graphs(bool on) { graphs = on; }
bool mdl_cuda_graphs(void) { return graphs; }
