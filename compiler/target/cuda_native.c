/* The plan's CUDA sources as native code: a cubin or PTX for each kernel and arch, or one shared object for the emulator.
 *
 * NVRTC compiles one text at a time in a process, whatever the threads. So processes, one a core, first fill the cache with what it
 * lacks; then all code is taken from there in the order of kernels, and what is still missing, for instance because it does not
 * compile, is compiled by this process. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler/kernel/template.h"
#include "compiler/target/code_cache.h"
#include "compiler/target/cuda.h"
#include "compiler/target/cuda_nvrtc.h"
#include "compiler/target/host_build.h"
#include "runtime/base/isa.h"

enum { MAX_WORKERS = 32 };

/* One kernel for one arch. */
typedef struct {
    mdl_plan_kernel *kernel;
    const char *arch, *text, *key;
    bool found;
    mdl_cuda_code code; /* when found */
} job;
typedef MDL_VEC(job) job_list;

typedef struct {
    mdl_arena *arena; /* the plan's */
    const mdl_nvrtc *nvrtc;
    mdl_code_cache cache;
    job_list jobs;
} work;

/* ---- arches ---- */

typedef MDL_VEC(const char *) names;

static names split(mdl_arena *arena, const char *list) {
    names all = {0};
    for (char *rest = mdl_strdup(arena, list), *name; (name = strsep(&rest, ","));) MDL_PUSH(arena, all, name);
    return all;
}

/* "sm_80", "sm_90a", "sm_100f", "compute_90" */
static bool is_arch(const char *name) {
    const char *number = !strncmp(name, "sm_", 3) ? name + 3 : mdl_cuda_is_ptx(name) ? name + 8 : "";
    size_t digits = strspn(number, "0123456789");
    const char *rest = number + digits;
    return digits >= 2 && digits <= 3 && (!*rest || ((*rest == 'a' || *rest == 'f') && !rest[1]));
}

bool mdl_cuda_is_hopper(const char *arches) { return !strcmp(arches, "sm_90a") || !strcmp(arches, "host"); }

const char *mdl_cuda_refuses_arches(mdl_arena *arena, const char *arches) {
    if (!strcmp(arches, "host")) return NULL;
    names all = split(arena, arches);
    for (int i = 0; i < all.n; i++) {
        if (!is_arch(all.at[i]))
            return mdl_printf(
                arena, "'%s' is no arch; sm_80, sm_90a and compute_90 are, several with commas between; or host alone", all.at[i]);
        for (int k = 0; k < i; k++)
            if (!strcmp(all.at[k], all.at[i])) return mdl_printf(arena, "the arch %s is given twice", all.at[i]);
    }
    return NULL;
}

const char *mdl_cuda_refuses_fp8(mdl_arena *arena, const char *arches) {
    names all = split(arena, arches);
    for (int i = 0; i < all.n && strcmp(arches, "host"); i++) {
        const char *number = strchr(all.at[i], '_');
        if (number && atoi(number + 1) < 89)
            return mdl_printf(arena, "%s has no products of 8-bit operands; sm_89, sm_90a and later do", all.at[i]);
    }
    return NULL;
}

/* ---- jobs ---- */

static void add_job(work *w, mdl_plan_kernel *kernel, const char *arch) {
    mdl_text text = {.arena = w->arena};
    mdl_text_printf(&text, "%s#line 1 \"%s.cu\"\n%s\n", mdl_cuda_prelude(), kernel->symbol, kernel->source);
    const char *all = mdl_printf(w->arena, "%s\n%s", mdl_nvrtc_recipe(w->arena, w->nvrtc, arch), text.at);
    MDL_PUSH(w->arena, w->jobs, ((job){kernel, arch, text.at, mdl_plan_hash(w->arena, all, (int64_t)strlen(all)), false, {0}}));
}

