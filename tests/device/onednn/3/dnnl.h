/* What runtime/device/onednn.c uses of oneDNN 3.x, declared as its headers do (checked against those of 3.7.2 and 3.13): so that
 * the shim is compiled against both interfaces wherever it is tested. */
#ifndef DNNL_H
#define DNNL_H

#define DNNL_VERSION_MAJOR 3
#include "../common.h"

typedef struct dnnl_memory_desc *dnnl_memory_desc_t;
typedef const struct dnnl_memory_desc *const_dnnl_memory_desc_t;
typedef struct dnnl_primitive_desc *dnnl_primitive_desc_t;
typedef const struct dnnl_primitive_desc *const_dnnl_primitive_desc_t;

dnnl_status_t dnnl_memory_desc_create_with_strides(dnnl_memory_desc_t *memory_desc, int ndims, const dnnl_dims_t dims,
                                                   dnnl_data_type_t data_type, const dnnl_dims_t strides);
dnnl_status_t dnnl_memory_desc_destroy(dnnl_memory_desc_t memory_desc);
size_t dnnl_memory_desc_get_size(const_dnnl_memory_desc_t memory_desc);
dnnl_status_t dnnl_memory_create(dnnl_memory_t *memory, const_dnnl_memory_desc_t memory_desc, dnnl_engine_t engine, void *handle);
dnnl_status_t dnnl_matmul_primitive_desc_create(dnnl_primitive_desc_t *primitive_desc, dnnl_engine_t engine,
                                                const_dnnl_memory_desc_t src_desc, const_dnnl_memory_desc_t weights_desc,
                                                const_dnnl_memory_desc_t bias_desc, const_dnnl_memory_desc_t dst_desc,
                                                const_dnnl_primitive_attr_t attr);
const_dnnl_memory_desc_t dnnl_primitive_desc_query_md(const_dnnl_primitive_desc_t primitive_desc, dnnl_query_t what, int index);
#include "../primitive.h"

#endif
