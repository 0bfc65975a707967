/* What a kernel takes and how many blocks it has: recorded once for each kernel, checked at each launch. */
#include <inttypes.h>
#include <string.h>

#include "runtime/plan/fields.h"
#include "runtime/plan/verify.h"

/* The launch's immediate number `index`. */
static bool immediate_of(const mdl_plan_launch *launch, int index, int64_t *value) {
    for (int i = 0; i < launch->args.n; i++) {
        if (launch->args.at[i].kind != MDL_ARG_IMMEDIATE || index--) continue;
        *value = launch->args.at[i].value;
        return true;
    }
    return false;
}

static int64_t divide_up(int64_t a, int64_t b) { return a / b + (a % b > 0); }

int64_t mdl_plan_blocks(const mdl_plan_grid *grid, const mdl_plan_launch *launch) {
    int64_t blocks = 1;
    if (grid->rows >= 0) {
        int64_t rows;
        if (!immediate_of(launch, grid->rows, &rows) || rows < 0) return -1;
        blocks = divide_up(rows, grid->per);
    }
    if (grid->most && blocks > grid->most) blocks = grid->most;
    return __builtin_mul_overflow(blocks, grid->times, &blocks) ? -1 : blocks;
}

static int64_t elements_of(const mdl_type *type) { return type->dtype == MDL_SEG ? type->dim[0] : mdl_type_count(type); }

/* ---- making ---- */
static mdl_plan_signature sign(const mdl_plan_program *program, const mdl_plan_launch *launch, const mdl_plan_arg *arg, int sizes) {
    if (arg->kind == MDL_ARG_IMMEDIATE) return (mdl_plan_signature){.kind = arg->kind, .times = MDL_TIMES_ONE};
    const mdl_type *type = &program->buffers.at[arg->value].type;
    int64_t n = elements_of(type), value;
    mdl_plan_signature s = {arg->kind, arg->access, type->dtype, n, MDL_TIMES_ONE, program->buffers.at[arg->value].stride};
    for (int i = 0; i < sizes && type->rank; i++)
        if (immediate_of(launch, i, &value) && value == type->dim[0]) return s.times = i, s.elements = n / value, s;
    if (type->rank && sizes && launch->grid == type->dim[0]) s.times = MDL_TIMES_GRID, s.elements = n / launch->grid;
    return s;
}

void mdl_plan_sign(mdl_arena *arena, const mdl_plan_program *program, const mdl_plan_launch *launch, int sizes,
                   mdl_plan_kernel *kernel) {
    kernel->args.n = 0;
    for (int i = 0; i < launch->args.n; i++) MDL_PUSH(arena, kernel->args, sign(program, launch, &launch->args.at[i], sizes));
}

void mdl_plan_count_launches(mdl_plan *plan) {
    for (int i = 0; i < plan->kernels.n; i++) plan->kernels.at[i].launches = 0;
    for (int p = 0; p < plan->programs.n; p++)
        for (int i = 0; i < plan->programs.at[p].launches.n; i++) {
            const mdl_plan_launch *l = &plan->programs.at[p].launches.at[i];
            if (l->kind == MDL_LAUNCH_KERNEL && l->kernel >= 0 && l->kernel < plan->kernels.n)
                plan->kernels.at[l->kernel].launches++;
        }
}

/* ---- checking ---- */
/* Sizes that a tensor map can have, of a buffer that is there. */
static mdl_status check_map(const mdl_plan_map *m, const mdl_plan_kernel *kernel) {
    int buffers = 0;
    bool bf16 = false, rows = false;
    for (int i = 0; i < kernel->args.n; i++) {
        rows |= kernel->args.at[i].kind == MDL_ARG_IMMEDIATE;
        if (kernel->args.at[i].kind != MDL_ARG_BUFFER) continue;
        if (buffers++ == m->buffer) bf16 = kernel->args.at[i].dtype == MDL_BF16;
    }
    if (!bf16 || !rows) return mdl_fail(MDL_BAD_INPUT, "there is no buffer of bf16 number %d, or no number of rows", m->buffer);
    if (m->first < 0 || m->first % 8 || m->row <= 0 || m->row % 8 || m->head <= 0 || m->head % 8 || m->heads < 1 || m->cols < 64 ||
        m->cols % 64)
        return mdl_fail(MDL_BAD_INPUT, "sizes that no map can have");
    return MDL_OK;
}

mdl_status mdl_check_signature(const mdl_plan_kernel *kernel) {
    const mdl_plan_grid *g = &kernel->grid;
    int immediates = 0;
    for (int i = 0; i < kernel->args.n; i++) immediates += kernel->args.at[i].kind == MDL_ARG_IMMEDIATE;
    if (g->rows < MDL_TIMES_ONE || g->rows >= immediates || g->per < 1 || g->most < 0 || g->times < 1)
        return mdl_fail(MDL_BAD_INPUT, "its rule for the grid is not one");
    for (int i = 0; i < kernel->args.n; i++) {
        const mdl_plan_signature *s = &kernel->args.at[i];
        bool buffer = s->kind != MDL_ARG_IMMEDIATE;
        if (s->times < MDL_TIMES_GRID || s->times >= immediates || (buffer && s->elements < 1) || s->stride < 0)
            return mdl_fail(MDL_BAD_INPUT, "argument %d of its signature is not one", i);
    }
    for (int i = 0; i < kernel->maps.n; i++) MDL_TRY(check_map(&kernel->maps.at[i], kernel), "tensor map %d", i);
    return MDL_OK;
}

