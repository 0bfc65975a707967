/* States: memory that outlives a program. A read or a write names a range of one kind of state, as attributes:
 *
 *   %3 = read {state="grad", of=["a", "b"]} : f32[6,4]     parameters that lie side by side, joined along axis 0
 *   %4 = read %9 {state="param", tile=12} : f32[8,1024]    a flat range: rows of MDL_TILE elements from a tile on (decay: a bool
 * each) %9 = write %2, %8 {state="param", of=["c"]} : token[]
 *
 * Order is explicit. A write yields a token; a read or a write may take tokens, and comes after what they stand for; `token` makes
 * one of any values. Of two accesses whose ranges overlap, one of them a write, the later must depend on the earlier (order.h). */
#ifndef MDL_IR_STATE_H
#define MDL_IR_STATE_H

#include "compiler/ir/ir.h"

/* STATE(id, name): `compute` is a copy of a parameter in the dtype that products take. By tile, `decay` says where weight decay
 * applies and `used` how many of its elements belong to parameters; the rest of a tile is undefined. `count` and `sum` are named by
 * losses and metrics, f32[]: what they have selected in the step so far, and the sum of that. `quantized` is a parameter's copy in
 * 8 bits, `transposed` the same by columns. Flat, a row for
 * each tensor that is quantized (pass/fp8.c): `scale` and its `inverse` (f32[n,16], the number 16 times), `history`, amaxes of the
 * last steps, and `amax`, the step's of each of the tensor's rows. */
#define MDL_STATES(STATE)           \
    STATE(PARAM, "param")           \
    STATE(GRAD, "grad")             \
    STATE(MOMENT1, "moment1")       \
    STATE(MOMENT2, "moment2")       \
    STATE(DECAY, "decay")           \
    STATE(USED, "used")             \
    STATE(COMPUTE, "compute")       \
    STATE(COUNT, "count")           \
    STATE(SUM, "sum")               \
    STATE(QUANTIZED, "quantized")   \
    STATE(TRANSPOSED, "transposed") \
    STATE(SCALE, "scale")           \
    STATE(INVERSE, "inverse")       \
    STATE(HISTORY, "history")       \
    STATE(AMAX, "amax")

typedef enum {
#define STATE(id, name) MDL_STATE_##id,
    MDL_STATES(STATE)
#undef STATE
        MDL_STATE_KINDS
} mdl_state_kind;

typedef struct {
    mdl_state_kind kind;
    int n; /* parameters; 0: a flat range */
    const char *const *of;
    int64_t tile, tiles; /* of a flat range */
} mdl_state;

/* ---- where parameters lie ---- */
/* Each group of adjacent parameters starts at a tile. Offsets are elements, the same in every kind of state. */
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
    const mdl_placed_param **by_name; /* sorted; NULL: nothing is known (a pass run alone on text) */
    int64_t tiles;
} mdl_layout;
const mdl_placed_param *mdl_layout_find(const mdl_layout *layout, const char *name); /* NULL: not trained */

/* ---- reading ---- */
const char *mdl_state_name(mdl_state_kind kind);
bool mdl_is_access(const mdl_op *op); /* a read or a write */
mdl_state mdl_state_of(const mdl_op *op);
bool mdl_is_state(const mdl_op *op, mdl_state_kind kind); /* a read or a write of this kind */
const char *mdl_first_param(const mdl_op *op);            /* of an access by name; NULL for a flat one */
/* The type rule's part: NULL, or what is wrong with the attributes. */
const char *mdl_state_wrong(const mdl_op *op);
/* Do two ranges share an element? A parameter that is not in the layout lies in no flat range. */
bool mdl_states_overlap(const mdl_layout *layout, const mdl_state *a, const mdl_state *b);
/* A state as a name for people and for the interpreter's arrays: "x" (of=["x"]), "grad of x", "grad" (name NULL: all of it). */
const char *mdl_state_text(mdl_arena *arena, mdl_state_kind kind, const char *name);
bool mdl_is_memory_view(const mdl_op *op); /* a reshape or a hold */
/* The value in whose memory v lies: behind reshapes and holds. */
const mdl_value *mdl_memory_of(const mdl_value *v);

/* ---- building ---- */
mdl_state mdl_state_by_name(mdl_state_kind kind, int n, const char *const *of);
mdl_state mdl_state_flat(mdl_state_kind kind, int64_t tile);
/* Sets 1 or 2 attributes; returns how many. */
int mdl_state_attrs(mdl_arena *arena, const mdl_state *state, mdl_attr attr[2]);
mdl_value *mdl_read(mdl_builder *b, mdl_state state, mdl_type type, int n_after, mdl_value *const *after);
mdl_value *mdl_write(mdl_builder *b, mdl_state state, mdl_value *x, int n_after, mdl_value *const *after); /* the token */
mdl_value *mdl_token(mdl_builder *b, int n, mdl_value *const *x);
/* x as it lies in memory, not before the tokens: what is computed from it is neither merged nor fused with what came earlier. */
mdl_value *mdl_hold(mdl_builder *b, mdl_value *x, int n_after, mdl_value *const *after);

#endif
