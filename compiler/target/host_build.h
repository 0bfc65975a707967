/* The plan's sources as a shared object for the host: what the targets whose kernels run on the CPU have in common. */
#ifndef MDL_TARGET_HOST_BUILD_H
#define MDL_TARGET_HOST_BUILD_H

#include <sys/types.h>

#include "runtime/plan/plan.h"

enum { MDL_HOST_UNITS = 2 };

/* How sources become an object. Flags and libraries end in NULL. */
typedef struct {
    const char *name;              /* "cpu": of the files in the temporary folder */
    const char *prelude;           /* before the kernels, in each unit */
    int units;                     /* translation units, compiled side by side; at most MDL_HOST_UNITS */
    const char *const *flags;      /* of the compiler, after those that all have */
    const char *const *link_flags; /* of the linker */
} mdl_host_build;

/* All kernels in one text: the prelude, then each source under the model line that it comes from. */
const char *mdl_host_text(mdl_plan *plan, const char *prelude);
/* Compiles and links with the system's C compiler (CC); the bytes live in the plan. The same text gives the same bytes, which the
 * cache of code (code_cache.h) may give. */
mdl_status mdl_host_object(mdl_plan *plan, const mdl_host_build *how, const char **bytes, int64_t *size);

/* A temporary folder that outlives neither mdlc nor the programs that it starts, however they end: a shell waits until nobody holds
 * the other end of its input, then removes the folder. It has a process group of its own, so that Ctrl-C does not reach it. */
typedef struct {
    const char *path;
    int held; /* the pipe's end; inherited by programs that are started */
    pid_t remover;
} mdl_temporary_folder;
mdl_status mdl_temporary_folder_make(mdl_arena *arena, mdl_temporary_folder *folder);
void mdl_temporary_folder_remove(const mdl_temporary_folder *folder);

#endif
