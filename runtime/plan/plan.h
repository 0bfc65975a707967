/* A plan in memory: the contract between compiler and runtime. The file format is docs/plan-format.md.
 * Offsets and sizes are bytes. Every pointer lives in the plan's arena. */
#ifndef MDL_PLAN_H
#define MDL_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

enum { MDL_PLAN_VERSION = 3, MDL_PLAN_ALIGN = 64 };
/* Files with a meaning of their own. CONSTANTS: what the CONST arena holds after load, exactly arena_bytes[CONST] bytes. */
#define MDL_PLAN_CONSTANTS "assets/constants.bin"
#define MDL_PLAN_CPU_OBJECT "kernels/cpu.so"
#define MDL_PLAN_HOST_OBJECT "kernels/host.so"

/* ARENA(id, name, bits): PARAM, GRAD, MOMENT1, MOMENT2 are flat f32 arenas with one layout (params[].offset is valid in each);
 * QUANTIZED and TRANSPOSED hold copies of parameters in 8 bits, SCALING their scales and those of activations, AMAX what the next
 * ones are made from; FROZEN holds frozen and carried parameters; INPUT and RESULT are exchanged with the host; TALLY holds what a
 * step of several micro-batches counts and sums; ACTIVATION is shared by all programs; CONST holds tables made by the compiler (the
 * file MDL_PLAN_CONSTANTS), e.g. the weight-decay mask by tile. Another arena is one row. */
#define MDL_ARENAS(ARENA)              \
    ARENA(PARAM, "param", 0)           \
    ARENA(GRAD, "grad", 32)            \
    ARENA(MOMENT1, "moment1", 32)      \
    ARENA(MOMENT2, "moment2", 32)      \
    ARENA(COMPUTE, "compute", 16)      \
    ARENA(QUANTIZED, "quantized", 8)   \
    ARENA(TRANSPOSED, "transposed", 8) \
    ARENA(SCALING, "scaling", 0)       \
    ARENA(AMAX, "amax", 0)             \
    ARENA(FROZEN, "frozen", 0)         \
    ARENA(CONST, "const", 0)           \
    ARENA(INPUT, "input", 0)           \
    ARENA(TALLY, "tally", 0)           \
    ARENA(RESULT, "result", 0)         \
    ARENA(ACTIVATION, "activation", 0)
typedef enum {
#define ARENA(id, name, bits) MDL_ARENA_##id,
    MDL_ARENAS(ARENA)
#undef ARENA
        MDL_ARENA_COUNT
} mdl_arena_id;
const char *mdl_arena_name(mdl_arena_id id); /* "param", "grad", ... */
/* Bits of an element in an arena that is laid out as PARAM is: it is empty or has as many elements. 0: it is not one. */
int mdl_arena_like_param(mdl_arena_id id);

typedef struct {
    const char *name;   /* checkpoint name */
    mdl_type type;      /* f32 */
    mdl_arena_id arena; /* PARAM or FROZEN */
    int64_t offset;
    bool decay, carry;
    const char *group, *init;
} mdl_plan_param;

/* A range of PARAM (and of the arenas laid out like it) that belongs to one repeated scope, "encoder.layer.3", or ("") to
 * parameters between such scopes: what can be gathered, reduced or updated alone. In order of offsets; each starts and ends at a
 * tile. */
typedef struct {
    const char *name;
    int64_t offset, bytes;
} mdl_plan_unit;

typedef struct {
    const char *name, *target; /* tied checkpoint names */
} mdl_plan_tie;

/* source: "tokens" "masked" "next" "column" "present" "segments" for batch inputs; "scalar" for numbers that the training
 * loop sets every step (lr, beta1, ..., see docs/plan-format.md); "seed" for init. */
typedef struct {
    const char *name, *source;
    mdl_type type;
    int64_t offset; /* in INPUT */
    int64_t below;  /* ids index a table of so many rows; 0: none */
} mdl_plan_input;

typedef enum { MDL_ACCESS_READ = 1, MDL_ACCESS_WRITE = 2, MDL_ACCESS_READ_WRITE = 3 } mdl_access;

/* A program's buffer. `name` is for people (the value's origin). A view lies in the memory of an earlier buffer that is none: its
 * offset counts from there, and it lives as long as that one. With a stride, what lies between the rows of the first axis is not
 * touched. */
typedef struct {
    const char *name;
    mdl_arena_id arena;
    int64_t offset, bytes;
    mdl_type type;
    int of;         /* a view: of this buffer; -1: memory of its own */
    int64_t stride; /* elements from one index of the first axis to the next; 0: dense */
    int value;      /* of the model: what it holds in the end, by the number that this has in every plan of the model; 0: none */
} mdl_plan_buffer;

