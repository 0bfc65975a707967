/* For tests of generated C: compiles it as the compiler does, loads it, runs it. */
#ifndef MDL_TESTS_KERNEL_NATIVE_H
#define MDL_TESTS_KERNEL_NATIVE_H

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "runtime/device/kernel_abi.h"
#include "tests/check.h"

#define NATIVE_FLAGS "-O3 -std=gnu11 -fPIC -shared -fopenmp-simd -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-ident"

static inline bool native_v4(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

/* "-march=... ": the widest instruction set of this machine. */
static inline const char *native_isa(void) {
    return native_v4() ? "-march=x86-64-v4 -mprefer-vector-width=512" : "-march=x86-64-v3";
}

static inline bool native_write(mdl_test *t, const char *name, const char *prelude, const char *source) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.c", mdl_test_scratch(t), name);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fputs(prelude, f);
    fputs(source, f);
    return !fclose(f);
}

/* Loads <scratch>/<name>.so; NULL and a failed check when that does not work. It stays loaded. */
static inline void *native_load(mdl_test *t, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", mdl_test_scratch(t), name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(t, library, "%s", dlerror());
    return library;
}

/* Compiles <scratch>/<name>.c and loads it. What compiled without a word is kept beside mdlc's code, by compiler, flags and the
 * text behind the preprocessor: another build's tests have the same kernels. */
static inline void *native_compile(mdl_test *t, const char *name, const char *flags, const char **output) {
    const char *local;
    int rc =
        mdl_shell(t, &local,
                  "cd '%s' && cc='cc %s -Wall -Wextra %s' && kept=${XDG_CACHE_HOME:-$HOME/.cache}/mdl/kernels && mkdir -p $kept;"
                  "kept=$kept/test-$({ $cc --version; echo $cc; $cc -E %s.c; } | sha256sum | cut -c 1-32).so;"
                  "[ ! -s $kept ] || { cp $kept %s.so; exit; };"
                  "said=$($cc %s.c -o %s.so 2>&1); rc=$?; printf '%%s' \"$said\";"
                  "[ $rc != 0 ] || [ -n \"$said\" ] || { cp %s.so $kept.$$ && mv $kept.$$ $kept; }; exit $rc",
                  mdl_test_scratch(t), NATIVE_FLAGS, flags, name, name, name, name, name);
    CHECK(t, rc == 0, "cc failed:\n%s", local);
    if (output) *output = local;
    return rc ? NULL : native_load(t, name);
}

static inline void native_symbol(void *library, const char *name, void *function) {
    void *address = library ? dlsym(library, name) : NULL;
    memcpy(function, &address, sizeof address);
}

/* Every block, backwards when asked: the order must not matter. */
static inline void native_run(mdl_kernel_fn kernel, void *const *buffer, const int64_t *immediate, int64_t grid, bool backwards) {
    for (int64_t b = 0; b < grid; b++) kernel(buffer, immediate, backwards ? grid - 1 - b : b);
}

#endif