/* A file of the cache is the code, then what it takes. */
static bool find(mdl_arena *arena, mdl_code_cache *cache, const char *key, mdl_cuda_code *code) {
    mdl_text text;
    size_t tail = sizeof code->resources;
    if (!mdl_code_cache_find(arena, cache, mdl_printf(arena, "%s.cubin", key), &text) || text.n < tail) return false;
    *code = (mdl_cuda_code){.bytes = text.at, .size = (int64_t)(text.n - tail)};
    memcpy(&code->resources, text.at + text.n - tail, tail);
    return true;
}

static void store(mdl_arena *arena, mdl_code_cache *cache, const char *key, const mdl_cuda_code *code) {
    mdl_text text = {.arena = arena};
    mdl_text_append(&text, code->bytes, (size_t)code->size);
    mdl_text_append(&text, (const char *)&code->resources, sizeof code->resources);
    mdl_code_cache_store(arena, cache, mdl_printf(arena, "%s.cubin", key), &text);
}

static void look_up(work *w, mdl_code_cache *cache) {
    for (int i = 0; i < w->jobs.n; i++) {
        job *j = &w->jobs.at[i];
        if (!j->found) j->found = find(w->arena, cache, j->key, &j->code);
    }
}

static int missing(const work *w) {
    int n = 0;
    for (int i = 0; i < w->jobs.n; i++) n += !w->jobs.at[i].found;
    return n;
}

/* The blocks on a processor that the kernel asks room for: the last number of MDL_KERNEL(...). */
static int asked_resident(const char *source) {
    const char *at = strstr(source, "MDL_KERNEL("), *end = at ? strchr(at, ')') : NULL;
    while (end && end > at && end[-1] >= '0' && end[-1] <= '9') end--;
    return end ? atoi(end) : 0;
}

/* A kernel whose registers do not fit gets more of them, with room for one block less on a processor, until they do; where they
 * never do, the least spills are taken. */
static mdl_status spare_spills(work *w, job *j) {
    for (int resident = asked_resident(j->kernel->source) - 1; resident > 0 && j->code.resources.spill_bytes; resident--) {
        const char *text = mdl_printf(w->arena, "#define MDL_FEWER_RESIDENT %d\n%s", resident, j->text);
        mdl_cuda_code code;
        MDL_TRY(mdl_nvrtc_compile(w->arena, w->nvrtc, j->kernel->symbol, text, j->arch, &code), "%d resident blocks", resident);
        if (code.resources.spill_bytes >= j->code.resources.spill_bytes) continue;
        j->code = code;
        j->code.resources.resident = resident;
    }
    return MDL_OK;
}

static mdl_status compile(work *w, job *j, mdl_code_cache *cache) {
    const char *symbol = j->kernel->symbol;
    MDL_TRY(mdl_nvrtc_compile(w->arena, w->nvrtc, symbol, j->text, j->arch, &j->code), "kernel %s (%s)", symbol, j->kernel->span);
    if (!mdl_cuda_is_ptx(j->arch)) MDL_TRY(spare_spills(w, j), "kernel %s (%s)", symbol, j->kernel->span);
    j->found = true;
    store(w->arena, cache, j->key, &j->code);
    return MDL_OK;
}

/* ---- workers ---- */

/* In a process of its own: takes the next job that nobody has taken, until there is none. */
static _Noreturn void labour(work *w, mdl_code_cache *cache, atomic_int *next) {
    for (int i; (i = atomic_fetch_add(next, 1)) < w->jobs.n;)
        if (!w->jobs.at[i].found) mdl_status_free(compile(w, &w->jobs.at[i], cache));
    _exit(0);
}

static int cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* Fills `cache` side by side; what it cannot do is left. */
static void fill(work *w, mdl_code_cache *cache) {
    int n = missing(w) < cores() ? missing(w) : cores();
    pid_t pid[MAX_WORKERS];
    atomic_int *next = mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (next == MAP_FAILED) return;
    if (n > MAX_WORKERS) n = MAX_WORKERS;
    fflush(NULL);
    for (int i = 0; i < n; i++)
        if (!(pid[i] = fork())) labour(w, cache, next);
    for (int i = 0; i < n; i++)
        if (pid[i] > 0) waitpid(pid[i], NULL, 0);
    munmap(next, sizeof *next);
    cache->grew = n > 0;
    look_up(w, cache);
}

