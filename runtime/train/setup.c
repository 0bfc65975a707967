/* The start of a run: output folder, plan, data, weights, and the facts a person wants to see before waiting. */
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/checkpoint/snapshot.h"
#include "runtime/train/run.h"
#include "runtime/train/start.h"
#include "runtime/train/weights.h"

const char *mdl_run_grouped(mdl_arena *memory, int64_t number) {
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)number);
    mdl_text text = {.arena = memory};
    for (int i = 0; i < n; i++) {
        if (i && digits[i - 1] != '-' && (n - i) % 3 == 0) mdl_text_append(&text, ",", 1);
        mdl_text_append(&text, &digits[i], 1);
    }
    return text.at;
}

static mdl_status make_weights(mdl_run *run) {
    mdl_weight_report report = {.memory = run->memory};
    mdl_status status = mdl_start_weights(run->config, run->session, &report);
    if (!status) mdl_weights_print(stdout, run->config->init_from, &report);
    run->id = mdl_checkpoint_new_run(run->memory);
    return status || run->how.dry ? status : mdl_run_begin_metrics(run, NULL);
}

static void make_sums(mdl_run *run) {
    const mdl_plan *plan = run->session->plan;
    run->loss_sum = MDL_NEW_ARRAY(run->memory, double, plan->losses.n + plan->metrics.n + 1);
    run->metric_sum = run->loss_sum + plan->losses.n;
    run->metric_steps = MDL_NEW_ARRAY(run->memory, int64_t, plan->metrics.n + 1);
    run->loss_name = MDL_NEW_ARRAY(run->memory, const char *, plan->losses.n + 1);
    for (int i = 0; i < plan->losses.n; i++) run->loss_name[i] = mdl_printf(run->memory, "loss.%s", plan->losses.at[i].name);
}

static void print_model(const mdl_run *run) {
    const mdl_plan *plan = run->session->plan;
    int64_t decay = 0, plain = 0, other = 0;
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *param = &plan->params.at[i];
        *(param->arena != MDL_ARENA_PARAM ? &other : param->decay ? &decay : &plain) += mdl_type_count(&param->type);
    }
    printf("model       %s, from %s (%s, %s %s)\n", plan->model, run->plan_path, plan->precision, plan->target, plan->isa);
    printf("parameters  %s trained: %s with weight decay, %s without", mdl_run_grouped(run->memory, decay + plain),
           mdl_run_grouped(run->memory, decay), mdl_run_grouped(run->memory, plain));
    if (other) printf("; %s frozen or carried", mdl_run_grouped(run->memory, other));
    if (*run->config->init_from && !run->resume) printf("\nweights     from %s", run->config->init_from);
    printf("\nbatch       %s tokens, at most %s sequences, %lld micro-batch%s a step\n", mdl_run_grouped(run->memory, plan->tokens),
           mdl_run_grouped(run->memory, plan->segments), (long long)run->config->gradient_accumulation_steps,
           run->config->gradient_accumulation_steps > 1 ? "es" : "");
}

static void print_count(const mdl_run *run, int64_t count, const char *what) {
    if (count) printf("; %s %s", mdl_run_grouped(run->memory, count), what);
}

/* Which of the settings that leave sequences out are set. */
static const char *left_out(const mdl_run *run) {
    const mdl_config *c = run->config;
    const struct {
        bool set;
        const char *reason;
    } all[] = {{c->min_seq_length > 0, "too short"},
               {c->deduplicate, "repeated"},
               {!c->validation_files.n && c->validation_fraction > 0, "held out"}};
    mdl_text text = {.arena = run->memory};
    for (int i = 0; i < 3; i++)
        if (all[i].set) mdl_text_printf(&text, "%s%s", text.n ? " or " : "", all[i].reason);
    return text.n ? text.at : "left out";
}

static void print_data(const mdl_run *run) {
    const mdl_data_facts *facts = mdl_loader_facts(run->loader);
    for (int i = 0; i < run->config->files.n; i++)
        printf("%s%s\n", i ? "            " : "data        ", mdl_config_locate(run->config, run->config->files.at[i]));
    printf("            %s sequences, %s residues", mdl_run_grouped(run->memory, facts->sequences),
           mdl_run_grouped(run->memory, facts->residues));
    print_count(run, facts->truncated, "sequences cut");
    print_count(run, facts->left_out, left_out(run));
    print_count(run, facts->empty, "records empty");
    print_count(run, facts->comments, "remarks skipped");
    print_count(run, facts->unknown, "residues unknown");
    print_count(run, facts->lower_case, "residues upper-cased");
    print_count(run, facts->stops, "final '*' taken off");
    printf("\n");
    if (facts->notes) printf("            %s\n", facts->notes);
}

