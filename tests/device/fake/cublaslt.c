/* libcublasLt without a GPU: products by scalar loops, column-major as the library's manual has it. */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

typedef struct {
    cudaDataType_t type;
    int64_t rows, columns, ld, stride;
    int32_t batch;
} matrix;
typedef struct {
    cublasOperation_t a, b;
    cublasLtEpilogue_t epilogue;
    int32_t bias_type;
    const void *bias;
    const float *scale_a, *scale_b;
    int8_t fast;
} operation;

/* All of a call: it may run later, when the descriptors have changed. */
typedef struct {
    operation op;
    matrix a, b, c, d;
    const void *at_a, *at_b, *at_c;
    void *at_d;
    float beta;
} call;

size_t cublasLtGetVersion(void) { return 1; }
const char *cublasLtGetStatusString(cublasStatus_t status) { return status ? "fake" : "success"; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) { return *handle = (cublasLtHandle_t)1, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return (void)handle, CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale) {
    operation *op = calloc(1, sizeof *op);
    op->a = op->b = CUBLAS_OP_N;
    op->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    *desc = (cublasLtMatmulDesc_t)op;
    return compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return free(desc), CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name, const void *value,
                                              size_t bytes) {
    operation *op = (operation *)desc;
    switch (name) {
        case CUBLASLT_MATMUL_DESC_TRANSA: memcpy(&op->a, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_TRANSB: memcpy(&op->b, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_EPILOGUE: memcpy(&op->epilogue, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: memcpy(&op->bias_type, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_BIAS_POINTER: memcpy(&op->bias, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER: memcpy(&op->scale_a, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER: memcpy(&op->scale_b, value, bytes); break;
        case CUBLASLT_MATMUL_DESC_FAST_ACCUM: memcpy(&op->fast, value, bytes); break;
        default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t ld) {
    matrix *m = calloc(1, sizeof *m);
    *m = (matrix){type, (int64_t)rows, (int64_t)columns, ld, 0, 1};
    *layout = (cublasLtMatrixLayout_t)m;
    return ld >= m->rows ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return free(layout), CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t name,
                                                const void *value, size_t bytes) {
    matrix *m = (matrix *)layout;
    if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) return memcpy(&m->batch, value, bytes), CUBLAS_STATUS_SUCCESS;
    if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET) return memcpy(&m->stride, value, bytes), CUBLAS_STATUS_SUCCESS;
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    *preference = calloc(1, 64);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    return free(preference), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name, const void *value, size_t bytes) {
    (void)preference, (void)name, (void)value, (void)bytes;
    return CUBLAS_STATUS_SUCCESS;
}

static int is_small(cudaDataType_t type) { return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2; }

/* The types that the manual's table has, of those that plans use. */
static int supported(cublasLtMatmulDesc_t desc, const matrix *a, const matrix *b, const matrix *c, const matrix *d) {
    const operation *op = (const operation *)desc;
    if (is_small(a->type)) {
        int along = op->a == CUBLAS_OP_T && op->b == CUBLAS_OP_N && a->ld % 16 == 0 && b->ld % 16 == 0 && a->rows % 16 == 0;
        int pair = is_small(b->type) && (a->type == CUDA_R_8F_E4M3 || b->type == CUDA_R_8F_E4M3);
        return along && pair && c->type == d->type && (op->epilogue != CUBLASLT_EPILOGUE_BIAS || op->bias_type == CUDA_R_16BF);
    }
    int types = a->type == b->type && c->type == d->type && (a->type == CUDA_R_16BF || d->type == CUDA_R_32F);
    return types && (op->epilogue != CUBLASLT_EPILOGUE_BIAS || op->bias_type == (int32_t)d->type);
}

/* Two that do the same, and one that needs more memory than there is. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t *results, int *n) {
    (void)handle, (void)preference;
    *n = 0;
    if (!supported(desc, (matrix *)a, (matrix *)b, (matrix *)c, (matrix *)d)) return CUBLAS_STATUS_NOT_SUPPORTED;
    for (; *n < 3 && *n < most; ++*n) {
        results[*n] = (cublasLtMatmulHeuristicResult_t){.workspaceSize = *n == 0 ? (size_t)1 << 40 : 0};
        results[*n].algo.data[0] = (uint64_t)*n;
    }
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulHeuristicResult_t *result) {
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d;
    *result = (cublasLtMatmulHeuristicResult_t){.algo = *algorithm};
    return algorithm->data[0] == 1 || algorithm->data[0] == 2 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* ---- the product ---- */
static float get(cudaDataType_t type, const void *at, int64_t i) {
    uint32_t bits = 0;
    if (is_small(type)) { /* sign, exponent, fraction */
        int code = ((const uint8_t *)at)[i], fraction = type == CUDA_R_8F_E4M3 ? 3 : 2, e = (code & 0x7f) >> fraction;
        float size = (float)((code & ((1 << fraction) - 1)) + (e ? 1 << fraction : 0));
        for (int k = (e ? e : 1) - (type == CUDA_R_8F_E4M3 ? 7 : 15) - fraction; k; k += k < 0 ? 1 : -1)
            size *= k < 0 ? 0.5f : 2.0f;
        return code & 0x80 ? -size : size;
    }
    if (type == CUDA_R_32F) return ((const float *)at)[i];
    memcpy((char *)&bits + 2, (const char *)at + 2 * i, 2);
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static void put(cudaDataType_t type, void *at, int64_t i, float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits += 0x7fff + (bits >> 16 & 1);
    if (type == CUDA_R_32F)
        ((float *)at)[i] = x;
    else
        memcpy((char *)at + 2 * i, (char *)&bits + 2, 2);
}
static float element(const matrix *m, const void *at, cublasOperation_t op, int64_t batch, int64_t i, int64_t j) {
    return get(m->type, at, batch * m->stride + (op == CUBLAS_OP_T ? i * m->ld + j : j * m->ld + i));
}

static void run_product(const fake_work *w) {
    const call *x = w->what[0];
    int64_t k = x->op.a == CUBLAS_OP_T ? x->a.rows : x->a.columns;
    for (int64_t batch = 0; batch < x->d.batch; batch++)
        for (int64_t j = 0; j < x->d.columns; j++)
            for (int64_t i = 0; i < x->d.rows; i++) {
                float sum = 0;
                for (int64_t l = 0; l < k; l++)
                    sum += element(&x->a, x->at_a, x->op.a, batch, i, l) * element(&x->b, x->at_b, x->op.b, batch, l, j);
                if (x->op.scale_a) sum *= *x->op.scale_a * *x->op.scale_b;
                if (x->beta != 0) sum += x->beta * element(&x->c, x->at_c, CUBLAS_OP_N, batch, i, j);
                if (x->op.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += get((cudaDataType_t)x->op.bias_type, x->op.bias, i);
                put(x->d.type, x->at_d, batch * x->d.stride + j * x->d.ld + i, sum);
            }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t layout_a, const void *b, cublasLtMatrixLayout_t layout_b, const void *beta,
                              const void *c, cublasLtMatrixLayout_t layout_c, void *d, cublasLtMatrixLayout_t layout_d,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes, cudaStream_t stream) {
    (void)handle, (void)workspace, (void)workspace_bytes, (void)stream;
    if (*(const float *)alpha != 1 || algorithm->data[0] < 1 || algorithm->data[0] > 2) return CUBLAS_STATUS_INVALID_VALUE;
    if (fake_is_timing()) return CUBLAS_STATUS_SUCCESS;
    call *x = malloc(sizeof *x); /* as long as the process: a graph may hold it */
    *x = (call){*(operation *)desc,  *(matrix *)layout_a, *(matrix *)layout_b, *(matrix *)layout_c, *(matrix *)layout_d, a, b, c, d,
                *(const float *)beta};
    return fake_add(&(fake_work){run_product, {x}, {0}}) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
