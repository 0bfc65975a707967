/* Products in 8 bits: which linear layers have them, and the recipe. */
#ifndef MDL_IR_FP8_H
#define MDL_IR_FP8_H

#include "compiler/ir/state.h"

/* A weight whose products, forward and both of the backward, are of 8-bit operands: parameters that lie side by side, joined. */
typedef struct {
    int n;
    const char *const *of;
    mdl_type type; /* of the joined weight */
} mdl_fp8_linear;

typedef struct {
    bool current; /* scales by a tensor's own amax, not by those of steps before */
    bool all;     /* layers too of which the target knows that they do not get quicker */
    int history;  /* steps whose largest amax gives a scale; a multiple of MDL_FP8_PITCH */
    int margin;   /* a scale is 2^margin below what would make the amax the format's largest number */
} mdl_fp8_recipe;
static const mdl_fp8_recipe mdl_fp8_default = {.history = 16};

/* Delayed scaling, or (current) by the amax of the tensor itself. Tensors are numbered: the inputs of the layers, their weights,
 * the gradients of their outputs. */
typedef struct mdl_fp8 {
    MDL_VEC(mdl_fp8_linear) linears;
    mdl_fp8_recipe recipe;
    int left_out; /* layers that could be in 8 bits, and would be slower */
    int64_t rows; /* of the tensor that has most */
} mdl_fp8;

typedef enum { MDL_FP8_INPUT, MDL_FP8_WEIGHT, MDL_FP8_GRADIENT, MDL_FP8_ROLES } mdl_fp8_role;
/* Floats from a tensor's scale to the next: 64 bytes, since products read scales at multiples of 16. */
enum { MDL_FP8_PITCH = 16 };

/* fp8 may be NULL: no tensors. */
static inline int64_t mdl_fp8_tensors(const mdl_fp8 *fp8) { return fp8 ? MDL_FP8_ROLES * (int64_t)fp8->linears.n : 0; }
/* Of each tensor's scale, its inverse and its history; of the amaxes of its rows. */
static inline int64_t mdl_fp8_bytes(const mdl_fp8 *fp8) {
    return fp8 ? mdl_fp8_tensors(fp8) * (2 * MDL_FP8_PITCH + (fp8->recipe.current ? 0 : fp8->recipe.history)) * 4 : 0;
}
static inline int64_t mdl_fp8_amax_bytes(const mdl_fp8 *fp8) {
    return fp8 && !fp8->recipe.current ? mdl_fp8_tensors(fp8) * fp8->rows * 4 : 0;
}

#endif
