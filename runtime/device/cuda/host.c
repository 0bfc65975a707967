/* Emulation: kernels by the emulator, products by the CPU's, memory on the host. One OS thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/device/cuda/emulator.h"
#include "runtime/device/cuda/gemm_layout.h"
#include "runtime/device/cuda/hopper.h"
#include "runtime/device/cuda/place.h"
#include "runtime/device/gemm.h"
#include "runtime/device/native.h"
#include "runtime/device/rates.h"

/* How a launch is run. */
typedef struct {
    const mdl_bound_launch *bound;
    mdl_emulated_launch kernel;
    mdl_cpu_gemm *gemm;
} prepared;

typedef struct {
    mdl_emulator_abi *emulator;
    mdl_native *native;
    mdl_native_fn *kernels;
    mdl_cpu_products *products;
    prepared **programs;
    MDL_VEC(void *) blocks; /* of memory */
} host;

static mdl_status host_open(mdl_device *d) {
    host *h = MDL_NEW(d->memory, host);
    d->at = h;
    h->kernels = MDL_NEW_ARRAY(d->memory, mdl_native_fn, d->plan->kernels.n + 1);
    h->products = mdl_cpu_products_new(1);
    MDL_TRY(mdl_native_open(d->plan, MDL_PLAN_HOST_OBJECT, h->kernels, &h->native), "load");
    if (!h->native) return MDL_OK;
    MDL_TRY(mdl_emulator_new(&h->emulator), "load");
    void *symbol = mdl_native_symbol(h->native, MDL_EMULATOR_ATTACH);
    mdl_emulator_attach_fn attach;
    if (!symbol) return mdl_fail(MDL_BAD_INPUT, "%s is not for the emulator", MDL_PLAN_HOST_OBJECT);
    memcpy(&attach, &symbol, sizeof attach);
    attach(h->emulator);
    return MDL_OK;
}

static void host_close(mdl_device *d) {
    host *h = d->at;
    for (int i = 0; i < h->blocks.n; i++) free(h->blocks.at[i]);
    mdl_native_close(h->native);
    mdl_emulator_free(h->emulator);
    mdl_cpu_products_free(h->products);
}

static mdl_status host_allocate(mdl_device *d, int64_t bytes, char **address) {
    enum { ALIGN = 256 };
    host *h = d->at;
    *address = aligned_alloc(ALIGN, ((size_t)bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1));
    if (!*address) return mdl_fail(MDL_SYSTEM, "not enough memory: %" PRId64 " bytes are needed", bytes);
    MDL_PUSH(d->memory, h->blocks, *address);
    d->held += bytes;
    return MDL_OK;
}

static mdl_status host_copy_in(mdl_device *d, char *to, const void *from, int64_t bytes) {
    (void)d;
    memcpy(to, from, (size_t)bytes);
    return MDL_OK;
}

static mdl_status host_send_input(mdl_device *d, int64_t offset, const char *from, int64_t bytes) {
    return host_copy_in(d, d->arena[MDL_ARENA_INPUT] + offset, from, bytes);
}

static mdl_status host_copy_out(mdl_device *d, void *to, const char *from, int64_t bytes) {
    (void)d;
    memcpy(to, from, (size_t)bytes);
    return MDL_OK;
}

static mdl_status host_set(mdl_device *d, char *at, int byte, int64_t bytes) {
    (void)d;
    memset(at, byte, (size_t)bytes);
    return MDL_OK;
}

/* What the GPU refuses is refused here, so that it is seen without one. */
static mdl_status prepare_gemm(host *h, const mdl_bound_launch *bound, prepared *to) {
    mdl_gemm_memory memory = mdl_bound_gemm(bound);
    mdl_status status = mdl_cuda_gemm_takes(&bound->record->gemm);
    if (status) return status;
    to->gemm = mdl_cpu_gemm_prepare(h->products, &bound->record->gemm, &memory);
    return to->gemm ? MDL_OK : mdl_fail(MDL_SYSTEM, "not enough memory for a product's tiles");
}

