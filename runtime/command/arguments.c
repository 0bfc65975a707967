/* Command lines of profile, diff, replay, eval and data. */
#include "runtime/command/arguments.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool mdl_argument_is_path(const char *argument) {
    size_t n = strcspn(argument, "=");
    return memchr(argument, '/', n) || !argument[n] || !access(argument, F_OK);
}

/* Among files: "section.key=value", and not the folder of a table that is cut by a column (year=2025/a.parquet). */
static bool is_setting(const mdl_arguments *to, const char *argument) {
    size_t section = strspn(argument, "abcdefghijklmnopqrstuvwxyz");
    if (!to->files) return !mdl_argument_is_path(argument);
    return to->settings && section && argument[section] == '.' && strchr(argument, '=');
}

static mdl_status positional(mdl_arguments *to, char *argument) {
    if (is_setting(to, argument)) {
        to->settings[to->n_settings++] = argument;
        return MDL_OK;
    }
    for (int i = 0; i < to->plans; i++)
        if (!to->plan[i]) {
            to->plan[i] = argument;
            return MDL_OK;
        }
    if (to->files) {
        to->files[to->n_files++] = argument;
        return MDL_OK;
    }
    if (to->config) return mdl_fail(MDL_USAGE, "%s: what is '%s'? usage: %s", to->command, argument, to->usage);
    to->config = argument;
    return MDL_OK;
}

static mdl_status take_value(const mdl_arguments *to, const mdl_option *o, const char *value) {
    char *end;
    if (!value) return mdl_fail(MDL_USAGE, "%s: %s: a value is missing", to->command, o->name);
    if (o->text) {
        *o->text = value;
        return MDL_OK;
    }
    long number = strtol(value, &end, 10);
    long most = o->most ? o->most : 1000000;
    if (*end || end == value || number < 1 || number > most)
        return mdl_fail(MDL_USAGE, "%s: %s: expected a number from 1 to %ld, got '%s'", to->command, o->name, most, value);
    *o->number = (int)number;
    return MDL_OK;
}

mdl_status mdl_arguments_parse(mdl_arguments *to, int argc, char **argv) {
    mdl_status status = MDL_OK;
    for (int i = 1; i < argc && !status && !to->help; i++) {
        const mdl_option *o = to->options;
        if (argv[i][0] != '-') {
            status = positional(to, argv[i]);
            continue;
        }
        to->help = !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
        while (o->name && strcmp(o->name, argv[i])) o++;
        if (!o->name && !to->help)
            status = mdl_fail(MDL_USAGE, "%s: unknown option '%s'; see mdlrun %s --help", to->command, argv[i], to->command);
        else if (o->name && o->flag)
            *o->flag = true;
        else if (o->name)
            status = take_value(to, o, argv[i + 1]), i++;
    }
    if (!status && !to->help && to->plans && !to->plan[to->plans - 1])
        status = mdl_fail(MDL_USAGE, "%s: which plan%s? usage: %s", to->command, to->plans > 1 ? "s" : "", to->usage);
    return status;
}
