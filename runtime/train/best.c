/* Evaluation in a run: when it is due, which step was the best so far, when to stop early.
 *
 * Invariants: `due` stands until its evaluation is whole, also across a stop and a resume, so that a run that was stopped in
 * between gives the figures of one that was not. best_checkpoint is the one saved at best_step, or NULL: none was asked for. */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/train/interrupt.h"
#include "runtime/train/run.h"

static bool is(const char *a, const char *b) { return !strcmp(a, b); }

/* ---- the start ---- */

static const char *metric_of(const mdl_run *run) {
    const char *name = run->config->metric_for_best_model;
    return strncmp(name, "eval_", 5) ? mdl_printf(run->memory, "eval_%s", name) : name;
}

static bool falls(const char *metric) { return is(metric, "eval_perplexity") || !strncmp(metric, "eval_loss", 9); }

static mdl_status open_pass(mdl_run *run, mdl_progression *p) {
    mdl_status status = mdl_evaluation_open(run->config, run->session, run->memory, &p->pass);
    if (status) return mdl_context(status, "trainer.%s", is(run->config->eval_strategy, "no") ? "eval_on_start" : "eval_strategy");
    if (mdl_evaluation_has(p->pass, p->metric)) return MDL_OK;
    return mdl_fail(MDL_USAGE, "trainer.metric_for_best_model: evaluation of this model has no '%s'", p->metric);
}

mdl_status mdl_run_open_evaluation(mdl_run *run) {
    const mdl_config *c = run->config;
    mdl_progression *p = &run->progression;
    bool asked = !is(c->eval_strategy, "no");
    *p = (mdl_progression){.metric = metric_of(run), .step = -1, .figures_step = -1, .best = NAN, .due = c->eval_on_start};
    p->rises = *c->greater_is_better ? !strcasecmp(c->greater_is_better, "true") : !falls(p->metric);
    if (!asked && is(c->save_strategy, "best"))
        return mdl_fail(MDL_USAGE, "trainer.save_strategy: for best, set trainer.eval_strategy to steps or epoch");
    if (!asked && c->load_best_model_at_end)
        return mdl_fail(MDL_USAGE, "trainer.load_best_model_at_end: set trainer.eval_strategy to steps or epoch");
    if (!asked && c->early_stopping_patience)
        return mdl_fail(MDL_USAGE, "trainer.early_stopping_patience: set trainer.eval_strategy to steps or epoch");
    return asked || c->eval_on_start ? open_pass(run, p) : MDL_OK;
}

/* ---- a step ---- */

int64_t mdl_eval_steps(const mdl_config *c) { return c->eval_steps ? c->eval_steps : c->logging_steps; }

void mdl_run_evaluation_due(mdl_run *run) {
    const mdl_config *c = run->config;
    if (is(c->eval_strategy, "epoch"))
        run->progression.due = run->new_epoch && run->epoch >= c->eval_delay;
    else
        run->progression.due =
            is(c->eval_strategy, "steps") && run->step % mdl_eval_steps(c) == 0 && (double)run->step >= c->eval_delay;
}

static bool better(const mdl_progression *p, double value) {
    return isfinite(value) && (isnan(p->best) || (p->rises ? value > p->best : value < p->best));
}

/* The rules of the transformers library: any better figure is the best, and one that is better by the threshold renews patience. */
static void judge(mdl_run *run) {
    mdl_progression *p = &run->progression;
    const mdl_figure *figure = mdl_figures_find(&p->figures, p->metric);
    double value = figure ? figure->value : (double)NAN;
    p->is_best = better(p, value);
    bool renewed = p->is_best && (isnan(p->best) || fabs(value - p->best) > run->config->early_stopping_threshold);
    p->without = renewed ? 0 : p->without + 1;
    if (!p->is_best) return;
    p->best = value;
    p->best_step = run->step;
    p->best_checkpoint = NULL;
}

static void say(mdl_run *run, const mdl_figures *f) {
    mdl_progress_end(&run->progress);
    printf("evaluated   step %lld:", (long long)run->step);
    for (int i = 0; i < f->n && strcmp(f->at[i].name, "eval_runtime"); i++) printf("  %s %.6g", f->at[i].name, f->at[i].value);
    printf("%s\n", run->progression.is_best ? "  (best)" : "");
    fflush(stdout);
}

static mdl_status write_line(mdl_run *run, const mdl_figures *figures) {
    mdl_figures line = {0};
    mdl_figures_add(&line, "step", (double)run->step);
    mdl_figures_add(&line, "epoch", run->epoch);
    for (int i = 0; i < figures->n; i++) mdl_figures_add(&line, figures->at[i].name, figures->at[i].value);
    return mdl_metrics_write(run->metrics, &line);
}

/* judged: it may be the best; those before the first step and at the end are for the reader alone. */
static mdl_status evaluate(mdl_run *run, bool (*cut_short)(void), bool judged) {
    mdl_progression *p = &run->progression;
    mdl_figures figures = {0};
    bool done, known = p->step == run->step; /* its line is there */
    mdl_status status = mdl_evaluate(p->pass, cut_short, &figures, &done);
    if (status || !done) return status;
    p->figures = figures;
    p->due = p->is_best = false;
    p->step = p->figures_step = run->step;
    if (judged) judge(run);
    say(run, &figures);
    return known ? MDL_OK : write_line(run, &figures);
}

mdl_status mdl_run_evaluate(mdl_run *run) {
    run->progression.is_best = false;
    return run->progression.due ? evaluate(run, mdl_interrupted, run->step > 0) : MDL_OK;
}

bool mdl_keeps_best(const mdl_config *c) { return c->load_best_model_at_end || is(c->save_strategy, "best"); }

