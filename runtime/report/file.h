/* Small files written whole. */
#ifndef MDL_REPORT_FILE_H
#define MDL_REPORT_FILE_H

#include <stddef.h>

#include "runtime/base/status.h"

/* Replaces or makes `path`: temporary file beside it, fsync, rename, fsync of the folder. */
mdl_status mdl_file_write(const char *path, const void *bytes, size_t n);
/* mkdir -p. */
mdl_status mdl_file_make_folder(const char *path);

#endif
