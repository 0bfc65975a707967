/* cuBLASLt: problems, the choice of algorithms, running.
 *
 * How many kernels a candidate launches is not counted yet: some epilogues run as a second one, which their time shows. */
#include "runtime/device/cuda/gpu_products.h"

#include <cublasLt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/library.h"
#include "runtime/device/cuda/gemm_cache.h"
#include "runtime/device/cuda/gemm_layout.h"

enum { WORKSPACE = MDL_PRODUCTS_WORKSPACE, CANDIDATES = 8, ALIGN = 16 /* bytes: more makes no difference to the library */ };
enum { WARM_UP = 2, ROUNDS = 5, REPEATS = 5 };

#define LT_FUNCTIONS(FUNCTION)                     \
    FUNCTION(cublasLtGetVersion)                   \
    FUNCTION(cublasLtGetStatusString)              \
    FUNCTION(cublasLtCreate)                       \
    FUNCTION(cublasLtDestroy)                      \
    FUNCTION(cublasLtMatmulDescCreate)             \
    FUNCTION(cublasLtMatmulDescDestroy)            \
    FUNCTION(cublasLtMatmulDescSetAttribute)       \
    FUNCTION(cublasLtMatrixLayoutCreate)           \
    FUNCTION(cublasLtMatrixLayoutDestroy)          \
    FUNCTION(cublasLtMatrixLayoutSetAttribute)     \
    FUNCTION(cublasLtMatmulPreferenceCreate)       \
    FUNCTION(cublasLtMatmulPreferenceDestroy)      \
    FUNCTION(cublasLtMatmulPreferenceSetAttribute) \
    FUNCTION(cublasLtMatmulAlgoGetHeuristic)       \
    FUNCTION(cublasLtMatmulAlgoCheck)              \
    FUNCTION(cublasLtMatmul)

typedef struct {
#define FUNCTION(name) __typeof__(name) *name;
    LT_FUNCTIONS(FUNCTION)
#undef FUNCTION
} library;

/* What launches of one problem share. */
typedef struct {
    const char *text; /* all that the choice depends on */
    mdl_column_gemm gemm;
    int align[4]; /* of A, B, C, D as the library has them: bytes, at most ALIGN */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulAlgo_t algorithm;
    bool decided;
    const mdl_gpu_product *first; /* timed on its memory */
} choice;

struct mdl_gpu_product {
    const mdl_gpu_products *products;
    choice *choice;
    mdl_gemm_memory memory; /* as the plan has it */
};

struct mdl_gpu_products {
    mdl_arena *memory;
    const mdl_driver *cu;
    CUstream stream;
    library lt;
    cublasLtHandle_t handle;
    CUdeviceptr workspace;
    CUevent start, end;
    const char *version;
    mdl_gemm_cache *cache;
    MDL_VEC(choice *) choices;
    const char *note;
};

static mdl_status check(const mdl_gpu_products *p, cublasStatus_t status) {
    return status ? mdl_fail(MDL_SYSTEM, "cuBLASLt: %s", p->lt.cublasLtGetStatusString(status)) : MDL_OK;
}
#define MDL_TRY_LT(p, call, ...) MDL_TRY(check((p), (call)), __VA_ARGS__)

/* ---- opening ---- */
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

static const char *const names[] = {"libcublasLt.so." TEXT(CUBLAS_VER_MAJOR), NULL};
static pthread_t early;
static bool early_runs;

/* What goes wrong is said when it is loaded again. */
static void *load_early(void *nothing) {
    void *opened = NULL;
    mdl_status_free(mdl_library_open(names, &opened));
    return nothing;
}

void mdl_gpu_products_load_early(void) { early_runs = early_runs || !pthread_create(&early, NULL, load_early, NULL); }

static mdl_status load(library *lt) {
    void *opened = NULL;
    if (early_runs) pthread_join(early, NULL);
    early_runs = false;
    MDL_TRY(mdl_library_open(names, &opened),
            "products on a GPU need cuBLASLt, which scripts/install-dependencies --cuda installs");
#define FUNCTION(name) MDL_TRY(mdl_library_function(opened, #name, &lt->name), "cuBLASLt");
    LT_FUNCTIONS(FUNCTION)
#undef FUNCTION
    return MDL_OK;
}

