/* Levels of the instruction set of this machine. */
#include "runtime/base/isa.h"

#include <string.h>

#if defined(__x86_64__)
static const char *const levels[] = {"x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"};

static int level(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("ssse3") || !__builtin_cpu_supports("popcnt")) return 0;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) return 1;
    if (!__builtin_cpu_supports("bmi")) return 1;
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? 3 : 2;
}

const char *mdl_cpu_isa(void) { return levels[level()]; }

bool mdl_isa_runs(const char *isa) {
    for (int i = 0; i <= level(); i++)
        if (!strcmp(levels[i], isa)) return true;
    return false;
}
#else
const char *mdl_cpu_isa(void) {
#if defined(__aarch64__)
    return "aarch64";
#else
    return "unknown";
#endif
}

bool mdl_isa_runs(const char *isa) { return !strcmp(isa, mdl_cpu_isa()) && mdl_isa_known(isa); }
#endif

bool mdl_isa_known(const char *isa) {
    static const char *const known[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"};
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i], isa)) return true;
    return false;
}
