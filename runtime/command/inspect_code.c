/* mdlrun inspect PLAN ptx|sass KERNEL: the native code of a CUDA kernel as text. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/library.h"
#include "runtime/command/inspect_views.h"

extern char **environ;

static bool is_ptx(const char *arch) { return !strncmp(arch, "compute_", strlen("compute_")); }

static mdl_status need_cuda(const mdl_inspection *in, const char *view) {
    if (strcmp(in->plan->target, "cuda"))
        return mdl_fail(MDL_USAGE, "inspect %s: the plan is for target %s, whose kernels have none; see: inspect PLAN source K",
                        view, in->plan->target);
    if (strcmp(in->plan->isa, "host")) return MDL_OK;
    return mdl_fail(MDL_USAGE, "inspect %s: the plan is for emulation; compile it for a GPU: mdlc --target cuda --arch sm_90a",
                    view);
}

/* Calls `show` for the kernel's code of each arch that has PTX, or of each that has not. *n: how many there were. */
static mdl_status each_code(const mdl_inspection *in, const mdl_plan_kernel *kernel, bool ptx,
                            mdl_status (*show)(const mdl_inspection *in, const mdl_plan_file *code), int *n) {
    char *rest = mdl_strdup(in->scratch, in->plan->isa);
    *n = 0;
    for (const char *arch; (arch = strsep(&rest, ","));) {
        if (is_ptx(arch) != ptx) continue;
        const char *path = mdl_plan_code_path(in->scratch, kernel, arch);
        const mdl_plan_file *code = mdl_plan_find_file(in->plan, path);
        if (!code) return mdl_fail(MDL_BAD_INPUT, "the plan has no file %s", path);
        if ((*n)++) putchar('\n');
        mdl_status status = show(in, code);
        if (status) return status;
    }
    return MDL_OK;
}

/* ---- PTX ---- */
static mdl_status print_text(const mdl_inspection *in, const mdl_plan_file *code) {
    (void)in;
    fwrite(code->bytes, 1, strnlen(code->bytes, (size_t)code->size), stdout);
    return MDL_OK;
}

/* "compute_90a" for "sm_90a,sm_80": the arch that would give PTX. */
static const char *ptx_arch(const mdl_inspection *in) {
    const char *number = strchr(in->plan->isa, '_');
    return number ? mdl_printf(in->scratch, "compute_%.*s", (int)strcspn(number + 1, ","), number + 1) : "compute_90";
}

mdl_status mdl_inspect_ptx(const mdl_inspection *in) {
    const mdl_plan_kernel *kernel;
    int n;
    mdl_status status = need_cuda(in, "ptx");
    if (!status) status = mdl_inspect_kernel(in, "ptx", &kernel);
    if (!status) status = each_code(in, kernel, true, print_text, &n);
    if (status || n) return status;
    return mdl_fail(MDL_USAGE, "inspect ptx: the plan has code for %s, which holds no PTX; to have it too: mdlc --arch %s,%s",
                    in->plan->isa, in->plan->isa, ptx_arch(in));
}

/* ---- SASS ---- */
static const char *disassembler(const mdl_inspection *in) { return mdl_tool_find(in->scratch, "nvdisasm"); }

static mdl_status run(const char *program, const char *file) {
    char *argv[] = {(char *)(uintptr_t)program, "-c", (char *)(uintptr_t)file, NULL}; /* -c: sections of code only */
    pid_t pid;
    int result = 0;
    fflush(stdout); /* what is printed so far comes first */
    int error = posix_spawn(&pid, program, NULL, NULL, argv, environ);
    if (error) return mdl_fail(MDL_SYSTEM, "cannot start %s: %s", program, strerror(error));
    while (waitpid(pid, &result, 0) < 0)
        if (errno != EINTR) return mdl_fail_errno("%s", program);
    return WIFEXITED(result) && !WEXITSTATUS(result) ? MDL_OK : mdl_fail(MDL_SYSTEM, "%s has failed", program);
}

/* It wants a file. */
static mdl_status disassemble(const mdl_inspection *in, const mdl_plan_file *code) {
    const char *tmp = getenv("TMPDIR");
    char *path = mdl_printf(in->scratch, "%s/mdlrun.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    int file = mkstemp(path);
    if (file < 0) return mdl_fail_errno("cannot make a file %s", path);
    bool whole = write(file, code->bytes, (size_t)code->size) == (ssize_t)code->size;
    mdl_status status = whole ? MDL_OK : mdl_fail_errno("%s", path);
    close(file);
    printf("// %s\n", code->path);
    if (!status) status = mdl_context(run(disassembler(in), path), "%s", code->path);
    unlink(path);
    return status;
}

mdl_status mdl_inspect_sass(const mdl_inspection *in) {
    const mdl_plan_kernel *kernel;
    int n;
    mdl_status status = need_cuda(in, "sass");
    if (!status) status = mdl_inspect_kernel(in, "sass", &kernel);
    if (!status && !disassembler(in))
        status = mdl_fail(
            MDL_SYSTEM,
            "inspect sass: there is no nvdisasm in $CUDA_HOME/bin, $PATH, /usr/local/cuda/bin or the folder of wheels. It is "
            "part of the CUDA toolkit; scripts/install-dependencies --cuda installs it without one");
    if (!status) status = each_code(in, kernel, false, disassemble, &n);
    if (status || n) return status;
    return mdl_fail(MDL_USAGE,
                    "inspect sass: the plan has PTX only (%s), which the driver compiles; add an arch: mdlc --arch %s,sm_90a",
                    in->plan->isa, in->plan->isa);
}
