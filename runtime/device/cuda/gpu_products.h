/* Matrix products on a GPU, by cuBLASLt, which is loaded when there are any. */
#ifndef MDL_DEVICE_CUDA_GPU_PRODUCTS_H
#define MDL_DEVICE_CUDA_GPU_PRODUCTS_H

#include "runtime/base/arena.h"
#include "runtime/device/cuda/gpu_driver.h"
#include "runtime/device/launch.h"

/* The products of one device. Equal problems share an algorithm, which the cache (gemm_cache.h) gives, or a race of what the
 * library proposes. With the same algorithms the results are the same bits: none may split the sum over k between blocks and add up
 * in no order. */
typedef struct mdl_gpu_products mdl_gpu_products;
typedef struct mdl_gpu_product mdl_gpu_product;

/* Begins to load the library on a thread of its own, while the driver starts: either takes a part of a second. */
void mdl_gpu_products_load_early(void);
/* Takes memory for the library to work in; gpu: the card's name. Lives in `memory`. */
mdl_status mdl_gpu_products_open(mdl_arena *memory, const mdl_driver *cu, CUstream stream, const char *gpu,
                                 mdl_gpu_products **products);
void mdl_gpu_products_close(mdl_gpu_products *products);                /* NULL is allowed */
const char *mdl_gpu_products_library(const mdl_gpu_products *products); /* "cuBLASLt 130100" */
int64_t mdl_gpu_products_bytes(const mdl_gpu_products *products);       /* of the GPU's memory */

/* A product that mdl_cuda_gemm_takes. It can be run when all have been made and decided. */
mdl_status mdl_gpu_product_make(mdl_gpu_products *products, const mdl_gemm *problem, const mdl_gemm_memory *memory,
                                const mdl_gpu_product **product);
bool mdl_gpu_products_undecided(const mdl_gpu_products *products); /* will any be timed? */
/* Times what the cache does not know, on what lies in the products' memory, and runs every problem once, so that all code is
 * loaded. Writes to their results. */
mdl_status mdl_gpu_products_decide(mdl_gpu_products *products);
/* The algorithms that are decided, a line each: "PROBLEM = HEX". */
const char *mdl_gpu_products_choices(const mdl_gpu_products *products, mdl_arena *memory);
/* Takes the algorithms of such lines where library and GPU can run them, and runs those products once. Writes to their results; to be
 * called before any program is captured. */
mdl_status mdl_gpu_products_choose(mdl_gpu_products *products, const char *choices);
const char *mdl_gpu_products_note(const mdl_gpu_products *products); /* about the cache: a sentence, or NULL */

mdl_status mdl_gpu_product_run(const mdl_gpu_product *product); /* starts it on the stream */

#endif
