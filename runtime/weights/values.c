/* Numbers of tensors as floats. */
#include "runtime/weights/values.h"

#include <math.h>
#include <string.h>

#include "runtime/base/bf16.h"
#include "runtime/weights/weights.h"

/* Sign, 5 bits of exponent, 10 of fraction. */
static float from_f16(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? ldexpf((float)fraction, -24)
                                  : ldexpf((float)(1024 + fraction), exponent - 25);
    return bits >> 15 ? -value : value;
}

mdl_status mdl_values_floats(const mdl_tensor *tensor, int64_t first, int64_t n, float *to) {
    const char *from = (const char *)tensor->bytes + first * (mdl_dtype_bits(tensor->type.dtype) / 8); /* not always aligned */
    double wide;
    uint16_t half;
    switch (tensor->type.dtype) {
        case MDL_F32: memcpy(to, from, (size_t)n * sizeof *to); return MDL_OK;
        case MDL_F64:
            for (int64_t i = 0; i < n; i++) memcpy(&wide, from + 8 * i, 8), to[i] = (float)wide;
            return MDL_OK;
        case MDL_BF16:
            for (int64_t i = 0; i < n; i++) memcpy(&half, from + 2 * i, 2), to[i] = mdl_bf16_widen(half);
            return MDL_OK;
        case MDL_F16:
            for (int64_t i = 0; i < n; i++) memcpy(&half, from + 2 * i, 2), to[i] = from_f16(half);
            return MDL_OK;
        default:
            return mdl_fail(MDL_BAD_INPUT, "tensor '%s': expected f32, bf16, f16 or f64, got %s", tensor->name,
                            mdl_dtype_name(tensor->type.dtype));
    }
}

mdl_status mdl_weights_floats(const mdl_tensor *tensor, float *to) {
    return mdl_values_floats(tensor, 0, mdl_type_count(&tensor->type), to);
}

int64_t mdl_weights_bad(int64_t n, const float *values) {
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad += !isfinite(values[i]);
    return bad;
}

mdl_type mdl_values_type(const mdl_spelling *spelling) {
    mdl_type type = spelling->param->type;
    if (spelling->map && spelling->map->rows) type.dim[0] = spelling->map->rows;
    return type;
}

mdl_status mdl_values_of(const mdl_spelling *spelling, const mdl_tensor *tensor, float *to) {
    const mdl_plan_name_map *map = spelling->map;
    const mdl_type *type = &spelling->param->type;
    if (!map || !map->rows) return mdl_weights_floats(tensor, to);
    int64_t row = 1, ours = type->dim[0] / map->groups, theirs = map->rows / map->groups; /* rows of a group */
    for (int i = 1; i < type->rank; i++) row *= type->dim[i];
    for (int64_t g = 0; g < map->groups; g++) {
        mdl_status status = mdl_values_floats(tensor, (g * theirs + map->first) * row, ours * row, to + g * ours * row);
        if (status) return status;
    }
    return MDL_OK;
}
