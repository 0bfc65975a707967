/* The output folder: whose it is, what is in it, and whether there is room. */
#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/outputs.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/train/run.h"
#include "runtime/weights/weights.h"

static void say(const char *lines) {
    if (lines) printf("%s\n", lines);
}

static bool is(const char *setting, const char *word) { return !strcasecmp(setting, word); } /* YAML has True too */

static bool wants_resume(const mdl_config *c) { return !is(c->resume_from_checkpoint, "false"); }

static bool same_folder(const char *a, const char *b) {
    struct stat s, t;
    return !stat(a, &s) && !stat(b, &t) && s.st_ino == t.st_ino && s.st_dev == t.st_dev;
}

/* The newest checkpoint that verifies. None at all is a beginning; one that cannot be used is not passed over for it. */
static mdl_status find_newest(mdl_run *run) {
    mdl_checkpoint *found;
    const char *skipped;
    mdl_status status = mdl_checkpoint_find(run->memory, run->config->output_dir, INT64_MAX, &found, &skipped);
    if (status) return status;
    if (found) run->resume = found->path;
    if (!found && skipped)
        return mdl_fail(MDL_BAD_INPUT, "%s: no checkpoint can be resumed from:\n%s", run->config->output_dir, skipped);
    say(skipped);
    if (!found) printf("no checkpoint in %s: the run begins at step 0\n", run->config->output_dir);
    return MDL_OK;
}

static mdl_status find_checkpoint(mdl_run *run) {
    const mdl_config *c = run->config;
    if (!wants_resume(c)) return MDL_OK;
    if (is(c->resume_from_checkpoint, "true")) return find_newest(run);
    run->resume = c->resume_from_checkpoint;
    return MDL_OK;
}

/* Does the run go on in the folder that its checkpoint is in? */
bool mdl_run_goes_on_here(const mdl_run *run) {
    if (!run->resume) return false;
    return same_folder(mdl_printf(run->memory, "%s/..", run->resume), run->config->output_dir);
}

/* The first file of somebody else's that would be replaced, or tells of a run; NULL: there is none. Metrics alone are what a run
 * leaves that was killed before its first checkpoint: one that was told to resume begins anew there. */
static const char *find_conflict(const mdl_run *run) {
    static const char *const results[] = {MDL_RESULT_FILES, MDL_CHECKPOINT_LAST, NULL};
    const char *dir = run->config->output_dir, *path;
    mdl_checkpoints list;
    for (int i = wants_resume(run->config) ? 1 : 0; results[i]; i++) /* the first one is metrics.jsonl */
        if (!access(path = mdl_printf(run->memory, "%s/%s", dir, results[i]), F_OK)) return path;
    if ((path = mdl_weights_there(run->memory, run->session->plan, dir))) return path;
    mdl_status_free(mdl_checkpoint_list(run->memory, dir, &list));
    return list.n ? list.at[0].path : NULL;
}

static mdl_status check_conflict(const mdl_run *run) {
    const char *path = run->config->overwrite_output_dir || mdl_run_goes_on_here(run) ? NULL : find_conflict(run);
    if (!path) return MDL_OK;
    return mdl_fail(MDL_USAGE,
                    "%s exists: choose another trainer.output_dir, go on with trainer.resume_from_checkpoint=true, or set "
                    "trainer.overwrite_output_dir=true",
                    path);
}

/* A full disk is better met now than after the last step. A checkpoint has the weights twice (as others read them, and the
 * optimizer's own), and both moments; the end writes the weights once more. */
static mdl_status check_room(const mdl_run *run) {
    const int64_t *bytes = run->session->plan->arena_bytes;
    double weights = (double)(bytes[MDL_ARENA_PARAM] + bytes[MDL_ARENA_FROZEN]);
    double need = 3 * weights + (double)(bytes[MDL_ARENA_MOMENT1] + bytes[MDL_ARENA_MOMENT2]);
    struct statvfs s;
    if (statvfs(run->config->output_dir, &s)) return MDL_OK;
    double room = (double)s.f_bavail * (double)s.f_frsize;
    if (room >= need) return MDL_OK;
    return mdl_fail(MDL_SYSTEM, "%s: a checkpoint and the final weights take %.1f MiB, and the disk has room for %.1f",
                    run->config->output_dir, need / (1 << 20), room / (1 << 20));
}

