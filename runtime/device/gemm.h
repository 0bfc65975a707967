/* Matrix products for the CPU backend: the library behind four functions. Results depend on the problem alone, bit for bit: not on
 * the number of threads, not on the run. */
#ifndef MDL_DEVICE_GEMM_H
#define MDL_DEVICE_GEMM_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

/* A product cut into tiles of C, each computed by one thread. */
typedef struct {
    mdl_gemm problem;
    int64_t tile_m, tile_n; /* rows and columns of a tile; the last ones may be smaller */
    int64_t tiles_m, tiles_n;
} mdl_cpu_gemm;

/* Chooses the tiles: a function of the problem only. */
void mdl_cpu_gemm_prepare(const mdl_gemm *problem, mdl_cpu_gemm *gemm);
/* C = beta*C + op(A).op(B). With beta 0, C is not read. Memory as mdl_gemm describes it. */
mdl_status mdl_cpu_gemm_run(const mdl_cpu_gemm *gemm, int threads, const float *a, const float *b, float *c);
/* "oneDNN 2.6.3" */
const char *mdl_cpu_gemm_version(void);

#endif
