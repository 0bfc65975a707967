/* C sources to a shared object: translation units are compiled side by side by the system's C compiler, then linked and stripped so
 * that the same text gives the same bytes. */
#include "compiler/target/host_build.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler/target/code_cache.h"

/* A path may hold what ends a comment. */
static void print_comment(mdl_text *t, const char *text) {
    mdl_text_printf(t, "/* ");
    for (; *text; text++) mdl_text_printf(t, *text == '*' && text[1] == '/' ? "* " : "%c", *text);
    mdl_text_printf(t, " */\n");
}

/* The kernels of one of `units` units, whose sizes are balanced; unit -1: all. */
static const char *unit_text(mdl_plan *plan, const char *prelude, int units, int unit) {
    mdl_text t = {.arena = plan->memory};
    mdl_text_printf(&t, "%s\n", prelude);
    size_t size[MDL_HOST_UNITS] = {0};
    for (int i = 0; i < plan->kernels.n; i++) {
        int least = 0;
        for (int u = 1; u < units; u++)
            if (size[u] < size[least]) least = u;
        size[least] += strlen(plan->kernels.at[i].source);
        if (unit >= 0 && unit != least) continue;
        print_comment(&t, plan->kernels.at[i].span);
        mdl_text_printf(&t, "%s\n", plan->kernels.at[i].source);
    }
    return t.at;
}

const char *mdl_host_text(mdl_plan *plan, const char *prelude) { return unit_text(plan, prelude, 1, -1); }

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

static mdl_status start_remover(mdl_temporary_folder *folder) {
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

mdl_status mdl_temporary_folder_make(mdl_arena *arena, mdl_temporary_folder *folder) {
    const char *tmp = getenv("TMPDIR");
    char *path = mdl_printf(arena, "%s/mdlc.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(path)) return mdl_fail_errno("cannot make a folder %s", path);
    folder->path = path;
    mdl_status status = start_remover(folder);
    if (status) rmdir(path);
    return status;
}

void mdl_temporary_folder_remove(const mdl_temporary_folder *folder) {
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

static const char *compiler(void) {
    const char *cc = getenv("CC");
    return cc && *cc ? cc : "cc";
}

typedef MDL_VEC(char *) arguments;

static void add(mdl_arena *arena, arguments *list, const char *argument) { MDL_PUSH(arena, *list, (char *)(uintptr_t)argument); }

static void add_all(mdl_arena *arena, arguments *list, const char *const *all) {
    for (; *all; all++) add(arena, list, *all);
}

static const char *const compile_flags[] = {"-c", "-std=gnu11", "-fPIC", "-ffp-contract=off", "-fno-ident", "-w", NULL};
static const char *const link_flags[] = {"-shared", "-s", "-Wl,--build-id=none", NULL};

static pid_t compile(mdl_arena *arena, const char *folder, const mdl_host_build *how, const char *source, const char *object) {
    arguments line = {0};
    add(arena, &line, compiler());
    add_all(arena, &line, compile_flags);
    add_all(arena, &line, how->flags);
    add_all(arena, &line, (const char *const[]){"-o", object, source, NULL});
    add(arena, &line, NULL);
    return start(arena, folder, line.at);
}

static pid_t link_units(mdl_arena *arena, const char *folder, const mdl_host_build *how, const char *const *objects) {
    arguments line = {0};
    add(arena, &line, compiler());
    add_all(arena, &line, link_flags);
    add_all(arena, &line, (const char *const[]){"-o", mdl_printf(arena, "%s.so", how->name), NULL});
    add_all(arena, &line, objects);
    add_all(arena, &line, how->link_flags);
    add(arena, &line, NULL);
    return start(arena, folder, line.at);
}

static mdl_status build(mdl_plan *plan, const char *folder, const mdl_host_build *how) {
    const char *objects[MDL_HOST_UNITS + 1] = {0};
    pid_t pid[MDL_HOST_UNITS];
    for (int u = 0; u < how->units; u++) {
        const char *source = mdl_printf(plan->memory, "%s%d.c", how->name, u);
        objects[u] = mdl_printf(plan->memory, "%s%d.o", how->name, u);
        MDL_TRY(write_text(mdl_printf(plan->memory, "%s/%s", folder, source), unit_text(plan, how->prelude, how->units, u)),
                "kernels");
        pid[u] = compile(plan->memory, folder, how, source, objects[u]);
    }
    bool ok = true;
    for (int u = 0; u < how->units; u++) ok &= succeeded(pid[u]);
    if (ok && succeeded(link_units(plan->memory, folder, how, objects))) return MDL_OK;
    const char *log = "";
    int64_t size;
    mdl_status_free(read_file(plan->memory, mdl_printf(plan->memory, "%s/log", folder), &log, &size));
    return mdl_fail(MDL_SYSTEM, "the C compiler '%s' could not compile the kernels (CC chooses another):\n%.2000s", compiler(),
                    log ? log : "");
}

static mdl_status build_somewhere(mdl_plan *plan, const mdl_host_build *how, const char **bytes, int64_t *size) {
    mdl_temporary_folder folder;
    mdl_status status = mdl_temporary_folder_make(plan->memory, &folder);
    if (status) return status;
    status = build(plan, folder.path, how);
    if (!status) status = read_file(plan->memory, mdl_printf(plan->memory, "%s/%s.so", folder.path, how->name), bytes, size);
    mdl_temporary_folder_remove(&folder);
    return status;
}

/* ---- what was built before ---- */
/* What the compiler says of itself. */
static void add_version(mdl_text *text) {
    FILE *pipe = popen(mdl_printf(text->arena, "%s --version 2>&1", compiler()), "re");
    char block[4096];
    for (size_t n; pipe && (n = fread(block, 1, sizeof block, pipe));) mdl_text_append(text, block, n);
    if (pipe) pclose(pipe);
}

static void add_flags(mdl_text *text, const char *const *flags) {
    for (; *flags; flags++) mdl_text_printf(text, " %s", *flags);
    mdl_text_printf(text, "\n");
}

/* A name for all that the object depends on. */
static const char *name_of(mdl_plan *plan, const mdl_host_build *how) {
    mdl_text all = {.arena = plan->memory};
    mdl_text_printf(&all, "%d %s", how->units, compiler());
    add_flags(&all, compile_flags);
    add_flags(&all, how->flags);
    add_flags(&all, link_flags);
    add_flags(&all, how->link_flags);
    add_version(&all);
    mdl_text_printf(&all, "%s", mdl_host_text(plan, how->prelude));
    return mdl_printf(plan->memory, "%s.so", mdl_plan_hash(plan->memory, all.at, (int64_t)all.n));
}

mdl_status mdl_host_object(mdl_plan *plan, const mdl_host_build *how, const char **bytes, int64_t *size) {
    MDL_ASSERT(how->units >= 1 && how->units <= MDL_HOST_UNITS);
    mdl_code_cache cache = mdl_code_cache_open(plan->memory);
    mdl_text object;
    if (!cache.folder) return build_somewhere(plan, how, bytes, size);
    const char *name = name_of(plan, how);
    bool found = mdl_code_cache_find(plan->memory, &cache, name, &object);
    mdl_status status = found ? MDL_OK : build_somewhere(plan, how, bytes, size);
    if (found) *bytes = object.at, *size = (int64_t)object.n;
    if (!found && !status) {
        mdl_text built = {.arena = plan->memory};
        mdl_text_append(&built, *bytes, (size_t)*size);
        mdl_code_cache_store(plan->memory, &cache, name, &built);
    }
    mdl_code_cache_close(plan->memory, &cache);
    return status;
}
