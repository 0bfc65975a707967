/* The configuration as a whole: defaults, overrides, printing and help. */
#include "runtime/train/config.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "runtime/train/config_set.h"
#include "runtime/train/config_table.h"

static mdl_status set_defaults(mdl_config *config) {
    for (int i = 0; i < mdl_config_n_keys; i++) {
        const mdl_config_key *key = &mdl_config_keys[i];
        mdl_config_value value = {.n = 1, .item = &key->fallback};
        MDL_TRY(mdl_config_set(config, "default", key->section, key->name, &value), "config.def");
    }
    memset(config->origins, 0, sizeof *config->origins * (size_t)mdl_config_n_keys);
    return MDL_OK;
}

/* An item of a list, and *at behind it: up to a comma, without the blanks around it, or in double quotes as --print-config writes
 * it.
 */
static const char *take_item(mdl_arena *memory, const char **at) {
    mdl_text text = {.arena = memory};
    const char *from = *at + strspn(*at, " ");
    mdl_text_append(&text, "", 0);
    if (*from != '"') {
        size_t n = strcspn(from, ",");
        *at = from + n;
        while (n && from[n - 1] == ' ') n--;
        return mdl_strndup(memory, from, n);
    }
    for (from++; *from && *from != '"'; from++) {
        if (*from == '\\' && from[1]) from++;
        mdl_text_append(&text, from, 1);
    }
    from += *from == '"';
    *at = from + strcspn(from, ",");
    return text.at;
}

/* "[a, b]" becomes a list in place; anything else is one text. */
static void split_value(mdl_arena *memory, const char *text, mdl_config_value *value) {
    MDL_VEC(const char *) items = {0};
    size_t length = strlen(text);
    if (length < 2 || text[0] != '[' || text[length - 1] != ']') {
        MDL_PUSH(memory, items, text);
        *value = (mdl_config_value){MDL_VALUE_TEXT, false, items.n, items.at};
        return;
    }
    const char *at = mdl_strndup(memory, text + 1, length - 2);
    while (at[strspn(at, " ")]) {
        const char *item = take_item(memory, &at);
        MDL_PUSH(memory, items, item);
        at += *at == ',';
    }
    *value = (mdl_config_value){MDL_VALUE_LIST, false, items.n, items.at};
}

static mdl_status override(mdl_config *config, const char *text) {
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    if (!equals || !dot || dot > equals)
        return mdl_fail(MDL_USAGE, "command line: expected section.key=value, got \"%.80s\"", text);
    const char *origin = mdl_printf(config->memory, "command line: %s", text);
    const char *section = mdl_strndup(config->memory, text, (size_t)(dot - text));
    const char *name = mdl_strndup(config->memory, dot + 1, (size_t)(equals - dot - 1));
    mdl_config_value value;
    split_value(config->memory, equals + 1, &value);
    return mdl_config_set(config, origin, section, name, &value);
}

/* MDL_SECTION_KEY=value. */
static mdl_status read_variable(mdl_config *config, const char *text) {
    static const char *const sections[] = {"model", "data", "trainer"};
    const char *equals = strchr(text, '=');
    for (int i = 0; equals && i < 3; i++) {
        size_t n = strlen(sections[i]);
        if (strncmp(text, "MDL_", 4) || strncasecmp(text + 4, sections[i], n) || text[4 + n] != '_') continue;
        const char *origin = mdl_strndup(config->memory, text, (size_t)(equals - text));
        char *name = mdl_strdup(config->memory, origin + 4 + n + 1);
        for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
        mdl_config_value value;
        split_value(config->memory, equals + 1, &value);
        return mdl_config_set(config, mdl_printf(config->memory, "environment: %s", origin), sections[i], name, &value);
    }
    return MDL_OK;
}

static mdl_status read_environment(mdl_config *config) {
    mdl_status status = MDL_OK;
    for (char **variable = environ; variable && *variable && !status; variable++) status = read_variable(config, *variable);
    return status;
}