static void print_evaluation(const mdl_run *run) {
    const mdl_config *c = run->config;
    if (!run->progression.pass) return;
    const char *when = !strcmp(c->eval_strategy, "no") ? "before the first step"
                       : !strcmp(c->eval_strategy, "epoch")
                           ? "after each epoch"
                           : mdl_printf(run->memory, "every %s steps", mdl_run_grouped(run->memory, mdl_eval_steps(c)));
    printf("evaluation  %s sequences, %s", mdl_run_grouped(run->memory, mdl_loader_facts(run->progression.pass->loader)->sequences),
           when);
    if (mdl_keeps_best(c)) printf("; the checkpoint with the best %s is kept", run->progression.metric);
    if (c->early_stopping_patience) printf("; the run ends after %lld without a better one", (long long)c->early_stopping_patience);
    printf("\n");
}

static const char *saving(const mdl_run *run) {
    const mdl_config *c = run->config;
    const char *most = c->save_total_limit ? mdl_printf(run->memory, ", the last %lld%s", (long long)c->save_total_limit,
                                                        mdl_keeps_best(c) ? " and the best" : "")
                                           : "";
    if (!strcmp(c->save_strategy, "no")) return "no checkpoints but the last";
    if (!strcmp(c->save_strategy, "best")) return mdl_printf(run->memory, "a checkpoint at each best evaluation%s", most);
    if (!strcmp(c->save_strategy, "epoch")) return mdl_printf(run->memory, "a checkpoint an epoch%s", most);
    return mdl_printf(run->memory, "a checkpoint every %s steps%s", mdl_run_grouped(run->memory, c->save_steps), most);
}

static void print_facts(const mdl_run *run) {
    const mdl_config *c = run->config;
    print_model(run);
    print_data(run);
    print_evaluation(run);
    printf("optimizer   AdamW, betas %g %g, eps %g, weight decay %g, clipping at %g\n", c->adam_beta1, c->adam_beta2,
           c->adam_epsilon, c->weight_decay, c->max_grad_norm);
    printf("schedule    %s to %s steps, peak %g, %lld of warm-up\n", mdl_schedule_name(c->lr_scheduler_type),
           mdl_run_grouped(run->memory, c->max_steps), c->learning_rate, (long long)c->warmup_steps);
    const mdl_session *session = run->session;
    const char *note = session->backend->note ? session->backend->note(session->device) : NULL;
    double held = (double)session->backend->memory(session->device), planned = (double)mdl_plan_memory(session->plan);
    printf("memory      %.1f MiB; %.1f predicted\n", held / (1 << 20), planned / (1 << 20));
    printf("saving      %s; a snapshot takes %.1f MiB of host memory\n", saving(run),
           (double)mdl_snapshot_backend.memory(mdl_saver_snapshot(run->saver)) / (1 << 20));
    if (note) printf("note        %s\n", note);
    printf("output      %s\n\n", c->output_dir);
    fflush(stdout);
}

/* The sums need the plan, and a resumed run its sums. */
mdl_status mdl_run_load(mdl_run *run, const char *plan_path, const mdl_config *config) {
    *run = (mdl_run){.config = config, .plan_path = plan_path, .memory = mdl_arena_new(), .lock = MDL_NO_LOCK};
    run->schedule = mdl_config_schedule(config);
    run->adamw = mdl_start_adamw(config);
    run->progress = mdl_progress_begin(stdout);
    if (!mdl_weights_parse_size(config->max_shard_size, &run->max_shard_bytes))
        return mdl_fail(MDL_USAGE, "trainer.max_shard_size: expected a size such as 5GB or 500MB, got '%s'",
                        config->max_shard_size);
    mdl_status status = mdl_session_open(plan_path, (int)config->num_threads, &run->session);
    if (status) return status;
    make_sums(run);
    run->step_flops = mdl_session_flops(run->session, (int)config->gradient_accumulation_steps);
    return MDL_OK;
}

/* The folder before the data, whose reading may take long; what fails leaves nothing behind in it. */
mdl_status mdl_run_open(mdl_run *run, const char *plan_path, const mdl_config *config, mdl_train_how how) {
    mdl_status status = mdl_run_load(run, plan_path, config);
    run->how = how;
    if (!status) status = mdl_run_claim(run);
    if (!status) status = mdl_start_data(config, run->session->plan, (int)config->gradient_accumulation_steps, &run->loader);
    if (!status) status = mdl_run_open_evaluation(run);
    if (!status) status = mdl_saver_open(run);
    if (!status && run->resume)
        status = mdl_run_resume(run, run->resume, mdl_saver_snapshot(run->saver), !how.dry);
    else if (!status)
        status = make_weights(run);
    if (!status) print_facts(run);
    return status;
}

mdl_status mdl_run_close(mdl_run *run) {
    mdl_status status = mdl_run_saved(run, true);
    mdl_status closed = mdl_metrics_close(run->metrics);
    if (status)
        mdl_status_free(closed);
    else
        status = closed;
    mdl_run_unclaim(run);
    mdl_saver_close(run->saver);
    mdl_loader_close(run->loader);
    mdl_evaluation_close(run->progression.pass);
    mdl_session_close(run->session);
    mdl_arena_free(run->memory);
    return status;
}
