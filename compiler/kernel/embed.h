/* Text files of compiler/kernel/cpu and cuda inside the compiler: cmake/embed.cmake makes embed.c from them at build time. */
#ifndef MDL_KERNEL_EMBED_H
#define MDL_KERNEL_EMBED_H

#include <stdint.h>

#include "runtime/base/arena.h"

/* The text of compiler/kernel/cpu/<name> or cuda/<name>; an unknown name is an internal error. */
const char *mdl_embedded(const char *name);

/* What stands for a $KEY in a text; a list ends in a row of NULLs. Of two keys that fit, the longer is meant. */
typedef struct {
    const char *key, *text;
} mdl_entry;

/* The text of compiler/kernel/cpu/<name> or cuda/<name> with its keys replaced; a key that is not given is an internal error. */
const char *mdl_instantiate(mdl_arena *arena, const char *name, const mdl_entry *entries);

/* n in decimal */
const char *mdl_number(mdl_arena *arena, int64_t n);

typedef struct {
    const char *name, *text;
} mdl_embedded_file;
extern const mdl_embedded_file mdl_embedded_files[]; /* ends in a row of NULLs */

#endif
