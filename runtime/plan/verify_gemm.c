/* The verifier: products. Everything that one reads and writes lies inside its buffers. */
#include <inttypes.h>

#include "runtime/plan/verify.h"

/* `batch` matrices of rows x cols elements. */
typedef struct {
    const char *what;
    mdl_dtype dtype;
    int64_t rows, cols, ld, batch, stride;
    bool operand;
} matrices;

/* Elements from the first to behind the last; false when that overflows. */
static bool extent(const matrices *x, int64_t *elements) {
    int64_t rows, before;
    return !__builtin_mul_overflow(x->rows - 1, x->ld, &rows) && !__builtin_mul_overflow(x->batch - 1, x->stride, &before) &&
           !__builtin_add_overflow(rows, before, elements) && !__builtin_add_overflow(*elements, x->cols, elements);
}

static mdl_status check_matrices(const matrices *x, const mdl_plan_buffer *b) {
    int64_t elements;
    bool small = x->dtype == MDL_E4M3 || x->dtype == MDL_E5M2;
    if (x->dtype != MDL_F32 && x->dtype != MDL_BF16 && !(small && x->operand))
        return mdl_fail(MDL_BAD_INPUT, "%s is %s, expected f32 or bf16%s", x->what,
                        (unsigned)x->dtype < MDL_DTYPE_COUNT ? mdl_dtype_name(x->dtype) : "of no type",
                        x->operand ? ", e4m3 or e5m2" : "");
    if (b->type.dtype != x->dtype)
        return mdl_fail(MDL_BAD_INPUT, "%s is %s, but %s is %s", x->what, mdl_dtype_name(x->dtype), b->name,
                        mdl_dtype_name(b->type.dtype));
    if (x->ld < x->cols)
        return mdl_fail(MDL_BAD_INPUT, "%s has row stride %" PRId64 " and %" PRId64 " columns", x->what, x->ld, x->cols);
    if (x->stride < 0) return mdl_fail(MDL_BAD_INPUT, "%s has batch stride %" PRId64, x->what, x->stride);
    if (extent(x, &elements) && elements <= b->bytes / (mdl_dtype_bits(x->dtype) / 8)) return MDL_OK;
    if (x->batch == 1)
        return mdl_fail(MDL_BAD_INPUT,
                        "%s, %" PRId64 " rows of %" PRId64 " at stride %" PRId64 ", does not fit the %" PRId64 " bytes of %s",
                        x->what, x->rows, x->cols, x->ld, b->bytes, b->name);
    return mdl_fail(MDL_BAD_INPUT,
                    "%s, %" PRId64 " matrices at stride %" PRId64 " of %" PRId64 " rows of %" PRId64 " at stride %" PRId64
                    ", does not fit the %" PRId64 " bytes of %s",
                    x->what, x->batch, x->stride, x->rows, x->cols, x->ld, b->bytes, b->name);
}

/* Results must not write over each other: the matrices of a batch follow one another, or lie side by side in longer rows. (Their
 * extent is known not to overflow.) */
static mdl_status check_distinct(const matrices *d) {
    bool follow = d->stride >= (d->rows - 1) * d->ld + d->cols;
    bool beside = d->stride >= d->cols && (d->batch - 1) * d->stride + d->cols <= d->ld;
    if (d->batch == 1 || follow || beside) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT,
                    "the matrices of D overlap: %" PRId64 " x %" PRId64 " at row stride %" PRId64 ", batch stride %" PRId64,
                    d->rows, d->cols, d->ld, d->stride);
}

