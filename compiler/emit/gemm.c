/* A dot to a product record. */
#include "compiler/emit/emit.h"
#include "compiler/op/dot.h"
#include "compiler/op/matrices.h"

static bool has_products(mdl_dtype dtype) { return dtype == MDL_F32 || dtype == MDL_BF16; }
static bool is_small(mdl_dtype dtype) { return dtype == MDL_E4M3 || dtype == MDL_E5M2; }

const char *mdl_emit_gemm(const mdl_op *dot, mdl_gemm *g) {
    mdl_matrices x;
    int init = mdl_dot_init(dot), bias = mdl_dot_bias(dot);
    const mdl_type *result = &dot->out[0]->type;
    if (!mdl_dot_as_matrices(dot, &x)) return "a dot that is not a batch of matrix products";
    if (!(has_products(dot->in[0]->type.dtype) || is_small(dot->in[0]->type.dtype)) || !has_products(result->dtype))
        return "a product that is not of f32, bf16, e4m3 or e5m2, to f32 or bf16";
    *g = (mdl_gemm){.m = x.m,
                    .n = x.n,
                    .k = x.k,
                    .batch = x.batch,
                    .lda = x.lda,
                    .ldb = x.ldb,
                    .ldd = x.ldd,
                    .stride_a = x.stride_a,
                    .stride_b = x.stride_b,
                    .stride_d = x.stride_d,
                    .trans_a = x.trans_a,
                    .trans_b = x.trans_b,
                    .type_a = dot->in[0]->type.dtype,
                    .type_b = dot->in[1]->type.dtype,
                    .type_d = result->dtype,
                    .has_scales = mdl_dot_scales(dot) > 0,
                    .fast_sums = mdl_attr_int_or(dot, "fast", 0) != 0};
    if (init > 0) { /* lies as the result does */
        g->has_c = true;
        g->ldc = g->ldd;
        g->stride_c = g->stride_d;
        g->type_c = dot->in[init]->type.dtype;
    }
    if (bias > 0) {
        g->has_bias = true;
        g->type_bias = dot->in[bias]->type.dtype;
        if (mdl_type_count(&dot->in[bias]->type) != g->n || !has_products(g->type_bias)) return "a bias that is not one row";
    }
    return NULL;
}
