/* The functions of NVRTC that are used here, by declarations of our own: its interface in C has not changed since CUDA 11, and the
 * toolkit's headers are not needed to build. */
#include "compiler/target/cuda_nvrtc.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/library.h"

typedef struct program *program; /* NVRTC's own */

/* FUNCTION(member, symbol, parameters): each returns 0 for success. */
#define FUNCTIONS(FUNCTION)                                                                                                      \
    FUNCTION(version, nvrtcVersion, (int *major, int *minor))                                                                    \
    FUNCTION(count_archs, nvrtcGetNumSupportedArchs, (int *n))                                                                   \
    FUNCTION(archs, nvrtcGetSupportedArchs, (int *archs))                                                                        \
    FUNCTION(create, nvrtcCreateProgram, (program *, const char *, const char *, int, const char *const *, const char *const *)) \
    FUNCTION(destroy, nvrtcDestroyProgram, (program *))                                                                          \
    FUNCTION(compile, nvrtcCompileProgram, (program, int n, const char *const *options))                                         \
    FUNCTION(log_size, nvrtcGetProgramLogSize, (program, size_t *))                                                              \
    FUNCTION(log, nvrtcGetProgramLog, (program, char *))                                                                         \
    FUNCTION(cubin_size, nvrtcGetCUBINSize, (program, size_t *))                                                                 \
    FUNCTION(cubin, nvrtcGetCUBIN, (program, char *))                                                                            \
    FUNCTION(ptx_size, nvrtcGetPTXSize, (program, size_t *))                                                                     \
    FUNCTION(ptx, nvrtcGetPTX, (program, char *))

struct mdl_nvrtc {
    int major, minor;
#define FUNCTION(member, symbol, parameters) int(*member) parameters;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    const char *(*text)(int);
};

/* Sums and products are rounded one by one, as in C for the host (-ffp-contract=off): where a fused multiply-add is wanted, the
 * text says so, and a kernel gives the same bits on every device. Warnings are off: a prelude has more than a kernel uses. The
 * assembler says what a kernel takes. */
static const char *const options[] = {"-std=c++17", "--prec-div=false", "--prec-sqrt=false", "--disable-warnings",
                                      "--ptxas-options=-v"};
enum { OPTIONS = sizeof options / sizeof *options };

#define MDL_TRY_NVRTC(nvrtc, call, ...)                                                                          \
    do {                                                                                                         \
        int result_ = (call);                                                                                    \
        if (result_) return mdl_context(mdl_fail(MDL_SYSTEM, "NVRTC: %s", (nvrtc)->text(result_)), __VA_ARGS__); \
    } while (0)

bool mdl_cuda_is_ptx(const char *arch) { return !strncmp(arch, "compute_", 8); }

/* ---- loading ---- */

static mdl_status find_functions(void *library, mdl_nvrtc *nvrtc) {
#define FUNCTION(member, symbol, parameters) MDL_TRY(mdl_library_function(library, #symbol, &nvrtc->member), "functions");
    FUNCTIONS(FUNCTION)
    FUNCTION(text, nvrtcGetErrorString, )
#undef FUNCTION
    MDL_TRY_NVRTC(nvrtc, nvrtc->version(&nvrtc->major, &nvrtc->minor), "its version");
    return MDL_OK;
}

/* NVRTC asks the loader for its other half by name alone, and finds it only where the loader looks: unless it is loaded already. */
static void load_builtins(mdl_arena *arena, const mdl_nvrtc *nvrtc) {
    Dl_info place;
    void *address;
    memcpy(&address, &nvrtc->version, sizeof address);
    const char *slash = dladdr(address, &place) ? strrchr(place.dli_fname, '/') : NULL;
    if (slash)
        dlopen(mdl_printf(arena, "%.*s/libnvrtc-builtins.so.%d.%d", (int)(slash - place.dli_fname), place.dli_fname, nvrtc->major,
                          nvrtc->minor),
               RTLD_NOW | RTLD_LOCAL);
}

mdl_status mdl_nvrtc_open(mdl_arena *arena, const mdl_nvrtc **nvrtc) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", NULL};
    void *library = NULL;
    mdl_nvrtc *made = MDL_NEW(arena, mdl_nvrtc);
    MDL_TRY(mdl_library_open(names, &library),
            "NVRTC, the compiler of CUDA kernels, was not found; scripts/install-dependencies --cuda installs it");
    MDL_TRY(find_functions(library, made), "NVRTC");
    load_builtins(arena, made);
    *nvrtc = made;
    return MDL_OK;
}

const char *mdl_nvrtc_version(mdl_arena *arena, const mdl_nvrtc *nvrtc) {
    return mdl_printf(arena, "%d.%d", nvrtc->major, nvrtc->minor);
}