typedef enum { MDL_ARG_BUFFER, MDL_ARG_IMMEDIATE, MDL_ARG_SCALAR } mdl_arg_kind; /* the last: CUDA */
typedef struct {
    mdl_arg_kind kind;
    mdl_access access; /* of a buffer */
    int64_t value;     /* buffer: index into program->buffers; immediate: the number */
} mdl_plan_arg;

typedef enum { MDL_LAUNCH_KERNEL, MDL_LAUNCH_GEMM, MDL_LAUNCH_COPY, MDL_LAUNCH_COLLECTIVE } mdl_launch_kind;

/* For each of `batch` matrices, row-major: D[m,n] = op(A)[m,k] . op(B)[k,n] (* scale_a * scale_b) (+ bias[n] in every row)
 * (+ C[m,n]). op transposes when the flag is set: with trans_a, A is stored [k,m]. Sums are f32; with fast_sums the device may keep
 * fewer digits of them.
 *   lda ... ldd            from a row of the stored matrix to the next, in elements (leading dimensions; rows may be padded)
 *   stride_a ... stride_d  from a matrix of the batch to the next, in elements; 0: every product reads the same one
 *   type_a ...             f32 or bf16, A and B alike; or e4m3 or e5m2, each of the two; of C and bias only if there are any
 * C may be D's memory (accumulation), else the two are apart. Args: A, B, C if has_c, bias if has_bias, scale_a and scale_b (f32,
 * one number each) if has_scales, all read; D, written. */
typedef struct {
    int64_t m, n, k, batch;
    int64_t lda, ldb, ldc, ldd;
    int64_t stride_a, stride_b, stride_c, stride_d;
    mdl_dtype type_a, type_b, type_c, type_d, type_bias;
    bool trans_a, trans_b, has_c, has_bias, has_scales, fast_sums;
} mdl_gemm;

typedef struct {
    mdl_launch_kind kind;
    int kernel;    /* index into plan->kernels, for KERNEL */
    mdl_gemm gemm; /* for GEMM */
    int64_t grid;  /* blocks */
    MDL_VEC(mdl_plan_arg) args;
    int stream;         /* launches of one stream run one after the other */
    MDL_VEC(int) waits; /* launches, of any stream, that must have finished */
    int threads;        /* of a block; 1 on cpu */
    int64_t shared_bytes;
    int cluster;
    int workspace;        /* a buffer that it may scribble on; -1: none */
    int64_t bytes, flops; /* moved and computed, for profiles: data-dependent work counts at full T */
    const char *label;    /* "layernorm fwd": what a person calls it; the kernel's class is kernels[].class */
    const char *span;     /* "models/tiny.mdl:31:11", or "" */
} mdl_plan_launch;

typedef struct {
    const char *name; /* result of a program: "loss.mlm" */
    int buffer;       /* index into program->buffers; its arena is RESULT */
} mdl_plan_result;

typedef struct {
    const char *name; /* init, count_first, count_next, train_only, train_first, train_middle, train_last, update, eval, and the
                         model's outputs: embed, logits */
    MDL_VEC(mdl_plan_buffer) buffers;
    MDL_VEC(mdl_plan_launch) launches;
    MDL_VEC(mdl_plan_result) results;
    int64_t activation_bytes; /* high-water mark in ACTIVATION */
    int64_t live_bytes;       /* the largest sum of bytes alive at once: a lower bound for activation_bytes */
} mdl_plan_program;

/* What a kernel takes as one argument. A buffer holds exactly `elements` of `dtype` (segments[S,T] count as S), times a number that
 * differs between launches: that of immediate `times`, or the grid; and has this stride. An immediate is any number, or (times >=
 * 0) the rows of a block: immediate `times` / grid, rounded up. */
enum { MDL_TIMES_ONE = -1, MDL_TIMES_GRID = -2 };
typedef struct {
    mdl_arg_kind kind;
    mdl_access access;
    mdl_dtype dtype;
    int64_t elements;
    int times;
    int64_t stride;
} mdl_plan_signature;

/* The blocks of a launch: immediate `rows` / `per` rounded up (1 when rows is MDL_TIMES_ONE), at most `most` unless that is 0,
 * times `times`. */
typedef struct {
    int rows;
    int64_t per, most, times;
} mdl_plan_grid;

