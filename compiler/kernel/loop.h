/* Loop IR: what one block of a row kernel does, with every scheduling decision made and no target's syntax in it.
 *
 * A kernel's body is a pure function of (row, column). Lowering chooses phases, loop nests, accumulators and what is loaded again;
 * a printer per target turns the result into source. Statements form a tree; `%n` are scalar registers of one dtype, arrays are
 * indexed by [row, column] with affine expressions of `row` and the loops around them.
 *
 *   kernel row_block 1 lanes 1 {
 *     a0 = operand 0 f32[*,320]
 *     o1 = result 1 f32[*,320]
 *     r2 = row f32[1]
 *     phase {
 *       clear sum r2
 *       for i1 < 320 lanes {
 *         %0 = load a0[row, i1] : f32
 *         fold sum r2[0, 0], %0
 *       }
 *     }
 *     phase {
 *       %1 = load r2[0, 0] : f32
 *       for i2 < 320 lanes {
 *         %2 = load a0[row, i2] : f32
 *         %3 = sub %2, %1 : f32
 *         store o1[row, i2], %3
 *       }
 *     }
 *   }
 *
 * A phase runs for all rows of a row block before the next begins; with row blocks of one row a row runs through all phases, and
 * registers made at its level live on. A phase with a tile runs once for each of its column tiles, its rows inside; its `then` part
 * follows when the rows of the tile are done, and has the rows as a loop like any other. */
#ifndef MDL_KERNEL_LOOP_H
#define MDL_KERNEL_LOOP_H

#include "compiler/kernel/affine.h"

typedef enum {
    MDL_MEM_OPERAND, /* of the launch; `index` counts its buffers */
    MDL_MEM_RESULT,  /* of the launch */
    MDL_MEM_PARTIAL, /* of the launch: column sums, one row for each chunk of rows */
    MDL_MEM_ROW,     /* private to a row: what a row reduction gathers */
    MDL_MEM_TILE,    /* private to a row block: kept from one phase to the next, or staged to be stored transposed */
    MDL_MEM_LEAF     /* what the template that the body is pasted into gives or takes: a tile of its own */
} mdl_mem_space;

/* Memory of rows. Element (row, column) lies at first + row * row_stride + column of its buffer; in a column-major one at
 * column * (rows of the launch) + row. In partials a row is a chunk. ROW and TILE are dense, LEAF is the template's. */
typedef struct {
    mdl_mem_space space;
    int index;
    mdl_dtype dtype;
    int64_t width, row_stride, first; /* elements */
    bool column_major;
} mdl_loop_array;

typedef enum {
    MDL_LOOP_CONST,   /* %r = const 0.5 */
    MDL_LOOP_IMM,     /* %r = imm 2: the launch's integer of that number */
    MDL_LOOP_INDEX,   /* %r = index row*3 + i4 */
    MDL_LOOP_LOAD,    /* %r = load a[row, col] */
    MDL_LOOP_GATHER,  /* %r = gather a[%x, col]: 0 where %x is negative */
    MDL_LOOP_RANDOM,  /* %r = random a, %stream at col {normal | uniform}; a holds the seed */
    MDL_LOOP_COMPUTE, /* %r = add %x, %y: any pointwise op */
    MDL_LOOP_STORE,   /* store a[row, col], %x */
    MDL_LOOP_CLEAR,   /* clear sum a: every element gets the fold's neutral element */
    MDL_LOOP_FOLD,    /* fold sum a[row, col], %x */
    MDL_LOOP_FOR      /* for i4 < 320 [lanes] { ... } */
} mdl_loop_code;

typedef struct mdl_loop_stmt mdl_loop_stmt;
typedef MDL_VEC(mdl_loop_stmt) mdl_loop_list;

struct mdl_loop_stmt {
    mdl_loop_code code;
    mdl_opcode op;   /* COMPUTE: which; CLEAR, FOLD: MDL_OP_SUM or MDL_OP_REDUCE_MAX */
    mdl_dtype dtype; /* of the register made */
    int reg;         /* made, or -1 */
    int in[3];       /* registers read */
    int array;
    mdl_affine row, col;
    double value; /* CONST: of any dtype; IMM: which */
    bool normal;  /* RANDOM */
    int var;      /* FOR */
    int64_t extent;
    bool lanes; /* FOR: iterations are independent but for folds, and may run side by side */
    mdl_loop_list *body;
};

