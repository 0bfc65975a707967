/* safetensors files: read with every rule of the format enforced, written atomically. */
#ifndef MDL_BASE_SAFETENSORS_H
#define MDL_BASE_SAFETENSORS_H

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

typedef struct {
    const char *name;
    mdl_type type;     /* F32, BF16, I32, F64 or BOOL */
    const void *bytes; /* reading: into the mapped file, aligned for the element type; writing: the caller's */
} mdl_tensor;

typedef struct mdl_safetensors mdl_safetensors;

/* Maps the file and checks all of it. A tensor of another dtype of the format (I64, F16, ...) is checked too, then set aside:
 * count, at and find do not see it, need gives an error that names it. (Older checkpoints carry I64 tensors that nobody needs.) */
mdl_status mdl_safetensors_open(const char *path, mdl_safetensors **file);
void mdl_safetensors_close(mdl_safetensors *file);
int mdl_safetensors_count(const mdl_safetensors *file);
const mdl_tensor *mdl_safetensors_at(const mdl_safetensors *file, int i);              /* in file order */
const mdl_tensor *mdl_safetensors_find(const mdl_safetensors *file, const char *name); /* NULL when absent; hashed */
/* find, with an error that says whether the tensor is missing or has an unsupported dtype. */
mdl_status mdl_safetensors_need(const mdl_safetensors *file, const char *name, const mdl_tensor **tensor);
const char *mdl_safetensors_metadata(const mdl_safetensors *file, const char *key); /* NULL when absent */

/* Writes tensors in the given order with {"format":"pt"}: temporary file, fsync, rename. */
mdl_status mdl_safetensors_write(const char *path, int n, const mdl_tensor *tensors);

#endif
