/* Element types and tensor types: the one vocabulary that the compiler and the runtime share. */
#ifndef MDL_BASE_DTYPE_H
#define MDL_BASE_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/arena.h"

/* DTYPE(enum, name, bits). `segments` describes how T packed tokens divide into at most S sequences: its
 * dims are [S, T], its memory is cu_seqlens, i32[S + 1]. A token has no memory: it orders ops of the compiler's IR. f16 is for
 * files only: no kernel computes in it. */
#define MDL_DTYPES(DTYPE)      \
    DTYPE(F32, "f32", 32)      \
    DTYPE(F64, "f64", 64)      \
    DTYPE(BF16, "bf16", 16)    \
    DTYPE(F16, "f16", 16)      \
    DTYPE(E4M3, "e4m3", 8)     \
    DTYPE(E5M2, "e5m2", 8)     \
    DTYPE(I32, "i32", 32)      \
    DTYPE(BOOL, "bool", 8)     \
    DTYPE(SEG, "segments", 32) \
    DTYPE(TOKEN, "token", 0)

typedef enum {
#define DTYPE(id, name, bits) MDL_##id,
    MDL_DTYPES(DTYPE)
#undef DTYPE
        MDL_DTYPE_COUNT
} mdl_dtype;

enum { MDL_MAX_RANK = 6 };

typedef struct {
    mdl_dtype dtype;
    int rank;
    int64_t dim[MDL_MAX_RANK];
} mdl_type;

const char *mdl_dtype_name(mdl_dtype dtype);
int mdl_dtype_bits(mdl_dtype dtype);
bool mdl_dtype_parse(const char *name, mdl_dtype *dtype);
bool mdl_dtype_is_real(mdl_dtype dtype);
bool mdl_dtype_is_narrow(mdl_dtype dtype); /* a real below f32 */
/* The nearest value that the dtype has, ties to even: reals keep NaN and overflow to infinity, but for e4m3 and
 * e5m2, which saturate: what is beyond their largest number, infinity too, becomes that; i32 truncates; bool is 0 or 1. f64 is any
 * x. */
double mdl_dtype_round(mdl_dtype dtype, double x);
/* The value of a code of e4m3 or e5m2. */
double mdl_dtype_of_code(mdl_dtype dtype, uint8_t code);
/* Has `wide` every value of `narrow`? */
bool mdl_dtype_holds(mdl_dtype wide, mdl_dtype narrow);

int64_t mdl_type_count(const mdl_type *type); /* elements; segments: S + 1 */
int64_t mdl_type_bytes(const mdl_type *type); /* bytes in memory, unpadded */
bool mdl_type_equal(const mdl_type *a, const mdl_type *b);
const char *mdl_type_text(mdl_arena *arena, const mdl_type *type); /* "f32[2048,320]" */
mdl_type mdl_type_make(mdl_dtype dtype, int rank, const int64_t *dim);

#endif
