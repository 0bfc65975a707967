/* For tests of kernels in the dialect of compiler/kernel/cuda/simt.h: compiled for the host and run by the emulator. */
#ifndef MDL_TESTS_DEVICE_EMULATED_H
#define MDL_TESTS_DEVICE_EMULATED_H

#include "runtime/device/cuda/emulator.h"
#include "tests/kernel/native.h"

/* What stands in front of every kernel. */
#define EMULATED_PRELUDE                \
    "#define MDL_EMULATED\n"            \
    "#include \"" MDL_SOURCE_DIR        \
    "/compiler/kernel/cpu/math.h\"\n"   \
    "#include \"" MDL_SOURCE_DIR        \
    "/compiler/kernel/cpu/bf16.h\"\n"   \
    "#include \"" MDL_SOURCE_DIR        \
    "/compiler/kernel/cpu/philox.h\"\n" \
    "#include \"" MDL_SOURCE_DIR "/compiler/kernel/cuda/simt.h\"\n"

/* Compiles kernels into <scratch>/<name>.so and ties them to the emulator; NULL and a failed check when that does not work. */
static inline void *emulated_compile(mdl_test *t, const char *name, const char *source, mdl_emulator_abi *emulator) {
    if (!native_write(t, name, EMULATED_PRELUDE, source)) return NULL;
    void *library = native_compile(t, name, "", NULL);
    mdl_emulator_attach_fn attach = NULL;
    native_symbol(library, MDL_EMULATOR_ATTACH, &attach);
    CHECK(t, attach, "%s.so has no function " MDL_EMULATOR_ATTACH, name);
    if (attach) attach(emulator);
    return attach ? library : NULL;
}

#endif
