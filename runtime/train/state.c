/* The state of a run as JSON. Reals are written with 17 digits, which read back as the same bits. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/position.h"
#include "runtime/train/config_table.h"
#include "runtime/train/run.h"
#include "runtime/train/state.h"

static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static double real_of(const json_t *value) { return json_is_number(value) ? json_number_value(value) : (double)NAN; }

static json_t *reals(int n, const double *x) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, real(x[i]));
    return list;
}

static json_t *integers(int n, const int64_t *x) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(x[i]));
    return list;
}

static json_t *tally(const mdl_tally *t) {
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "steps", (json_int_t)t->steps, "labelled", (json_int_t)t->labelled, "tokens",
                     (json_int_t)t->tokens, "sequences", (json_int_t)t->sequences, "loss", real(t->loss), "seconds",
                     real(t->seconds));
}

static int curve_means(const mdl_curve *c) { return c->count ? (int)((c->count + c->stride - 1) / c->stride) : 0; }

static json_t *sums(const mdl_run *run) {
    const mdl_plan *plan = run->session->plan;
    const mdl_curve *c = &run->curve;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:o}}", "window", tally(&run->window), "whole", tally(&run->whole),
                     "losses", reals(plan->losses.n, run->loss_sum), "metrics", reals(plan->metrics.n, run->metric_sum),
                     "metric_steps", integers(plan->metrics.n, run->metric_steps), "curve", "stride", (json_int_t)c->stride,
                     "count", (json_int_t)c->count, "sum", reals(curve_means(c), c->sum));
}

/* The lines of backend->choices. */
static json_t *products(const mdl_run *run) {
    const mdl_session *s = run->session;
    mdl_arena *scratch = mdl_arena_new();
    json_t *lines = json_array();
    const char *at = s->backend->choices ? s->backend->choices(s->device, scratch) : "", *end;
    for (; (end = strchr(at, '\n')); at = end + 1) json_array_append_new(lines, json_stringn(at, (size_t)(end - at)));
    mdl_arena_free(scratch);
    return lines;
}

/* Before the first program runs: products as the run has had them, whatever this machine would choose. */
mdl_status mdl_run_set_products(mdl_run *run, const json_t *state) {
    const mdl_session *s = run->session;
    const json_t *lines = json_object_get(state, "products");
    mdl_text text = {.arena = run->memory};
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        if (line) mdl_text_printf(&text, "%s\n", line);
    }
    return text.n && s->backend->choose ? s->backend->choose(s->device, text.at) : MDL_OK;
}

static bool matters(const char *key) {
#define CHANGE(name, follows) \
    if (!strcmp(key, name)) return true;
#include "runtime/train/changes.def"
#undef CHANGE
    return false;
}

/* Those that shape what is computed: two runs that do the same have the same file, wherever they write. */
static json_t *settings(const mdl_config *config) {
    json_t *all = json_object();
    mdl_arena *scratch = mdl_arena_new();
    for (int i = 0; i < mdl_config_n_keys; i++) {
        const char *key = mdl_printf(scratch, "%s.%s", mdl_config_keys[i].section, mdl_config_keys[i].name);
        if (matters(key)) json_object_set_new(all, key, json_string(mdl_config_text(scratch, config, i)));
    }
    mdl_arena_free(scratch);
    return all;
}

json_t *mdl_plan_facts(const mdl_session *session) {
    const mdl_plan *p = session->plan;
    const char *device = session->backend->identity ? session->backend->identity(session->device) : "";
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "hash", p->hash ? p->hash : "", "model", p->model, "compiler",
                     p->compiler ? p->compiler : "", "target", p->target, "isa", p->isa ? p->isa : "", "precision", p->precision,
                     "tokens", (json_int_t)p->tokens, "sequences", (json_int_t)p->segments, "device", device);
}

json_t *mdl_data_facts_of(const mdl_loader *loader) {
    const mdl_data_facts *facts = mdl_loader_facts(loader);
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)facts->fingerprint);
    return json_pack("{s:I, s:I, s:s}", "sequences", (json_int_t)facts->sequences, "residues", (json_int_t)facts->residues,
                     "fingerprint", fingerprint);
}

/* Takes the root over. */
static const char *text_of(mdl_arena *memory, json_t *root) {
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    if (!text) mdl_bug("a state is no JSON: a text in it is not UTF-8, or there is no memory");
    const char *copy = mdl_printf(memory, "%s\n", text);
    free(text);
    return copy;
}

const char *mdl_run_state(const mdl_run *run, mdl_arena *memory) {
    return text_of(memory, json_pack("{s:i, s:s, s:I, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o}", "format", MDL_STATE_FORMAT,
                                     "run", run->id, "step", (json_int_t)run->step, "epoch", real(run->epoch), "data",
                                     mdl_data_position_save(&run->next), "data_set", mdl_data_facts_of(run->loader), "plan",
                                     mdl_plan_facts(run->session), "world_size", 1, "config", settings(run->config), "sums",
                                     sums(run), "evaluation", mdl_progression_save(run), "products", products(run)));
}

static void set_best(json_t *root, const mdl_progression *p) {
    bool any = p->pass && isfinite(p->best);
    json_object_set_new(root, "best_global_step", any ? json_integer(p->best_step) : json_null());
    json_object_set_new(root, "best_metric", any ? json_real(p->best) : json_null());
    json_object_set_new(root, "best_model_checkpoint", p->best_checkpoint ? json_string(p->best_checkpoint) : json_null());
}

