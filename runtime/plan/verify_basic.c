/* What every part of the verifier asks of types, ranges and names. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan/verify.h"

enum { MAX_COUNT = 1 << 28 };

mdl_status mdl_check_type(const mdl_type *type, int64_t *bytes) {
    int64_t count = 1;
    if ((unsigned)type->dtype >= MDL_DTYPE_COUNT) return mdl_fail(MDL_BAD_INPUT, "unknown element type %d", (int)type->dtype);
    if (type->rank < 0 || type->rank > MDL_MAX_RANK)
        return mdl_fail(MDL_BAD_INPUT, "rank %d, at most %d", type->rank, MDL_MAX_RANK);
    for (int i = 0; i < type->rank; i++) {
        if (type->dim[i] < 1) return mdl_fail(MDL_BAD_INPUT, "dim %d is %" PRId64 ", expected at least 1", i, type->dim[i]);
        if (__builtin_mul_overflow(count, type->dim[i], &count)) return mdl_fail(MDL_BAD_INPUT, "the size of the type overflows");
    }
    if (type->dtype == MDL_SEG && type->rank != 2)
        return mdl_fail(MDL_BAD_INPUT, "segments have dims [S,T], got rank %d", type->rank);
    if (type->dtype == MDL_SEG) count = type->dim[0] + 1;
    if (__builtin_mul_overflow(count, mdl_dtype_bits(type->dtype) / 8, bytes))
        return mdl_fail(MDL_BAD_INPUT, "the size of the type overflows");
    return MDL_OK;
}

mdl_status mdl_check_range(const mdl_plan *plan, mdl_arena_id arena, int64_t offset, int64_t bytes, int64_t align) {
    int64_t end;
    if ((unsigned)arena >= MDL_ARENA_COUNT) return mdl_fail(MDL_BAD_INPUT, "unknown arena %d", (int)arena);
    if (offset < 0 || bytes < 0 || __builtin_add_overflow(offset, bytes, &end) || end > plan->arena_bytes[arena])
        return mdl_fail(MDL_BAD_INPUT, "%" PRId64 " bytes at offset %" PRId64 " lie outside arena %s of %" PRId64 " bytes", bytes,
                        offset, mdl_arena_name(arena), plan->arena_bytes[arena]);
    if (offset % align) return mdl_fail(MDL_BAD_INPUT, "offset %" PRId64 " is not a multiple of %" PRId64, offset, align);
    return MDL_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

mdl_status mdl_check_names(const char *what, const void *records, int n, size_t size, size_t at) {
    if (n < 0 || n > MAX_COUNT) return mdl_fail(MDL_BAD_INPUT, "%s: %d of them", what, n);
    mdl_arena *scratch = mdl_arena_new();
    mdl_status status = MDL_OK;
    const char **names = MDL_NEW_ARRAY(scratch, const char *, n + 1);
    for (int i = 0; i < n && !status; i++) {
        names[i] = *(const char *const *)((const char *)records + size * (size_t)i + at);
        if (!names[i] || !*names[i]) status = mdl_fail(MDL_BAD_INPUT, "%s %d has no name", what, i);
    }
    if (!status) qsort(names, (size_t)n, sizeof *names, by_text);
    for (int i = 1; i < n && !status; i++)
        if (!strcmp(names[i - 1], names[i])) status = mdl_fail(MDL_BAD_INPUT, "%s %s appears twice", what, names[i]);
    mdl_arena_free(scratch);
    return status;
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

mdl_status mdl_check_apart(const mdl_plan_program *program, const mdl_plan_launch *launch, int operand) {
    int64_t a = launch->args.at[operand].value, d = launch->args.at[launch->args.n - 1].value;
    if (!mdl_plan_overlap(program, (int)a, (int)d)) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "its result %s overlaps its operand %s", program->buffers.at[d].name, program->buffers.at[a].name);
}
