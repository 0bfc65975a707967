/* Passes whose place in the pipeline is taken and whose work is still to come; each returns the program as it is.
 *   precision   will give values bf16 and FP8 where the recipe says so. needs: primitives. keeps: every result to rounding.
 *   remat       chooses which forward values are saved for backward: all of them. No common-subexpression pass may follow it.
 *   distribute  will insert collectives where parameters or gradients are sharded. */
#include "compiler/pass/pass.h"

mdl_region *mdl_pass_precision(mdl_pass_context *c, mdl_region *in) { return (void)c, in; }
mdl_region *mdl_pass_remat(mdl_pass_context *c, mdl_region *in) { return (void)c, in; }
mdl_region *mdl_pass_distribute(mdl_pass_context *c, mdl_region *in) { return (void)c, in; }