bool mdl_config_list_has(const mdl_config_list *list, const char *text) {
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->at[i], text)) return true;
    return false;
}

static mdl_status check_report_to(const mdl_config *c) {
    for (int i = 0; i < c->report_to.n; i++) {
        const char *to = c->report_to.at[i];
        if (!strcmp(to, "wandb"))
            return mdl_fail(MDL_USAGE,
                            "trainer.report_to: Weights & Biases reads event files: report to tensorboard, then wandb sync");
        if (strcmp(to, "jsonl") && strcmp(to, "tensorboard") && strcmp(to, "none"))
            return mdl_fail(MDL_USAGE, "trainer.report_to: expected jsonl, tensorboard or none, got \"%s\"", to);
        if (!strcmp(to, "none") && c->report_to.n > 1) return mdl_fail(MDL_USAGE, "trainer.report_to: none stands alone");
    }
    return MDL_OK;
}

static mdl_status check_together(const mdl_config *c) {
    if (c->mask_fraction + c->random_fraction > 1 + 1e-12)
        return mdl_fail(MDL_USAGE, "data.mask_fraction %g and data.random_fraction %g are more than 1 together", c->mask_fraction,
                        c->random_fraction);
    if (c->decay_steps && c->decay_steps <= c->warmup_steps)
        return mdl_fail(MDL_USAGE, "trainer.decay_steps %lld is not beyond trainer.warmup_steps %lld", (long long)c->decay_steps,
                        (long long)c->warmup_steps);
    if (strcmp(c->save_strategy, "no") && strcmp(c->save_strategy, "steps") && strcmp(c->save_strategy, "epoch") &&
        strcmp(c->save_strategy, "best"))
        return mdl_fail(MDL_USAGE, "trainer.save_strategy: expected no, steps, epoch or best, got \"%.80s\"", c->save_strategy);
    if (strcmp(c->eval_strategy, "no") && strcmp(c->eval_strategy, "steps") && strcmp(c->eval_strategy, "epoch"))
        return mdl_fail(MDL_USAGE, "trainer.eval_strategy: expected no, steps or epoch, got \"%.80s\"", c->eval_strategy);
    if (*c->greater_is_better && strcasecmp(c->greater_is_better, "true") && strcasecmp(c->greater_is_better, "false"))
        return mdl_fail(MDL_USAGE, "trainer.greater_is_better: expected true or false, got \"%.80s\"", c->greater_is_better);
    if (!*c->output_dir) return mdl_fail(MDL_USAGE, "trainer.output_dir is empty");
    return check_report_to(c);
}

mdl_status mdl_config_read(const char *path, int n_overrides, char *const *overrides, mdl_config **out) {
    mdl_arena *memory = mdl_arena_new();
    mdl_config *config = MDL_NEW(memory, mdl_config);
    config->memory = memory;
    config->origins = MDL_NEW_ARRAY(memory, const char *, mdl_config_n_keys);
    config->path = path ? mdl_strdup(memory, path) : NULL;
    mdl_status status = set_defaults(config);
    if (!status && path) status = mdl_config_read_yaml(config);
    if (!status) status = read_environment(config);
    for (int i = 0; i < n_overrides && !status; i++) status = override(config, overrides[i]);
    if (!status) status = check_together(config);
    *out = status ? NULL : config;
    if (status) mdl_arena_free(memory);
    return status;
}

void mdl_config_free(mdl_config *config) {
    if (config) mdl_arena_free(config->memory);
}

/* The shortest decimal text that reads back as x. */
static void print_real(FILE *out, double x) {
    char text[32];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, x);
    while (strtod(text, NULL) != x && ++digits <= 17);
    fputs(text, out);
}

