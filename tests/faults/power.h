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

/* Which names a folder has on disk: those at its last fsync; all, as where a journal keeps names but not data; those at its last
 * fsync without what was removed since, as where removals overtake. */
typedef enum { MDL_POWER_SYNCED, MDL_POWER_ALL, MDL_POWER_REMOVED, MDL_POWER_KINDS } mdl_power_names;

/* Writes into `to`, an empty folder, what is on disk when the power fails after `calls` calls. Of files: what the last fsync found.
 */
bool mdl_power_fail(mdl_power *power, int calls, mdl_power_names names, const char *to);

#endif
