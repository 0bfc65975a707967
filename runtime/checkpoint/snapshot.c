/* The copy itself. */
#include "runtime/checkpoint/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/inside.h"

static const mdl_arena_id kept[] = {MDL_ARENA_PARAM, MDL_ARENA_MOMENT1, MDL_ARENA_MOMENT2, MDL_ARENA_FROZEN,
                                   MDL_ARENA_SCALING};
enum { KEPT = sizeof kept / sizeof *kept };

mdl_status mdl_snapshot_open(const mdl_plan *plan, mdl_device **out) {
    mdl_device *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return mdl_fail(MDL_SYSTEM, "no memory for a snapshot");
    s->plan = plan;
    for (int i = 0; i < KEPT; i++) {
        size_t bytes = (size_t)plan->arena_bytes[kept[i]];
        char *memory = malloc(bytes + 1);
        if (!memory) {
            mdl_snapshot_close(s);
            return mdl_fail(MDL_SYSTEM, "no memory for a snapshot: %zu more bytes", bytes);
        }
        memset(memory, 1, bytes + 1); /* not 0: what is zeroed need not be there yet */
        s->arena[kept[i]] = memory;
        s->bytes += (int64_t)bytes;
    }
    *out = s;
    return MDL_OK;
}

void mdl_snapshot_close(mdl_device *s) {
    for (int i = 0; s && i < MDL_ARENA_COUNT; i++) free(s->arena[i]);
    free(s);
}

mdl_status mdl_snapshot_take(mdl_device *s, const mdl_backend *from, mdl_device *device) {
    for (int i = 0; i < KEPT; i++)
        MDL_TRY(from->download(device, kept[i], 0, s->arena[kept[i]], s->plan->arena_bytes[kept[i]]), "snapshot");
    s->scaled = s->plan->arena_bytes[MDL_ARENA_SCALING] > 0;
    return MDL_OK;
}

const float *mdl_snapshot_at(const mdl_device *s, mdl_arena_id arena, const mdl_plan_param *param) {
    return (const float *)(const void *)(s->arena[arena] + param->offset);
}

const void *mdl_snapshot_scaling(const mdl_device *s) { return s->scaled ? s->arena[MDL_ARENA_SCALING] : NULL; }

static mdl_status download(mdl_device *s, mdl_arena_id arena, int64_t offset, void *to, int64_t bytes) {
    if (!s->arena[arena] || offset < 0 || bytes < 0 || offset > s->plan->arena_bytes[arena] - bytes)
        return mdl_fail(MDL_SYSTEM, "a snapshot has no bytes %lld to %lld of arena %s", (long long)offset,
                        (long long)(offset + bytes), mdl_arena_name(arena));
    memcpy(to, s->arena[arena] + offset, (size_t)bytes);
    return MDL_OK;
}

static int64_t memory(const mdl_device *s) { return s->bytes; }

const mdl_backend mdl_snapshot_backend = {.name = "snapshot", .unload = mdl_snapshot_close, .download = download, .memory = memory};