static void print_quoted(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_value(FILE *out, const mdl_config_key *key, const void *at) {
    switch (key->type) {
        case MDL_KEY_INT: fprintf(out, "%lld", (long long)*(const int64_t *)at); break;
        case MDL_KEY_REAL: print_real(out, *(const double *)at); break;
        case MDL_KEY_BOOL: fputs(*(const bool *)at ? "true" : "false", out); break;
        case MDL_KEY_TEXT: print_quoted(out, *(const char *const *)at); break;
        case MDL_KEY_CHOICE: fputs(mdl_schedule_name(*(const mdl_schedule_kind *)at), out); break;
        case MDL_KEY_LIST:
            fputc('[', out);
            for (int i = 0; i < ((const mdl_config_list *)at)->n; i++) {
                if (i) fputs(", ", out);
                print_quoted(out, ((const mdl_config_list *)at)->at[i]);
            }
            fputc(']', out);
    }
}

/* "command line: trainer.seed=1" without the setting: it stands in front. */
static void print_origin(FILE *out, const char *origin) {
    const char *end = strncmp(origin, "command line: ", 14) ? origin + strlen(origin) : origin + 12;
    fputs("  # ", out);
    for (; origin < end; origin++) fputc((unsigned char)*origin < 32 ? '?' : *origin, out);
}

void mdl_config_print(FILE *out, const mdl_config *config, bool origins) {
    const char *section = "";
    for (int i = 0; i < mdl_config_n_keys; i++) {
        const mdl_config_key *key = &mdl_config_keys[i];
        if (strcmp(section, key->section)) fprintf(out, "%s:\n", key->section);
        section = key->section;
        fprintf(out, "  %s: ", key->name);
        print_value(out, key, (const char *)config + key->offset);
        if (origins && config->origins[i]) print_origin(out, config->origins[i]);
        fputc('\n', out);
    }
}

const char *mdl_config_text(mdl_arena *memory, const mdl_config *config, int key) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) mdl_bug("no memory for a setting's text");
    print_value(out, &mdl_config_keys[key], (const char *)config + mdl_config_keys[key].offset);
    fclose(out);
    const char *copy = mdl_strdup(memory, text);
    free(text);
    return copy;
}

static void help_choices(FILE *out) {
#define SCHEDULE(id, name, about) fprintf(out, "  %32s%-21s %s\n", "", name, about);
#include "runtime/train/schedule.def"
#undef SCHEDULE
}

void mdl_config_help(FILE *out) {
    static const char *const types[] = {"integer", "number", "true|false", "text", "list", "choice"};
    const char *section = "";
    for (int i = 0; i < mdl_config_n_keys; i++) {
        const mdl_config_key *key = &mdl_config_keys[i];
        if (strcmp(section, key->section)) fprintf(out, "%s%s:\n", i ? "\n" : "", key->section);
        section = key->section;
        fprintf(out, "  %-28s  %-10s  %s [%s]\n", key->name, types[key->type],
                key->type == MDL_KEY_CHOICE ? "the schedule, one of those below" : key->help, key->fallback);
        if (key->type == MDL_KEY_CHOICE) help_choices(out);
    }
}

const char *mdl_config_locate(const mdl_config *config, const char *name) {
    if (name[0] == '/' || !access(name, F_OK) || !config->path) return name;
    const char *slash = strrchr(config->path, '/');
    int length = slash ? (int)(slash - config->path) + 1 : 0;
    const char *beside = mdl_printf(config->memory, "%.*s%s", length, config->path, name);
    if (!access(beside, F_OK)) return beside;
    const char *above = mdl_printf(config->memory, "%.*s../%s", length, config->path, name);
    return access(above, F_OK) ? name : above;
}

mdl_schedule mdl_config_schedule(const mdl_config *c) {
    return (mdl_schedule){.kind = c->lr_scheduler_type,
                          .peak = c->learning_rate,
                          .warmup_steps = c->warmup_steps,
                          .decay_steps = c->decay_steps ? c->decay_steps : c->max_steps,
                          .min_ratio = c->min_lr_ratio};
}
