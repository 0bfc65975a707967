/* Where libraries are looked for. */
#include "runtime/base/library.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef MDL_VEC(const char *) folders;

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Each ends with a slash; the empty one is the loader's own search. */
static folders places(mdl_arena *memory) {
    const char *toolkit = variable("CUDA_HOME"), *wheels = variable("MDL_CUDA"), *home = variable("HOME");
    folders all = {0};
    if (toolkit) MDL_PUSH(memory, all, mdl_printf(memory, "%s/lib64/", toolkit));
    if (toolkit) MDL_PUSH(memory, all, mdl_printf(memory, "%s/extras/CUPTI/lib64/", toolkit));
    MDL_PUSH(memory, all, "");
    MDL_PUSH(memory, all, "/usr/local/cuda/lib64/");
    MDL_PUSH(memory, all, "/usr/local/cuda/extras/CUPTI/lib64/");
    if (wheels)
        MDL_PUSH(memory, all, mdl_printf(memory, "%s/lib/", wheels));
    else if (home)
        MDL_PUSH(memory, all, mdl_printf(memory, "%s/.local/share/mdl/cuda/lib/", home));
    return all;
}

mdl_status mdl_library_open(const char *const *names, void **library) {
    mdl_arena *scratch = mdl_arena_new();
    mdl_text tried = {.arena = scratch};
    folders all = places(scratch);
    *library = NULL;
    for (int f = 0; f < all.n && !*library; f++)
        for (int i = 0; names[i] && !*library; i++) {
            *library = dlopen(mdl_printf(scratch, "%s%s", all.at[f], names[i]), RTLD_NOW | RTLD_LOCAL);
            if (!*library) mdl_text_printf(&tried, "\n  %s", dlerror());
        }
    mdl_status status = *library ? MDL_OK : mdl_fail(MDL_SYSTEM, "the library %s cannot be loaded. Tried:%s", names[0], tried.at);
    mdl_arena_free(scratch);
    return status;
}

mdl_status mdl_library_open_own(const char *name, void **library) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    while (n > 0 && path[n - 1] != '/') n--;
    if (n < 0 || (size_t)n + strlen(name) >= sizeof path) n = 0;
    strcpy(path + n, name);
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *why = *library ? NULL : dlerror();
    mdl_status status = *library ? MDL_OK : mdl_fail(MDL_SYSTEM, "%s", why);
    if (status && !access(path, F_OK)) return status; /* it is there, and something else is wrong */
    if (status) *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!*library) return status;
    mdl_status_free(status);
    return MDL_OK;
}

mdl_status mdl_library_function(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    if (!address) return mdl_fail(MDL_SYSTEM, "the library has no function %s", name);
    memcpy(function, &address, sizeof address); /* ISO C has no cast from object to function pointers */
    return MDL_OK;
}

static const char *runnable(const char *path) { return access(path, X_OK) ? NULL : path; }

static const char *find_in_path(mdl_arena *arena, const char *name) {
    const char *path = variable("PATH"), *found = NULL;
    char *rest = path ? mdl_strdup(arena, path) : NULL;
    for (const char *folder; !found && (folder = strsep(&rest, ":"));)
        found = runnable(mdl_printf(arena, "%s/%s", *folder ? folder : ".", name));
    return found;
}

const char *mdl_tool_find(mdl_arena *arena, const char *name) {
    const char *toolkit = variable("CUDA_HOME"), *wheels = variable("MDL_CUDA"), *home = variable("HOME");
    const char *found = toolkit ? runnable(mdl_printf(arena, "%s/bin/%s", toolkit, name)) : NULL;
    if (!found) found = find_in_path(arena, name);
    if (!found) found = runnable(mdl_printf(arena, "/usr/local/cuda/bin/%s", name));
    if (!found && wheels) found = runnable(mdl_printf(arena, "%s/bin/%s", wheels, name));
    if (!found && !wheels && home) found = runnable(mdl_printf(arena, "%s/.local/share/mdl/cuda/bin/%s", home, name));
    return found;
}
