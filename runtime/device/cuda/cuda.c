/* The cuda backend: plans of GPU kernels, on a GPU or on the host in emulation. */
#include <inttypes.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/device/cuda/arch.h"
#include "runtime/device/cuda/place.h"

enum { MAX_THREADS = 1024 };

/* ---- loading ---- */
static mdl_status allocate_all(mdl_device *d) {
    for (int i = 0; i < MDL_ARENA_COUNT; i++) {
        if (!d->plan->arena_bytes[i]) continue;
        MDL_TRY(d->place->allocate(d, d->plan->arena_bytes[i], &d->arena[i]), "arena %s", mdl_arena_name((mdl_arena_id)i));
    }
    return MDL_OK;
}

static mdl_status fill_all(mdl_device *d) {
    for (int i = 0; i < MDL_ARENA_COUNT; i++)
        if (d->arena[i]) MDL_TRY(d->place->set(d, d->arena[i], 0, d->plan->arena_bytes[i]), "zeros");
    const mdl_plan_file *constants = mdl_plan_find_file(d->plan, MDL_PLAN_CONSTANTS);
    if (!constants || !constants->size) return MDL_OK;
    return d->place->copy_in(d, d->arena[MDL_ARENA_CONST], constants->bytes, constants->size);
}

static mdl_status prepare(mdl_device *d) {
    d->programs = mdl_bind_launches(d->memory, d->plan, d->arena);
    return d->place->prepare(d);
}

static void cuda_unload(mdl_device *d) {
    if (!d) return;
    d->place->close(d);
    mdl_arena_free(d->memory);
}

static mdl_status load(const mdl_plan *plan, mdl_device **device) {
    mdl_arena *memory = mdl_arena_new();
    mdl_device *d = MDL_NEW(memory, mdl_device);
    d->memory = memory;
    d->plan = plan;
    d->place = strcmp(plan->isa, MDL_CUDA_HOST) ? &mdl_cuda_gpu : &mdl_cuda_host;
    d->input = MDL_NEW_ARRAY(memory, char, plan->arena_bytes[MDL_ARENA_INPUT]);
    mdl_status status = d->place->open(d);
    if (!status) status = allocate_all(d);
    mdl_mark("memory of the device");
    if (!status) status = prepare(d);
    mdl_mark("products chosen and run once");
    if (!status) status = fill_all(d);
    mdl_mark("zeros");
    if (status)
        cuda_unload(d);
    else
        *device = d;
    return status;
}

static mdl_status cuda_load(const mdl_plan *plan, int threads, mdl_device **device) {
    *device = NULL;
    if (strcmp(plan->target, "cuda"))
        return mdl_fail(MDL_BAD_INPUT, "the plan is for target %s, this is the cuda backend", plan->target);
    if (threads < 0 || threads > MAX_THREADS)
        return mdl_fail(MDL_USAGE, "%d threads: expected 0 (all cores) to %d", threads, MAX_THREADS);
    return load(plan, device);
}

/* ---- errors that end a context ---- */
/* The program again, launch by launch, on a fresh device with the same inputs and everything else zero: where launches go wrong
 * depends on the inputs first. No device when none can be had. */
static mdl_status run_again(const mdl_device *d, int program, bool *ran) {
    mdl_device *again = NULL;
    int64_t bytes = d->plan->arena_bytes[MDL_ARENA_INPUT];
    mdl_status status = load(d->plan, &again);
    *ran = !status;
    if (!status && bytes) status = again->place->copy_in(again, again->arena[MDL_ARENA_INPUT], d->input, bytes);
    if (!status) status = again->place->part(again, program, 0, d->plan->programs.at[program].launches.n);
    if (again) again->place->lost(again); /* and with it the error: the process can go on */
    cuda_unload(again);
    return status;
}

/* What is known of an error that came from program `name`: `found` by running it again, if a device could be had for that. */
static mdl_status whole_story(mdl_status status, const char *name, bool ran, mdl_status found) {
    static const char hint[] = "; --no-graph names the launch where it happens";
    if (!ran)
        return mdl_fail(MDL_SYSTEM, "%s. It came from program %s%s. This process cannot use the GPU any more", mdl_message(status),
                        name, mdl_cuda_graphs() ? hint : "");
    if (!found)
        return mdl_fail(MDL_SYSTEM,
                        "%s. It came from program %s, which runs well launch by launch on the same inputs with weights "
                        "of zero%s",
                        mdl_message(status), name, hint);
    return mdl_fail(MDL_SYSTEM, "%s. Found by running program %s again, launch by launch: %s", mdl_message(status), name,
                    mdl_message(found));
}

