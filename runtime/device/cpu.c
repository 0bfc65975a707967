/* The CPU backend: arenas in host memory, launches replayed in order, the blocks of a kernel spread over OpenMP threads. What a
 * block or a tile of a product computes depends on its number only, so that results do not depend on the number of threads. */
#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/device/device.h"
#include "runtime/device/gemm.h"
#include "runtime/device/kernel_abi.h"
#include "runtime/device/launch.h"
#include "runtime/device/native.h"
#include "runtime/device/rates.h"

/* How a launch is run. */
typedef struct {
    const mdl_bound_launch *bound;
    mdl_kernel_fn kernel;
    mdl_cpu_gemm *gemm;
    int threads, chunk;
} prepared;

struct mdl_device {
    const mdl_plan *plan;
    mdl_arena *memory; /* of everything below but the arenas */
    char *arena[MDL_ARENA_COUNT];
    int64_t held;
    mdl_native *native;
    mdl_cpu_products *products;
    mdl_native_fn *kernels;
    prepared **programs; /* programs[p][l] */
    const char *identity;
    int threads;
};

enum { HUGE_PAGE = 2 << 20, MAX_THREADS = 1024 };
/* Bytes moved plus operations under which waking other threads costs more than the work. */
static const int64_t small_launch = 32768;

static mdl_status allocate(mdl_device *d, mdl_arena_id id) {
    size_t align = d->plan->arena_bytes[id] >= 2 * HUGE_PAGE ? HUGE_PAGE : MDL_PLAN_ALIGN;
    size_t bytes = ((size_t)d->plan->arena_bytes[id] + align - 1) & ~(align - 1);
    if (!bytes) bytes = align;
    d->arena[id] = aligned_alloc(align, bytes);
    if (!d->arena[id])
        return mdl_fail(MDL_SYSTEM, "not enough memory: arena %s needs %" PRId64 " bytes", mdl_arena_name(id),
                        d->plan->arena_bytes[id]);
    if (align == HUGE_PAGE) madvise(d->arena[id], bytes, MADV_HUGEPAGE); /* a hint: refusal changes nothing */
    memset(d->arena[id], 0, bytes);
    d->held += (int64_t)bytes;
    return MDL_OK;
}

static mdl_status allocate_all(mdl_device *d) {
    for (int i = 0; i < MDL_ARENA_COUNT; i++) MDL_TRY(allocate(d, (mdl_arena_id)i), "load");
    const mdl_plan_file *constants = mdl_plan_find_file(d->plan, MDL_PLAN_CONSTANTS);
    if (constants && constants->size) memcpy(d->arena[MDL_ARENA_CONST], constants->bytes, (size_t)constants->size);
    return MDL_OK;
}

static void choose_threads(const mdl_device *d, prepared *to) {
    const mdl_plan_launch *record = to->bound->record;
    bool small = record->bytes + record->flops > 0 && record->bytes < small_launch && record->flops < small_launch;
    to->threads = small || record->grid < 2 ? 1 : d->threads; /* 1 or all: libgomp ends threads when teams change size */
    int64_t chunk = record->grid / (16 * (int64_t)to->threads);
    to->chunk = chunk < 1 ? 1 : chunk > 64 ? 64 : (int)chunk;
}

static mdl_status prepare(mdl_device *d, const mdl_bound_launch *bound, prepared *to) {
    to->bound = bound;
    if (bound->record->kind == MDL_LAUNCH_KERNEL) {
        to->kernel = (mdl_kernel_fn)d->kernels[bound->record->kernel];
        choose_threads(d, to);
    } else if (bound->record->kind == MDL_LAUNCH_GEMM) {
        mdl_gemm_memory memory = mdl_bound_gemm(bound);
        to->gemm = mdl_cpu_gemm_prepare(d->products, &bound->record->gemm, &memory);
        if (!to->gemm) return mdl_fail(MDL_SYSTEM, "not enough memory for a product's tiles");
    }
    return MDL_OK;
}

static mdl_status prepare_all(mdl_device *d) {
    mdl_bound_launch **bound = mdl_bind_launches(d->memory, d->plan, d->arena);
    d->programs = MDL_NEW_ARRAY(d->memory, prepared *, d->plan->programs.n);
    for (int p = 0; p < d->plan->programs.n; p++) {
        const mdl_plan_program *program = &d->plan->programs.at[p];
        d->programs[p] = MDL_NEW_ARRAY(d->memory, prepared, program->launches.n);
        for (int l = 0; l < program->launches.n; l++) MDL_TRY(prepare(d, &bound[p][l], &d->programs[p][l]), "load");
    }
    d->held += mdl_cpu_products_bytes(d->products);
    return MDL_OK;
}

static void cpu_unload(mdl_device *d) {
    if (!d) return;
    for (int i = 0; i < MDL_ARENA_COUNT; i++) free(d->arena[i]);
    mdl_native_close(d->native);
    mdl_cpu_products_free(d->products);
    mdl_arena_free(d->memory);
}