/* C in D's memory is C to be added to: the same elements, each read where its sum is written. */
static mdl_status check_accumulator(const mdl_plan_program *program, const mdl_plan_launch *launch) {
    const mdl_gemm *g = &launch->gemm;
    int ci = (int)launch->args.at[2].value, di = (int)launch->args.at[launch->args.n - 1].value;
    const mdl_plan_buffer *c = &program->buffers.at[ci], *d = &program->buffers.at[di];
    if (!mdl_plan_overlap(program, ci, di)) return MDL_OK;
    bool same = c->arena == d->arena && mdl_plan_place(program, ci) == mdl_plan_place(program, di) && g->type_c == g->type_d &&
                g->ldc == g->ldd && (g->batch == 1 || g->stride_c == g->stride_d);
    return same ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "its start %s overlaps its result %s but is not in its place", c->name, d->name);
}

static mdl_status check_dims(const mdl_gemm *g) {
    const int64_t dims[] = {g->m, g->n, g->k, g->batch};
    for (int i = 0; i < 4; i++)
        if (dims[i] < 1 || dims[i] > INT32_MAX)
            return mdl_fail(MDL_BAD_INPUT, "dims m=%" PRId64 " n=%" PRId64 " k=%" PRId64 " batch=%" PRId64, g->m, g->n, g->k,
                            g->batch);
    return MDL_OK;
}

static mdl_status check_operands(const mdl_gemm *g) {
    bool small = mdl_dtype_bits(g->type_a) == 8 && mdl_dtype_bits(g->type_b) == 8;
    if (g->type_a == g->type_b || small) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "A is %s, B is %s", mdl_dtype_name(g->type_a), mdl_dtype_name(g->type_b));
}

static mdl_status check_scale(const mdl_plan_buffer *b) {
    if (b->type.dtype == MDL_F32 && b->bytes >= 4) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "%s, a scale, is %s of %" PRId64 " bytes, expected a number of f32", b->name,
                    mdl_dtype_name(b->type.dtype), b->bytes);
}

mdl_status mdl_check_gemm(const mdl_plan_program *program, const mdl_plan_launch *launch) {
    const mdl_gemm *g = &launch->gemm;
    const mdl_plan_buffer *buffers[7];
    int n = 3 + g->has_c + g->has_bias + 2 * g->has_scales, next = 0;
    MDL_TRY(check_dims(g), "gemm");
    MDL_TRY(check_operands(g), "gemm");
    MDL_TRY(mdl_check_buffer_args(program, launch, n, buffers), "gemm");
    const mdl_plan_buffer *a = buffers[next++], *b = buffers[next++], *c = g->has_c ? buffers[next++] : NULL;
    const mdl_plan_buffer *bias = g->has_bias ? buffers[next++] : NULL, *d = buffers[n - 1];
    const matrices A = {"A", g->type_a, g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->batch, g->stride_a, true};
    const matrices B = {"B", g->type_b, g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->batch, g->stride_b, true};
    const matrices C = {"C", g->type_c, g->m, g->n, g->ldc, g->batch, g->stride_c, false};
    const matrices D = {"D", g->type_d, g->m, g->n, g->ldd, g->batch, g->stride_d, false};
    const matrices row = {"bias", g->type_bias, 1, g->n, g->n, 1, 0, false};
    MDL_TRY(check_matrices(&A, a), "gemm");
    MDL_TRY(check_matrices(&B, b), "gemm");
    if (c) MDL_TRY(check_matrices(&C, c), "gemm");
    if (bias) MDL_TRY(check_matrices(&row, bias), "gemm");
    MDL_TRY(check_matrices(&D, d), "gemm");
    MDL_TRY(check_distinct(&D), "gemm");
    MDL_TRY(mdl_check_apart(program, launch, 0), "gemm");
    MDL_TRY(mdl_check_apart(program, launch, 1), "gemm");
    for (int i = 2 + g->has_c; i < n - 1; i++) MDL_TRY(mdl_check_apart(program, launch, i), "gemm"); /* bias, scales */
    for (int i = n - 3; g->has_scales && i < n - 1; i++) MDL_TRY(check_scale(buffers[i]), "gemm");
    return c ? check_accumulator(program, launch) : MDL_OK;
}
