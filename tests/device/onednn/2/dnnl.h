/* What runtime/device/onednn.c uses of oneDNN 2.x, declared as its headers do (checked against those of 2.6.3): so that the shim is
 * compiled against both interfaces wherever it is tested. */
#ifndef DNNL_H
#define DNNL_H

#define DNNL_VERSION_MAJOR 2
#include "../common.h"

typedef struct {
    int ndims;
    dnnl_dims_t dims;
} dnnl_memory_desc_t;
typedef struct {
    int primitive_kind;
} dnnl_matmul_desc_t;
typedef const void *const_dnnl_op_desc_t;
typedef struct dnnl_primitive_desc *dnnl_primitive_desc_t;
typedef const struct dnnl_primitive_desc *const_dnnl_primitive_desc_t;

dnnl_status_t dnnl_memory_desc_init_by_strides(dnnl_memory_desc_t *memory_desc, int ndims, const dnnl_dims_t dims,
                                               dnnl_data_type_t data_type, const dnnl_dims_t strides);
size_t dnnl_memory_desc_get_size(const dnnl_memory_desc_t *memory_desc);
dnnl_status_t dnnl_memory_create(dnnl_memory_t *memory, const dnnl_memory_desc_t *memory_desc, dnnl_engine_t engine, void *handle);
dnnl_status_t dnnl_matmul_desc_init(dnnl_matmul_desc_t *matmul_desc, const dnnl_memory_desc_t *src_desc,
                                    const dnnl_memory_desc_t *weights_desc, const dnnl_memory_desc_t *bias_desc,
                                    const dnnl_memory_desc_t *dst_desc);
dnnl_status_t dnnl_primitive_desc_create(dnnl_primitive_desc_t *primitive_desc, const_dnnl_op_desc_t op_desc,
                                         const_dnnl_primitive_attr_t attr, dnnl_engine_t engine,
                                         const_dnnl_primitive_desc_t hint_forward_primitive_desc);
const dnnl_memory_desc_t *dnnl_primitive_desc_query_md(const_dnnl_primitive_desc_t primitive_desc, dnnl_query_t what, int index);
#include "../primitive.h"

#endif
