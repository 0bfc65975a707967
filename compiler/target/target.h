/* A target: all that differs between processors, as one value. Passes ask it what it carries out, emission asks it for kernels.
 * Another target is another value (docs/how-to.md). */
#ifndef MDL_TARGET_H
#define MDL_TARGET_H

#include "compiler/ir/ir.h"
#include "compiler/kernel/blocks.h"
#include "runtime/plan/plan.h"

/* How large a row kernel may be; 0: any size. */
typedef struct {
    int args;   /* operands and results: pointers that it takes */
    int ops;    /* of its body, as mdl_size_of_op counts them */
    int copies; /* nests for one result, and elements of one value for an element of a result */
} mdl_kernel_limits;

/* The source of one kernel, MDL_KERNEL_PLACEHOLDER standing for its symbol, and how it is launched: buffers of the op's operands,
 * then of its results, then integers. */
enum { MDL_KERNEL_PLACEHOLDER_LENGTH = 9 };
#define MDL_KERNEL_PLACEHOLDER "MDLKERNEL"
typedef struct {
    const char *class, *label, *text;
    MDL_VEC(int64_t) integers;
    int sizes;                    /* buffers have as many elements as a multiple of one of the first `sizes` integers */
    mdl_template_blocks blocks;   /* of integers */
    int64_t most;                 /* blocks at most; 0: no limit */
    int threads;                  /* of a block; 0: one */
    int64_t shared_bytes;         /* of dynamic shared memory */
    const mdl_template_map *maps; /* tensor maps behind the integers */
    int n_maps;
    int per_block; /* the integer that is integers[0] over the number of blocks, or -1 */
    int64_t flops;
} mdl_kernel_source;

typedef bool mdl_fp8_pays(int64_t in, int64_t out, const char *isa);

typedef struct {
    const char *name;
    mdl_dtype precision; /* where none is asked for */
    mdl_kernel_limits limits;
    bool narrow; /* below f32 a product's bias, and the results of attention, are of their operands' dtype (pass/precision.c) */
    /* Does it have a template for ops of this code? What it does not have becomes primitives (pass/lower.c). */
    bool (*has)(mdl_opcode code);
    /* May `op`, which works on a row's head at a time, stand between memory and the tiles of `anchor`: where it loads, or where it
     * stores? (pass/absorb.c) */
    bool (*absorbs)(const mdl_op *anchor, const mdl_op *op, bool stores);
    /* Partial sums that a kernel of `rows` rows makes of a column sum, and blocks that it has if it makes none; columns: of its
     * widest operand or result. */
    int64_t (*partials)(int64_t rows), (*row_blocks)(int64_t rows, int64_t columns);
    /* The same of a fused anchor. */
    int64_t (*fused_partials)(const mdl_op *fused);
    /* Rows of a tile, where the kernel of a fused anchor takes its tiles from a list (pass/tiles.c); 0 or NULL: it takes none. */
    int64_t (*tile_rows)(const mdl_op *fused, const char *isa);
    /* NULL, or why the op cannot be carried out, in words for the model's author. Does not make the source. */
    const char *(*refuses)(mdl_arena *arena, const mdl_op *op);
    /* The source for `isa` of an op that is a kernel: row kernels, finishes, templates. NULL, or why there is none. */
    const char *(*kernel)(mdl_arena *arena, const mdl_op *op, const char *isa, mdl_kernel_source *source);
    /* What native code is for where nothing is said, and NULL or why it cannot be for `isa`. */
    const char *(*default_isa)(void);
    const char *(*refuses_isa)(mdl_arena *arena, const char *isa);
    /* NULL, or why products of 8-bit operands cannot be for `isa`. The function is NULL where they can be for all. */
    const char *(*refuses_fp8)(mdl_arena *arena, const char *isa);
    /* Are the three products of a layer of `in` and `out` columns quicker in 8 bits, with all that these take? NULL: they are for
     * any. */
    mdl_fp8_pays *fp8_pays;
    /* Turns the plan's sources into native code; adds it to the plan's files. */
    mdl_status (*compile)(mdl_plan *plan);
} mdl_target;

extern const mdl_target mdl_target_cpu, mdl_target_cuda;
extern const mdl_target *const mdl_targets[];        /* ends in NULL; the first is the default */
const mdl_target *mdl_target_find(const char *name); /* NULL: there is none */

#endif
