/* Matrix products for the CPU backend: fixed tiles of D, each computed by one thread. Results depend on the problem alone, bit for
 * bit: not on the number of threads, not on the run. */
#ifndef MDL_DEVICE_GEMM_H
#define MDL_DEVICE_GEMM_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/device/launch.h"
#include "runtime/plan/plan.h"

/* What the products of one device share: threads, the memory each of them works in, and the library's bf16 code. */
typedef struct mdl_cpu_products mdl_cpu_products;
mdl_cpu_products *mdl_cpu_products_new(int threads);
void mdl_cpu_products_free(mdl_cpu_products *products);
int64_t mdl_cpu_products_bytes(const mdl_cpu_products *products); /* working memory, of all threads together */

/* One product, cut into tiles. It belongs to the products that it was prepared for. */
typedef struct mdl_cpu_gemm mdl_cpu_gemm;
/* Chooses the tiles, a function of the problem only, and makes the code for them. All are prepared before any is run: running
 * allocates nothing. NULL: out of memory. */
mdl_cpu_gemm *mdl_cpu_gemm_prepare(mdl_cpu_products *products, const mdl_gemm *problem, const mdl_gemm_memory *memory);
/* As mdl_gemm says. f32 sums in place start from C; everywhere else bias, then C, are added to the finished sums. */
mdl_status mdl_cpu_gemm_run(const mdl_cpu_gemm *gemm);

const char *mdl_cpu_gemm_version(void); /* "oneDNN 2.6.3" */
/* Does this processor have instructions for bf16 products? Without them they are right, but slower than f32. */
bool mdl_cpu_gemm_has_bf16(void);

#endif
