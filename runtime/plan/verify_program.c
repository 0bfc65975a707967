/* The verifier: programs. Buffers inside their arenas, launches that fit their buffers, and no two live buffers overlapping. */
#include <inttypes.h>
#include <string.h>

#include "runtime/plan/fields.h"
#include "runtime/plan/verify.h"

enum { MAX_ARGS = 1024 };

static mdl_status check_buffer(const mdl_plan *plan, const mdl_plan_buffer *b) {
    int64_t need;
    MDL_TRY(mdl_check_type(&b->type, &need), "type");
    if (b->bytes < need) return mdl_fail(MDL_BAD_INPUT, "%" PRId64 " bytes, its type needs %" PRId64, b->bytes, need);
    int64_t align = b->arena == MDL_ARENA_ACTIVATION ? MDL_PLAN_ALIGN : mdl_dtype_bits(b->type.dtype) / 8;
    return mdl_check_range(plan, b->arena, b->offset, b->bytes, align);
}

bool mdl_buffers_overlap(const mdl_plan_buffer *a, const mdl_plan_buffer *b) {
    return a->arena == b->arena && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

mdl_status mdl_check_buffer_args(const mdl_plan_program *program, const mdl_plan_launch *launch, int n,
                                 const mdl_plan_buffer **buffers) {
    if (launch->args.n != n) return mdl_fail(MDL_BAD_INPUT, "expected %d arguments, got %d", n, launch->args.n);
    for (int i = 0; i < n; i++) {
        const mdl_plan_arg *arg = &launch->args.at[i];
        mdl_access access = i == n - 1 ? MDL_ACCESS_WRITE : MDL_ACCESS_READ;
        if (arg->kind != MDL_ARG_BUFFER || arg->access != access)
            return mdl_fail(MDL_BAD_INPUT, "argument %d: expected a buffer that is %s", i,
                            access == MDL_ACCESS_READ ? "read" : "written");
        buffers[i] = &program->buffers.at[arg->value];
    }
    return MDL_OK;
}

mdl_status mdl_check_apart(const mdl_plan_buffer *operand, const mdl_plan_buffer *result) {
    if (!mdl_buffers_overlap(operand, result)) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "its result %s overlaps its operand %s", result->name, operand->name);
}

static mdl_status check_arg(const mdl_plan_program *program, const mdl_plan_arg *arg) {
    if (arg->kind == MDL_ARG_IMMEDIATE) return MDL_OK;
    if (arg->kind != MDL_ARG_BUFFER) return mdl_fail(MDL_BAD_INPUT, "this target takes buffers and immediates only");
    if (arg->value < 0 || arg->value >= program->buffers.n)
        return mdl_fail(MDL_BAD_INPUT, "buffer %" PRId64 " of %d", arg->value, program->buffers.n);
    if (arg->access < MDL_ACCESS_READ || arg->access > MDL_ACCESS_READ_WRITE)
        return mdl_fail(MDL_BAD_INPUT, "access %d", (int)arg->access);
    mdl_arena_id arena = program->buffers.at[arg->value].arena;
    if ((arg->access & MDL_ACCESS_WRITE) && (arena == MDL_ARENA_INPUT || arena == MDL_ARENA_CONST))
        return mdl_fail(MDL_BAD_INPUT, "%s, in arena %s, is written", program->buffers.at[arg->value].name, mdl_arena_name(arena));
    return MDL_OK;
}

static mdl_status check_waits(const mdl_plan_launch *launch, int index) {
    if (launch->stream) return mdl_fail(MDL_BAD_INPUT, "stream %d: this target has stream 0 only", launch->stream);
    for (int i = 0; i < launch->waits.n; i++)
        if (launch->waits.at[i] < 0 || launch->waits.at[i] >= index)
            return mdl_fail(MDL_BAD_INPUT, "waits for launch %d, which is not earlier", launch->waits.at[i]);
    return MDL_OK;
}

