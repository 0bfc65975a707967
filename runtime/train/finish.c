/* The end of a run: final figures, results, weights and the plot. */
#include <errno.h>
#include <unistd.h>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/train/run.h"
#include "runtime/train/weights.h"

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
    printf("written     %s: checkpoint-last, model.safetensors, %strain_results.json\n", run->config->output_dir,
           mdl_config_list_has(&run->config->report_to, "jsonl") ? "metrics.jsonl, " : "");
    fflush(stdout);
}

static mdl_status write_weights(mdl_run *run) {
    mdl_weight_store store = mdl_weights_of(run->session);
    return mdl_weights_export(&store, run->config->output_dir, run->max_shard_bytes);
}

/* Weights first: results stand for a run that is complete. That the weights are finite, saving has seen. */
mdl_status mdl_run_finish(mdl_run *run) {
    mdl_figures figures = {0};
    mdl_status status = mdl_run_flush(run);
    if (!status) status = mdl_run_save(run, MDL_CHECKPOINT_LAST, true);
    if (!status) status = write_weights(run);
    if (!status) status = write_results(run, &figures);
    if (!status && unlink(run->old_metrics) && errno != ENOENT) status = mdl_fail_errno("%s", run->old_metrics);
    if (!status) print_results(run, &figures);
    return status;
}
