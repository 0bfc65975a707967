/* What a disk holds when the power fails: the log of a run's calls (tests/faults/shim.c), played back without what was not synced.
 */
#ifndef MDL_TESTS_FAULTS_POWER_H
#define MDL_TESTS_FAULTS_POWER_H

#include <stdbool.h>

#include "runtime/base/arena.h"

typedef struct mdl_power mdl_power;

/* The log at `path`, of calls below `dir`. NULL: it does not read. */
mdl_power *mdl_power_open(mdl_arena *memory, const char *path, const char *dir);
int mdl_power_calls(const mdl_power *power);
/* "sync checkpoint-1.tmp-.../a.txt": call i, for messages. */
const char *mdl_power_call(const mdl_power *power, int i);

/* Writes into `to`, an empty folder, what is on disk when the power fails after `calls` calls. Of files: what the last fsync found.
 * Of names: those at the folder's last fsync, or with `names` all, as where a journal keeps names but not data. */
bool mdl_power_fail(mdl_power *power, int calls, bool names, const char *to);

#endif
