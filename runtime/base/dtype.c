/* Element types and tensor types. */
#include "runtime/base/dtype.h"

#include <inttypes.h>
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
