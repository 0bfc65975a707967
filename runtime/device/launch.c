/* Addresses, ranges and names of a plan: what is alike on all devices. */
#include "runtime/device/launch.h"

#include <inttypes.h>

static mdl_bound_launch bind_launch(mdl_arena *memory, const mdl_plan_program *program, const mdl_plan_launch *record,
                                    char *const arena[MDL_ARENA_COUNT]) {
    mdl_bound_launch to = {.record = record,
                           .buffer = MDL_NEW_ARRAY(memory, void *, record->args.n),
                           .immediate = MDL_NEW_ARRAY(memory, int64_t, record->args.n)};
    for (int i = 0; i < record->args.n; i++) {
        const mdl_plan_arg *arg = &record->args.at[i];
        if (arg->kind == MDL_ARG_IMMEDIATE) {
            to.immediate[to.immediates++] = arg->value;
            continue;
        }
        const mdl_plan_buffer *b = &program->buffers.at[arg->value];
        to.copy_bytes = b->bytes;
        to.buffer[to.buffers++] = arena[b->arena] + mdl_plan_place(program, (int)arg->value);
    }
    return to;
}

mdl_bound_launch **mdl_bind_launches(mdl_arena *memory, const mdl_plan *plan, char *const arena[MDL_ARENA_COUNT]) {
    mdl_bound_launch **bound = MDL_NEW_ARRAY(memory, mdl_bound_launch *, plan->programs.n);
    for (int p = 0; p < plan->programs.n; p++) {
        const mdl_plan_program *program = &plan->programs.at[p];
        bound[p] = MDL_NEW_ARRAY(memory, mdl_bound_launch, program->launches.n);
        for (int l = 0; l < program->launches.n; l++) bound[p][l] = bind_launch(memory, program, &program->launches.at[l], arena);
    }
    return bound;
}

mdl_gemm_memory mdl_bound_gemm(const mdl_bound_launch *launch) {
    const mdl_gemm *g = &launch->record->gemm;
    void **next = launch->buffer;
    mdl_gemm_memory memory = {.a = *next++, .b = *next++};
    if (g->has_c) memory.c = *next++;
    if (g->has_bias) memory.bias = *next++;
    if (g->has_scales) memory.scale_a = *next++, memory.scale_b = *next++;
    memory.d = *next;
    return memory;
}

mdl_status mdl_check_arena_range(const mdl_plan *plan, const char *what, mdl_arena_id arena, int64_t offset, int64_t bytes) {
    if ((unsigned)arena >= MDL_ARENA_COUNT) return mdl_fail(MDL_USAGE, "%s: no arena %d", what, (int)arena);
    int64_t size = plan->arena_bytes[arena];
    if (offset >= 0 && bytes >= 0 && offset <= size && bytes <= size - offset) return MDL_OK;
    return mdl_fail(MDL_USAGE, "%s: %" PRId64 " bytes at %" PRId64 " lie outside arena %s of %" PRId64 " bytes", what, bytes,
                    offset, mdl_arena_name(arena), size);
}

mdl_status mdl_program_index(const mdl_plan *plan, const char *name, int *index) {
    const mdl_plan_program *program = mdl_plan_find_program(plan, name);
    if (!program) return mdl_fail(MDL_USAGE, "the plan has no program %s", name);
    *index = (int)(program - plan->programs.at);
    return MDL_OK;
}

mdl_status mdl_program_part(const mdl_plan *plan, const char *name, int first, int last, int *index) {
    mdl_status status = mdl_program_index(plan, name, index);
    if (status) return status;
    int n = plan->programs.at[*index].launches.n;
    if (first >= 0 && first <= last && last <= n) return MDL_OK;
    return mdl_fail(MDL_USAGE, "program %s has %d launches: %d to %d are no part of it", name, n, first, last - 1);
}