static mdl_status host_map(mdl_device *d, const mdl_plan_map *map, void *buffer, int64_t rows, void *to) {
    (void)d;
    mdl_emulated_map m = {(const char *)buffer + 2 * map->first, rows, map->heads, map->cols, 2 * map->row, 2 * map->head};
    memcpy(to, &m, sizeof m);
    return MDL_OK;
}

static mdl_status prepare_launch(mdl_device *d, const mdl_bound_launch *bound, prepared *to) {
    host *h = d->at;
    const mdl_plan_launch *record = bound->record;
    to->bound = bound;
    if (record->kind == MDL_LAUNCH_GEMM) return prepare_gemm(h, bound, to);
    if (record->kind != MDL_LAUNCH_KERNEL) return MDL_OK;
    void *argument = NULL;
    MDL_TRY(mdl_cuda_argument(d, bound, &argument), "its argument");
    to->kernel = (mdl_emulated_launch){.name = d->plan->kernels.at[record->kernel].symbol,
                                       .kernel = (mdl_emulated_kernel)h->kernels[record->kernel],
                                       .args = argument,
                                       .blocks = record->grid,
                                       .threads = record->threads,
                                       .shared_bytes = record->shared_bytes};
    return MDL_OK;
}

static mdl_status host_prepare(mdl_device *d) {
    host *h = d->at;
    h->programs = MDL_NEW_ARRAY(d->memory, prepared *, d->plan->programs.n);
    for (int p = 0; p < d->plan->programs.n; p++) {
        int n = d->plan->programs.at[p].launches.n;
        h->programs[p] = MDL_NEW_ARRAY(d->memory, prepared, n);
        for (int l = 0; l < n; l++) {
            mdl_status status = prepare_launch(d, &d->programs[p][l], &h->programs[p][l]);
            if (status) return mdl_cuda_blame(d, p, l, status);
        }
    }
    d->held += mdl_cpu_products_bytes(h->products);
    return MDL_OK;
}

static mdl_status run_launch(const host *h, const prepared *p) {
    switch (p->bound->record->kind) {
        case MDL_LAUNCH_KERNEL: return mdl_emulator_run(h->emulator, &p->kernel);
        case MDL_LAUNCH_GEMM: return mdl_cpu_gemm_run(p->gemm);
        case MDL_LAUNCH_COPY: memcpy(p->bound->buffer[1], p->bound->buffer[0], (size_t)p->bound->copy_bytes); return MDL_OK;
        default: return mdl_fail(MDL_BAD_INPUT, "a launch of a kind that the emulation does not have");
    }
}

static mdl_status host_part(mdl_device *d, int program, int first, int last) {
    const host *h = d->at;
    for (int l = first; l < last; l++) {
        mdl_status status = run_launch(h, &h->programs[program][l]);
        if (status) return mdl_cuda_blame(d, program, l, status);
    }
    return MDL_OK;
}

static mdl_status host_run(mdl_device *d, int program) {
    return host_part(d, program, 0, d->plan->programs.at[program].launches.n);
}

static mdl_status host_profile(mdl_device *d, int program, double *seconds) {
    mdl_status status = MDL_OK;
    for (int l = 0; l < d->plan->programs.at[program].launches.n && !status; l++) {
        double start = mdl_seconds_now();
        status = host_part(d, program, l, l + 1);
        seconds[l] = mdl_seconds_now() - start;
    }
    return status;
}

/* Of the products; kernels are far from anything that the host can do. */
static mdl_status host_rates(mdl_device *d, int64_t edge, mdl_rates *rates) {
    (void)d;
    return mdl_host_rates(1, edge, rates);
}

static const char *host_identity(const mdl_device *d) {
    return mdl_printf(d->memory, "emulation on %s", mdl_host_identity(d->memory, 1));
}

static mdl_status host_activity(mdl_device *d, int program, mdl_activity *activity) {
    (void)d, (void)program;
    activity->why_not = "the emulation runs one launch after the other";
    return MDL_OK;
}

static int host_lost(mdl_device *d) {
    (void)d;
    return -1;
}

const mdl_cuda_place mdl_cuda_host = {
    host_open,    host_close, host_allocate, host_copy_in, host_send_input, host_copy_out, host_set, host_prepare, host_run,
    host_profile, host_part,  host_map,      host_rates,   host_activity,   host_identity, NULL,     NULL,         host_lost};
