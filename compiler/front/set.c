/* --set name=value: overrides of configs, table entries and dims, before anything is derived from them. */
#include <string.h>

#include "compiler/front/elab.h"

static const mdl_loc nowhere = {0};

void fe_sets_begin(fe *e) {
    for (int i = 0; i < e->options->n_sets; i++) {
        const char *text = e->options->sets[i], *equals = strchr(text, '=');
        if (!equals || equals == text) {
            mdl_report(e->d, MDL_SEVERITY_ERROR, nowhere, "--set %s: expected name=value", text);
            continue;
        }
        fe_set set = {.name = mdl_strndup(e->arena, text, (size_t)(equals - text)), .text = equals + 1};
        MDL_PUSH(e->arena, e->sets, set);
    }
}

const char *fe_set_text(fe *e, const char *name) {
    const char *text = NULL;
    MDL_PUSH(e->arena, e->settable, name);
    for (int i = 0; i < e->sets.n; i++) {
        if (strcmp(e->sets.at[i].name, name)) continue;
        e->sets.at[i].used = true;
        text = e->sets.at[i].text;
    }
    return text;
}

void fe_sets_end(fe *e) {
    for (int i = 0; i < e->sets.n; i++) {
        const fe_set *set = &e->sets.at[i];
        if (set->used) continue;
        mdl_text all = {.arena = e->arena};
        for (int k = 0; k < e->settable.n; k++) mdl_text_printf(&all, "%s%s", k ? ", " : "", e->settable.at[k]);
        mdl_report(e->d, MDL_SEVERITY_ERROR, nowhere, "--set %s=%s: no config, table entry or dim has this name%s", set->name,
                   set->text, fe_suggest(e, set->name, e->settable.n, e->settable.at));
        mdl_detail(e->d, "the model has %s", all.n ? all.at : "none");
    }
}
