/* Setting one key: finds it in the table (or says which one is near), checks type and range, stores the value. */
#include "runtime/train/config_set.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/base/nearest.h"
#include "runtime/train/config_table.h"

static const struct {
    const char *name, *help;
} hints[] = {
#define KEY(section, name, type, fallback, lower, upper, help)
#define HINT(name, help) {#name, help},
#include "runtime/train/config.def"
#undef KEY
#undef HINT
};

/* The section's keys, or all keys when `section` is NULL. */
static int collect(const char *section, const char **names) {
    int n = 0;
    for (int i = 0; i < mdl_config_n_keys; i++)
        if (!section || !strcmp(mdl_config_keys[i].section, section)) names[n++] = mdl_config_keys[i].name;
    return n;
}

static mdl_status unknown_key(const char *origin, const char *section, const char *name) {
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (!strcmp(hints[i].name, name))
            return mdl_fail(MDL_USAGE, "%s: no key '%s.%s': %s", origin, section, name, hints[i].help);
    for (int i = 0; i < mdl_config_n_keys; i++)
        if (!strcmp(mdl_config_keys[i].name, name))
            return mdl_fail(MDL_USAGE, "%s: unknown key '%s.%s'; it belongs to '%s'", origin, section, name,
                            mdl_config_keys[i].section);
    const char *names[mdl_config_n_keys];
    const char *near = mdl_nearest(name, collect(section, names), names);
    if (near) return mdl_fail(MDL_USAGE, "%s: unknown key '%s.%s'; did you mean '%s'?", origin, section, name, near);
    return mdl_fail(MDL_USAGE, "%s: unknown key '%s.%s'; mdlrun train --help lists the keys", origin, section, name);
}

mdl_status mdl_config_section(const char *origin, const char *section) {
    static const char *const sections[] = {"model", "data", "trainer"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(sections[i], section)) return MDL_OK;
    const char *near = mdl_nearest(section, 3, sections);
    if (near) return mdl_fail(MDL_USAGE, "%s: unknown section '%s'; did you mean '%s'?", origin, section, near);
    return mdl_fail(MDL_USAGE, "%s: unknown section '%s'; the sections are model, data, trainer", origin, section);
}

static mdl_status wrong(const char *origin, const mdl_config_key *key, const char *expected, const mdl_config_value *v) {
    char range[64] = "";
    bool low = !isinf(key->lower), high = !isinf(key->upper);
    if (low && high) snprintf(range, sizeof range, " from %g to %g", key->lower, key->upper);
    if (low && !high) snprintf(range, sizeof range, " of at least %g", key->lower);
    const char *head = v->kind == MDL_VALUE_MAP    ? "a mapping"
                       : v->kind == MDL_VALUE_LIST ? (v->n ? "a list" : "an empty list")
                       : !*v->item[0]              ? "nothing"
                       : v->quoted                 ? "the text "
                                                   : "";
    bool shown = v->kind == MDL_VALUE_TEXT && *v->item[0];
    return mdl_fail(MDL_USAGE, "%s: %s.%s: expected %s%s, got %s%s%.80s%s", origin, key->section, key->name, expected, range, head,
                    shown ? "\"" : "", shown ? v->item[0] : "", shown ? "\"" : "");
}

static bool is_number(const mdl_config_value *v) { return v->kind == MDL_VALUE_TEXT && !v->quoted && *v->item[0]; }

static mdl_status set_int(int64_t *to, const char *origin, const mdl_config_key *key, const mdl_config_value *v) {
    char *end = "?";
    errno = 0;
    long long x = is_number(v) ? strtoll(v->item[0], &end, 10) : 0;
    if (*end || errno || (double)x < key->lower || (double)x > key->upper) return wrong(origin, key, "an integer", v);
    *to = x;
    return MDL_OK;
}

static mdl_status set_real(double *to, const char *origin, const mdl_config_key *key, const mdl_config_value *v) {
    char *end = "?";
    double x = is_number(v) && !strpbrk(v->item[0], "xXpPnN") ? strtod(v->item[0], &end) : 0;
    if (*end || !isfinite(x) || x < key->lower || x > key->upper) return wrong(origin, key, "a number", v);
    *to = x;
    return MDL_OK;
}

