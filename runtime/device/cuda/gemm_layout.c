/* Row-major to column-major. */
#include "runtime/device/cuda/gemm_layout.h"

static mdl_column_major transposed(mdl_dtype type, int64_t rows, int64_t columns, int64_t ld, int64_t stride) {
    return (mdl_column_major){type, columns, rows, ld, stride};
}

mdl_column_gemm mdl_gemm_by_columns(const mdl_gemm *g) {
    mdl_column_major a = transposed(g->type_a, g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->stride_a),
                     b = transposed(g->type_b, g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->stride_b),
                     d = transposed(g->type_d, g->m, g->n, g->ldd, g->stride_d);
    return (mdl_column_gemm){.a = b,
                             .b = a,
                             .c = g->has_c ? transposed(g->type_c, g->m, g->n, g->ldc, g->stride_c) : d,
                             .d = d,
                             .trans_a = g->trans_b,
                             .trans_b = g->trans_a,
                             .has_c = g->has_c,
                             .has_bias = g->has_bias,
                             .has_scales = g->has_scales,
                             .fast_sums = g->fast_sums,
                             .batch = g->batch};
}

static mdl_status takes_small(const mdl_gemm *g) {
    bool along = !g->trans_a && g->trans_b, sixteens = g->k % 16 == 0 && g->lda % 16 == 0 && g->ldb % 16 == 0 && g->n % 16 == 0;
    if (!along || !sixteens)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt takes operands of 8 bits with the summed axis contiguous, in multiples of 16");
    if (g->type_a == MDL_E5M2 && g->type_b == MDL_E5M2) return mdl_fail(MDL_BAD_INPUT, "cuBLASLt has no product of e5m2 and e5m2");
    if (!g->has_scales) return mdl_fail(MDL_BAD_INPUT, "a product of 8-bit operands without scales");
    return MDL_OK;
}

mdl_status mdl_cuda_gemm_takes(const mdl_gemm *g) {
    const char *d = mdl_dtype_name(g->type_d);
    bool small = mdl_dtype_bits(g->type_a) == 8;
    mdl_dtype bias = small ? MDL_BF16 : g->type_d;
    if (small) MDL_TRY(takes_small(g), "gemm");
    if (!small && g->has_scales) return mdl_fail(MDL_BAD_INPUT, "cuBLASLt scales operands of 8 bits only");
    if (g->type_a == MDL_F32 && g->type_d != MDL_F32)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt has no product of f32 operands with a result in %s", d);
    if (g->has_c && g->type_c != g->type_d)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt adds C in the result's type %s only, not in %s", d, mdl_dtype_name(g->type_c));
    if (g->has_bias && g->type_bias != bias)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt adds a bias in %s only, not in %s", mdl_dtype_name(bias),
                        mdl_dtype_name(g->type_bias));
    return MDL_OK;
}