static mdl_status open_all(mdl_gpu_products *p, const char *gpu) {
    const mdl_driver *cu = p->cu;
    mdl_status status = load(&p->lt);
    if (status) return status;
    MDL_TRY_LT(p, p->lt.cublasLtCreate(&p->handle), "start");
    MDL_TRY_CUDA(cu, cu->cuMemAlloc(&p->workspace, WORKSPACE), "%d MiB for cuBLASLt to work in", WORKSPACE >> 20);
    MDL_TRY_CUDA(cu, cu->cuEventCreate(&p->start, CU_EVENT_DEFAULT), "timing");
    MDL_TRY_CUDA(cu, cu->cuEventCreate(&p->end, CU_EVENT_DEFAULT), "timing");
    const char *path = mdl_gemm_cache_path(p->memory);
    p->version = mdl_printf(p->memory, "cuBLASLt %zu", p->lt.cublasLtGetVersion());
    p->cache = mdl_gemm_cache_open(p->memory, path, p->version, gpu);
    if (mdl_gemm_cache_was_damaged(p->cache))
        p->note =
            mdl_printf(p->memory, "%s, with choices of algorithms for products, was damaged: what is lost is chosen anew", path);
    return MDL_OK;
}

mdl_status mdl_gpu_products_open(mdl_arena *memory, const mdl_driver *cu, CUstream stream, const char *gpu,
                                 mdl_gpu_products **products) {
    mdl_gpu_products *p = MDL_NEW(memory, mdl_gpu_products);
    p->memory = memory;
    p->cu = cu;
    p->stream = stream;
    *products = p; /* also when it fails: closing takes what there is */
    return open_all(p, gpu);
}

void mdl_gpu_products_close(mdl_gpu_products *p) {
    if (!p) return;
    for (int i = 0; i < p->choices.n; i++) {
        choice *c = p->choices.at[i];
        if (c->operation) p->lt.cublasLtMatmulDescDestroy(c->operation);
        cublasLtMatrixLayout_t layouts[] = {c->a, c->b, c->c, c->d};
        for (int k = 0; k < 4; k++)
            if (layouts[k]) p->lt.cublasLtMatrixLayoutDestroy(layouts[k]);
    }
    if (p->start) p->cu->cuEventDestroy(p->start);
    if (p->end) p->cu->cuEventDestroy(p->end);
    if (p->workspace) p->cu->cuMemFree(p->workspace);
    if (p->handle) p->lt.cublasLtDestroy(p->handle);
}

const char *mdl_gpu_products_library(const mdl_gpu_products *p) { return p->version; }

int64_t mdl_gpu_products_bytes(const mdl_gpu_products *p) { return p->workspace ? WORKSPACE : 0; }

const char *mdl_gpu_products_note(const mdl_gpu_products *p) { return p->note; }

/* ---- problems ---- */
static cudaDataType_t type_of(mdl_dtype dtype) {
    switch (dtype) {
        case MDL_BF16: return CUDA_R_16BF;
        case MDL_E4M3: return CUDA_R_8F_E4M3;
        case MDL_E5M2: return CUDA_R_8F_E5M2;
        default: return CUDA_R_32F;
    }
}

static mdl_status make_layout(const mdl_gpu_products *p, const mdl_column_major *x, int64_t batch, cublasLtMatrixLayout_t *layout) {
    int32_t count = (int32_t)batch;
    MDL_TRY_LT(p, p->lt.cublasLtMatrixLayoutCreate(layout, type_of(x->type), (uint64_t)x->rows, (uint64_t)x->columns, x->ld),
               "layout");
    MDL_TRY_LT(p, p->lt.cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
               "batch");
    MDL_TRY_LT(
        p,
        p->lt.cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &x->stride, sizeof x->stride),
        "batch");
    return MDL_OK;
}

static mdl_status set(const mdl_gpu_products *p, choice *c, cublasLtMatmulDescAttributes_t attribute, const void *value,
                      size_t bytes) {
    return check(p, p->lt.cublasLtMatmulDescSetAttribute(c->operation, attribute, value, bytes));
}

