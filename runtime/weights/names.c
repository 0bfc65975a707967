/* Names of files against a plan's: its parameters, ties and layouts, with or without what wrappers add. */
#include "runtime/weights/names.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1024 }; /* letters of a name that is looked for without its wrappers */

/* Segments that the modules around a model leave in its names: of DataParallel, torch.compile, FSDP, checkpointing, PEFT, and of
 * the many that call it their model. */
static const char *const wrappers[] = {
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer", "base_model", "model"};

static bool is_wrapper(const char *segment, size_t length) {
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strlen(wrappers[i]) == length && !strncmp(wrappers[i], segment, length)) return true;
    return false;
}

/* The name without wrappers' segments. `bare` has room for it. */
static void unwrap(const char *name, char *bare) {
    char *to = bare;
    for (const char *at = name; *at;) {
        size_t length = strcspn(at, ".");
        if (!is_wrapper(at, length)) {
            if (to > bare) *to++ = '.';
            to = (char *)memcpy(to, at, length) + length;
        }
        at += length + (at[length] == '.');
    }
    *to = 0;
}

static int by_name(const void *a, const void *b) {
    const mdl_spelling *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->param > y->param) - (x->param < y->param);
}

static void sort(mdl_spellings *list) {
    if (list->n) qsort(list->at, (size_t)list->n, sizeof *list->at, by_name);
}

/* The run of spellings with this name in a sorted list. */
static const mdl_spelling *find(const mdl_spellings *list, const char *name, int *n) {
    int low = 0, high = list->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(list->at[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (*n = 0; low + *n < list->n && !strcmp(list->at[low + *n].name, name);) ++*n;
    return *n ? &list->at[low] : NULL;
}

/* A name that the layout lists is what the layout says; any other is the model's own. */
static void add_own(mdl_arena *arena, mdl_weight_names *names) {
    const mdl_plan *plan = names->plan;
    mdl_spellings own = {0};
    int listed;
    for (int i = 0; i < plan->params.n; i++) {
        mdl_spelling spelling = {plan->params.at[i].name, &plan->params.at[i], NULL};
        if (!find(&names->full, spelling.name, &listed)) MDL_PUSH(arena, own, spelling);
    }
    for (int i = 0; i < plan->ties.n; i++) {
        mdl_spelling spelling = {plan->ties.at[i].name, mdl_plan_find_param(plan, plan->ties.at[i].name), NULL};
        if (!find(&names->full, spelling.name, &listed)) MDL_PUSH(arena, own, spelling);
    }
    for (int i = 0; i < own.n; i++) MDL_PUSH(arena, names->full, own.at[i]);
    sort(&names->full);
}

static void add_bare(mdl_arena *arena, mdl_weight_names *names) {
    for (int i = 0; i < names->full.n; i++) {
        mdl_spelling spelling = names->full.at[i];
        char *bare = mdl_strdup(arena, spelling.name);
        unwrap(spelling.name, bare);
        spelling.name = bare;
        MDL_PUSH(arena, names->bare, spelling);
    }
    sort(&names->bare);
}

mdl_weight_names mdl_weight_names_make(mdl_arena *arena, const mdl_plan *plan, const char *layout, const char *prefix) {
    mdl_weight_names names = {.plan = plan, .layout = layout, .prefix = prefix};
    for (int i = 0; i < plan->layouts.n; i++) {
        const mdl_plan_name_map *map = &plan->layouts.at[i];
        if (strcmp(map->layout, layout) || !map->ours) continue;
        mdl_spelling spelling = {map->theirs, mdl_plan_find_param(plan, map->ours), map};
        if (spelling.param) MDL_PUSH(arena, names.full, spelling);
    }
    sort(&names.full);
    add_own(arena, &names);
    add_bare(arena, &names);
    return names;
}

/* Two of our names may differ in wrappers' segments only; then neither is meant. */
static const mdl_spelling *find_bare(const mdl_weight_names *names, const char *name, int *n) {
    char bare[LONGEST];
    if (strlen(name) >= sizeof bare) return NULL;
    unwrap(name, bare);
    const mdl_spelling *found = find(&names->bare, bare, n);
    for (int i = 1; found && i < *n; i++)
        if (found[i].map != found[0].map && (!found[i].map || !found[0].map || strcmp(found[i].map->theirs, found[0].map->theirs)))
            return NULL;
    return found;
}

const mdl_spelling *mdl_weight_names_find(const mdl_weight_names *names, const char *name, int *n) {
    char prefixed[LONGEST];
    const mdl_spelling *found = find(&names->full, name, n);
    if (!found) found = find_bare(names, name, n);
    if (found || !*names->prefix || strlen(names->prefix) + strlen(name) >= sizeof prefixed) return found;
    unwrap(name, stpcpy(prefixed, names->prefix));
    return find_bare(names, prefixed, n);
}

bool mdl_weight_names_ignored(const mdl_weight_names *names, const char *name) {
    char bare[LONGEST], prefixed[2 * LONGEST];
    if (strlen(name) >= sizeof bare || strlen(names->prefix) >= LONGEST) return false;
    unwrap(name, bare);
    stpcpy(stpcpy(prefixed, names->prefix), bare);
    for (int i = 0; i < names->plan->layouts.n; i++) {
        const mdl_plan_name_map *map = &names->plan->layouts.at[i];
        if (strcmp(map->layout, names->layout) || map->ours) continue;
        if (!fnmatch(map->theirs, bare, 0) || !fnmatch(map->theirs, prefixed, 0)) return true;
    }
    return false;
}

/* ---- which reading ---- */
typedef MDL_VEC(const char *) texts;

static void add_once(mdl_arena *arena, texts *list, const char *text) {
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->at[i], text)) return;
    MDL_PUSH(arena, *list, text);
}

/* No prefix first, then each first segment of the plan's names: a model saved without its outer module lacks it everywhere. */
static texts prefixes(mdl_arena *arena, const mdl_plan *plan) {
    texts list = {0};
    add_once(arena, &list, "");
    for (int i = 0; i < plan->params.n; i++) {
        const char *name = plan->params.at[i].name, *dot = strchr(name, '.');
        if (dot) add_once(arena, &list, mdl_strndup(arena, name, (size_t)(dot - name) + 1));
    }
    return list;
}

static int count_known(const mdl_weight_names *names, int n, const char *const *file) {
    int known = 0, spellings;
    for (int i = 0; i < n; i++)
        known += mdl_weight_names_find(names, file[i], &spellings) || mdl_weight_names_ignored(names, file[i]);
    return known;
}

mdl_weight_names mdl_weight_names_choose(mdl_arena *arena, const mdl_plan *plan, int n, const char *const *file) {
    texts layouts = {0}, before = prefixes(arena, plan);
    mdl_weight_names best = {0};
    int most = -1;
    add_once(arena, &layouts, "hf");
    for (int i = 0; i < plan->layouts.n; i++) add_once(arena, &layouts, plan->layouts.at[i].layout);
    for (int i = 0; i < layouts.n; i++) {
        mdl_weight_names names = mdl_weight_names_make(arena, plan, layouts.at[i], "");
        for (int k = 0; k < before.n && most < n; k++) {
            names.prefix = before.at[k];
            int known = count_known(&names, n, file);
            if (known > most) best = names, most = known;
        }
    }
    return best;
}
