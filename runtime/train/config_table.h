/* config.def as a table. */
#ifndef MDL_TRAIN_CONFIG_TABLE_H
#define MDL_TRAIN_CONFIG_TABLE_H

#include <stddef.h>

typedef enum { MDL_KEY_INT, MDL_KEY_REAL, MDL_KEY_BOOL, MDL_KEY_TEXT, MDL_KEY_LIST, MDL_KEY_CHOICE } mdl_config_type;

typedef struct {
    const char *section, *name;
    mdl_config_type type;
    const char *fallback;
    double lower, upper; /* infinite: no bound */
    const char *help;
    size_t offset; /* of its field in mdl_config */
} mdl_config_key;

extern const mdl_config_key mdl_config_keys[];
extern const int mdl_config_n_keys;

#endif
