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

#include "compiler/kernel/template.h"
#include "compiler/target/cpu.h"

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

/* The environment of the compiler: its own temporaries go into the folder it runs in. */
static char **environment(mdl_arena *arena) {
    MDL_VEC(char *) out = {0};
    for (char **at = environ; *at; at++)
        if (strncmp(*at, "TMPDIR=", 7)) MDL_PUSH(arena, out, *at);
    MDL_PUSH(arena, out, (char *)"TMPDIR=.");
    MDL_PUSH(arena, out, NULL);
    return out.at;
}

/* Starts a command in a folder, its messages in the file `log` there; -1 when it cannot be. Spawned, not forked: the compiler of a
 * large model holds much memory. */
static pid_t start(mdl_arena *arena, const char *folder, char *const *argv) {
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environment(arena));
    posix_spawn_file_actions_destroy(&actions);
    if (!error) return pid;
    FILE *log = fopen(mdl_printf(arena, "%s/log", folder), "a");
    if (log) fprintf(log, "%s: %s\n", argv[0], strerror(error)), fclose(log);
    return -1;
}

/* A temporary folder that outlives neither mdlc nor its compilers, however they end: a shell waits until nobody holds the other end
 * of its input, then removes the folder. It has a process group of its own, so that Ctrl-C does not reach it. */
typedef struct {
    const char *path;
    int held; /* the pipe's end; inherited by the compilers */
    pid_t remover;
} temporary_folder;

static mdl_status start_remover(temporary_folder *folder) {
    char *argv[] = {"sh", "-c", "read -r none; rm -rf -- \"$0\"", (char *)(uintptr_t)folder->path, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t group;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return mdl_fail_errno("cannot make a pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&group);
    posix_spawnattr_setflags(&group, POSIX_SPAWN_SETPGROUP);
    int error = posix_spawnp(&folder->remover, argv[0], &actions, &group, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&group);
    close(ends[0]);
    folder->held = ends[1];
    fcntl(folder->held, F_SETFD, 0);
    if (error) close(folder->held);
    return error ? mdl_fail(MDL_SYSTEM, "cannot start sh: %s", strerror(error)) : MDL_OK;
}

static mdl_status make_folder(mdl_arena *arena, temporary_folder *folder) {
    const char *tmp = getenv("TMPDIR");
    char *path = mdl_printf(arena, "%s/mdlc.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(path)) return mdl_fail_errno("cannot make a folder %s", path);
    folder->path = path;
    mdl_status status = start_remover(folder);
    if (status) rmdir(path);
    return status;
}

static void remove_folder(const temporary_folder *folder) {
    close(folder->held);
    while (waitpid(folder->remover, NULL, 0) < 0 && errno == EINTR) continue;
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

static pid_t compile(mdl_arena *arena, const char *folder, const char *isa, const char *source, const char *object) {
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
    return start(arena, folder, argv);
}

static mdl_status build(mdl_plan *plan, const char *folder) {
    static const char *const source[UNITS] = {"cpu0.c", "cpu1.c"}, *const object[UNITS] = {"cpu0.o", "cpu1.o"};
    pid_t pid[UNITS];
    for (int u = 0; u < UNITS; u++) {
        MDL_TRY(write_text(mdl_printf(plan->memory, "%s/%s", folder, source[u]), units_text(plan, u)), "kernels");
        pid[u] = compile(plan->memory, folder, plan->isa, source[u], object[u]);
    }
    bool ok = true;
    for (int u = 0; u < UNITS; u++) ok &= succeeded(pid[u]);
    char *link[] = {compiler(), "-shared",         "-nostdlib",       "-s", "-Wl,--build-id=none", "-o",
                    "cpu.so",   (char *)object[0], (char *)object[1], NULL};
    if (ok && succeeded(start(plan->memory, folder, link))) return MDL_OK;
    const char *log = "";
    int64_t size;
    mdl_status_free(read_file(plan->memory, mdl_printf(plan->memory, "%s/log", folder), &log, &size));
    return mdl_fail(MDL_SYSTEM, "the C compiler '%s' could not compile the kernels (CC chooses another):\n%.2000s", compiler(),
                    log ? log : "");
}

mdl_status mdl_cpu_compile(mdl_plan *plan) {
    const char *text = units_text(plan, -1);
    temporary_folder folder;
    mdl_status status = make_folder(plan->memory, &folder);
    if (status) return status;
    mdl_plan_file object = {.path = MDL_PLAN_CPU_OBJECT};
    status = build(plan, folder.path);
    if (!status) status = read_file(plan->memory, mdl_printf(plan->memory, "%s/cpu.so", folder.path), &object.bytes, &object.size);
    remove_folder(&folder);
    if (status) return status;
    MDL_PUSH(plan->memory, plan->files, ((mdl_plan_file){.path = "kernels/cpu.c", .bytes = text, .size = (int64_t)strlen(text)}));
    MDL_PUSH(plan->memory, plan->files, object);
    return MDL_OK;
}
