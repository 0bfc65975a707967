/* Passes: each takes a program and returns a new one. compiler/passes.def lists them in order; each file opens with its
 * contract: what it needs, keeps and breaks. */
#ifndef MDL_PASS_H
#define MDL_PASS_H

#include "compiler/ir/fp8.h"
#include "compiler/ir/ir.h"
#include "compiler/ir/module.h"
#include "compiler/ir/state.h"
#include "compiler/target/target.h"

/* Sums over a step of several micro-batches are kept in states (MDL_STATE_COUNT and MDL_STATE_SUM, f32[]): the first micro-batch
 * writes them, each further one adds its own. BATCH: of this batch, no state. KEPT: what earlier programs have kept. */
typedef enum { MDL_TALLY_NONE, MDL_TALLY_BATCH, MDL_TALLY_FIRST, MDL_TALLY_NEXT, MDL_TALLY_KEPT } mdl_tally;

/* What a program is made of. */
typedef enum { MDL_GRAD_NONE, MDL_GRAD_WRITE, MDL_GRAD_ACCUMULATE } mdl_grad_mode;
typedef struct {
    const char *name;
    enum { MDL_FROM_INIT, MDL_FROM_FORWARD, MDL_FROM_OUTPUTS, MDL_FROM_NOTHING, MDL_FROM_PARAMS } source;
    mdl_tally counts, sums; /* of what every loss and metric selects */
    bool results;           /* gives them as count.X and sum.X */
    mdl_grad_mode grad;     /* gradients of the losses into their states */
    bool optimizer;
    bool calibrate; /* measures for the first scales of 8-bit operands */
} mdl_program_spec;

typedef struct {
    mdl_arena *arena; /* of the running pass; freed when a later pass has made its own region */
    const mdl_module *module;
    const mdl_layout *layout;
    const mdl_program_spec *program; /* being compiled */
    mdl_dtype precision;             /* of matrix operands and activations: f32 or bf16 */
    const mdl_fp8 *fp8;              /* NULL: no products in 8 bits */
    const mdl_target *target;
    const char *isa;             /* what native code is for, in the target's words */
    const char *not_implemented; /* set by a pass that the target cannot carry out */
    mdl_span not_implemented_at;
} mdl_pass_context;

typedef mdl_region *mdl_pass(mdl_pass_context *c, mdl_region *in);
#define PASS(name, function, level, help) mdl_pass function;
#include "compiler/passes.def"
#undef PASS

/* "encoder.layer.3" of "encoder.layer.3.attention": a scope up to its first number; "" when it has none. */
const char *mdl_unit_of_scope(mdl_arena *arena, const char *scope);
mdl_layout *mdl_layout_params(mdl_arena *arena, const mdl_module *module);
/* Layers of repeated scopes whose precision is not asked to be more and whose sizes and tokens are multiples of 16, with a weight
 * that no other product takes; of those, the ones that pay (NULL, or as the recipe says: all). Lives in the arena. */
mdl_fp8 *mdl_fp8_choose(mdl_arena *arena, const mdl_region *forward, const mdl_layout *layout, const mdl_fp8_recipe *recipe,
                        mdl_fp8_pays *pays, const char *isa);
mdl_region *mdl_make_program(mdl_pass_context *c); /* the program's ops before any pass of its own */

/* ---- rewriting: copies a region op by op; scratch of an old value is its new value ----
 * Ops that a pass builds for an op `of` get its place and scope: mdl_mapped_in(r, of), or r->b.span = of->span. */
typedef struct {
    mdl_builder b;
    mdl_region *in;
} mdl_rewrite;
mdl_rewrite mdl_rewrite_begin(mdl_pass_context *c, mdl_region *in);
mdl_value *mdl_mapped(const mdl_value *old);
void mdl_map(const mdl_value *old, mdl_value *fresh); /* fresh stands for old: it takes its stable id, unless it has one */
mdl_value **mdl_mapped_in(mdl_rewrite *r, const mdl_op *op);
mdl_op *mdl_keep(mdl_rewrite *r, const mdl_op *op); /* clones op with mapped operands and maps its results */
mdl_region *mdl_rewrite_end(mdl_rewrite *r);        /* renumbers */

/* Uses of every value of a region: counts in an array by value id. */
int *mdl_count_uses(mdl_arena *arena, const mdl_region *region);

#endif