typedef struct {
    int tile_var; /* 0: the phase has no column tiles */
    int64_t tiles;
    mdl_loop_list body; /* for a row */
    mdl_loop_list then; /* for a tile, after its rows */
} mdl_loop_phase;

/* What lowering is told; a target chooses. */
typedef struct {
    int64_t row_block;   /* rows that run through a phase together */
    int64_t lanes;       /* iterations of a `lanes` loop that run side by side, folding each for itself */
    int64_t column_tile; /* columns staged at a time where results are column-major; 0: whole rows */
    bool keep;           /* operands that several phases read stay in the block, instead of being loaded again */
} mdl_schedule;

typedef struct {
    mdl_schedule schedule;
    MDL_VEC(mdl_loop_array) arrays;
    mdl_loop_list block; /* once for a block, before its rows */
    MDL_VEC(mdl_loop_phase) phases;
    MDL_VEC(mdl_dtype) regs; /* dtype of each register */
    int vars;                /* loop variables are 0 .. vars-1 */
} mdl_loop_kernel;

/* How an operand's or a result's rows lie in its buffer. */
typedef struct {
    int64_t row_stride, first; /* stride 0: dense */
    bool column_major;
    int buffer; /* of a result, among the launch's: 0: behind the operands, in order */
} mdl_loop_layout;

/* A body of which some yields are pasted into a template, as one function. Values of rank 3 and more are [rows, heads, ...]: the template fixes row and
 * head (MDL_VAR_HEAD). `leaf` names arguments that the template provides (a tile of its head); the one yield goes to such a tile
 * unless `store` says that yields are results. Tiles are f32, whatever the value. */
typedef struct {
    int yield; /* -1: all */
    bool store;
    int64_t heads;
    const bool *leaf; /* by argument, or NULL */
} mdl_loop_paste;

/* Lowers a kernel op: rows, body, operands, yields. `operands` and `results` give layouts (NULL: all dense); `paste` is NULL for a
 * kernel of its own. Returns NULL and sets *error where a view cannot be indexed or an op crosses rows. */
const mdl_loop_kernel *mdl_loop_lower(mdl_arena *arena, const mdl_op *kernel, const mdl_schedule *schedule,
                                      const mdl_loop_layout *operands, const mdl_loop_layout *results, const mdl_loop_paste *paste,
                                      const char **error);

/* ---- text: print(parse(x)) == x ---- */
const char *mdl_loop_print(mdl_arena *arena, const mdl_loop_kernel *kernel);
/* NULL and a message with a line number on a mistake. */
const mdl_loop_kernel *mdl_loop_parse(mdl_arena *arena, const char *text, const char **error);
void mdl_loop_print_affine(mdl_text *text, const mdl_affine *affine);

/* NULL, or what is wrong: registers before they are made or out of their scope, dtypes, arrays, indices outside their width. */
const char *mdl_loop_verify(mdl_arena *arena, const mdl_loop_kernel *kernel);

/* ---- interpreter in f64: the oracle of schedules and printers ---- */
/* Runs blocks 0 .. blocks-1. `buffer` holds operands, results and partials as the launch has them, a double an element; `immediate`
 * as in kernel_abi.h: rows, rows of a chunk, then others. */
void mdl_loop_run(const mdl_loop_kernel *kernel, double *const *buffer, const int64_t *immediate, int64_t blocks);

/* One call of a pasted body: `rows` rows from `first` of one head. leaf[(row - first) * stride + column] is the template's tile;
 * column sums go to row `chunk` of their partials. */
typedef struct {
    int64_t first, rows, head, chunk;
    double *leaf;
    int64_t stride;
} mdl_loop_call;
void mdl_loop_run_pasted(const mdl_loop_kernel *kernel, double *const *buffer, const int64_t *immediate, const mdl_loop_call *call);

#endif
