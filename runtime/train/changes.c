/* Comparing a run with the one that wrote a checkpoint. What an earlier version did not write has not changed. */
#include "runtime/train/changes.h"

#include <jansson.h>
#include <string.h>

#include "runtime/train/config_table.h"
#include "runtime/train/state.h"

static const struct {
    const char *key, *follows;
} settings[] = {
#define CHANGE(key, follows) {key, follows},
#include "runtime/train/changes.def"
#undef CHANGE
};

/* Facts of a plan and its device, and what follows when they are others. The hash alone: other code for the same numbers. */
static const struct {
    const char *key, *what, *follows;
} facts[] = {
    {"model", "the model", "its parameters are the same ones"},
    {"tokens", "tokens of a batch", "batches are cut otherwise from here on"},
    {"sequences", "sequences of a batch", "batches are cut otherwise from here on"},
    {"precision", "the precision", "results are not those that the run would have had"},
    {"target", "the target", "results differ by rounding"},
    {"isa", "the instruction set", "results may differ by rounding"},
    {"compiler", "the compiler", "results may differ by rounding"},
    {"device", "the device", "results may differ by rounding"},
};
enum { SETTINGS = sizeof settings / sizeof *settings, FACTS = sizeof facts / sizeof *facts };

static void add(mdl_text *text, const char *what, const char *was, const char *is, const char *follows) {
    mdl_text_printf(text, "%schanged     %s was %s, is %s: %s", text->n ? "\n" : "", what, was, is, follows);
}

static void compare_settings(const mdl_run *run, mdl_text *text, const json_t *was) {
    for (int i = 0; i < mdl_config_n_keys; i++) {
        const char *key = mdl_printf(text->arena, "%s.%s", mdl_config_keys[i].section, mdl_config_keys[i].name);
        const char *before = json_string_value(json_object_get(was, key)), *now = mdl_config_text(text->arena, run->config, i);
        for (int k = 0; k < SETTINGS && before; k++)
            if (!strcmp(settings[k].key, key) && strcmp(before, now)) add(text, key, before, now, settings[k].follows);
    }
}

static const char *shown(mdl_arena *memory, const json_t *value) {
    if (json_is_string(value)) return json_string_value(value);
    return mdl_printf(memory, "%lld", (long long)json_integer_value(value));
}

static void compare_plans(const mdl_run *run, mdl_text *text, const json_t *was) {
    json_t *is = mdl_plan_facts(run->session);
    size_t before = text->n;
    for (int i = 0; i < FACTS; i++) {
        const json_t *a = json_object_get(was, facts[i].key), *b = json_object_get(is, facts[i].key);
        if (a && !json_equal(a, b)) add(text, facts[i].what, shown(text->arena, a), shown(text->arena, b), facts[i].follows);
    }
    const json_t *hash = json_object_get(was, "hash"), *now = json_object_get(is, "hash");
    if (hash && !json_equal(hash, now) && text->n == before)
        add(text, "the plan", shown(text->arena, hash), shown(text->arena, now),
            "other code for the same model, whose results may differ by rounding");
    json_decref(is);
}

bool mdl_changes_data(const mdl_run *run, const json_t *state) {
    json_t *is = mdl_data_facts_of(run->loader), *was = json_object_get(state, "data_set"), *value;
    bool same = true;
    const char *key;
    json_object_foreach(was, key, value) same &= json_equal(json_object_get(is, key), value);
    json_decref(is);
    return !same;
}

static void compare_data(const mdl_run *run, mdl_text *text, const json_t *state) {
    if (!mdl_changes_data(run, state)) return;
    const mdl_data_facts *now = mdl_loader_facts(run->loader);
    const json_t *was = json_object_get(state, "data_set");
    add(text, "the data set",
        mdl_printf(text->arena, "%lld sequences of %lld residues", (long long)json_integer_value(json_object_get(was, "sequences")),
                   (long long)json_integer_value(json_object_get(was, "residues"))),
        mdl_printf(text->arena, "%lld of %lld", (long long)now->sequences, (long long)now->residues),
        "its place in the old one means nothing here, so the next epoch begins");
}

const char *mdl_changes(const mdl_run *run, mdl_arena *memory, const json_t *state) {
    mdl_text text = {.arena = memory};
    compare_plans(run, &text, json_object_get(state, "plan"));
    compare_data(run, &text, state);
    compare_settings(run, &text, json_object_get(state, "config"));
    int world = 1;
    if (!json_unpack((json_t *)state, "{s:i}", "world_size", &world) && world != 1)
        add(&text, "the number of processes", mdl_printf(memory, "%d", world), "1", "results differ by rounding");
    return text.at;
}
