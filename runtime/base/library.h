/* Libraries that are loaded when they are needed: what links against none of them starts without them. */
#ifndef MDL_BASE_LIBRARY_H
#define MDL_BASE_LIBRARY_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

/* Opens the first of `names` ("libcublasLt.so.13", ..., NULL) that there is, first in $CUDA_HOME/lib64, then where the loader
 * looks, in /usr/local/cuda/lib64 (of both also in extras/CUPTI/lib64), and in the folder of wheels that
 * `scripts/install-dependencies --cuda` fills: $MDL_CUDA/lib, by default ~/.local/share/mdl/cuda/lib. It stays open. The error
 * lists what was tried. */
mdl_status mdl_library_open(const char *const *names, void **library);
/* Opens a module of ours, which lies beside the program, or else where the loader looks. It stays open. */
mdl_status mdl_library_open_own(const char *name, void **library);
/* The address of a function: *function is a pointer to one. */
mdl_status mdl_library_function(void *library, const char *name, void *function);

/* The path of a program of the toolkit's, "nvdisasm", looked for in the same places ($PATH for the loader's, bin for lib64 and
 * lib); NULL: there is none. */
const char *mdl_tool_find(mdl_arena *arena, const char *name);

#endif
