/* Element types and tensor types. */
#include "runtime/base/dtype.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    int bits;
} table[] = {
#define DTYPE(id, name, bits) {name, bits},
    MDL_DTYPES(DTYPE)
#undef DTYPE
};

const char *mdl_dtype_name(mdl_dtype dtype) { return table[dtype].name; }
int mdl_dtype_bits(mdl_dtype dtype) { return table[dtype].bits; }

bool mdl_dtype_parse(const char *name, mdl_dtype *dtype) {
    for (int i = 0; i < MDL_DTYPE_COUNT; i++) {
        if (strcmp(table[i].name, name)) continue;
        *dtype = (mdl_dtype)i;
        return true;
    }
    return false;
}

bool mdl_dtype_is_real(mdl_dtype dtype) { return dtype <= MDL_E5M2; }
bool mdl_dtype_is_narrow(mdl_dtype dtype) { return mdl_dtype_is_real(dtype) && mdl_dtype_bits(dtype) < 32; }

/* Reals below f64: bits of the significand with its leading one, the exponent of the smallest normal number, the largest number,
 * and what is beyond it. The 8-bit formats are those of OCP. */
static const struct {
    int significand, exponent;
    double largest, beyond;
} formats[MDL_DTYPE_COUNT] = {
    [MDL_F32] = {24, -126, 0x1.fffffep127, INFINITY},
    [MDL_BF16] = {8, -126, 0x1.fep127, INFINITY},
    [MDL_F16] = {11, -14, 65504, INFINITY},
    [MDL_E4M3] = {4, -6, 448, 448},
    [MDL_E5M2] = {3, -14, 57344, 57344},
};

double mdl_dtype_round(mdl_dtype dtype, double x) {
    if (dtype == MDL_I32) return trunc(x);
    if (dtype == MDL_BOOL) return x != 0;
    int significand = formats[dtype].significand, exponent;
    if (!significand || x == 0 || isnan(x)) return x;
    if (isinf(x)) return copysign(formats[dtype].beyond, x);
    frexp(x, &exponent); /* |x| is in [2^(exponent-1), 2^exponent) */
    int unit = (exponent - 1 > formats[dtype].exponent ? exponent - 1 : formats[dtype].exponent) - (significand - 1);
    double y = ldexp(nearbyint(ldexp(x, -unit)), unit);
    return fabs(y) > formats[dtype].largest ? copysign(formats[dtype].beyond, x) : y;
}

double mdl_dtype_of_code(mdl_dtype dtype, uint8_t code) {
    int bits = formats[dtype].significand - 1, exponent = (code & 0x7f) >> bits, fraction = code & ((1 << bits) - 1);
    int one = exponent ? 1 << bits : 0; /* the leading one */
    double value = ldexp(one + fraction, formats[dtype].exponent + (exponent ? exponent - 1 : 0) - bits);
    if (value > formats[dtype].largest) value = dtype == MDL_E5M2 && !fraction ? (double)INFINITY : (double)NAN;
    return code & 0x80 ? -value : value;
}

bool mdl_dtype_holds(mdl_dtype wide, mdl_dtype narrow) {
    if (wide == narrow || narrow == MDL_BOOL) return wide != MDL_SEG && narrow != MDL_SEG;
    if (wide == MDL_F64) return narrow != MDL_SEG;
    if (!mdl_dtype_is_real(wide) || !mdl_dtype_is_real(narrow) || narrow == MDL_F64) return false;
    return formats[wide].significand >= formats[narrow].significand && formats[wide].exponent <= formats[narrow].exponent &&
           formats[wide].largest >= formats[narrow].largest;
}

int64_t mdl_type_count(const mdl_type *type) {
    if (type->dtype == MDL_SEG) return type->dim[0] + 1;
    int64_t n = 1;
    for (int i = 0; i < type->rank; i++) n *= type->dim[i];
    return n;
}

int64_t mdl_type_bytes(const mdl_type *type) { return mdl_type_count(type) * (mdl_dtype_bits(type->dtype) / 8); }

bool mdl_type_equal(const mdl_type *a, const mdl_type *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

const char *mdl_type_text(mdl_arena *arena, const mdl_type *type) {
    mdl_text text = {.arena = arena};
    mdl_text_printf(&text, "%s[", mdl_dtype_name(type->dtype));
    for (int i = 0; i < type->rank; i++) mdl_text_printf(&text, "%s%" PRId64, i ? "," : "", type->dim[i]);
    mdl_text_printf(&text, "]");
    return text.at;
}

mdl_type mdl_type_make(mdl_dtype dtype, int rank, const int64_t *dim) {
    mdl_type type = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++) type.dim[i] = dim[i];
    return type;
}