/* A tensor [T, heads, cols] of bf16, T being immediate 0, of which a kernel copies tiles of 64 rows and 64 columns: element (t, h,
 * c) is number first + t * row + h * head + c of the launch's buffer number `buffer`. cols is a multiple of 64, the other numbers
 * of elements are multiples of 8. */
typedef struct {
    int buffer;
    int64_t first, heads, cols, row, head;
} mdl_plan_map;

/* What a thread or a block of a kernel takes on an arch that it has been compiled for, as the assembler says. */
typedef struct {
    char arch[16];        /* "sm_90a" */
    int registers;        /* of a thread */
    int64_t spill_bytes;  /* of a thread's registers that do not fit: the larger of what is stored and what is loaded */
    int64_t stack_bytes;  /* of a thread */
    int64_t shared_bytes; /* of a block, static: the launch's are on top of it */
    int resident;         /* blocks on a processor that there is room for; 0: as many as the text asks for */
} mdl_plan_resources;

typedef struct {
    const char *symbol; /* in the native code, unique */
    const char *class;  /* "row", "attention", "attention_bwd", "scatter", "segment", "finish", "optimizer", "random" */
    const char *hash;   /* mdl_plan_hash of its source text; NULL: set by the writer */
    const char *source; /* text of this one function; the entry mdl_plan_source_path */
    const char *span;   /* of the first launch that uses it */
    MDL_VEC(mdl_plan_signature) args;
    mdl_plan_grid grid;
    MDL_VEC(mdl_plan_map) maps;            /* tensor maps that follow its other arguments; cuda */
    int launches;                          /* over all programs; set by the writer */
    MDL_VEC(mdl_plan_resources) resources; /* of a cuda plan's native code, one an arch */
} mdl_plan_kernel;

/* A file inside the plan: sources, vocabulary, generated C, shared object. */
typedef struct {
    const char *path; /* "model.mdl", "assets/vocab.txt", "kernels/cpu.c", "kernels/cpu.so" */
    const char *bytes;
    int64_t size;
    const char *hash; /* of its bytes; set by the reader and writer */
} mdl_plan_file;

typedef struct {
    const char *name;
    double weight;
} mdl_plan_loss;

typedef struct {
    const char *name;
    int64_t value;
} mdl_plan_dim;

/* kind: "name" "also" "ignore". Where a tensor of a file holds more than the parameter, `rows` is its first dim: it and the
 * parameter have `groups` equal groups of rows, and in a group of the file's the parameter's rows begin at row `first`. So fused
 * query, key and value that alternate head by head are three lines with as many groups as heads, and a padded table is one group.
 */
typedef struct {
    const char *layout, *kind, *theirs, *ours;
    int64_t rows, groups, first; /* all 0: the parameter itself */
} mdl_plan_name_map;

typedef struct {
    mdl_arena *memory;
    int version;
    const char *model;     /* the model block's name */
    const char *target;    /* "cpu" */
    const char *isa;       /* "x86-64-v4": what the shared object needs */
    const char *precision; /* of matrix operands and activations: "f32", "bf16" */
    const char *compiler;  /* "mdlc 0.1.0" */
    int64_t tokens, segments, max_length;
    int64_t tile; /* elements: every parameter group in PARAM starts at a multiple of this */
    int64_t arena_bytes[MDL_ARENA_COUNT];
    MDL_VEC(mdl_plan_dim) dims;
    MDL_VEC(mdl_plan_dim) specials; /* bos eos pad unk mask -> token id */
    MDL_VEC(mdl_plan_param) params;
    MDL_VEC(mdl_plan_tie) ties;
    MDL_VEC(mdl_plan_unit) units;
    MDL_VEC(mdl_plan_input) inputs;
    MDL_VEC(mdl_plan_loss) losses;
    MDL_VEC(const char *) metrics;
    MDL_VEC(mdl_plan_name_map) layouts;
    MDL_VEC(mdl_plan_kernel) kernels;
    MDL_VEC(mdl_plan_program) programs;
    MDL_VEC(mdl_plan_file) files;
    const char *export_name; /* "config.json" or NULL; its text is the file assets/<export_name> */
    const char *vocab;       /* path of the vocabulary among files, or NULL */
    const char *hash;        /* hex hash of plan.json and all files; set by the reader and writer */
} mdl_plan;

mdl_plan *mdl_plan_new(void);
void mdl_plan_free(mdl_plan *plan);

/* Verifies, then writes atomically (temporary file, fsync, rename). The same plan gives the same bytes. Sets plan->hash and the
 * hashes of files and of kernels that have none. */
