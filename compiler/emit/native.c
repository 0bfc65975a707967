/* The plan's C becomes a shared object: two translation units, compiled side by side by the system's C compiler, linked and
 * stripped so that the same text gives the same bytes. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler/emit/emit.h"
#include "compiler/kernel/template.h"

enum { UNITS = 2 };

/* A path may hold what ends a comment. */
static void print_comment(mdl_text *t, const char *text) {
    mdl_text_printf(t, "/* ");
    for (; *text; text++) mdl_text_printf(t, *text == '*' && text[1] == '/' ? "* " : "%c", *text);
    mdl_text_printf(t, " */\n");
}

static const char *units_text(mdl_plan *plan, int unit) {
    mdl_text t = {.arena = plan->memory};
    mdl_text_printf(&t, "%s\n", mdl_template_prelude());
    size_t size[UNITS] = {0};
    for (int i = 0; i < plan->kernels.n; i++) {
        int least = 0;
        for (int u = 1; u < UNITS; u++)
            if (size[u] < size[least]) least = u;
        size[least] += strlen(plan->kernels.at[i].source);
        if (unit >= 0 && unit != least) continue;
        print_comment(&t, plan->kernels.at[i].span);
        mdl_text_printf(&t, "%s\n", plan->kernels.at[i].source);
    }
    return t.at;
}

static mdl_status write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (!f) return mdl_fail_errno("cannot write %s", path);
    bool ok = fputs(text, f) >= 0;
    if (fclose(f) || !ok) return mdl_fail_errno("cannot write %s", path);
    return MDL_OK;
}

static mdl_status read_file(mdl_arena *arena, const char *path, const char **bytes, int64_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) return mdl_fail_errno("cannot read %s", path);
    mdl_text t = {.arena = arena};
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f));) mdl_text_append(&t, block, n);
    fclose(f);
    *bytes = t.at, *size = (int64_t)t.n;
    return MDL_OK;
}

/* Starts a command in a folder, its messages in the file `log` there; -1 when it cannot be. Spawned, not forked: the compiler of a
 * large model holds much memory. */
static pid_t start(const char *folder, char *const *argv) {
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (!error) return pid;
    char path[512];
    snprintf(path, sizeof path, "%s/log", folder);
    FILE *log = fopen(path, "a");
    if (log) fprintf(log, "%s: %s\n", argv[0], strerror(error)), fclose(log);
    return -1;
}

static bool succeeded(pid_t pid) {
    int status = 0;
    if (pid < 0) return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && !WEXITSTATUS(status);
}

static char *compiler(void) {
    char *cc = getenv("CC");
    return cc && *cc ? cc : "cc";
}

static pid_t compile(const char *folder, const char *isa, const char *source, const char *object) {
    char march[64];
    snprintf(march, sizeof march, "-march=%s", strcmp(isa, "aarch64") ? isa : "armv8-a");
    char *argv[] = {compiler(),
                    "-c",
                    "-O3",
                    "-std=gnu11",
                    "-fPIC",
                    "-fopenmp-simd",
                    "-ffp-contract=off",
                    "-fno-math-errno",
                    "-fno-trapping-math",
                    "-fno-tree-loop-distribute-patterns",
                    "-fno-ident",
                    "-w",
                    march,
                    strcmp(isa, "x86-64-v4") ? "-O3" : "-mprefer-vector-width=512",
                    "-o",
                    (char *)object,
                    (char *)source,
                    NULL};
    return start(folder, argv);
}

static mdl_status build(mdl_plan *plan, const char *folder) {
    static const char *const source[UNITS] = {"cpu0.c", "cpu1.c"}, *const object[UNITS] = {"cpu0.o", "cpu1.o"};
    pid_t pid[UNITS];
    for (int u = 0; u < UNITS; u++) {
        MDL_TRY(write_text(mdl_printf(plan->memory, "%s/%s", folder, source[u]), units_text(plan, u)), "kernels");
        pid[u] = compile(folder, plan->isa, source[u], object[u]);
    }
    bool ok = true;
    for (int u = 0; u < UNITS; u++) ok &= succeeded(pid[u]);
    char *link[] = {compiler(), "-shared",         "-nostdlib",       "-s", "-Wl,--build-id=none", "-o",
                    "cpu.so",   (char *)object[0], (char *)object[1], NULL};
    if (ok && succeeded(start(folder, link))) return MDL_OK;
    const char *log = "";
    int64_t size;
    mdl_status_free(read_file(plan->memory, mdl_printf(plan->memory, "%s/log", folder), &log, &size));
    return mdl_fail(MDL_SYSTEM, "the C compiler '%s' could not compile the kernels (CC chooses another):\n%.2000s", compiler(),
                    log ? log : "");
}

static void remove_folder(const char *folder) {
    static const char *const files[] = {"cpu0.c", "cpu1.c", "cpu0.o", "cpu1.o", "cpu.so", "log"};
    char path[512];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
}

mdl_status mdl_emit_native(mdl_plan *plan) {
    const char *tmp = getenv("TMPDIR"), *text = units_text(plan, -1);
    char *folder = mdl_printf(plan->memory, "%s/mdlc.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) return mdl_fail_errno("cannot make a folder %s", folder);
    mdl_plan_file object = {.path = MDL_PLAN_CPU_OBJECT};
    mdl_status status = build(plan, folder);
    if (!status) status = read_file(plan->memory, mdl_printf(plan->memory, "%s/cpu.so", folder), &object.bytes, &object.size);
    remove_folder(folder);
    if (status) return status;
    MDL_PUSH(plan->memory, plan->files, ((mdl_plan_file){.path = "kernels/cpu.c", .bytes = text, .size = (int64_t)strlen(text)}));
    MDL_PUSH(plan->memory, plan->files, object);
    return MDL_OK;
}