static mdl_status cpu_load(const mdl_plan *plan, int threads, mdl_device **device) {
    *device = NULL;
    if (strcmp(plan->target, "cpu"))
        return mdl_fail(MDL_BAD_INPUT, "the plan is for target %s, this is the cpu backend", plan->target);
    if (threads < 0 || threads > MAX_THREADS)
        return mdl_fail(MDL_USAGE, "%d threads: expected 0 (all cores) to %d", threads, MAX_THREADS);
    mdl_arena *memory = mdl_arena_new();
    mdl_device *d = MDL_NEW(memory, mdl_device);
    d->memory = memory;
    d->plan = plan;
    d->threads = threads ? threads : omp_get_max_threads();
    d->products = mdl_cpu_products_new(d->threads);
    d->identity = mdl_host_identity(memory, d->threads);
    d->kernels = MDL_NEW_ARRAY(memory, mdl_native_fn, plan->kernels.n + 1);
    mdl_status status = mdl_context(mdl_native_check_isa(plan), "plan");
    if (!status) status = mdl_native_open(plan, MDL_PLAN_CPU_OBJECT, d->kernels, &d->native);
    if (!status) status = allocate_all(d);
    if (!status) status = prepare_all(d);
    if (status) {
        cpu_unload(d);
        return status;
    }
    *device = d;
    return MDL_OK;
}

static mdl_status cpu_upload(mdl_device *d, mdl_arena_id arena, int64_t offset, const void *from, int64_t bytes) {
    MDL_TRY(mdl_check_arena_range(d->plan, "upload", arena, offset, bytes), "cpu");
    if (bytes) memcpy(d->arena[arena] + offset, from, (size_t)bytes);
    return MDL_OK;
}

static mdl_status cpu_download(mdl_device *d, mdl_arena_id arena, int64_t offset, void *to, int64_t bytes) {
    MDL_TRY(mdl_check_arena_range(d->plan, "download", arena, offset, bytes), "cpu");
    if (bytes) memcpy(to, d->arena[arena] + offset, (size_t)bytes);
    return MDL_OK;
}

static mdl_status cpu_fill(mdl_device *d, mdl_arena_id arena, int byte) {
    MDL_TRY(mdl_check_arena_range(d->plan, "fill", arena, 0, 0), "cpu");
    memset(d->arena[arena], byte, (size_t)d->plan->arena_bytes[arena]);
    return MDL_OK;
}

static void run_kernel(const prepared *p) {
    mdl_kernel_fn kernel = p->kernel;
    const mdl_bound_launch *b = p->bound;
    int64_t grid = b->record->grid;
    if (p->threads == 1) {
        for (int64_t block = 0; block < grid; block++) kernel(b->buffer, b->immediate, block);
        return;
    }
#pragma omp parallel for schedule(dynamic, p->chunk) num_threads(p->threads)
    for (int64_t block = 0; block < grid; block++) kernel(b->buffer, b->immediate, block);
}

static mdl_status run_launch(const prepared *p) {
    const mdl_bound_launch *b = p->bound;
    switch (b->record->kind) {
        case MDL_LAUNCH_KERNEL: run_kernel(p); return MDL_OK;
        case MDL_LAUNCH_GEMM: return mdl_cpu_gemm_run(p->gemm);
        case MDL_LAUNCH_COPY: memcpy(b->buffer[1], b->buffer[0], (size_t)b->copy_bytes); return MDL_OK;
        default: return mdl_fail(MDL_BAD_INPUT, "a launch of a kind that the cpu does not have");
    }
}

static mdl_status cpu_run_part(mdl_device *d, const char *name, int first, int last) {
    int index = 0;
    MDL_TRY(mdl_program_part(d->plan, name, first, last, &index), "run");
    for (int i = first; i < last; i++) MDL_TRY(run_launch(&d->programs[index][i]), "program %s, launch %d", name, i);
    return MDL_OK;
}

static mdl_status cpu_run(mdl_device *d, const char *name) {
    int index = 0;
    MDL_TRY(mdl_program_index(d->plan, name, &index), "run");
    return cpu_run_part(d, name, 0, d->plan->programs.at[index].launches.n);
}

static mdl_status cpu_profile(mdl_device *d, const char *name, double *seconds) {
    int index = 0;
    MDL_TRY(mdl_program_index(d->plan, name, &index), "profile");
    int n = d->plan->programs.at[index].launches.n;
    for (int i = 0; i < n; i++) {
        double start = mdl_seconds_now();
        MDL_TRY(run_launch(&d->programs[index][i]), "program %s, launch %d", name, i);
        seconds[i] = mdl_seconds_now() - start;
    }
    return MDL_OK;
}

static mdl_status cpu_rates(mdl_device *d, int64_t edge, mdl_rates *rates) { return mdl_host_rates(d->threads, edge, rates); }
static const char *cpu_identity(const mdl_device *d) { return d->identity; }
static int64_t cpu_memory(const mdl_device *d) { return d->held; }

static const char *cpu_note(const mdl_device *d) {
    if (mdl_cpu_gemm_has_bf16()) return NULL;
    for (int p = 0; p < d->plan->programs.n; p++)
        for (int l = 0; l < d->plan->programs.at[p].launches.n; l++) {
            const mdl_plan_launch *launch = &d->plan->programs.at[p].launches.at[l];
            if (launch->kind == MDL_LAUNCH_GEMM && launch->gemm.type_a == MDL_BF16)
                return "this processor has no instructions for bf16 products: the results are right, f32 would be faster";
        }
    return NULL;
}

const mdl_backend mdl_backend_cpu = {"cpu",    cpu_load,    cpu_unload,   cpu_upload, cpu_download, cpu_fill,
                                     cpu_run,  cpu_profile, cpu_run_part, cpu_rates,  cpu_identity, cpu_memory,
                                     cpu_note, NULL,        NULL,         NULL};