/* Where there is no cache, a folder that goes away serves the workers. */
static void fill_somewhere(work *w) {
    mdl_temporary_folder folder;
    if (missing(w) < 2 || cores() < 2) return;
    if (w->cache.folder) {
        fill(w, &w->cache);
        return;
    }
    mdl_status status = mdl_temporary_folder_make(w->arena, &folder);
    mdl_status_free(status);
    if (status) return;
    mdl_code_cache instead = {.folder = folder.path};
    fill(w, &instead);
    mdl_temporary_folder_remove(&folder);
}

/* ---- all of it ---- */

static void keep(mdl_plan *plan, const job *j) {
    mdl_plan_resources r = j->code.resources;
    mdl_plan_file file = {mdl_plan_code_path(plan->memory, j->kernel, j->arch), j->code.bytes, j->code.size, NULL};
    MDL_PUSH(plan->memory, plan->files, file);
    if (mdl_cuda_is_ptx(j->arch)) return;
    MDL_PUSH(plan->memory, j->kernel->resources, r);
    if (r.spill_bytes)
        fprintf(stderr, "mdlc: warning: kernel %s (%s) spills %lld bytes of each thread's registers on %s\n", j->kernel->symbol,
                j->kernel->span, (long long)r.spill_bytes, j->arch);
}

static mdl_status compile_for_gpus(mdl_plan *plan) {
    work w = {.arena = plan->memory, .cache = mdl_code_cache_open(plan->memory)};
    names arches = split(plan->memory, plan->isa);
    MDL_TRY(mdl_nvrtc_open(plan->memory, &w.nvrtc), "target cuda");
    for (int k = 0; k < plan->kernels.n; k++)
        for (int a = 0; a < arches.n; a++) add_job(&w, &plan->kernels.at[k], arches.at[a]);
    look_up(&w, &w.cache);
    fill_somewhere(&w);
    for (int i = 0; i < w.jobs.n; i++) {
        if (!w.jobs.at[i].found) MDL_TRY(compile(&w, &w.jobs.at[i], &w.cache), "target cuda");
        keep(plan, &w.jobs.at[i]);
    }
    mdl_code_cache_close(plan->memory, &w.cache);
    return MDL_OK;
}

/* Kernels for the emulator reinterpret memory as CUDA C does, which C's rule of effective types does not allow. */
static mdl_status compile_for_emulator(mdl_plan *plan) {
    const char *level = mdl_cpu_isa();
    const char *march = mdl_printf(plan->memory, "-march=%s", strcmp(level, "aarch64") ? level : "armv8-a");
    const char *const flags[] = {"-O2", "-DMDL_EMULATED", "-fno-strict-aliasing", "-fno-math-errno", "-fno-trapping-math", march,
                                 NULL};
    const char *const link_flags[] = {"-lm", NULL};
    mdl_plan_file object = {.path = MDL_PLAN_HOST_OBJECT};
    mdl_host_build how = {"host", mdl_cuda_prelude(), 1, flags, link_flags};
    MDL_TRY(mdl_host_object(plan, &how, &object.bytes, &object.size), "target cuda, emulated");
    MDL_PUSH(plan->memory, plan->files, object);
    return MDL_OK;
}

mdl_status mdl_cuda_compile(mdl_plan *plan) {
    const char *why = mdl_cuda_refuses_arches(plan->memory, plan->isa);
    if (why) return mdl_fail(MDL_USAGE, "target cuda: %s", why);
    return strcmp(plan->isa, "host") ? compile_for_gpus(plan) : compile_for_emulator(plan);
}
