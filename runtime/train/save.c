/* Saving while training goes on. There is one snapshot, so that host memory is bounded: the loop waits for a save that still goes
 * on when the next is due, and for the copy to the host, and for nothing else. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/checkpoint/snapshot.h"
#include "runtime/train/run.h"
#include "runtime/train/weights.h"

/* All that the thread reads is here and in the snapshot; nothing of the run. */
typedef struct {
    mdl_arena *memory;
    mdl_device *snapshot;
    mdl_session weights; /* of the snapshot: good for reading parameters only */
    const char *dir, *name, *run_id, *metrics_path, *run_state, *trainer_state, *best;
    int64_t step, metrics_bytes, limit, max_shard_bytes;
    double lr;
    bool foreign; /* checkpoints of other runs go when this one is whole */
    mdl_status status;
    int64_t bytes;
    double stall, seconds; /* of the loop, of the thread */
    atomic_bool done;
} job;

struct mdl_saver {
    mdl_device *snapshot;
    job job;
    bool busy;     /* job is somebody's: the thread's, or to be reported */
    bool threaded; /* thread is to be joined */
    pthread_t thread;
    double stall;
};

/* The history is what metrics.jsonl held when the snapshot was taken. A file that somebody has cut or removed gives what is left.
 */
static mdl_status write_trainer_state(job *j) {
    char *log = "";
    size_t n = 0;
    mdl_status status = access(j->metrics_path, F_OK) ? MDL_OK : mdl_file_load(j->memory, j->metrics_path, &log, &n);
    if (status) return status;
    if ((int64_t)n > j->metrics_bytes) log[j->metrics_bytes] = 0;
    const char *text = mdl_trainer_state_with(j->memory, j->trainer_state, log);
    return mdl_file_write(mdl_printf(j->memory, "%s/trainer_state.json", j->dir), text, strlen(text));
}

static mdl_status write_files(job *j, const char *folder) {
    j->dir = folder;
    mdl_weight_store store = mdl_weights_of(&j->weights);
    mdl_status status = mdl_weights_export(&store, folder, j->max_shard_bytes);
    if (!status) status = mdl_snapshot_write(j->snapshot, folder, MDL_OPTIMIZER_SHARD_BYTES);
    if (!status) status = write_trainer_state(j);
    if (!status) status = mdl_file_write(mdl_printf(j->memory, "%s/run_state.json", folder), j->run_state, strlen(j->run_state));
    return status;
}

static mdl_status write_checkpoint(job *j) {
    mdl_new_checkpoint checkpoint;
    const char *dir = j->dir;
    MDL_TRY(mdl_weights_check_finite(&j->weights), "after step %lld, at learning rate %g", (long long)j->step, j->lr);
    mdl_status status = mdl_checkpoint_begin(j->memory, dir, j->name, j->run_id, &checkpoint);
    if (!status) status = mdl_checkpoint_commit(&checkpoint, j->step, write_files(j, checkpoint.folder), &j->bytes);
    if (!status) status = mdl_checkpoint_prune(j->memory, dir, j->run_id, j->limit, j->foreign, j->best);
    return mdl_context(status, "%s", j->name);
}

static void *work(void *at) {
    job *j = at;
    double start = mdl_seconds_now();
    j->status = write_checkpoint(j);
    j->seconds = mdl_seconds_now() - start;
    atomic_store(&j->done, true);
    return NULL;
}

mdl_status mdl_saver_open(mdl_run *run) {
    run->saver = calloc(1, sizeof *run->saver);
    if (!run->saver) return mdl_fail(MDL_SYSTEM, "no memory for saving");
    return mdl_snapshot_open(run->session->plan, &run->saver->snapshot);
}

void mdl_saver_close(struct mdl_saver *saver) {
    if (saver) mdl_snapshot_close(saver->snapshot);
    free(saver);
}

mdl_device *mdl_saver_snapshot(struct mdl_saver *saver) { return saver->snapshot; }

double mdl_saver_stall(const struct mdl_saver *saver) { return saver->stall; }

static void fill_job(const mdl_run *run, job *j, const char *name) {
    const mdl_config *c = run->config;
    *j = (job){.memory = mdl_arena_new(), .snapshot = run->saver->snapshot};
    j->weights = (mdl_session){.plan = run->session->plan, .backend = &mdl_snapshot_backend, .device = j->snapshot};
    j->dir = mdl_strdup(j->memory, c->output_dir);
    j->name = mdl_strdup(j->memory, name);
    j->run_id = run->id;
    j->metrics_path = run->metrics_path;
    j->metrics_bytes = mdl_metrics_bytes(run->metrics);
    j->run_state = mdl_run_state(run, j->memory);
    j->trainer_state = mdl_trainer_state(run, j->memory);
    j->best = run->progression.best_checkpoint;
    j->step = run->step;
    j->lr = run->lr;
    j->limit = c->save_total_limit;
    j->max_shard_bytes = run->max_shard_bytes;
    j->foreign = c->overwrite_output_dir && !run->resume;
}

/* Without a thread to be had, the loop does it. */
static void start(struct mdl_saver *saver, bool wait) {
    saver->busy = true;
    saver->threaded = !wait && !pthread_create(&saver->thread, NULL, work, &saver->job);
    if (!saver->threaded) work(&saver->job);
}

mdl_status mdl_run_save(mdl_run *run, const char *name, bool wait) {
    struct mdl_saver *saver = run->saver;
    double began = mdl_seconds_now();
    wait |= !run->config->save_in_background;
    mdl_status status = mdl_run_saved(run, true);
    if (!status) status = mdl_snapshot_take(saver->snapshot, run->session->backend, run->session->device);
    if (status) return mdl_context(status, "%s", name);
    mdl_run_saves_best(run, name);
    fill_job(run, &saver->job, name);
    if (!wait) saver->job.stall = mdl_seconds_now() - began;
    start(saver, wait);
    if (wait) saver->job.stall = mdl_seconds_now() - began;
    saver->stall += saver->job.stall;
    return wait ? mdl_run_saved(run, true) : MDL_OK;
}

static void report(mdl_run *run, const job *j) {
    mdl_progress_end(&run->progress);
    printf("saved       %s: %.1f MiB in %.2f s; the loop waited %.1f ms\n", j->name, (double)j->bytes / (1 << 20), j->seconds,
           j->stall * 1e3);
    fflush(stdout);
    run->saved_step = j->step;
}

mdl_status mdl_run_saved(mdl_run *run, bool wait) {
    struct mdl_saver *saver = run->saver;
    if (!saver || !saver->busy || (!wait && !atomic_load(&saver->job.done))) return MDL_OK;
    if (saver->threaded) pthread_join(saver->thread, NULL);
    saver->busy = saver->threaded = false;
    mdl_status status = saver->job.status;
    if (!status) report(run, &saver->job);
    mdl_arena_free(saver->job.memory);
    return status;
}
