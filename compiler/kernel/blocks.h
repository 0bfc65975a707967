/* How many blocks a template's kernel has and which tensors it copies tiles of, in terms that a plan records. */
#ifndef MDL_KERNEL_BLOCKS_H
#define MDL_KERNEL_BLOCKS_H

#include <stdint.h>

/* Immediate `rows` / `per` rounded up (1 when rows is -1), times `times`. */
typedef struct {
    int rows;
    int64_t per, times;
} mdl_template_blocks;

/* A tensor [T, heads, cols] of bf16 in buffer number `buffer` of the launch: element (t, h, c) is number first + t * row + h * head
 * + c. What plan.h says of mdl_plan_map. */
typedef struct {
    int buffer;
    int64_t first, heads, cols, row, head;
} mdl_template_map;

/* The number for immediates T, S. */
int64_t mdl_template_grid(mdl_template_blocks blocks, int64_t tokens, int64_t segments);

#endif
