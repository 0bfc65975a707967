/* Making plans and finding things in them. */
#include "runtime/plan/plan.h"

#include <string.h>
#include <xxhash.h>

#include "runtime/plan/fields.h"

const char *mdl_arena_name(mdl_arena_id id) {
#define ARENA(id, name, bits) name,
    static const char *const names[MDL_ARENA_COUNT] = {MDL_ARENAS(ARENA)};
#undef ARENA
    return names[id];
}

int mdl_arena_like_param(mdl_arena_id id) {
#define ARENA(id, name, bits) bits,
    static const int bits[MDL_ARENA_COUNT] = {MDL_ARENAS(ARENA)};
#undef ARENA
    return bits[id];
}

const char *mdl_launch_name(mdl_launch_kind kind) {
    static const char *const names[] = {"kernel", "gemm", "copy", "collective"};
    return names[kind];
}

mdl_plan *mdl_plan_new(void) {
    mdl_arena *memory = mdl_arena_new();
    mdl_plan *plan = MDL_NEW(memory, mdl_plan);
    plan->memory = memory;
    plan->version = MDL_PLAN_VERSION;
    return plan;
}

void mdl_plan_free(mdl_plan *plan) {
    if (plan) mdl_arena_free(plan->memory);
}

const char *mdl_plan_hash(mdl_arena *arena, const void *bytes, int64_t size) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, (size_t)size));
    char *hex = mdl_alloc(arena, 2 * sizeof digest.digest + 1);
    for (size_t i = 0; i < sizeof digest.digest; i++) {
        hex[2 * i] = "0123456789abcdef"[digest.digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest.digest[i] & 15];
    }
    return hex;
}

const char *mdl_plan_source_path(mdl_arena *arena, const mdl_plan *plan, const mdl_plan_kernel *kernel) {
    return mdl_printf(arena, "kernels/%s.%s", kernel->symbol, strcmp(plan->target, "cuda") ? "c" : "cu");
}

const char *mdl_plan_code_path(mdl_arena *arena, const mdl_plan_kernel *kernel, const char *arch) {
    return mdl_printf(arena, "kernels/%s.%s.%s", kernel->symbol, arch, strncmp(arch, "compute_", 8) ? "cubin" : "ptx");
}

#define FIND(list, key, wanted)                                              \
    do {                                                                     \
        for (int i_ = 0; i_ < (list).n; i_++)                                \
            if (!strcmp((list).at[i_].key, (wanted))) return &(list).at[i_]; \
        return NULL;                                                         \
    } while (0)

const mdl_plan_program *mdl_plan_find_program(const mdl_plan *plan, const char *name) { FIND(plan->programs, name, name); }
const mdl_plan_file *mdl_plan_find_file(const mdl_plan *plan, const char *path) { FIND(plan->files, path, path); }
const mdl_plan_input *mdl_plan_find_input(const mdl_plan *plan, const char *name) { FIND(plan->inputs, name, name); }

const mdl_plan_param *mdl_plan_find_param(const mdl_plan *plan, const char *name) {
    for (int i = 0; i < plan->ties.n; i++)
        if (!strcmp(plan->ties.at[i].name, name)) name = plan->ties.at[i].target;
    FIND(plan->params, name, name);
}

int64_t mdl_plan_workspace(const mdl_plan *plan) {
    bool on_gpu = !strcmp(plan->target, "cuda") && strcmp(plan->isa, "host"), any = false;
    for (int p = 0; p < plan->programs.n; p++)
        for (int l = 0; l < plan->programs.at[p].launches.n; l++)
            any |= plan->programs.at[p].launches.at[l].kind == MDL_LAUNCH_GEMM;
    return on_gpu && any ? MDL_PRODUCTS_WORKSPACE : 0;
}

int64_t mdl_plan_memory(const mdl_plan *plan) {
    int64_t bytes = mdl_plan_workspace(plan);
    for (int i = 0; i < MDL_ARENA_COUNT; i++) bytes += plan->arena_bytes[i];
    return bytes;
}