/* Folders of the path, from its end, that are not there. */
static int count_absent(mdl_arena *memory, const char *path) {
    int n = 0;
    for (char *at = mdl_strdup(memory, path); access(at, F_OK); at = dirname(at)) n++;
    return n;
}

/* Only those in which nothing is. */
static void remove_folders(mdl_arena *memory, const char *path, int n) {
    for (char *at = mdl_strdup(memory, path); n && !rmdir(at); n--) at = dirname(at);
}

mdl_status mdl_run_claim(mdl_run *run) {
    const char *dir = run->config->output_dir, *said = NULL;
    run->made_folders = count_absent(run->memory, dir);
    mdl_status status = mdl_file_make_folder(dir);
    if (!status) status = mdl_lock_folder(run->memory, dir, &run->lock);
    if (!status && !run->how.dry) status = mdl_checkpoint_tidy(run->memory, dir, &said);
    say(said);
    if (!status) status = find_checkpoint(run);
    if (!status) status = check_conflict(run);
    return status ? status : check_room(run);
}

void mdl_run_unclaim(mdl_run *run) {
    mdl_lock_release(&run->lock);
    if (!run->metrics) remove_folders(run->memory, run->config->output_dir, run->made_folders);
}

/* Nothing of an earlier run is lost: what this run writes replaces it file by file when it is whole. Only the metrics are written
 * as the run goes, so those of the run whose weights lie there step aside until then. */
static mdl_status step_aside(const mdl_run *run) {
    bool older = !access(run->old_metrics, F_OK); /* of the weights; what the run between wrote is of none */
    if (older || !rename(run->metrics_path, run->old_metrics) || errno == ENOENT) return MDL_OK;
    return mdl_fail_errno("%s", run->metrics_path);
}

static mdl_status write_line(mdl_metrics *metrics, const json_t *line) {
    mdl_figures f = {0};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)line, name, value) {
        mdl_figures_add(&f, name, json_is_number(value) ? json_number_value(value) : (double)NAN);
    }
    return mdl_metrics_write(metrics, &f);
}

/* The lines as they were: a number of a checkpoint prints as it did at first. */
static mdl_status restore_metrics(mdl_run *run, const json_t *history) {
    const char *fresh = mdl_printf(run->memory, "%s.tmp-%ld", run->metrics_path, (long)getpid());
    mdl_metrics *metrics = NULL;
    mdl_status status = mdl_metrics_open(fresh, true, &metrics), closed = MDL_OK;
    for (size_t i = 0; i < json_array_size(history) && !status; i++) status = write_line(metrics, json_array_get(history, i));
    if (metrics) closed = mdl_metrics_close(metrics);
    if (!status) status = closed;
    if (!status && rename(fresh, run->metrics_path)) status = mdl_fail_errno("%s: cannot put it in place", run->metrics_path);
    if (status) unlink(fresh);
    return status;
}

/* A folder a run, as Hugging Face's Trainer makes them: curves of an earlier run stay apart. */
static const char *events_folder(const mdl_run *run) {
    char when[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(when, sizeof when, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
    const char *folder = run->config->logging_dir;
    return *folder ? folder : mdl_printf(run->memory, "%s/runs/%s", run->config->output_dir, when);
}

static mdl_status open_metrics(mdl_run *run, bool empty) {
    const mdl_config_list *to = &run->config->report_to;
    bool jsonl = mdl_config_list_has(to, "jsonl"), events = mdl_config_list_has(to, "tensorboard");
    mdl_status status = mdl_metrics_open(jsonl ? run->metrics_path : NULL, empty, &run->metrics);
    return status || !events ? status : mdl_metrics_to_tensorboard(run->metrics, events_folder(run));
}

mdl_status mdl_run_begin_metrics(mdl_run *run, const json_t *history) {
    run->metrics_path = mdl_printf(run->memory, "%s/metrics.jsonl", run->config->output_dir);
    run->old_metrics = mdl_printf(run->memory, "%s.old", run->metrics_path);
    mdl_status status = mdl_run_goes_on_here(run) ? MDL_OK : step_aside(run);
    if (!status && history) status = restore_metrics(run, history);
    return status ? status : open_metrics(run, !history);
}