static mdl_status make_bias(const mdl_gpu_products *p, choice *c) {
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    int32_t bias = (int32_t)type_of(c->gemm.has_scales ? MDL_BF16 : c->gemm.d.type);
    mdl_status status = set(p, c, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    return status ? status : set(p, c, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof bias);
}

/* f32 sums, of f32 operands without TF32. */
static mdl_status make_operation(const mdl_gpu_products *p, choice *c) {
    cublasOperation_t op_a = c->gemm.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, op_b = c->gemm.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    int8_t fast = c->gemm.fast_sums;
    MDL_TRY_LT(p, p->lt.cublasLtMatmulDescCreate(&c->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "operation");
    mdl_status status = set(p, c, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a);
    if (!status) status = set(p, c, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b);
    if (!status && fast) status = set(p, c, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof fast);
    return status || !c->gemm.has_bias ? status : make_bias(p, c);
}

static mdl_status make_choice(const mdl_gpu_products *p, choice *c) {
    mdl_status status = make_operation(p, c);
    if (!status) status = make_layout(p, &c->gemm.a, c->gemm.batch, &c->a);
    if (!status) status = make_layout(p, &c->gemm.b, c->gemm.batch, &c->b);
    if (!status) status = make_layout(p, &c->gemm.c, c->gemm.batch, &c->c);
    return status ? status : make_layout(p, &c->gemm.d, c->gemm.batch, &c->d);
}

static int alignment(const void *address) {
    int align = ALIGN;
    while ((uintptr_t)address % (uintptr_t)align) align /= 2;
    return align;
}

static const char *describe(mdl_arena *memory, const mdl_gemm *g, const int align[4], bool in_place) {
    mdl_text text = {.arena = memory};
    mdl_text_printf(&text, "%" PRId64 "x%" PRId64 "x%" PRId64 " batch %" PRId64 " %c%c %s>%s", g->m, g->n, g->k, g->batch,
                    g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N', mdl_dtype_name(g->type_a), mdl_dtype_name(g->type_d));
    if (g->type_b != g->type_a) mdl_text_printf(&text, " B %s", mdl_dtype_name(g->type_b));
    mdl_text_printf(&text, "%s%s%s",
                    !g->has_c  ? ""
                    : in_place ? " +D"
                               : " +C",
                    g->has_bias ? " +bias" : "", g->fast_sums ? " fast" : "");
    mdl_text_printf(&text, " ld %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, g->lda, g->ldb, g->ldc, g->ldd);
    mdl_text_printf(&text, " stride %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, g->stride_a, g->stride_b, g->stride_c,
                    g->stride_d);
    mdl_text_printf(&text, " align %d %d %d %d", align[0], align[1], align[2], align[3]);
    return text.at;
}

/* What the cache has for it, where the library can run that. */
static void recall(const mdl_gpu_products *p, choice *c) {
    cublasLtMatmulHeuristicResult_t result;
    cublasLtMatmulAlgo_t algorithm;
    if (!mdl_gemm_cache_find(p->cache, c->text, &algorithm, sizeof algorithm)) return;
    if (p->lt.cublasLtMatmulAlgoCheck(p->handle, c->operation, c->a, c->b, c->c, c->d, &algorithm, &result)) return;
    if (result.workspaceSize > WORKSPACE) return;
    c->algorithm = algorithm;
    c->decided = true;
}

static mdl_status choice_for(mdl_gpu_products *p, const mdl_gemm *g, const mdl_gpu_product *product, choice **to) {
    const mdl_gemm_memory *m = &product->memory;
    int align[] = {alignment(m->b), alignment(m->a), alignment(m->c ? m->c : m->d), alignment(m->d)};
    const char *text = describe(p->memory, g, align, m->c == m->d);
    for (int i = 0; i < p->choices.n; i++)
        if (!strcmp(p->choices.at[i]->text, text)) return *to = p->choices.at[i], MDL_OK;
    choice *c = *to = MDL_NEW(p->memory, choice);
    *c = (choice){.text = text, .gemm = mdl_gemm_by_columns(g), .first = product};
    memcpy(c->align, align, sizeof align);
    MDL_PUSH(p->memory, p->choices, c);
    MDL_TRY(make_choice(p, c), "product %s", text);
    recall(p, c);
    return MDL_OK;
}

mdl_status mdl_gpu_product_make(mdl_gpu_products *p, const mdl_gemm *problem, const mdl_gemm_memory *memory,
                                const mdl_gpu_product **product) {
    mdl_gpu_product *made = MDL_NEW(p->memory, mdl_gpu_product);
    *made = (mdl_gpu_product){.products = p, .memory = *memory};
    *product = made;
    return choice_for(p, problem, made, &made->choice);
}

bool mdl_gpu_products_undecided(const mdl_gpu_products *p) {
    for (int i = 0; i < p->choices.n; i++)
        if (!p->choices.at[i]->decided) return true;
    return false;
}

/* ---- running ---- */
/* The library's A is the plan's B. */
static mdl_status set_scales(const mdl_gpu_products *p, choice *c, const mdl_gemm_memory *m) {
    mdl_status status = set(p, c, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &m->scale_b, sizeof m->scale_b);
    return status ? status : set(p, c, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &m->scale_a, sizeof m->scale_a);
}

static mdl_status run(const mdl_gpu_product *product, const cublasLtMatmulAlgo_t *algorithm) {
    const mdl_gpu_products *p = product->products;
    choice *c = product->choice;
    const mdl_gemm_memory *m = &product->memory;
    float one = 1, beta = c->gemm.has_c ? 1 : 0;
    if (m->bias) MDL_TRY(set(p, c, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &m->bias, sizeof m->bias), "product %s", c->text);
    if (m->scale_a) MDL_TRY(set_scales(p, c, m), "product %s", c->text);
    MDL_TRY_LT(p,
               p->lt.cublasLtMatmul(p->handle, c->operation, &one, m->b, c->a, m->a, c->b, &beta, m->c ? m->c : m->d, c->c, m->d,
                                    c->d, algorithm, (void *)(uintptr_t)p->workspace, WORKSPACE, p->stream),
               "product %s", c->text);
    return MDL_OK;
}

mdl_status mdl_gpu_product_run(const mdl_gpu_product *product) { return run(product, &product->choice->algorithm); }

/* ---- choosing ---- */
/* Only algorithms whose order of sums is fixed. */
static mdl_status make_preference(const mdl_gpu_products *p, const choice *c, cublasLtMatmulPreference_t *preference) {
    static const cublasLtMatmulPreferenceAttributes_t aligns[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    uint64_t workspace = WORKSPACE;
    /* A sum over k that is split between blocks is added up in order, in the workspace; never in place, in the order of arrival. */
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    MDL_TRY_LT(p, p->lt.cublasLtMatmulPreferenceCreate(preference), "preference");
    MDL_TRY_LT(p,
               p->lt.cublasLtMatmulPreferenceSetAttribute(*preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                                          sizeof workspace),
               "preference");
    MDL_TRY_LT(p,
               p->lt.cublasLtMatmulPreferenceSetAttribute(*preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                                          sizeof reductions),
               "preference");
    for (int i = 0; i < 4; i++) {
        uint32_t align = (uint32_t)c->align[i];
        MDL_TRY_LT(p, p->lt.cublasLtMatmulPreferenceSetAttribute(*preference, aligns[i], &align, sizeof align), "preference");
    }
    return MDL_OK;
}

static mdl_status propose(const mdl_gpu_products *p, const choice *c, cublasLtMatmulHeuristicResult_t *results, int *n) {
    cublasLtMatmulPreference_t preference = NULL;
    mdl_status status = make_preference(p, c, &preference);
    if (!status)
        status = check(p, p->lt.cublasLtMatmulAlgoGetHeuristic(p->handle, c->operation, c->a, c->b, c->c, c->d, preference,
                                                               CANDIDATES, results, n));
    if (preference) p->lt.cublasLtMatmulPreferenceDestroy(preference);
    if (!status && !*n) status = mdl_fail(MDL_SYSTEM, "cuBLASLt proposes no algorithm");
    return status;
}

/* Milliseconds of `repeats` runs. */
static mdl_status time_runs(const mdl_gpu_products *p, const mdl_gpu_product *product, const cublasLtMatmulAlgo_t *algorithm,
                            int repeats, float *milliseconds) {
    const mdl_driver *cu = p->cu;
    mdl_status status = MDL_OK;
    MDL_TRY_CUDA(cu, cu->cuEventRecord(p->start, p->stream), "timing");
    for (int i = 0; i < repeats && !status; i++) status = run(product, algorithm);
    if (status) return status;
    MDL_TRY_CUDA(cu, cu->cuEventRecord(p->end, p->stream), "timing");
    MDL_TRY_CUDA(cu, cu->cuEventSynchronize(p->end), "timing");
    MDL_TRY_CUDA(cu, cu->cuEventElapsedTime(milliseconds, p->start, p->end), "timing");
    return MDL_OK;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The candidates take turns, so that what changes with time (clocks) meets all alike; the medians are compared. */
static mdl_status race(const mdl_gpu_products *p, choice *c, const cublasLtMatmulHeuristicResult_t *candidates, int n) {
    float times[CANDIDATES][ROUNDS], best = 0;
    for (int round = -1; round < ROUNDS; round++)
        for (int i = 0; i < n; i++) {
            float milliseconds = 0;
            mdl_status status = time_runs(p, c->first, &candidates[i].algo, round < 0 ? WARM_UP : REPEATS, &milliseconds);
            if (status) return status;
            if (round >= 0) times[i][round] = milliseconds;
        }
    for (int i = 0; i < n; i++) {
        qsort(times[i], ROUNDS, sizeof times[i][0], ascending);
        if (i && times[i][ROUNDS / 2] >= best) continue;
        best = times[i][ROUNDS / 2];
        c->algorithm = candidates[i].algo;
    }
    return MDL_OK;
}

static mdl_status decide(mdl_gpu_products *p, choice *c) {
    cublasLtMatmulHeuristicResult_t candidates[CANDIDATES];
    int n = 0, usable = 0;
    mdl_status status = propose(p, c, candidates, &n);
    if (status) return status;
    for (int i = 0; i < n; i++)
        if (!candidates[i].state && candidates[i].workspaceSize <= WORKSPACE) candidates[usable++] = candidates[i];
    if (!usable) return mdl_fail(MDL_SYSTEM, "cuBLASLt proposes no algorithm that it can run");
    status = race(p, c, candidates, usable);
    if (status) return status;
    mdl_gemm_cache_put(p->cache, c->text, &c->algorithm, sizeof c->algorithm);
    c->decided = true;
    return MDL_OK;
}

mdl_status mdl_gpu_products_decide(mdl_gpu_products *p) {
    for (int i = 0; i < p->choices.n; i++) {
        choice *c = p->choices.at[i];
        if (!c->decided) MDL_TRY(decide(p, c), "product %s", c->text);
        mdl_status status = run(c->first, &c->algorithm);
        if (status) return status;
    }
    MDL_TRY_CUDA(p->cu, p->cu->cuStreamSynchronize(p->stream), "products");
    mdl_status kept = mdl_gemm_cache_save(p->cache);
    if (kept) p->note = mdl_printf(p->memory, "the choices of algorithms for products are not kept: %s", mdl_message(kept));
    mdl_status_free(kept);
    return MDL_OK;
}

/* ---- a run's own choices ---- */
const char *mdl_gpu_products_choices(const mdl_gpu_products *p, mdl_arena *memory) {
    mdl_text text = {.arena = memory};
    mdl_text_printf(&text, "%s", "");
    for (int i = 0; i < p->choices.n; i++) {
        const choice *c = p->choices.at[i];
        mdl_text_printf(&text, "%s = %s\n", c->text, mdl_gemm_cache_hex(memory, &c->algorithm, sizeof c->algorithm));
    }
    return text.at;
}

static void pin_lines(mdl_gpu_products *p, const char *at) {
    for (const char *end; (end = strchr(at, '\n')); at = end + 1) {
        const char *line = mdl_strndup(p->memory, at, (size_t)(end - at)), *middle = strstr(line, " = ");
        if (middle) mdl_gemm_cache_pin(p->cache, mdl_strndup(p->memory, line, (size_t)(middle - line)), middle + 3);
    }
}

mdl_status mdl_gpu_products_choose(mdl_gpu_products *p, const char *choices) {
    pin_lines(p, choices);
    for (int i = 0; i < p->choices.n; i++) {
        choice *c = p->choices.at[i];
        recall(p, c);
        MDL_TRY(run(c->first, &c->algorithm), "product %s", c->text);
    }
    MDL_TRY_CUDA(p->cu, p->cu->cuStreamSynchronize(p->stream), "products");
    return MDL_OK;
}
