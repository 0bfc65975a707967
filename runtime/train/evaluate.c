/* A pass over held-out data. */
#include "runtime/train/evaluate.h"

#include <math.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/train/start.h"

static int measures(const mdl_evaluation *e) { return e->session->plan->losses.n + e->session->plan->metrics.n; }

static void make_names(mdl_evaluation *e) {
    const mdl_plan *plan = e->session->plan;
    for (int i = 0; i < plan->losses.n; i++) e->name[i] = mdl_printf(e->memory, "eval_loss.%s", plan->losses.at[i].name);
    for (int i = 0; i < plan->metrics.n; i++) e->name[plan->losses.n + i] = mdl_printf(e->memory, "eval_%s", plan->metrics.at[i]);
}

mdl_status mdl_evaluation_open(const mdl_config *config, mdl_session *session, mdl_arena *memory, mdl_evaluation **out) {
    mdl_evaluation *e = MDL_NEW(memory, mdl_evaluation);
    *out = NULL;
    *e = (mdl_evaluation){.memory = memory, .session = session};
    mdl_status status = mdl_start_validation(config, session->plan, &e->loader);
    if (status) return status;
    if (!e->loader)
        return mdl_fail(MDL_USAGE,
                        "there are no data for evaluation: set data.validation_files, or data.validation_fraction to a share of "
                        "data.files such as 0.01");
    e->name = MDL_NEW_ARRAY(memory, const char *, measures(e) + 1);
    e->sum = MDL_NEW_ARRAY(memory, double, measures(e) + 1);
    e->count = MDL_NEW_ARRAY(memory, double, measures(e) + 1);
    make_names(e);
    *out = e;
    return MDL_OK;
}

void mdl_evaluation_close(mdl_evaluation *e) {
    if (e) mdl_loader_close(e->loader);
}

/* Behind the last sequence batches are empty. */
static mdl_status go_through(mdl_evaluation *e, bool (*cut_short)(void), bool *done) {
    const mdl_batch *batch;
    mdl_status status = mdl_loader_seek(e->loader, (mdl_data_position){0});
    while (!status && !(cut_short && cut_short())) {
        status = mdl_loader_next(e->loader, &batch, NULL, NULL);
        if (status) break;
        *done = batch->sequences == 0;
        if (*done) break;
        status = mdl_session_evaluate(e->session, batch, e->sum, e->count);
        e->batches++;
        e->sequences += batch->sequences;
    }
    return status;
}

static double mean(const mdl_evaluation *e, int i) { return e->count[i] > 0 ? e->sum[i] / e->count[i] : (double)NAN; }

/* A loss without a label adds nothing to that of a model with several, as in a step. */
static double total(const mdl_evaluation *e) {
    const mdl_plan *plan = e->session->plan;
    double loss = 0, labels = 0;
    for (int i = 0; i < plan->losses.n; i++) {
        if (e->count[i] > 0) loss += plan->losses.at[i].weight * mean(e, i);
        labels += e->count[i];
    }
    return labels > 0 ? loss : (double)NAN;
}

static void add_figures(const mdl_evaluation *e, double seconds, mdl_figures *f) {
    const mdl_plan *plan = e->session->plan;
    mdl_figures_add(f, "eval_loss", total(e));
    if (plan->losses.n == 1) mdl_figures_add(f, "eval_perplexity", exp(mean(e, 0)));
    for (int i = plan->losses.n > 1 ? 0 : plan->losses.n; i < measures(e); i++)
        if (i < plan->losses.n || e->count[i] > 0) mdl_figures_add(f, e->name[i], mean(e, i));
    mdl_figures_add(f, "eval_runtime", seconds);
    mdl_figures_add(f, "eval_samples_per_second", (double)e->sequences / seconds);
    mdl_figures_add(f, "eval_steps_per_second", (double)e->batches / seconds);
}

mdl_status mdl_evaluate(mdl_evaluation *e, bool (*cut_short)(void), mdl_figures *figures, bool *done) {
    double start = mdl_seconds_now();
    for (int i = 0; i < measures(e); i++) e->sum[i] = e->count[i] = 0;
    e->batches = e->sequences = 0;
    *done = false;
    mdl_status status = go_through(e, cut_short, done);
    if (!status && *done) add_figures(e, mdl_seconds_now() - start, figures);
    return mdl_context(status, "evaluation");
}

bool mdl_evaluation_has(const mdl_evaluation *e, const char *name) {
    int losses = e->session->plan->losses.n;
    if (!strcmp(name, "eval_loss") || (losses == 1 && !strcmp(name, "eval_perplexity"))) return true;
    for (int i = losses > 1 ? 0 : losses; i < measures(e); i++)
        if (!strcmp(name, e->name[i])) return true;
    return false;
}
