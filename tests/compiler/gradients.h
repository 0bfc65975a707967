/* The cases of the gradients suite: small programs that together use every op with a gradient, in every way its rule tells apart.
 *
 * Values are those of draw.h; states called frozen... are not trained. Each result adds to the loss: its elements times random
 * weights, where a random mask selects. */
#ifndef MDL_TESTS_COMPILER_GRADIENTS_H
#define MDL_TESTS_COMPILER_GRADIENTS_H

#include "compiler/ir/ir.h"

typedef struct {
    const char *name, *text; /* the ops of a program */
} mdl_gradient_case;

extern const mdl_gradient_case mdl_gradient_cases[]; /* ends in a row of NULLs */

/* Ops through which no gradient flows, and why. */
typedef struct {
    mdl_opcode code;
    const char *why;
} mdl_no_gradient;
extern const mdl_no_gradient mdl_no_gradients[];
extern const int mdl_no_gradients_count;

#endif
