/* Inside the configuration: setting one key from text, checked by the table in config.def. */
#ifndef MDL_TRAIN_CONFIG_SET_H
#define MDL_TRAIN_CONFIG_SET_H

#include "runtime/train/config.h"

typedef enum { MDL_VALUE_TEXT, MDL_VALUE_LIST, MDL_VALUE_MAP } mdl_value_kind;

typedef struct {
    mdl_value_kind kind;
    bool quoted; /* "250" in quotes is a text, not a number */
    int n;       /* items; 1 for a text */
    const char *const *item;
} mdl_config_value;

/* origin: "file.yaml:3" or "command line: trainer.seed=1", put in front of errors. */
mdl_status mdl_config_set(mdl_config *config, const char *origin, const char *section, const char *name,
                          const mdl_config_value *value);
/* Error unless a section of this name exists. */
mdl_status mdl_config_section(const char *origin, const char *section);
/* Applies the YAML file at config->path. */
mdl_status mdl_config_read_yaml(mdl_config *config);

#endif
