/* Inside runtime/weights: a parameter's numbers in a file's tensor. */
#ifndef MDL_WEIGHTS_VALUES_H
#define MDL_WEIGHTS_VALUES_H

#include "runtime/base/safetensors.h"
#include "runtime/weights/names.h"

/* Numbers first .. first + n - 1 of a tensor. */
mdl_status mdl_values_floats(const mdl_tensor *tensor, int64_t first, int64_t n, float *to);
/* The dims of a tensor of this spelling; its dtype is the file's business. */
mdl_type mdl_values_type(const mdl_spelling *spelling);
/* The parameter's numbers, out of a tensor of these dims. */
mdl_status mdl_values_of(const mdl_spelling *spelling, const mdl_tensor *tensor, float *to);

#endif
