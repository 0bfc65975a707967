/* needs: simplified primitives in f32. keeps: every result to rounding. breaks: nothing yet.
 * The seat of bf16 and FP8: here values will get their dtypes by the model's precision(...) and the recipe, with quantization,
 * scales and amax. For now everything stays f32. */
#include "compiler/pass/pass.h"

mdl_region *mdl_pass_precision(mdl_pass_context *c, mdl_region *in) { return (void)c, in; }
