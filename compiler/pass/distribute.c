/* needs: the program of one rank. keeps: every result. breaks: nothing yet.
 * The seat of many devices: here all-gathers, reduce-scatters and all-reduces will appear where parameters or gradients are
 * sharded. For now there is one device. */
#include "compiler/pass/pass.h"

mdl_region *mdl_pass_distribute(mdl_pass_context *c, mdl_region *in) { return (void)c, in; }
