/* The commands of mdlrun: one file each. */
#ifndef MDL_COMMAND_COMMAND_H
#define MDL_COMMAND_COMMAND_H

#include "runtime/base/status.h"

#define MDL_VERSION "0.1.0"

/* argv[0] is the command's name. Every command knows --help. */
mdl_status mdl_command_train(int argc, char **argv);
mdl_status mdl_command_replay(int argc, char **argv);
mdl_status mdl_command_eval(int argc, char **argv);
mdl_status mdl_command_inspect(int argc, char **argv);
mdl_status mdl_command_profile(int argc, char **argv);
mdl_status mdl_command_diff(int argc, char **argv);
mdl_status mdl_command_plot(int argc, char **argv);
mdl_status mdl_command_check(int argc, char **argv);
mdl_status mdl_command_data(int argc, char **argv);

#endif
