/* Passes: each takes a program and returns a new one. compiler/passes.def lists them in order; each file opens with its
 * contract: what it needs, keeps and breaks. */
#ifndef MDL_PASS_H
#define MDL_PASS_H

#include "compiler/ir/ir.h"
#include "compiler/ir/module.h"

/* Where parameters lie: each group of adjacent parameters starts at a tile; offsets and sizes are f32 elements, valid in the
 * param, grad, moment1 and moment2 arenas alike. */
enum { MDL_TILE = 1024 };
typedef struct {
    const char *name;
    mdl_type type;
    int64_t offset;
    bool decay;
} mdl_placed_param;
/* The parameters of one repeated scope ("encoder.layer.3"), or ("") a run of others: what can be gathered, reduced or updated
 * alone. */
typedef struct {
    const char *name;
    int64_t tile, tiles;
} mdl_unit;
typedef struct {
    MDL_VEC(mdl_placed_param) trained;
    MDL_VEC(mdl_unit) units;          /* in order of their tiles, which they share out among them */
    const mdl_placed_param **by_name; /* sorted */
    int64_t tiles;
} mdl_layout;

/* Sums over a step of several micro-batches are kept in states (MDL_STATE_COUNT and MDL_STATE_SUM, f32[]): the first micro-batch
 * writes them, each further one adds its own. BATCH: of this batch, no state. KEPT: what earlier programs have kept. */
typedef enum { MDL_TALLY_NONE, MDL_TALLY_BATCH, MDL_TALLY_FIRST, MDL_TALLY_NEXT, MDL_TALLY_KEPT } mdl_tally;

/* What a program is made of. */
typedef enum { MDL_GRAD_NONE, MDL_GRAD_WRITE, MDL_GRAD_ACCUMULATE } mdl_grad_mode;
typedef struct {
    const char *name;
    enum { MDL_FROM_INIT, MDL_FROM_FORWARD, MDL_FROM_OUTPUTS, MDL_FROM_NOTHING } source;
    mdl_tally counts, sums; /* of what every loss and metric selects */
    bool results;           /* gives them as count.X and sum.X */
    mdl_grad_mode grad;     /* gradients of the losses into the states grad/X */
    bool optimizer;
} mdl_program_spec;

typedef struct {
    mdl_arena *arena;
    const mdl_module *module;
    const mdl_layout *layout;
    const mdl_program_spec *program; /* being compiled */
    const char *not_implemented;     /* set by a pass that the target cannot carry out */
    mdl_span not_implemented_at;
} mdl_pass_context;

typedef mdl_region *mdl_pass(mdl_pass_context *c, mdl_region *in);
#define PASS(name, function, level, help) mdl_pass function;
#include "compiler/passes.def"
#undef PASS

/* The states of a parameter X: "X", its gradient "grad/X"; whole arenas, f32[tiles, MDL_TILE]: */
#define MDL_STATE_PARAM "@param"
#define MDL_STATE_GRAD "@grad"
#define MDL_STATE_MOMENT1 "@moment1"
#define MDL_STATE_MOMENT2 "@moment2"
#define MDL_STATE_DECAY "@decay" /* bool[tiles]: where weight decay applies */
#define MDL_STATE_USED "@used"   /* i32[tiles]: elements at the start of a tile that belong to parameters; the rest is undefined */

/* Of a loss or metric X: what it has selected in the step so far, and the sum of that. */
#define MDL_STATE_COUNT "tally/count."
#define MDL_STATE_SUM "tally/sum."

mdl_layout *mdl_layout_params(mdl_arena *arena, const mdl_module *module);
const mdl_placed_param *mdl_layout_find(const mdl_layout *layout, const char *name); /* NULL: not trained */
mdl_region *mdl_make_program(mdl_pass_context *c); /* the program's ops before any pass of its own */

/* ---- rewriting: copies a region op by op; scratch of an old value is its new value ---- */
typedef struct {
    mdl_builder b;
    mdl_region *in;
} mdl_rewrite;
mdl_rewrite mdl_rewrite_begin(mdl_pass_context *c, mdl_region *in);
mdl_value *mdl_mapped(const mdl_value *old);
void mdl_map(const mdl_value *old, mdl_value *fresh);
mdl_value **mdl_mapped_in(mdl_rewrite *r, const mdl_op *op);
mdl_op *mdl_keep(mdl_rewrite *r, const mdl_op *op); /* clones op with mapped operands and maps its results */
mdl_region *mdl_rewrite_end(mdl_rewrite *r);        /* renumbers */

/* Uses of every value of a region: counts in an array by value id. */
int *mdl_count_uses(mdl_arena *arena, const mdl_region *region);

#endif
