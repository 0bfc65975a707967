/* The verifier: programs. Buffers inside their arenas, launches that fit their buffers, and no two live buffers overlapping. */
#include <inttypes.h>
#include <string.h>

#include "runtime/plan/fields.h"
#include "runtime/plan/verify.h"

enum { MAX_ARGS = 1024, MAX_THREADS = 1024, MAX_SHARED = 227 << 10 /* of a block, on any arch so far */ };

/* The bytes from the first to the last that a type touches. */
static mdl_status check_extent(const mdl_plan_buffer *b, int64_t *need) {
    MDL_TRY(mdl_check_type(&b->type, need), "type");
    if (!b->stride) return MDL_OK;
    if (!b->type.rank || b->type.dtype == MDL_SEG) return mdl_fail(MDL_BAD_INPUT, "it has a stride but no rows");
    int64_t row = *need / b->type.dim[0], pitch, rest;
    if (__builtin_mul_overflow(b->stride, mdl_dtype_bits(b->type.dtype) / 8, &pitch) || pitch < row)
        return mdl_fail(MDL_BAD_INPUT, "stride %" PRId64 " is less than a row, or too large", b->stride);
    if (__builtin_mul_overflow(pitch, b->type.dim[0] - 1, &rest) || __builtin_add_overflow(rest, row, need))
        return mdl_fail(MDL_BAD_INPUT, "the size of the type overflows");
    return MDL_OK;
}

static mdl_status check_view(const mdl_plan_program *program, const mdl_plan_buffer *b, int64_t align) {
    int64_t end;
    if (b->of >= b - program->buffers.at) return mdl_fail(MDL_BAD_INPUT, "it is a view of buffer %d, which is not earlier", b->of);
    const mdl_plan_buffer *base = &program->buffers.at[b->of];
    if (base->of >= 0) return mdl_fail(MDL_BAD_INPUT, "it is a view of buffer %d, which is a view", b->of);
    if (b->arena != base->arena)
        return mdl_fail(MDL_BAD_INPUT, "it is a view of a buffer in arena %s", mdl_arena_name(base->arena));
    if (b->offset < 0 || b->offset % align || __builtin_add_overflow(b->offset, b->bytes, &end) || end > base->bytes)
        return mdl_fail(MDL_BAD_INPUT, "%" PRId64 " bytes at offset %" PRId64 " do not fit the %" PRId64 " bytes of %s", b->bytes,
                        b->offset, base->bytes, base->name);
    return MDL_OK;
}

static mdl_status check_buffer(const mdl_plan *plan, const mdl_plan_program *program, const mdl_plan_buffer *b) {
    int64_t need;
    mdl_status status = check_extent(b, &need);
    if (status) return status;
    int64_t element = mdl_dtype_bits(b->type.dtype) / 8;
    if (b->bytes < need) return mdl_fail(MDL_BAD_INPUT, "%" PRId64 " bytes, its type needs %" PRId64, b->bytes, need);
    if (b->value < 0) return mdl_fail(MDL_BAD_INPUT, "it holds value %d", b->value);
    if (b->of < -1) return mdl_fail(MDL_BAD_INPUT, "it is a view of buffer %d", b->of);
    if (b->of >= 0) return check_view(program, b, element);
    int64_t align = b->arena == MDL_ARENA_ACTIVATION ? MDL_PLAN_ALIGN : element;
    return mdl_check_range(plan, b->arena, b->offset, b->bytes, align);
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
    if (launch->stream < 0 || launch->stream >= MDL_MAX_STREAMS)
        return mdl_fail(MDL_BAD_INPUT, "stream %d of %d", launch->stream, MDL_MAX_STREAMS);
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
            MDL_TRY(mdl_check_apart(program, launch, 0), "copy");
            if (buffers[0]->stride || buffers[1]->stride) return mdl_fail(MDL_BAD_INPUT, "a copy takes dense buffers");
            if (buffers[0]->bytes != buffers[1]->bytes)
                return mdl_fail(MDL_BAD_INPUT, "copy of %" PRId64 " bytes into %" PRId64, buffers[0]->bytes, buffers[1]->bytes);
            return MDL_OK;
        default: return mdl_fail(MDL_BAD_INPUT, "launches of kind %s are not known to this target", mdl_launch_name(launch->kind));
    }
}

static mdl_status check_block(const mdl_plan *plan, const mdl_plan_launch *launch) {
    if (launch->cluster != 1 || launch->workspace != -1)
        return mdl_fail(MDL_BAD_INPUT, "this target has no clusters or workspace of a launch");
    if (strcmp(plan->target, "cuda") || launch->kind != MDL_LAUNCH_KERNEL) {
        if (launch->threads != 1 || launch->shared_bytes)
            return mdl_fail(MDL_BAD_INPUT, "this target has no threads or shared memory of a launch");
    } else if (launch->threads < 1 || launch->threads > MAX_THREADS || launch->shared_bytes < 0 ||
               launch->shared_bytes > MAX_SHARED) {
        return mdl_fail(MDL_BAD_INPUT, "%d threads with %" PRId64 " bytes of shared memory", launch->threads, launch->shared_bytes);
    }
    return MDL_OK;
}

static mdl_status check_launch(const mdl_plan *plan, const mdl_plan_program *program, int index) {
    const mdl_plan_launch *launch = &program->launches.at[index];
    if (launch->args.n > MAX_ARGS) return mdl_fail(MDL_BAD_INPUT, "%d arguments, at most %d", launch->args.n, MAX_ARGS);
    for (int i = 0; i < launch->args.n; i++) MDL_TRY(check_arg(program, &launch->args.at[i]), "argument %d", i);
    if (launch->bytes < 0 || launch->flops < 0) return mdl_fail(MDL_BAD_INPUT, "negative bytes or flops");
    mdl_status status = check_block(plan, launch);
    if (status) return status;
    if (!launch->label || !launch->span) return mdl_fail(MDL_BAD_INPUT, "no label or span");
    status = check_waits(launch, index);
    return status ? status : check_kind(plan, program, launch);
}

static mdl_status check_results(const mdl_plan_program *program) {
    mdl_arena *scratch = mdl_arena_new();
    bool *written = MDL_NEW_ARRAY(scratch, bool, program->buffers.n + 1);
    mdl_plan_use use;
    mdl_status status = MDL_OK;
    for (int i = 0; i < program->launches.n; i++)
        for (int j = 0; j <= program->launches.at[i].args.n; j++)
            if (mdl_plan_use_at(&program->launches.at[i], j, &use) && (use.access & MDL_ACCESS_WRITE)) written[use.buffer] = true;
    for (int i = 0; i < program->results.n && !status; i++) {
        const mdl_plan_result *r = &program->results.at[i];
        if (r->buffer < 0 || r->buffer >= program->buffers.n)
            status = mdl_fail(MDL_BAD_INPUT, "result %s: buffer %d of %d", r->name, r->buffer, program->buffers.n);
        else if (program->buffers.at[r->buffer].of >= 0 || program->buffers.at[r->buffer].stride)
            status = mdl_fail(MDL_BAD_INPUT, "result %s is a view or strided", r->name);
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
        MDL_TRY(check_buffer(plan, program, b), "buffer %d (%s)", i, b->name);
    }
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *launch = &program->launches.at[i];
        MDL_TRY(check_launch(plan, program, i), "launch %d (%s)", i, launch->label ? launch->label : "");
    }
    MDL_TRY(check_results(program), "results");
    return mdl_check_memory(program);
}