static mdl_status check_kind(const mdl_plan *plan, const mdl_plan_program *program, const mdl_plan_launch *launch) {
    const mdl_plan_buffer *buffers[2];
    switch (launch->kind) {
        case MDL_LAUNCH_KERNEL:
            if (launch->kernel < 0 || launch->kernel >= plan->kernels.n)
                return mdl_fail(MDL_BAD_INPUT, "kernel %d of %d", launch->kernel, plan->kernels.n);
            return mdl_check_kernel_launch(&plan->kernels.at[launch->kernel], program, launch);
        case MDL_LAUNCH_GEMM: return mdl_check_gemm(program, launch);
        case MDL_LAUNCH_COPY:
            MDL_TRY(mdl_check_buffer_args(program, launch, 2, buffers), "copy");
            MDL_TRY(mdl_check_apart(buffers[0], buffers[1]), "copy");
            if (buffers[0]->bytes != buffers[1]->bytes)
                return mdl_fail(MDL_BAD_INPUT, "copy of %" PRId64 " bytes into %" PRId64, buffers[0]->bytes, buffers[1]->bytes);
            return MDL_OK;
        default: return mdl_fail(MDL_BAD_INPUT, "launches of kind %s are not known to this target", mdl_launch_name(launch->kind));
    }
}

static mdl_status check_launch(const mdl_plan *plan, const mdl_plan_program *program, int index) {
    const mdl_plan_launch *launch = &program->launches.at[index];
    if (launch->args.n > MAX_ARGS) return mdl_fail(MDL_BAD_INPUT, "%d arguments, at most %d", launch->args.n, MAX_ARGS);
    for (int i = 0; i < launch->args.n; i++) MDL_TRY(check_arg(program, &launch->args.at[i]), "argument %d", i);
    if (launch->bytes < 0 || launch->flops < 0) return mdl_fail(MDL_BAD_INPUT, "negative bytes or flops");
    if (launch->shared_bytes < 0 || launch->cluster < 0) return mdl_fail(MDL_BAD_INPUT, "negative shared_bytes or cluster");
    if (!launch->label || !launch->span) return mdl_fail(MDL_BAD_INPUT, "no label or span");
    mdl_status status = check_waits(launch, index);
    return status ? status : check_kind(plan, program, launch);
}

/* The buffer at this launch is read although nothing has written it: first use of an ACTIVATION buffer must be a pure write. */
static mdl_status check_written(const mdl_plan_program *program, const mdl_plan_lifetime *lifetimes) {
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *launch = &program->launches.at[i];
        for (int j = 0; j < launch->args.n; j++) {
            const mdl_plan_arg *arg = &launch->args.at[j];
            if (arg->kind != MDL_ARG_BUFFER || lifetimes[arg->value].first != i || !(arg->access & MDL_ACCESS_READ)) continue;
            return mdl_fail(MDL_BAD_INPUT, "launch %d (%s) reads buffer %s before anything has written it", i, launch->label,
                            program->buffers.at[arg->value].name);
        }
    }
    return MDL_OK;
}

/* ---- no two live buffers overlap: a sweep over launches with the live buffers in order of their offsets ---- */
typedef struct {
    const mdl_plan_program *program;
    int *live; /* disjoint buffers, by offset */
    int n;
} sweep;

