/* The end of a run: final figures, results, weights and the plot. */
#include <errno.h>
#include <unistd.h>

#include "runtime/checkpoint/snapshot.h"
#include "runtime/train/run.h"
#include "runtime/train/weights.h"

/* The figures of the weights that are written; into all_results.json too. */
static mdl_status write_evaluation(const mdl_run *run, mdl_figures *all) {
    const mdl_figures *f = &run->progression.figures;
    const char *path = mdl_printf(run->memory, "%s/eval_results.json", run->config->output_dir);
    mdl_figures evaluation = *f;
    if (!f->n) return unlink(path) && errno != ENOENT ? mdl_fail_errno("%s", path) : MDL_OK; /* of a run that this one replaces */
    for (int i = 0; i < f->n; i++) mdl_figures_add(all, f->at[i].name, f->at[i].value);
    mdl_figures_add(&evaluation, "epoch", run->epoch);
    return mdl_results_write(path, &evaluation);
}

static mdl_status write_results(mdl_run *run, mdl_figures *f) {
    const mdl_tally *whole = &run->whole;
    double samples = (double)whole->sequences, tokens = (double)whole->tokens;
    const char *dir = run->config->output_dir;
    mdl_figures_add(f, "epoch", run->epoch);
    mdl_figures_add(f, "global_step", (double)run->step);
    mdl_figures_add(f, "num_input_tokens_seen", tokens);
    mdl_figures_add(f, "total_flos", run->step_flops * (double)whole->steps);
    mdl_figures_add(f, "train_loss", whole->labelled ? whole->loss / (double)whole->labelled : 0);
    mdl_figures_add(f, "train_runtime", whole->seconds);
    mdl_figures_add(f, "train_samples_per_second", samples / whole->seconds);
    mdl_figures_add(f, "train_steps_per_second", (double)whole->steps / whole->seconds);
    mdl_figures_add(f, "train_tokens_per_second", tokens / whole->seconds);
    mdl_status status = mdl_results_write(mdl_printf(run->memory, "%s/train_results.json", dir), f);
    if (!status) status = write_evaluation(run, f);
    return status ? status : mdl_results_write(mdl_printf(run->memory, "%s/all_results.json", dir), f);
}

static void print_results(const mdl_run *run, const mdl_figures *f) {
    char text[32];
    printf("\n");
    mdl_plot(stdout, &run->curve, "loss", 64, 12);
    printf("\n");
    for (int i = 0; i < f->n; i++) {
        snprintf(text, sizeof text, "%.6g", f->at[i].value);
        printf("%-26s %s\n", f->at[i].name, text);
    }
    printf("written     %s: checkpoint-last, model.safetensors, %strain_results.json%s\n", run->config->output_dir,
           mdl_config_list_has(&run->config->report_to, "jsonl") ? "metrics.jsonl, " : "",
           run->progression.figures.n ? ", eval_results.json" : "");
    fflush(stdout);
}

static mdl_status write_weights(mdl_run *run) {
    mdl_weight_store store = mdl_weights_of(run->session);
    return mdl_weights_export(&store, run->config->output_dir, run->max_shard_bytes);
}

static mdl_status load_weights(mdl_run *run, const char *folder) {
    mdl_arena *memory = mdl_arena_new();
    mdl_device *snapshot = mdl_saver_snapshot(run->saver);
    mdl_commit commit;
    mdl_status status = mdl_checkpoint_verify(memory, folder, &commit);
    if (!status) status = mdl_snapshot_read(snapshot, folder, &commit);
    if (!status) status = mdl_run_upload(run, snapshot);
    mdl_arena_free(memory);
    return mdl_context(status, "the best weights cannot be loaded (checkpoint-last has those of the last step)");
}

/* Those of the best step, and their figures. */
static mdl_status load_best(mdl_run *run) {
    mdl_progression *p = &run->progression;
    bool done;
    if (!run->config->load_best_model_at_end) return MDL_OK;
    if (!p->best_checkpoint) return printf("best        none: the weights are those of the last step\n"), MDL_OK;
    printf("best        %s: step %lld, %s %.6g\n", p->best_checkpoint, (long long)p->best_step, p->metric, p->best);
    if (p->best_step == run->step) return MDL_OK;
    mdl_status status = load_weights(run, p->best_checkpoint);
    p->figures = (mdl_figures){0};
    return status ? status : mdl_evaluate(p->pass, NULL, &p->figures, &done);
}

/* Weights before results, which stand for a run that is complete; that the weights are finite, saving has seen. The checkpoint before
 * the lines of metrics that the end alone asks for: a longer run has them not. */
mdl_status mdl_run_finish(mdl_run *run) {
    mdl_figures figures = {0};
    if (mdl_run_stops_early(run)) mdl_run_print_early_stop(run);
    mdl_status status = mdl_run_save(run, MDL_CHECKPOINT_LAST, true);
    if (!status) status = mdl_run_flush(run);
    if (!status) status = mdl_run_evaluate_last(run);
    if (!status) status = load_best(run);
    if (!status) status = write_weights(run);
    if (!status) status = write_results(run, &figures);
    if (!status && unlink(run->old_metrics) && errno != ENOENT) status = mdl_fail_errno("%s", run->old_metrics);
    if (!status) print_results(run, &figures);
    return status;
}
