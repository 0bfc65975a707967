/* Inside commands that take plans, a configuration with settings, and options. */
#ifndef MDL_COMMAND_ARGUMENTS_H
#define MDL_COMMAND_ARGUMENTS_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* One of the pointers is set. */
typedef struct {
    const char *name; /* "--steps" */
    bool *flag;
    const char **text; /* a value follows */
    int *number;       /* a positive number follows */
    int most;          /* the largest one; 0: a million */
} mdl_option;

typedef struct {
    const char *command, *usage;
    const mdl_option *options; /* ends with one without a name; --help is known without */
    int plans;                 /* how many plans; a configuration may follow */
    const char *plan[2], *config;
    bool help;
    int n_settings;
    char **settings; /* section.key=value; room for argc of them; NULL, where there are files: none */
    int n_files;
    char **files; /* NULL: none; else what is no option, plan or setting is one; room for argc of them */
} mdl_arguments;

/* A path, which may have '=' in it, and no setting. */
bool mdl_argument_is_path(const char *argument);
mdl_status mdl_arguments_parse(mdl_arguments *to, int argc, char **argv);

#endif
