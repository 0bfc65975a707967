/* What the module libmdl_parquet.so offers: a C face of Arrow's C++ library, which it alone is linked to. Read by C and C++. */
#ifndef MDL_DATA_PARQUET_ABI_H
#define MDL_DATA_PARQUET_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MDL_PARQUET_ABI = 1, MDL_PARQUET_MESSAGE = 512 };

typedef struct mdl_parquet mdl_parquet;

/* Rows of a file, valid until the next call. */
typedef struct {
    int64_t rows;
    const char *const *text; /* [rows] not terminated; NULL where the file has null */
    const int64_t *length;   /* [rows] of text; 0 for null */
    const double *number;    /* [column * rows + row] NaN for null */
} mdl_parquet_batch;

int mdl_parquet_abi(void); /* MDL_PARQUET_ABI of the module */
/* Opens a file and chooses a column of texts and n columns of numbers. On failure NULL, and message says why. */
mdl_parquet *mdl_parquet_open(const char *path, const char *text_column, const char *const *number_columns, int n,
                              char message[MDL_PARQUET_MESSAGE]);
/* The next rows; 1: there are some, 0: the end, -1: failure. */
int mdl_parquet_next(mdl_parquet *file, mdl_parquet_batch *batch, char message[MDL_PARQUET_MESSAGE]);
void mdl_parquet_close(mdl_parquet *file); /* NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