mdl_status mdl_plan_write(mdl_plan *plan, const char *path);
/* Reads and verifies completely (mdl_plan_verify). Never maps or runs native code. */
mdl_status mdl_plan_read(const char *path, mdl_plan **plan);
/* Every rule of docs/plan-format.md: sizes, accesses inside arenas, no two live buffers overlapping, known ops, hashes. */
mdl_status mdl_plan_verify(const mdl_plan *plan);

/* Gives a kernel the signature of this launch. Sizes that are a multiple of one of its first `sizes` immediates, or of its grid,
 * are recorded as such. */
void mdl_plan_sign(mdl_arena *arena, const mdl_plan_program *program, const mdl_plan_launch *launch, int sizes,
                   mdl_plan_kernel *kernel);
/* The blocks that the rule gives; -1 when it asks for an immediate that the launch does not have or the number overflows. */
int64_t mdl_plan_blocks(const mdl_plan_grid *grid, const mdl_plan_launch *launch);
void mdl_plan_count_launches(mdl_plan *plan); /* kernels[].launches */

/* XXH3-128 as 32 hex digits. */
const char *mdl_plan_hash(mdl_arena *arena, const void *bytes, int64_t size);

/* ---- what launches touch: touch.c ---- */
typedef struct {
    int buffer;
    mdl_access access;
} mdl_plan_use;
/* Every buffer that a launch uses: place i of 0 .. args.n; the last place is the workspace. False: there is none at this place. */
bool mdl_plan_use_at(const mdl_plan_launch *launch, int i, mdl_plan_use *use);
int mdl_plan_base(const mdl_plan_program *program, int buffer);      /* what it is a view of, or itself */
int64_t mdl_plan_place(const mdl_plan_program *program, int buffer); /* its offset in its arena */

/* `rows` pieces of `row_bytes`, `pitch` bytes from one to the next. */
typedef struct {
    mdl_arena_id arena;
    int64_t offset, rows, row_bytes, pitch; /* offset in the arena */
} mdl_plan_touch;
mdl_plan_touch mdl_plan_touched(const mdl_plan_program *program, int buffer);
/* Do two buffers share a byte that they touch? Two of different strides are taken to, if their ranges overlap. */
bool mdl_plan_overlap(const mdl_plan_program *program, int a, int b);

/* ---- when ACTIVATION buffers live: lifetimes.c ---- */
enum { MDL_MAX_STREAMS = 16 };
/* A launch comes before another if it is earlier in its stream, or the other waits for it, or through a third. Launches without
 * such an order may run at once. Views count as the buffer that they are of; rows of buffers of other arenas are -1. */
typedef struct {
    int streams;
    int *first, *last;                    /* [buffers][streams]: the stream's launches that use the buffer; -1: none does */
    int *before;                          /* [launches][streams]: the stream's last launch that comes before; -1: none does */
    int64_t activation_bytes, live_bytes; /* what the program must record: bytes as given in the buffers, without padding */
} mdl_plan_lives;
mdl_plan_lives mdl_plan_lifetimes(mdl_arena *arena, const mdl_plan_program *program);
/* Does every use of a come before every use of b? Two buffers may share memory only when one dies before the other. */
bool mdl_plan_dies_before(const mdl_plan_lives *lives, int a, int b);
int mdl_plan_first_use(const mdl_plan_lives *lives, int buffer); /* in recorded order; -1: never used */
int mdl_plan_last_use(const mdl_plan_lives *lives, int buffer);

/* "kernels/<symbol>.c"; of a cuda plan ".cu". */
const char *mdl_plan_source_path(mdl_arena *arena, const mdl_plan *plan, const mdl_plan_kernel *kernel);
/* "kernels/<symbol>.<arch>.cubin"; of an arch "compute_*", whose code is PTX, ".ptx". */
const char *mdl_plan_code_path(mdl_arena *arena, const mdl_plan_kernel *kernel, const char *arch);

const mdl_plan_program *mdl_plan_find_program(const mdl_plan *plan, const char *name);

/* What a runtime takes of the device's memory beyond the arenas: on a GPU, what the library of products works in. */
enum { MDL_PRODUCTS_WORKSPACE = 32 << 20 };
int64_t mdl_plan_workspace(const mdl_plan *plan);
/* All that it takes: arenas and workspace. */
int64_t mdl_plan_memory(const mdl_plan *plan);
const mdl_plan_file *mdl_plan_find_file(const mdl_plan *plan, const char *path);
const mdl_plan_input *mdl_plan_find_input(const mdl_plan *plan, const char *name);
const mdl_plan_param *mdl_plan_find_param(const mdl_plan *plan, const char *name); /* follows ties */

#endif