const char *mdl_nvrtc_recipe(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *arch) {
    mdl_text text = {.arena = arena};
    mdl_text_printf(&text, "NVRTC %d.%d %s", nvrtc->major, nvrtc->minor, arch);
    for (int i = 0; i < OPTIONS; i++) mdl_text_printf(&text, " %s", options[i]);
    return text.at;
}

/* ---- compiling ---- */

/* "sm_90a" is known when 90 is. */
static mdl_status check_arch(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *arch) {
    int n = 0, wanted = atoi(strchr(arch, '_') + 1);
    MDL_TRY_NVRTC(nvrtc, nvrtc->count_archs(&n), "the arches that it knows");
    int *known = MDL_NEW_ARRAY(arena, int, n);
    mdl_text names = {.arena = arena};
    MDL_TRY_NVRTC(nvrtc, nvrtc->archs(known), "the arches that it knows");
    for (int i = 0; i < n; i++) {
        if (known[i] == wanted) return MDL_OK;
        mdl_text_printf(&names, " sm_%d", known[i]);
    }
    return mdl_fail(MDL_USAGE, "NVRTC %d.%d does not know the arch %s; it knows%s", nvrtc->major, nvrtc->minor, arch, names.at);
}

/* The number before ` words` in the assembler's report, 0 when it has none. */
static int64_t number_before(const char *log, const char *words) {
    const char *at = strstr(log, words);
    while (at && at > log && at[-1] >= '0' && at[-1] <= '9') at--;
    return at ? atoll(at) : 0;
}

/* From lines such as
 *     0 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
 *     Used 18 registers, used 1 barriers, 1024 bytes smem */
static mdl_plan_resources resources_of(const char *log, const char *arch) {
    int64_t stores = number_before(log, " bytes spill stores"), loads = number_before(log, " bytes spill loads");
    mdl_plan_resources r = {.registers = (int)number_before(log, " registers"),
                            .spill_bytes = stores > loads ? stores : loads,
                            .stack_bytes = number_before(log, " bytes stack frame"),
                            .shared_bytes = number_before(log, " bytes smem")};
    strncpy(r.arch, arch, sizeof r.arch - 1);
    return r;
}

/* The compiler's messages up to the end of a line at about `limit` letters. */
static const char *first_lines(mdl_arena *arena, const char *log, size_t limit) {
    size_t n = strlen(log);
    if (n > limit) n = limit + strcspn(log + limit, "\n");
    while (n && log[n - 1] == '\n') n--;
    return mdl_strndup(arena, log, n);
}

static mdl_status run(mdl_arena *arena, const mdl_nvrtc *nvrtc, program p, const char *arch, mdl_cuda_code *code) {
    const char *arguments[OPTIONS + 1] = {mdl_printf(arena, "--gpu-architecture=%s", arch)};
    size_t size = 0;
    for (int i = 0; i < OPTIONS; i++) arguments[i + 1] = options[i];
    int result = nvrtc->compile(p, OPTIONS + 1, arguments);
    MDL_TRY_NVRTC(nvrtc, nvrtc->log_size(p, &size), "its messages");
    char *log = mdl_alloc(arena, size + 1);
    MDL_TRY_NVRTC(nvrtc, nvrtc->log(p, log), "its messages");
    if (result) return mdl_fail(MDL_SYSTEM, "NVRTC: %s\n%s", nvrtc->text(result), first_lines(arena, log, 1500));
    bool ptx = mdl_cuda_is_ptx(arch);
    MDL_TRY_NVRTC(nvrtc, (ptx ? nvrtc->ptx_size : nvrtc->cubin_size)(p, &size), "the size of its code");
    char *bytes = mdl_alloc(arena, size + 1);
    MDL_TRY_NVRTC(nvrtc, (ptx ? nvrtc->ptx : nvrtc->cubin)(p, bytes), "its code");
    *code = (mdl_cuda_code){bytes, (int64_t)size - ptx, resources_of(log, arch)}; /* PTX ends in a NUL, which is not kept */
    return MDL_OK;
}

mdl_status mdl_nvrtc_compile(mdl_arena *arena, const mdl_nvrtc *nvrtc, const char *symbol, const char *text, const char *arch,
                             mdl_cuda_code *code) {
    program p = NULL;
    MDL_TRY(check_arch(arena, nvrtc, arch), "%s", arch);
    MDL_TRY_NVRTC(nvrtc, nvrtc->create(&p, text, mdl_printf(arena, "%s.cu", symbol), 0, NULL, NULL), "%s", arch);
    mdl_status status = run(arena, nvrtc, p, arch, code);
    nvrtc->destroy(&p);
    return mdl_context(status, "%s", arch);
}