static int position(const sweep *s, int64_t offset) {
    int low = 0, high = s->n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (s->program->buffers.at[s->live[middle]].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static mdl_status begin(sweep *s, int buffer, int launch) {
    const mdl_plan_buffer *all = s->program->buffers.at, *b = &all[buffer];
    int at = position(s, b->offset);
    for (int i = at - 1; i <= at; i++)
        if (i >= 0 && i < s->n && mdl_buffers_overlap(&all[s->live[i]], b))
            return mdl_fail(MDL_BAD_INPUT, "buffers %s and %s overlap in memory while both are alive at launch %d (%s)",
                            all[s->live[i]].name, b->name, launch, s->program->launches.at[launch].label);
    memmove(s->live + at + 1, s->live + at, sizeof *s->live * (size_t)(s->n++ - at));
    s->live[at] = buffer;
    return MDL_OK;
}

static void end(sweep *s, int buffer) {
    int at = position(s, s->program->buffers.at[buffer].offset);
    memmove(s->live + at, s->live + at + 1, sizeof *s->live * (size_t)(--s->n - at));
}

static mdl_status check_overlaps(sweep *s, mdl_plan_lifetime *lifetimes) {
    for (int i = 0; i < s->program->launches.n; i++) {
        const mdl_plan_launch *launch = &s->program->launches.at[i];
        for (int j = 0; j < launch->args.n; j++) {
            const mdl_plan_arg *arg = &launch->args.at[j];
            if (arg->kind != MDL_ARG_BUFFER || lifetimes[arg->value].first != i) continue;
            lifetimes[arg->value].first = -2; /* begun: the same buffer may come twice in one launch */
            MDL_TRY(begin(s, (int)arg->value, i), "memory");
        }
        for (int j = 0; j < launch->args.n; j++) {
            const mdl_plan_arg *arg = &launch->args.at[j];
            if (arg->kind != MDL_ARG_BUFFER || lifetimes[arg->value].first != -2 || lifetimes[arg->value].last != i) continue;
            lifetimes[arg->value].first = -1;
            end(s, (int)arg->value);
        }
    }
    return MDL_OK;
}

static mdl_status check_memory(const mdl_plan_program *program) {
    mdl_arena *scratch = mdl_arena_new();
    mdl_plan_lifetime *lifetimes = MDL_NEW_ARRAY(scratch, mdl_plan_lifetime, program->buffers.n + 1);
    sweep s = {program, MDL_NEW_ARRAY(scratch, int, program->buffers.n + 1), 0};
    int64_t high, live;
    mdl_plan_lifetimes(program, lifetimes, &high, &live);
    mdl_status status = check_written(program, lifetimes);
    if (!status && high != program->activation_bytes)
        status =
            mdl_fail(MDL_BAD_INPUT, "activation_bytes is %" PRId64 ", its buffers reach %" PRId64, program->activation_bytes, high);
    if (!status && live != program->live_bytes)
        status = mdl_fail(MDL_BAD_INPUT, "live_bytes is %" PRId64 ", its launches give %" PRId64, program->live_bytes, live);
    if (!status) status = check_overlaps(&s, lifetimes);
    mdl_arena_free(scratch);
    return status;
}

static mdl_status check_results(const mdl_plan_program *program) {
    mdl_arena *scratch = mdl_arena_new();
    bool *written = MDL_NEW_ARRAY(scratch, bool, program->buffers.n + 1);
    mdl_status status = MDL_OK;
    for (int i = 0; i < program->launches.n; i++)
        for (int j = 0; j < program->launches.at[i].args.n; j++) {
            const mdl_plan_arg *arg = &program->launches.at[i].args.at[j];
            if (arg->kind == MDL_ARG_BUFFER && (arg->access & MDL_ACCESS_WRITE)) written[arg->value] = true;
        }
    for (int i = 0; i < program->results.n && !status; i++) {
        const mdl_plan_result *r = &program->results.at[i];
        if (r->buffer < 0 || r->buffer >= program->buffers.n)
            status = mdl_fail(MDL_BAD_INPUT, "result %s: buffer %d of %d", r->name, r->buffer, program->buffers.n);
        else if (program->buffers.at[r->buffer].arena != MDL_ARENA_RESULT)
            status = mdl_fail(MDL_BAD_INPUT, "result %s lies in arena %s", r->name,
                              mdl_arena_name(program->buffers.at[r->buffer].arena));
        else if (!written[r->buffer])
            status = mdl_fail(MDL_BAD_INPUT, "result %s is never written", r->name);
    }
    mdl_arena_free(scratch);
    return status;
}

mdl_status mdl_check_program(const mdl_plan *plan, const mdl_plan_program *program) {
    MDL_TRY(mdl_check_names("result", program->results.at, program->results.n, sizeof *program->results.at,
                            offsetof(mdl_plan_result, name)),
            "results");
    for (int i = 0; i < program->buffers.n; i++) {
        const mdl_plan_buffer *b = &program->buffers.at[i];
        if (!b->name) return mdl_fail(MDL_BAD_INPUT, "buffer %d has no name", i);
        MDL_TRY(check_buffer(plan, b), "buffer %d (%s)", i, b->name);
    }
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *launch = &program->launches.at[i];
        MDL_TRY(check_launch(plan, program, i), "launch %d (%s)", i, launch->label ? launch->label : "");
    }
    MDL_TRY(check_results(program), "results");
    return check_memory(program);
}
