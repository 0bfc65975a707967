/* What both places do with a launch, and whether programs run as graphs. */
#include "runtime/device/cuda/place.h"

#include "runtime/device/cuda/hopper.h"

mdl_status mdl_cuda_argument(mdl_device *d, const mdl_bound_launch *launch, void **argument) {
    const mdl_plan_kernel *kernel = &d->plan->kernels.at[launch->record->kernel];
    size_t numbers = (size_t)(launch->buffers + launch->immediates) * sizeof(int64_t);
    size_t aligned = (numbers + MDL_MAP_ALIGN - 1) / MDL_MAP_ALIGN * MDL_MAP_ALIGN;
    char *at = mdl_alloc(d->memory, aligned + (size_t)kernel->maps.n * MDL_MAP_BYTES + MDL_MAP_ALIGN);
    at += -(uintptr_t)at % MDL_MAP_ALIGN;
    int64_t *words = (int64_t *)(void *)at;
    for (int i = 0; i < launch->buffers; i++) words[i] = (int64_t)(intptr_t)launch->buffer[i];
    for (int i = 0; i < launch->immediates; i++) words[launch->buffers + i] = launch->immediate[i];
    for (int i = 0; i < kernel->maps.n; i++) {
        const mdl_plan_map *map = &kernel->maps.at[i];
        MDL_TRY(d->place->map(d, map, launch->buffer[map->buffer], launch->immediate[0], at + aligned + i * MDL_MAP_BYTES),
                "tensor map %d of kernel %s", i, kernel->symbol);
    }
    *argument = at;
    return MDL_OK;
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
