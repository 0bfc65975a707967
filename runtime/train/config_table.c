/* The rows of config.def. */
#include "runtime/train/config_table.h"

#include <math.h>

#include "runtime/train/config.h"

#define HINT(name, help)
#define NONE NAN /* no bound; replaced by an infinity below */
#define LOWER(x) ((x) == (x) ? (x) : -INFINITY)
#define UPPER(x) ((x) == (x) ? (x) : INFINITY)
const mdl_config_key mdl_config_keys[] = {
#define KEY(section, name, type, fallback, lower, upper, help) \
    {#section, #name, MDL_KEY_##type, fallback, LOWER(lower), UPPER(upper), help, offsetof(mdl_config, name)},
#include "runtime/train/config.def"
#undef KEY
};
const int mdl_config_n_keys = sizeof mdl_config_keys / sizeof *mdl_config_keys;
