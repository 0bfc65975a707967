/* Native code of a plan, mapped from memory. */
#include "runtime/device/native.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/isa.h"

/* The descriptor stays open as long as the object is mapped: the loader tells objects apart by path, and the path is the number of
 * the descriptor. */
struct mdl_native {
    void *object;
    int fd;
};

mdl_status mdl_native_check_isa(const mdl_plan *plan) {
    if (mdl_isa_runs(plan->isa)) return MDL_OK;
    if (!mdl_isa_known(plan->isa))
        return mdl_fail(MDL_BAD_INPUT, "the plan was compiled for %s, which is not known here", plan->isa);
    return mdl_fail(MDL_BAD_INPUT, "the plan was compiled for %s, this machine is %s: compile it here with mdlc", plan->isa,
                    mdl_cpu_isa());
}

static mdl_status write_all(int fd, const char *bytes, int64_t size) {
    while (size > 0) {
        ssize_t n = write(fd, bytes, (size_t)size);
        if (n < 0) return mdl_fail_errno("cannot hold the native code in memory");
        bytes += n;
        size -= n;
    }
    return MDL_OK;
}

static mdl_status map_object(const mdl_plan_file *file, mdl_native *native) {
    char path[64];
    native->fd = memfd_create("mdl-kernels", MFD_CLOEXEC);
    if (native->fd < 0) return mdl_fail_errno("cannot hold the native code in memory");
    MDL_TRY(write_all(native->fd, file->bytes, file->size), "%s", file->path);
    snprintf(path, sizeof path, "/proc/self/fd/%d", native->fd);
    native->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!native->object) return mdl_fail(MDL_BAD_INPUT, "%s cannot be loaded: %s", file->path, dlerror());
    return MDL_OK;
}

void *mdl_native_symbol(const mdl_native *native, const char *name) { return dlsym(native->object, name); }

static mdl_status resolve(const mdl_plan *plan, const char *path, const mdl_native *native, mdl_native_fn *kernels) {
    for (int i = 0; i < plan->kernels.n; i++) {
        void *symbol = mdl_native_symbol(native, plan->kernels.at[i].symbol);
        if (!symbol) return mdl_fail(MDL_BAD_INPUT, "%s has no kernel %s", path, plan->kernels.at[i].symbol);
        memcpy(&kernels[i], &symbol, sizeof symbol); /* ISO C has no cast from object to function pointers */
    }
    return MDL_OK;
}

mdl_status mdl_native_open(const mdl_plan *plan, const char *path, mdl_native_fn *kernels, mdl_native **native) {
    *native = NULL;
    if (!plan->kernels.n) return MDL_OK;
    const mdl_plan_file *file = mdl_plan_find_file(plan, path);
    if (!file) return mdl_fail(MDL_BAD_INPUT, "the plan has kernels but no file %s", path);
    mdl_native *fresh = calloc(1, sizeof *fresh);
    if (!fresh) return mdl_fail(MDL_SYSTEM, "out of memory");
    fresh->fd = -1;
    mdl_status status = map_object(file, fresh);
    if (!status) status = resolve(plan, path, fresh, kernels);
    if (status)
        mdl_native_close(fresh);
    else
        *native = fresh;
    return status;
}

void mdl_native_close(mdl_native *native) {
    if (!native) return;
    if (native->object) dlclose(native->object);
    if (native->fd >= 0) close(native->fd);
    free(native);
}
