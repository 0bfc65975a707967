/* safetensors files: read with every rule of the format enforced, written atomically. */
#ifndef MDL_BASE_SAFETENSORS_H
#define MDL_BASE_SAFETENSORS_H

#include <stdio.h>

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

typedef struct {
    const char *name;
    mdl_type type;     /* F32, BF16, F16, I32, F64 or BOOL */
    const void *bytes; /* reading: into the mapped file, aligned for the element type; writing: the caller's */
} mdl_tensor;

typedef struct mdl_safetensors mdl_safetensors;

/* Maps the file and checks all of it. A tensor of another dtype of the format (I64, F8_E4M3, ...) is checked too, then set aside:
 * count, at and find do not see it, need gives an error that names it. (Older checkpoints carry I64 tensors that nobody needs.) */
mdl_status mdl_safetensors_open(const char *path, mdl_safetensors **file);
void mdl_safetensors_close(mdl_safetensors *file);
int mdl_safetensors_count(const mdl_safetensors *file);
const mdl_tensor *mdl_safetensors_at(const mdl_safetensors *file, int i);              /* in file order */
const mdl_tensor *mdl_safetensors_find(const mdl_safetensors *file, const char *name); /* NULL when absent; hashed */
/* The name and dtype of the i-th tensor that was set aside; NULL: there are no more. */
const char *mdl_safetensors_other(const mdl_safetensors *file, int i, const char **dtype);
/* find, with an error that says whether the tensor is missing or has an unsupported dtype. */
mdl_status mdl_safetensors_need(const mdl_safetensors *file, const char *name, const mdl_tensor **tensor);
const char *mdl_safetensors_metadata(const mdl_safetensors *file, const char *key); /* NULL when absent */

/* Writes tensors in the given order with {"format":"pt"}: temporary file, fsync, rename. */
mdl_status mdl_safetensors_write(const char *path, int n, const mdl_tensor *tensors);

/* Gives a tensor's bytes when their turn comes; they stay until the next call. */
typedef mdl_status (*mdl_tensor_fetch)(void *context, const mdl_tensor *tensor, const void **bytes);
/* The same into an open file, with never more than one tensor in memory: those whose `bytes` are NULL are fetched one after the
 * other. Errors of the file itself stay in it, for mdl_file_commit. */
mdl_status mdl_safetensors_stream(FILE *out, int n, const mdl_tensor *tensors, mdl_tensor_fetch fetch, void *context);

#endif
