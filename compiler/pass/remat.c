/* needs: forward and backward in one program. keeps: every result. breaks: nothing yet.
 * The seat of recomputation: here forward values that backward needs will be saved or computed again, by memory and cost. For now
 * all are saved (what fuse recomputes is cheap by its own rule). No pass that merges equal ops may follow. */
#include "compiler/pass/pass.h"

mdl_region *mdl_pass_remat(mdl_pass_context *c, mdl_region *in) { return (void)c, in; }