/* Keys as the transformers library's TrainerState has them; what has no meaning here has the value that it begins with there. */
const char *mdl_trainer_state(const mdl_run *run, mdl_arena *memory) {
    const mdl_config *c = run->config;
    json_t *root = json_pack("{s:o, s:I, s:b, s:b, s:b, s:[], s:I, s:I, s:I, s:I, s:I, s:{}, s:o, s:n, s:n, s:n}", "epoch",
                             real(run->epoch), "global_step", (json_int_t)run->step, "is_hyper_param_search", 0,
                             "is_local_process_zero", 1, "is_world_process_zero", 1, "log_history", "logging_steps",
                             (json_int_t)c->logging_steps, "max_steps", (json_int_t)c->max_steps, "num_input_tokens_seen",
                             (json_int_t)(run->whole.tokens + run->window.tokens), "num_train_epochs", (json_int_t)ceil(run->epoch),
                             "save_steps", (json_int_t)c->save_steps, "stateful_callbacks", "total_flos",
                             real(run->step_flops * (double)(run->whole.steps)), "train_batch_size", "trial_name", "trial_params");
    set_best(root, &run->progression);
    json_object_set_new(root, "eval_steps", json_integer(mdl_eval_steps(c)));
    return text_of(memory, root);
}

const char *mdl_trainer_state_with(mdl_arena *memory, const char *state, const char *log) {
    static const char empty[] = "\"log_history\": []";
    const char *place = strstr(state, empty);
    if (!place) mdl_bug("no empty log_history in the state");
    mdl_text text = {.arena = memory};
    const char *from = log, *end;
    mdl_text_append(&text, state, (size_t)(place - state));
    mdl_text_printf(&text, "\"log_history\": [");
    for (; (end = strchr(from, '\n')); from = end + 1)
        mdl_text_printf(&text, "%s\n    %.*s", from > log ? "," : "", (int)(end - from), from);
    mdl_text_printf(&text, "%s]%s", from > log ? "\n  " : "", place + strlen(empty));
    return text.at;
}

static mdl_status set_tally(json_t *from, mdl_tally *to) {
    json_int_t steps, labelled, tokens, sequences;
    if (json_unpack(from, "{s:I, s:I, s:I, s:I}", "steps", &steps, "labelled", &labelled, "tokens", &tokens, "sequences",
                    &sequences))
        return mdl_fail(MDL_BAD_INPUT, "\"sums\" is not complete");
    *to = (mdl_tally){
        steps, labelled, tokens, sequences, real_of(json_object_get(from, "loss")), real_of(json_object_get(from, "seconds"))};
    return MDL_OK;
}

static mdl_status set_reals(json_t *from, int n, double *to) {
    if ((int)json_array_size(from) != n) return mdl_fail(MDL_BAD_INPUT, "\"sums\" is of other losses or metrics");
    for (int i = 0; i < n; i++) to[i] = real_of(json_array_get(from, (size_t)i));
    return MDL_OK;
}

static mdl_status set_curve(json_t *from, mdl_curve *to) {
    json_int_t stride, count;
    json_t *means;
    if (json_unpack(from, "{s:I, s:I, s:o}", "stride", &stride, "count", &count, "sum", &means) || stride < 0 || count < 0)
        return mdl_fail(MDL_BAD_INPUT, "\"curve\" is not complete");
    *to = (mdl_curve){.stride = stride, .count = count};
    if ((count && !stride) || curve_means(to) > MDL_CURVE_ROOM) return mdl_fail(MDL_BAD_INPUT, "\"curve\" is too long");
    return set_reals(means, curve_means(to), to->sum);
}

static mdl_status set_sums(mdl_run *run, json_t *from) {
    const mdl_plan *plan = run->session->plan;
    json_t *steps = json_object_get(from, "metric_steps");
    mdl_status status = set_tally(json_object_get(from, "window"), &run->window);
    if (!status) status = set_tally(json_object_get(from, "whole"), &run->whole);
    if (!status) status = set_reals(json_object_get(from, "losses"), plan->losses.n, run->loss_sum);
    if (!status) status = set_reals(json_object_get(from, "metrics"), plan->metrics.n, run->metric_sum);
    if (!status) status = set_curve(json_object_get(from, "curve"), &run->curve);
    for (int i = 0; i < plan->metrics.n; i++) run->metric_steps[i] = json_integer_value(json_array_get(steps, (size_t)i));
    return status;
}

mdl_status mdl_run_set_state(mdl_run *run, json_t *state) {
    json_int_t step;
    const char *id;
    int format = 0;
    if (json_unpack(state, "{s:i}", "format", &format) || format != MDL_STATE_FORMAT)
        return mdl_fail(MDL_BAD_INPUT, "its format is %d; this program reads %d", format, MDL_STATE_FORMAT);
    if (json_unpack(state, "{s:s, s:I}", "run", &id, "step", &step) || step < 0)
        return mdl_fail(MDL_BAD_INPUT, "it lacks \"run\" or \"step\"");
    run->id = mdl_strdup(run->memory, id);
    run->step = run->saved_step = step;
    run->epoch = real_of(json_object_get(state, "epoch"));
    mdl_status status = mdl_data_position_load(json_object_get(state, "data"), &run->next);
    if (!status) status = mdl_progression_load(run, json_object_get(state, "evaluation"));
    return status ? status : set_sums(run, json_object_get(state, "sums"));
}
