/* Going on from a checkpoint. */
#include <jansson.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/checkpoint/snapshot.h"
#include "runtime/data/position.h"
#include "runtime/train/changes.h"
#include "runtime/train/run.h"

static mdl_status read_json(mdl_arena *memory, const char *path, json_t **root) {
    char *text;
    size_t n;
    json_error_t error;
    *root = NULL;
    mdl_status status = mdl_file_load(memory, path, &text, &n);
    if (status) return status;
    *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    return *root ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "%s:%d: %s", path, error.line, error.text);
}

mdl_status mdl_run_upload(mdl_run *run, const mdl_device *snapshot) {
    mdl_session *s = run->session;
    mdl_status status = MDL_OK;
    for (int i = 0; i < s->plan->params.n && !status; i++) {
        const mdl_plan_param *param = &s->plan->params.at[i];
        status = mdl_session_set_param(s, param->arena, param, mdl_snapshot_at(snapshot, param->arena, param));
        if (status || param->arena != MDL_ARENA_PARAM) continue;
        status = mdl_session_set_param(s, MDL_ARENA_MOMENT1, param, mdl_snapshot_at(snapshot, MDL_ARENA_MOMENT1, param));
        if (!status)
            status = mdl_session_set_param(s, MDL_ARENA_MOMENT2, param, mdl_snapshot_at(snapshot, MDL_ARENA_MOMENT2, param));
    }
    const void *scales = mdl_snapshot_scaling(snapshot);
    return status || !scales ? status : mdl_session_set_scaling(s, scales);
}

static mdl_status check_step(const mdl_run *run, const char *folder) {
    if (run->step <= run->config->max_steps) return MDL_OK;
    return mdl_fail(MDL_USAGE, "%s is of step %lld, beyond trainer.max_steps %lld", folder, (long long)run->step,
                    (long long)run->config->max_steps);
}

/* Of other sequences the position means nothing: the next epoch begins. */
static mdl_status seek(mdl_run *run, const json_t *state) {
    if (mdl_changes_data(run, state)) run->next = mdl_loader_next_epoch(run->loader, &run->next);
    return mdl_loader_seek(run->loader, run->next);
}

static void say(const mdl_run *run, const char *folder, const json_t *state) {
    const char *changes = mdl_changes(run, run->memory, state);
    printf("resumed     %s: step %lld, epoch %.6g\n", folder, (long long)run->step, run->epoch);
    if (changes) printf("%s\n", changes);
}

static mdl_status restore(mdl_run *run, mdl_arena *memory, const char *folder, mdl_device *snapshot, bool metrics) {
    mdl_commit commit;
    json_t *state = NULL, *trainer = NULL;
    mdl_status status = mdl_checkpoint_verify(memory, folder, &commit);
    if (status) return mdl_context(status, "cannot resume");
    status = read_json(memory, mdl_printf(memory, "%s/run_state.json", folder), &state);
    if (!status) status = mdl_snapshot_read(snapshot, folder, &commit);
    if (!status) status = mdl_context(mdl_run_set_state(run, state), "%s/run_state.json", folder);
    if (!status) status = check_step(run, folder);
    if (!status) status = mdl_run_set_products(run, state);
    if (!status) status = mdl_session_init(run->session, (uint64_t)run->config->seed);
    if (!status) status = mdl_run_upload(run, snapshot);
    if (!status) status = seek(run, state);
    if (!status) say(run, folder, state);
    if (!status && metrics) status = read_json(memory, mdl_printf(memory, "%s/trainer_state.json", folder), &trainer);
    if (!status && metrics) status = mdl_run_begin_metrics(run, json_object_get(trainer, "log_history"));
    json_decref(state);
    json_decref(trainer);
    return status;
}

mdl_status mdl_run_resume(mdl_run *run, const char *folder, mdl_device *snapshot, bool metrics) {
    mdl_arena *memory = mdl_arena_new();
    mdl_status status = restore(run, memory, folder, snapshot, metrics);
    mdl_arena_free(memory);
    return status;
}
