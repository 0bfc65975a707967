/* Row-major to column-major. */
#include "runtime/device/cuda/gemm_layout.h"

static mdl_column_major transposed(mdl_dtype type, int64_t rows, int64_t columns, int64_t ld, int64_t stride) {
    return (mdl_column_major){type, columns, rows, ld, stride};
}

mdl_column_gemm mdl_gemm_by_columns(const mdl_gemm *g) {
    mdl_column_major a = transposed(g->type_ab, g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->stride_a),
                     b = transposed(g->type_ab, g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->stride_b),
                     d = transposed(g->type_d, g->m, g->n, g->ldd, g->stride_d);
    return (mdl_column_gemm){.a = b,
                             .b = a,
                             .c = g->has_c ? transposed(g->type_c, g->m, g->n, g->ldc, g->stride_c) : d,
                             .d = d,
                             .trans_a = g->trans_b,
                             .trans_b = g->trans_a,
                             .has_c = g->has_c,
                             .has_bias = g->has_bias,
                             .batch = g->batch};
}

mdl_status mdl_cuda_gemm_takes(const mdl_gemm *g) {
    const char *d = mdl_dtype_name(g->type_d);
    if (g->type_ab == MDL_F32 && g->type_d != MDL_F32)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt has no product of f32 operands with a result in %s", d);
    if (g->has_c && g->type_c != g->type_d)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt adds C in the result's type %s only, not in %s", d, mdl_dtype_name(g->type_c));
    if (g->has_bias && g->type_bias != g->type_d)
        return mdl_fail(MDL_BAD_INPUT, "cuBLASLt adds a bias in the result's type %s only, not in %s", d,
                        mdl_dtype_name(g->type_bias));
    return MDL_OK;
}