static mdl_status set_bool(bool *to, const char *origin, const mdl_config_key *key, const mdl_config_value *v) {
    static const char *const words[] = {"true", "yes", "on", "false", "no", "off"};
    for (int i = 0; i < 6 && is_number(v); i++)
        if (!strcasecmp(v->item[0], words[i])) return *to = i < 3, MDL_OK;
    return wrong(origin, key, "true or false", v);
}

static mdl_status set_choice(mdl_schedule_kind *to, const char *origin, const mdl_config_key *key, const mdl_config_value *v) {
    for (int i = 0; i < MDL_SCHEDULE_COUNT && v->kind == MDL_VALUE_TEXT; i++)
        if (!strcmp(v->item[0], mdl_schedule_name(i))) return *to = i, MDL_OK;
    char expected[256] = "one of";
    for (int i = 0; i < MDL_SCHEDULE_COUNT; i++) {
        strcat(expected, i ? ", " : " ");
        strcat(expected, mdl_schedule_name(i));
    }
    return wrong(origin, key, expected, v);
}

/* "~/x", and "${NAME}" or "${oc.env:NAME}" from the environment: what shells do to a command line, done to a file too. */
static mdl_status expand(mdl_config *config, const char *origin, const char *text, const char **out) {
    mdl_text made = {.arena = config->memory};
    const char *home = *text == '~' && (!text[1] || text[1] == '/') ? getenv("HOME") : NULL, *open;
    mdl_text_append(&made, home ? home : "", home ? strlen(home) : 0);
    if (home) text++;
    for (; (open = strstr(text, "${")); text = strchr(open, '}') + 1) {
        const char *name = strncmp(open + 2, "oc.env:", 7) ? open + 2 : open + 9, *close = strchr(name, '}');
        if (!close) return mdl_fail(MDL_USAGE, "%s: a '${' without a '}'", origin);
        const char *value = getenv(mdl_strndup(config->memory, name, (size_t)(close - name)));
        if (!value) return mdl_fail(MDL_USAGE, "%s: the environment has no '%.*s'", origin, (int)(close - name), name);
        mdl_text_append(&made, text, (size_t)(open - text));
        mdl_text_append(&made, value, strlen(value));
    }
    mdl_text_append(&made, text, strlen(text));
    *out = made.at;
    return MDL_OK;
}

static mdl_status set_list(mdl_config *config, mdl_config_list *to, const char *origin, const mdl_config_key *key,
                           const mdl_config_value *v) {
    bool empty = v->kind != MDL_VALUE_MAP && (!v->n || (v->n == 1 && !*v->item[0]));
    if (empty && !*key->fallback) return *to = (mdl_config_list){0}, MDL_OK; /* where nothing is the default it may be given */
    if (v->kind == MDL_VALUE_MAP || !v->n || !*v->item[0]) return wrong(origin, key, "a text or a list of texts", v);
    const char **items = MDL_NEW_ARRAY(config->memory, const char *, v->n);
    mdl_status status = MDL_OK;
    for (int i = 0; i < v->n && !status; i++) status = expand(config, origin, v->item[i], &items[i]);
    *to = (mdl_config_list){items, v->n};
    return status;
}

mdl_status mdl_config_set(mdl_config *config, const char *origin, const char *section, const char *name,
                          const mdl_config_value *v) {
    mdl_status status = mdl_config_section(origin, section);
    if (status) return status;
    const mdl_config_key *key = mdl_config_keys, *end = key + mdl_config_n_keys;
    while (key < end && (strcmp(key->section, section) || strcmp(key->name, name))) key++;
    if (key == end) return unknown_key(origin, section, name);
    void *to = (char *)config + key->offset;
    config->origins[key - mdl_config_keys] = mdl_strdup(config->memory, origin);
    switch (key->type) {
        case MDL_KEY_INT: return set_int(to, origin, key, v);
        case MDL_KEY_REAL: return set_real(to, origin, key, v);
        case MDL_KEY_BOOL: return set_bool(to, origin, key, v);
        case MDL_KEY_CHOICE: return set_choice(to, origin, key, v);
        case MDL_KEY_LIST: return set_list(config, to, origin, key, v);
        case MDL_KEY_TEXT: break;
    }
    if (v->kind != MDL_VALUE_TEXT) return wrong(origin, key, "a text", v);
    return expand(config, origin, v->item[0], to);
}