/* Passes `status` on. When the device is lost with it, says which launch it was, if that can be found. */
static mdl_status explain(mdl_device *d, mdl_status status) {
    int program = status ? d->place->lost(d) : -1;
    bool ran = false;
    if (program < 0) return status;
    mdl_status found = run_again(d, program, &ran);
    mdl_status whole = whole_story(status, d->plan->programs.at[program].name, ran, found);
    mdl_status_free(status);
    mdl_status_free(found);
    return whole;
}

/* ---- the rest of the vtable ---- */
static mdl_status cuda_upload(mdl_device *d, mdl_arena_id arena, int64_t offset, const void *from, int64_t bytes) {
    MDL_TRY(mdl_check_arena_range(d->plan, "upload", arena, offset, bytes), "cuda");
    if (!bytes) return MDL_OK;
    if (arena != MDL_ARENA_INPUT) return explain(d, d->place->copy_in(d, d->arena[arena] + offset, from, bytes));
    bool none = d->unsent == d->unsent_end;
    memcpy(d->input + offset, from, (size_t)bytes);
    if (none || offset < d->unsent) d->unsent = offset;
    if (none || offset + bytes > d->unsent_end) d->unsent_end = offset + bytes;
    return MDL_OK;
}

/* A step's inputs, batch and numbers, go to the device together, with the next program that runs. */
static mdl_status send_input(mdl_device *d) {
    int64_t at = d->unsent, bytes = d->unsent_end - at;
    d->unsent = d->unsent_end = 0;
    return bytes ? d->place->send_input(d, at, d->input + at, bytes) : MDL_OK;
}

static mdl_status cuda_download(mdl_device *d, mdl_arena_id arena, int64_t offset, void *to, int64_t bytes) {
    MDL_TRY(mdl_check_arena_range(d->plan, "download", arena, offset, bytes), "cuda");
    mdl_status status = arena == MDL_ARENA_INPUT ? send_input(d) : MDL_OK;
    if (!status && bytes) status = d->place->copy_out(d, to, d->arena[arena] + offset, bytes);
    return explain(d, status);
}

static mdl_status cuda_fill(mdl_device *d, mdl_arena_id arena, int byte) {
    MDL_TRY(mdl_check_arena_range(d->plan, "fill", arena, 0, 0), "cuda");
    if (arena == MDL_ARENA_INPUT) MDL_TRY(send_input(d), "cuda");
    return d->arena[arena] ? explain(d, d->place->set(d, d->arena[arena], byte, d->plan->arena_bytes[arena])) : MDL_OK;
}

static mdl_status cuda_run(mdl_device *d, const char *name) {
    int program = 0;
    MDL_TRY(mdl_program_index(d->plan, name, &program), "run");
    mdl_status status = send_input(d);
    return explain(d, status ? status : d->place->run(d, program));
}

static mdl_status cuda_profile(mdl_device *d, const char *name, double *seconds) {
    int program = 0;
    MDL_TRY(mdl_program_index(d->plan, name, &program), "profile");
    mdl_status status = send_input(d);
    return explain(d, status ? status : d->place->profile(d, program, seconds));
}

static mdl_status cuda_run_part(mdl_device *d, const char *name, int first, int last) {
    int program = 0;
    MDL_TRY(mdl_program_part(d->plan, name, first, last, &program), "run");
    mdl_status status = send_input(d);
    return explain(d, status ? status : d->place->part(d, program, first, last));
}

static mdl_status cuda_rates(mdl_device *d, int64_t edge, mdl_rates *rates) { return explain(d, d->place->rates(d, edge, rates)); }

static mdl_status cuda_activity(mdl_device *d, const char *name, mdl_activity *activity) {
    int program = 0;
    *activity = (mdl_activity){0};
    MDL_TRY(mdl_program_index(d->plan, name, &program), "activity");
    mdl_status status = send_input(d);
    return explain(d, status ? status : d->place->activity(d, program, activity));
}

static const char *cuda_identity(const mdl_device *d) { return d->place->identity(d); }
static int64_t cuda_memory(const mdl_device *d) { return d->held; }
static const char *cuda_choices(const mdl_device *d, mdl_arena *memory) {
    return d->place->choices ? d->place->choices(d, memory) : "";
}

static mdl_status cuda_choose(mdl_device *d, const char *choices) {
    return d->place->choose ? explain(d, d->place->choose(d, choices)) : MDL_OK;
}

static const char *cuda_note(const mdl_device *d) { return d->note; }

const mdl_backend mdl_backend_cuda = {"cuda",    cuda_load,     cuda_unload,   cuda_upload, cuda_download, cuda_fill,
                                      cuda_run,  cuda_profile,  cuda_run_part, cuda_rates,  cuda_identity, cuda_memory,
                                      cuda_note, cuda_activity, cuda_choices,  cuda_choose};
