/* What the templates for CPU and CUDA have in common. */
#ifndef MDL_KERNEL_TEMPLATE_PARTS_H
#define MDL_KERNEL_TEMPLATE_PARTS_H

#include <stdbool.h>

#include "runtime/base/dtype.h"

const char *mdl_template_type(mdl_dtype dtype);  /* the C type of elements of f32 or bf16 */
const char *mdl_template_widen(mdl_dtype dtype); /* the function that makes f32 of one, "" when it is f32 */

/* What the segment ops compute, by name: of each token, of each segment, or a sum. */
typedef struct {
    const char *name;
    bool of_tokens;
    const char *what, *value, *tail; /* for people; C of s (and t); C of a token in no segment */
} mdl_segment_op;
const mdl_segment_op *mdl_segment_op_find(const char *name);

#endif
