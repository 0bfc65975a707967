/* How many blocks a template's kernel has, in terms that a plan records. */
#ifndef MDL_KERNEL_BLOCKS_H
#define MDL_KERNEL_BLOCKS_H

#include <stdint.h>

/* Immediate `rows` / `per` rounded up (1 when rows is -1), times `times`. */
typedef struct {
    int rows;
    int64_t per, times;
} mdl_template_blocks;

/* The number for immediates T, S. */
int64_t mdl_template_grid(mdl_template_blocks blocks, int64_t tokens, int64_t segments);

#endif
