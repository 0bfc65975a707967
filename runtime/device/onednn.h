/* oneDNN behind one shim. What differs between its 2.x and 3.x C interfaces is in onednn.c and nowhere else; the device suite
 * compiles that file against both. Everything here computes on the calling thread alone: in a parallel region in which
 * omp_set_num_threads(1) was called (the library would open a team of its own otherwise). */
#ifndef MDL_DEVICE_ONEDNN_H
#define MDL_DEVICE_ONEDNN_H

#include <stdbool.h>
#include <stdint.h>

const char *mdl_onednn_version(void); /* "oneDNN 2.6.3" */
/* Does the library compute bf16 products with instructions made for them here (AVX-512 bf16, AMX)? */
bool mdl_onednn_has_bf16(void);

/* One product, row-major: D[m,n] = op(A)[m,k] . op(B)[k,n] (+ D, where adding is asked for). ld*: from a row of the stored matrix
 * to the next, in elements. */
typedef struct {
    int64_t m, n, k, lda, ldb, ldd;
    bool trans_a, trans_b;
    bool to_bf16; /* D is bf16, else f32; for mdl_onednn_matmul */
} mdl_onednn_shape;

/* f32 throughout. False: the library refused. */
bool mdl_onednn_sgemm(const mdl_onednn_shape *shape, bool add, const float *a, const float *b, float *d);

/* bf16 operands, f32 sums. Made before a step: running one allocates nothing of ours. */
typedef struct mdl_onednn mdl_onednn;
typedef struct mdl_onednn_matmul mdl_onednn_matmul;
mdl_onednn *mdl_onednn_open(int threads); /* NULL: the library has no CPU engine */
void mdl_onednn_close(mdl_onednn *library);
/* Belongs to the library; equal shapes are one. NULL: it has no optimized code for this shape on this machine. */
const mdl_onednn_matmul *mdl_onednn_matmul_for(mdl_onednn *library, const mdl_onednn_shape *shape);
int64_t mdl_onednn_scratch_bytes(const mdl_onednn_matmul *matmul);
/* `thread` of 0 .. threads-1 may be in one call at a time; scratch: at least that many bytes, aligned to 64. */
bool mdl_onednn_run(const mdl_onednn_matmul *matmul, int thread, const void *a, const void *b, void *d, void *scratch);

#endif
