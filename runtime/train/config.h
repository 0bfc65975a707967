/* The configuration of a training run: a YAML file with the sections model, data and trainer, changed by
 * section.key=value on the command line. The keys are the table in config.def. */
#ifndef MDL_TRAIN_CONFIG_H
#define MDL_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/train/schedule.h"

typedef struct {
    const char *const *at;
    int n;
} mdl_config_list;

typedef int64_t MDL_CONFIG_INT;
typedef double MDL_CONFIG_REAL;
typedef bool MDL_CONFIG_BOOL;
typedef const char *MDL_CONFIG_TEXT;
typedef mdl_config_list MDL_CONFIG_LIST;
typedef mdl_schedule_kind MDL_CONFIG_CHOICE;

/* One field a key, by the key's name: config->learning_rate. */
typedef struct {
    mdl_arena *memory;
    const char *path;     /* of the YAML file, or NULL */
    const char **origins; /* of each key's value, as messages name it; NULL: the default */
#define KEY(section, name, type, fallback, lower, upper, help) MDL_CONFIG_##type name;
#define HINT(name, help)
#include "runtime/train/config.def"
#undef KEY
#undef HINT
} mdl_config;

/* Reads `path` (NULL: defaults only), then the environment (MDL_TRAINER_MAX_STEPS=3), then applies the overrides in order; a later
 * one wins. Errors (MDL_USAGE) name file and line, the variable or the override, with what was expected and what came. */
mdl_status mdl_config_read(const char *path, int n_overrides, char *const *overrides, mdl_config **config);
void mdl_config_free(mdl_config *config); /* NULL is allowed */

/* Prints every key with its value as YAML that reads back; with `origins`, a remark where a value that is no default came from. */
void mdl_config_print(FILE *out, const mdl_config *config, bool origins);
/* One key's value as it is printed; key: of mdl_config_keys. In `memory`. */
const char *mdl_config_text(mdl_arena *memory, const mdl_config *config, int key);
/* Prints every key with type, default and help. */
void mdl_config_help(FILE *out);

/* A file named in the configuration: as it stands when it is absolute or exists from the current folder, else relative
 * to the folder of the YAML file, else to that folder's parent. In the config's memory. */
const char *mdl_config_locate(const mdl_config *config, const char *name);

bool mdl_config_list_has(const mdl_config_list *list, const char *text);

mdl_schedule mdl_config_schedule(const mdl_config *config);

#endif
