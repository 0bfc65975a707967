/* Matching every tensor to a parameter, complaining about all that does not fit at once, then giving the store what fits. */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/nearest.h"
#include "runtime/weights/values.h"
#include "runtime/weights/weights.h"

enum { LISTED = 8 }; /* names in one message */

typedef MDL_VEC(const char *) lines;

/* What fills a parameter: the first tensor that names it, also one that does not fit; the complaint keeps that from being used. */
typedef struct {
    const mdl_weight *weight; /* NULL: none */
    const mdl_spelling *spelling;
} filler;

typedef struct {
    mdl_arena *memory;
    const mdl_weight_store *store;
    const mdl_weight_rules *rules;
    mdl_weight_names names;
    filler *first; /* by parameter */
    lines unexpected, wrong, missing;
    mdl_weight_report *report;
} match;

static void add_wrong(match *m, const char *line) { MDL_PUSH(m->memory, m->wrong, line); }

/* The parameter's numbers; free them. Its type fits. */
static float *read_values(const mdl_spelling *spelling, const mdl_weight *weight) {
    float *values = malloc((size_t)mdl_type_bytes(&spelling->param->type) + 1);
    if (values) mdl_status_free(mdl_values_of(spelling, weight->tensor, values));
    return values;
}

static bool same_values(const filler *first, const mdl_spelling *spelling, const mdl_weight *weight) {
    float *a = read_values(first->spelling, first->weight), *b = read_values(spelling, weight);
    bool same = a && b && !memcmp(a, b, (size_t)mdl_type_bytes(&spelling->param->type));
    free(a);
    free(b);
    return same;
}

/* The complaint about numbers that no parameter may have, or NULL. */
static const char *find_bad(const match *m, const mdl_spelling *spelling, const mdl_weight *weight) {
    int64_t n = mdl_type_count(&spelling->param->type);
    float *values = read_values(spelling, weight);
    if (!values) return mdl_printf(m->memory, "%s: no memory to look at it", weight->name);
    int64_t bad = mdl_weights_bad(n, values);
    free(values);
    return bad ? mdl_printf(m->memory, "%s: %" PRId64 " of its %" PRId64 " numbers are not finite", weight->name, bad, n) : NULL;
}

/* The complaint about dtype or shape, or NULL. */
static const char *find_misfit(const match *m, const mdl_spelling *spelling, const mdl_weight *weight) {
    if (!weight->tensor)
        return mdl_printf(m->memory, "%s has dtype %s, which is not supported; expected F32, BF16, F16 or F64", weight->name,
                          weight->unsupported);
    const mdl_type *type = &weight->tensor->type, expected = mdl_values_type(spelling);
    bool same = type->rank == expected.rank && !memcmp(type->dim, expected.dim, sizeof type->dim[0] * (size_t)type->rank);
    if (same && mdl_dtype_is_real(type->dtype)) return NULL;
    return mdl_printf(m->memory, "%s is %s, the plan has %s", weight->name, mdl_type_text(m->memory, type),
                      mdl_type_text(m->memory, &expected));
}

static void match_parameter(match *m, const mdl_spelling *spelling, const mdl_weight *weight) {
    filler *first = &m->first[spelling->param - m->store->plan->params.at];
    const char *misfit = find_misfit(m, spelling, weight), *bad = misfit ? misfit : find_bad(m, spelling, weight);
    if (bad) add_wrong(m, bad);
    if (!first->weight)
        *first = (filler){weight, spelling};
    else if (!misfit && !find_misfit(m, first->spelling, first->weight) && !same_values(first, spelling, weight))
        add_wrong(
            m, mdl_printf(m->memory, "%s and %s are one parameter but hold different values", first->weight->name, weight->name));
}

static void match_tensor(match *m, const mdl_weight *weight) {
    int n = 0;
    const mdl_spelling *spellings = mdl_weight_names_find(&m->names, weight->name, &n);
    for (int i = 0; i < n && spellings; i++) match_parameter(m, &spellings[i], weight);
    if (!spellings && weight->tensor && !mdl_weight_names_ignored(&m->names, weight->name))
        MDL_PUSH(m->memory, m->unexpected, weight->name);
}

/* ---- what is missing ---- */
static bool is_allowed(const match *m, const char *name) {
    for (int i = 0; i < m->rules->n_allowed; i++)
        if (!fnmatch(m->rules->allowed[i], name, 0)) return true;
    return false;
}

/* Files need not have what the model computes, or does not use. */
static bool is_dispensable(const mdl_plan_param *param) {
    return param->carry || (param->arena == MDL_ARENA_FROZEN && !strncmp(param->init, "value", 5));
}

static void find_missing(match *m) {
    const mdl_plan *plan = m->store->plan;
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *param = &plan->params.at[i];
        if (m->first[i].weight) continue;
        if (!m->rules->strict && is_allowed(m, param->name))
            MDL_PUSH(m->report->memory, m->report->fresh, mdl_strdup(m->report->memory, param->name));
        else if (!m->rules->strict && is_dispensable(param))
            m->report->kept++;
        else
            MDL_PUSH(m->memory, m->missing, param->name);
    }
}