bool mdl_run_wants_best(const mdl_run *run) { return mdl_keeps_best(run->config) && run->progression.is_best; }

bool mdl_run_stops_early(const mdl_run *run) {
    int64_t patience = run->config->early_stopping_patience;
    return patience && run->progression.without >= patience;
}

void mdl_run_print_early_stop(const mdl_run *run) {
    const mdl_progression *p = &run->progression;
    printf("stopped     early, after step %lld: %lld evaluation%s without a better %s", (long long)run->step, (long long)p->without,
           p->without > 1 ? "s" : "", p->metric);
    if (!isnan(p->best)) printf(" than %.6g of step %lld", p->best, (long long)p->best_step);
    printf("\n");
}

void mdl_run_saves_best(mdl_run *run, const char *name) {
    mdl_progression *p = &run->progression;
    bool numbered = strcmp(name, MDL_CHECKPOINT_LAST) != 0;
    if (numbered && mdl_keeps_best(run->config) && !isnan(p->best) && p->best_step == run->step)
        p->best_checkpoint = mdl_printf(run->memory, "%s/%s", run->config->output_dir, name);
}

/* ---- the end ---- */

mdl_status mdl_run_evaluate_last(mdl_run *run) {
    const mdl_progression *p = &run->progression;
    if (is(run->config->eval_strategy, "no") || p->figures_step == run->step) return MDL_OK;
    return evaluate(run, NULL, false);
}

/* ---- saved and back ---- */

static const mdl_data_facts *facts_of(const mdl_run *run) { return mdl_loader_facts(run->progression.pass->loader); }

static json_t *real_or_null(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* A checkpoint of this folder by its name alone, so that the folder may move. */
static const char *short_name(const mdl_run *run) {
    const char *path = run->progression.best_checkpoint, *dir = run->config->output_dir;
    size_t n = strlen(dir);
    return path && !strncmp(path, dir, n) && path[n] == '/' ? path + n + 1 : path;
}

json_t *mdl_progression_save(const mdl_run *run) {
    const mdl_progression *p = &run->progression;
    if (!p->pass) return json_null();
    return json_pack("{s:s, s:b, s:I, s:I, s:b, s:I, s:o, s:I, s:s?, s:I}", "metric", p->metric, "greater_is_better", p->rises,
                     "data_set", (json_int_t)facts_of(run)->fingerprint, "examples", (json_int_t)facts_of(run)->examples, "due",
                     p->due, "step", (json_int_t)p->step, "best", real_or_null(p->best), "best_step", (json_int_t)p->best_step,
                     "best_checkpoint", short_name(run), "without_better", (json_int_t)p->without);
}

/* Figures of other data, or of the same masked otherwise, or another figure: they do not compare. */
static bool compares(const mdl_run *run, const char *metric, int rises, uint64_t data_set, uint64_t examples) {
    const mdl_data_facts *now = facts_of(run);
    const char *what = data_set != now->fingerprint ? "the data for evaluation"
                       : examples != now->examples  ? "how sequences for evaluation are cut or masked"
                                                    : NULL;
    if (what) printf("changed     %s: the best evaluation is looked for anew\n", what);
    return !what && is(metric, run->progression.metric) && !rises == !run->progression.rises;
}

/* "runs/x/checkpoint-4" to "runs/x". */
static const char *parent(mdl_arena *memory, const char *path) {
    size_t n = strlen(path);
    while (n && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n ? mdl_strndup(memory, path, n) : ".";
}

static const char *find_best(mdl_run *run, const char *name) {
    const char *dir = mdl_run_goes_on_here(run) ? run->config->output_dir : parent(run->memory, run->resume);
    if (!name) return NULL;
    const char *path = strchr(name, '/') ? mdl_strdup(run->memory, name) : mdl_printf(run->memory, "%s/%s", dir, name);
    if (!access(path, F_OK)) return path;
    printf("note        %s, the best checkpoint, is gone: the best evaluation is looked for anew\n", path);
    return NULL;
}

/* A key that an earlier version did not write leaves what the run begins with, or what is so now. */
mdl_status mdl_progression_load(mdl_run *run, json_t *from) {
    mdl_progression *p = &run->progression;
    p->due = false; /* eval_on_start is for the beginning of a run */
    if (!p->pass || !from || json_is_null(from)) return MDL_OK;
    const char *metric = p->metric;
    json_t *best = NULL, *checkpoint = NULL;
    json_int_t data_set = (json_int_t)facts_of(run)->fingerprint, examples = (json_int_t)facts_of(run)->examples, step = p->step,
               best_step = p->best_step, without = p->without;
    int due = false, rises = p->rises;
    if (json_unpack(from, "{s?s, s?b, s?I, s?I, s?b, s?I, s?o, s?I, s?o, s?I}", "metric", &metric, "greater_is_better", &rises,
                    "data_set", &data_set, "examples", &examples, "due", &due, "step", &step, "best", &best, "best_step",
                    &best_step, "best_checkpoint", &checkpoint, "without_better", &without))
        return mdl_fail(MDL_BAD_INPUT, "\"evaluation\" has a value of another type");
    p->due = due;
    p->step = step;
    if (!compares(run, metric, rises, (uint64_t)data_set, (uint64_t)examples)) return MDL_OK;
    p->best_checkpoint = mdl_keeps_best(run->config) ? find_best(run, json_string_value(checkpoint)) : NULL;
    if (!p->best_checkpoint && mdl_keeps_best(run->config)) return MDL_OK;
    p->without = without;
    p->best = json_is_number(best) ? json_number_value(best) : (double)NAN;
    p->best_step = best_step;
    return MDL_OK;
}