static mdl_status check_immediate(const mdl_plan_signature *s, const mdl_plan_launch *launch, int64_t value) {
    int64_t rows;
    if (s->times < 0) return MDL_OK;
    if (immediate_of(launch, s->times, &rows) && rows >= 0 && value == divide_up(rows, launch->grid)) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "%" PRId64 " rows a block are not what a grid of %" PRId64 " gives", value, launch->grid);
}

static mdl_status check_buffer(const mdl_plan_signature *s, const mdl_plan_launch *launch, const mdl_plan_arg *arg,
                               const mdl_plan_buffer *b) {
    static const char *const words[] = {"?", "read", "written", "read and written"};
    int64_t want = s->elements, factor = s->times == MDL_TIMES_GRID ? launch->grid : 1;
    if (arg->access != s->access)
        return mdl_fail(MDL_BAD_INPUT, "%s is %s, the kernel has it %s", b->name, words[arg->access & 3], words[s->access & 3]);
    if (b->type.dtype != s->dtype)
        return mdl_fail(MDL_BAD_INPUT, "%s is %s, the kernel takes %s", b->name, mdl_dtype_name(b->type.dtype),
                        mdl_dtype_name(s->dtype));
    if (b->stride != s->stride)
        return mdl_fail(MDL_BAD_INPUT, "%s has stride %" PRId64 ", the kernel takes %" PRId64, b->name, b->stride, s->stride);
    if (s->times >= 0 && !immediate_of(launch, s->times, &factor)) factor = 0;
    if (__builtin_mul_overflow(want, factor, &want) || want != elements_of(&b->type))
        return mdl_fail(MDL_BAD_INPUT, "%s has %" PRId64 " elements, the kernel takes %" PRId64, b->name, elements_of(&b->type),
                        want);
    return MDL_OK;
}

/* A map's last element lies in its buffer. */
static mdl_status check_map_of_launch(const mdl_plan_map *m, const mdl_plan_program *program, const mdl_plan_launch *launch) {
    int64_t rows = 0, last, heads;
    int index = m->buffer;
    const mdl_plan_buffer *b = NULL;
    for (int i = 0; i < launch->args.n && !b; i++)
        if (launch->args.at[i].kind == MDL_ARG_BUFFER && !index--) b = &program->buffers.at[launch->args.at[i].value];
    if (!b || !immediate_of(launch, 0, &rows) || rows < 1 || rows > INT32_MAX) return mdl_fail(MDL_BAD_INPUT, "no rows");
    if (!__builtin_mul_overflow(rows - 1, m->row, &last) && !__builtin_mul_overflow(m->heads - 1, m->head, &heads) &&
        !__builtin_add_overflow(last, heads, &last) && !__builtin_add_overflow(last, m->first + m->cols, &last) &&
        last <= b->bytes / 2)
        return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "it reaches beyond %s", b->name);
}

mdl_status mdl_check_kernel_launch(const mdl_plan_kernel *kernel, const mdl_plan_program *program, const mdl_plan_launch *launch) {
    if (launch->args.n != kernel->args.n)
        return mdl_fail(MDL_BAD_INPUT, "%d arguments, kernel %s takes %d", launch->args.n, kernel->symbol, kernel->args.n);
    int64_t blocks = mdl_plan_blocks(&kernel->grid, launch);
    if (blocks < 0) return mdl_fail(MDL_BAD_INPUT, "its immediates give kernel %s no grid", kernel->symbol);
    if (launch->grid < 1 || launch->grid > INT32_MAX || launch->grid != blocks)
        return mdl_fail(MDL_BAD_INPUT, "grid is %" PRId64 ", kernel %s has %" PRId64 " blocks here", launch->grid, kernel->symbol,
                        blocks);
    for (int i = 0; i < launch->args.n; i++) {
        const mdl_plan_arg *arg = &launch->args.at[i];
        const mdl_plan_signature *s = &kernel->args.at[i];
        mdl_status status = MDL_OK;
        if (arg->kind != s->kind)
            status = mdl_fail(MDL_BAD_INPUT, "it is not of the kind that the kernel takes");
        else if (arg->kind == MDL_ARG_IMMEDIATE)
            status = check_immediate(s, launch, arg->value);
        else
            status = check_buffer(s, launch, arg, &program->buffers.at[arg->value]);
        if (status) return mdl_context(status, "argument %d of kernel %s", i, kernel->symbol);
    }
    for (int i = 0; i < kernel->maps.n; i++)
        MDL_TRY(check_map_of_launch(&kernel->maps.at[i], program, launch), "tensor map %d of kernel %s", i, kernel->symbol);
    return MDL_OK;
}

mdl_status mdl_check_launch_counts(const mdl_plan *plan) {
    mdl_arena *scratch = mdl_arena_new();
    mdl_plan count = {.programs = plan->programs};
    for (int i = 0; i < plan->kernels.n; i++) MDL_PUSH(scratch, count.kernels, plan->kernels.at[i]);
    mdl_plan_count_launches(&count);
    mdl_status status = MDL_OK;
    for (int i = 0; i < plan->kernels.n && !status; i++)
        if (plan->kernels.at[i].launches != count.kernels.at[i].launches)
            status = mdl_fail(MDL_BAD_INPUT, "kernel %s has %d launches, its record says %d", plan->kernels.at[i].symbol,
                              count.kernels.at[i].launches, plan->kernels.at[i].launches);
    mdl_arena_free(scratch);
    return status;
}