/* A pattern that no parameter has is a slip of the pen. */
static mdl_status check_patterns(const match *m) {
    const mdl_plan *plan = m->store->plan;
    for (int i = 0; i < m->rules->n_allowed; i++) {
        bool found = false;
        for (int k = 0; k < plan->params.n && !found; k++) found = !fnmatch(m->rules->allowed[i], plan->params.at[k].name, 0);
        if (!found)
            return mdl_fail(MDL_USAGE, "model.allow_missing: no tensor of model '%s' is called '%s'; it has '%s', for one",
                            plan->model, m->rules->allowed[i], plan->params.n ? plan->params.at[plan->params.n - 1].name : "");
    }
    return MDL_OK;
}

/* ---- complaints ---- */
static void list(mdl_text *text, const lines *all, const char *title) {
    if (!all->n) return;
    mdl_text_printf(text, "\n  %d %s:", all->n, title);
    for (int i = 0; i < all->n && i < LISTED; i++) mdl_text_printf(text, "\n    %s", all->at[i]);
    if (all->n > LISTED) mdl_text_printf(text, "\n    ...");
}

/* Beside the names that are listed, the missing ones that they resemble. */
static void add_hints(match *m) {
    for (int i = 0; i < m->unexpected.n && i < LISTED; i++) {
        const char *near = mdl_nearest(m->unexpected.at[i], m->missing.n, m->missing.at);
        if (near) m->unexpected.at[i] = mdl_printf(m->memory, "%s (%s is missing)", m->unexpected.at[i], near);
    }
}

static mdl_status complain(match *m) {
    const mdl_plan *plan = m->store->plan;
    mdl_text text = {.arena = m->memory};
    add_hints(m);
    list(&text, &m->missing, "missing");
    list(&text, &m->wrong, "that do not fit");
    list(&text, &m->unexpected, "unexpected");
    if (!text.at) return MDL_OK;
    if (m->missing.n && m->missing.n < plan->params.n && !m->wrong.n && !m->unexpected.n && !m->rules->strict)
        mdl_text_printf(&text,
                        "\n  if they are new: model.allow_missing, a list of names with *, lets them begin from initial values");
    if (m->unexpected.n && !m->missing.n && !m->wrong.n)
        mdl_text_printf(&text,
                        "\n  if the model has no use for them: ignore \"NAME\"; in its layout hf, where * stands for any letters");
    for (int i = 0; i < m->report->notes.n && m->wrong.n; i++) mdl_text_printf(&text, "\n  note: %s", m->report->notes.at[i]);
    return mdl_fail(MDL_BAD_INPUT, "%s: the tensors are not those of the plan's model '%s'%s", m->rules->from, plan->model,
                    text.at);
}

static mdl_status give_all(const match *m) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < m->store->plan->params.n && !status; i++) {
        if (!m->first[i].weight) continue;
        const mdl_plan_param *param = &m->store->plan->params.at[i];
        float *values = read_values(m->first[i].spelling, m->first[i].weight);
        if (!values) return mdl_fail(MDL_SYSTEM, "no memory for parameter '%s'", param->name);
        status = m->store->set(m->store->context, param, values);
        free(values);
    }
    return status;
}

static mdl_weight_names choose(match *m, int n, const mdl_weight *weights) {
    const char **names = MDL_NEW_ARRAY(m->memory, const char *, n + 1);
    for (int i = 0; i < n; i++) names[i] = weights[i].name;
    mdl_weight_names chosen = mdl_weight_names_choose(m->memory, m->store->plan, n, names);
    m->report->layout = mdl_strdup(m->report->memory, chosen.layout);
    m->report->prefix = mdl_strdup(m->report->memory, chosen.prefix);
    return chosen;
}

mdl_status mdl_weights_fill(const mdl_weight_store *store, const mdl_weight_rules *rules, int n, const mdl_weight *weights,
                            mdl_weight_report *report) {
    match m = {.memory = mdl_arena_new(), .store = store, .rules = rules, .report = report};
    m.names = choose(&m, n, weights);
    m.first = MDL_NEW_ARRAY(m.memory, filler, store->plan->params.n + 1);
    mdl_status status = check_patterns(&m);
    for (int i = 0; i < n && !status; i++) match_tensor(&m, &weights[i]);
    if (!status) find_missing(&m);
    if (!status) status = complain(&m);
    if (!status) status = give_all(&m);
    mdl_arena_free(m.memory);
    return status;
}

const mdl_plan_param *mdl_weights_param(const mdl_plan *plan, const char *name) {
    const mdl_plan_param *param = mdl_plan_find_param(plan, name);
    for (int i = 0; i < plan->layouts.n && !param; i++) {
        const mdl_plan_name_map *map = &plan->layouts.at[i];
        if (!strcmp(map->layout, "hf") && map->ours && !strcmp(map->theirs, name)) param = mdl_plan_find_param(plan, map->ours);
    }
    return param;
}
