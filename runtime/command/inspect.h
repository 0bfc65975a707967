/* mdlrun inspect: what is in a plan, as tables. */
#ifndef MDL_COMMAND_INSPECT_H
#define MDL_COMMAND_INSPECT_H

#include "runtime/base/status.h"

/* argv[0] is "inspect". Prints to stdout; reads the plan, never loads its native code. */
mdl_status mdl_command_inspect(int argc, char **argv);

#endif
