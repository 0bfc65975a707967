/* A plan's product, which is row-major, as a library sees it that is column-major. */
#ifndef MDL_DEVICE_CUDA_GEMM_LAYOUT_H
#define MDL_DEVICE_CUDA_GEMM_LAYOUT_H

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

/* A matrix by columns: element (i, j) of matrix b is at b * stride + j * ld + i. */
typedef struct {
    mdl_dtype type;
    int64_t rows, columns, ld, stride;
} mdl_column_major;

/* For each of `batch`: D[rows, columns] = op(A) op(B) (+ C) (+ bias[rows] in every column), op transposing where the flag is set.
 */
typedef struct {
    mdl_column_major a, b, c, d;
    bool trans_a, trans_b, has_c, has_bias, has_scales, fast_sums;
    int64_t batch;
} mdl_column_gemm;

/* A matrix by rows is its transposed by columns, and D^T = op(B)^T op(A)^T: the result's A is the plan's B. */
mdl_column_gemm mdl_gemm_by_columns(const mdl_gemm *g);

/* Can the GPU's library do it? It adds C and a bias of D's type only (a bias in bf16 to f32 sums of 8-bit operands), and f32
 * operands give f32. Operands of 8 bits have the summed axis contiguous, in multiples of 16, one of them is e4m3, and they bring
 * their scales. */
mdl_status mdl_cuda_gemm_takes(const mdl_gemm *g);

#endif
