/* needs: the precision pass. keeps: every result to the rounding of 8 bits. breaks: nothing; products of linear layers take
 * operands of 8 bits with scales.
 *
 * Delayed scaling. A tensor is stored as its values times a scale, rounded to e4m3 (inputs, weights) or e5m2 (gradients of
 * outputs); a product multiplies by the inverses. The scale comes from the largest amax of the last steps, so that values can be
 * quantized where they are made. Rows of no segment do not count for an amax. Products want the summed axis contiguous: a tensor
 * that is summed along its rows is transposed, weights by the program that updates them.
 *
 * With current scaling the scale is by the tensor's own amax: a value is stored in bf16, measured on the way, and quantized by a
 * kernel of its own. Weights are scaled so when they are updated; their inverses are the only state.
 *
 * Only programs with gradients compute in 8 bits; the others have the copies in bf16. The program `calibrate` too: it has the
 * products in bf16 and gives the first scales. */
#include <string.h>

#include "compiler/ir/order.h"
#include "compiler/op/dot.h"
#include "compiler/pass/pass.h"

/* ---- which layers ---- */
static bool in_sixteens(const mdl_type *t) { return t->rank == 2 && t->dim[0] % 16 == 0 && t->dim[1] % 16 == 0; }

static bool is_wanted(mdl_arena *arena, const mdl_layout *layout, const mdl_op *op) {
    const char *precision = mdl_scope_precision(&op->span);
    const mdl_op *weight = op->code == MDL_OP_DOT ? op->in[1]->def : NULL;
    if (!weight || weight->code != MDL_OP_READ || !mdl_first_param(weight)) return false;
    if (!mdl_is_state(weight, MDL_STATE_PARAM) && !mdl_is_state(weight, MDL_STATE_COMPUTE)) return false;
    if (!strcmp(precision, "f32") || !strcmp(precision, "bf16")) return false;
    bool repeated = *mdl_unit_of_scope(arena, mdl_scope_path(&op->span)) && mdl_layout_find(layout, mdl_first_param(weight));
    bool alone = !layout->by_name; /* the pass by itself: nothing is known of scopes */
    return (repeated || alone) && in_sixteens(&op->in[0]->type) && in_sixteens(&op->in[1]->type);
}

static int64_t summed_axis(const mdl_op *dot, int operand) {
    const mdl_attr *axes = mdl_find_attr(dot, operand ? "right" : "left");
    return axes->n == 1 ? axes->is[0] : -1;
}

/* Products of the weight that sum over the same of its axes: the gradient of the input sums over the other. */
static int products_of(const mdl_region *r, const mdl_op *like) {
    int n = 0;
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        n += op->code == MDL_OP_DOT && op->in[1] == like->in[1] && summed_axis(op, 1) == summed_axis(like, 1);
    }
    return n;
}

static bool is_known(const mdl_fp8 *fp8, const char *name) {
    for (int i = 0; i < fp8->linears.n; i++)
        if (!strcmp(fp8->linears.at[i].of[0], name)) return true;
    return false;
}

mdl_fp8 *mdl_fp8_choose(mdl_arena *arena, const mdl_region *forward, const mdl_layout *layout, const mdl_fp8_recipe *recipe,
                        mdl_fp8_pays *pays, const char *isa) {
    mdl_fp8 *fp8 = MDL_NEW(arena, mdl_fp8);
    *fp8 = (mdl_fp8){.recipe = *recipe};
    for (int i = 0; i < forward->ops.n; i++) {
        const mdl_op *op = forward->ops.at[i];
        if (!is_wanted(arena, layout, op) || products_of(forward, op) > 1) continue;
        if (is_known(fp8, mdl_first_param(op->in[1]->def))) continue;
        const mdl_type *w = &op->in[1]->type;
        if (!recipe->all && pays && !pays(w->dim[0], w->dim[1], isa)) {
            fp8->left_out++;
            continue;
        }
        mdl_state state = mdl_state_of(op->in[1]->def);
        MDL_PUSH(arena, fp8->linears, ((mdl_fp8_linear){state.n, state.of, op->in[1]->type}));
        for (int k = 0; k < 2; k++)
            if (op->in[k]->type.dim[0] > fp8->rows) fp8->rows = op->in[k]->type.dim[0];
    }
    return fp8;
}

/* ---- a program ---- */
typedef struct {
    mdl_pass_context *c;
    const mdl_fp8 *fp8;
    mdl_rewrite r;
    mdl_value *in_segment;               /* bool[T]: is the token in one? NULL where there are none */
    const mdl_value **operand[2];        /* by role INPUT and GRADIENT / 2, then layer: the value of the old region */
    mdl_value **inverse;                 /* by tensor, of those scaled by their own amax: f32[1,16] */
    mdl_value **quantized, **transposed; /* by tensor; NULL: not yet */
    bool measures, small;                /* amaxes are kept; products are of 8 bits */
} rewriter;

static int64_t number_of(const rewriter *w, mdl_fp8_role role, int layer) { return (int64_t)role * w->fp8->linears.n + layer; }
static mdl_dtype dtype_of(mdl_fp8_role role) { return role == MDL_FP8_GRADIENT ? MDL_E5M2 : MDL_E4M3; }

/* The layer whose weight the value is, or -1. */
static int layer_of(const rewriter *w, const mdl_value *v) {
    const char *name = mdl_is(v, MDL_OP_READ) && mdl_is_state(v->def, MDL_STATE_COMPUTE) ? mdl_first_param(v->def) : NULL;
    for (int i = 0; name && i < w->fp8->linears.n; i++)
        if (!strcmp(w->fp8->linears.at[i].of[0], name)) return i;
    return -1;
}

/* ---- states ---- */
static mdl_state row_of(mdl_state_kind kind, int64_t tensor) {
    mdl_state s = mdl_state_flat(kind, tensor);
    s.tiles = 1;
    return s;
}
static mdl_type table(int64_t rows, int64_t columns) { return (mdl_type){.dtype = MDL_F32, .rank = 2, .dim = {rows, columns}}; }

static mdl_value *read_row(rewriter *w, mdl_state_kind kind, int64_t tensor, int64_t columns) {
    return mdl_read_in_order(&w->r.b, w->c->layout, row_of(kind, tensor), table(1, columns));
}

static mdl_value *reshaped(mdl_builder *b, mdl_value *x, mdl_type type) {
    return mdl_build(b, MDL_OP_RESHAPE, 1, &x, 0, NULL, &type, NULL)->out[0];
}

static mdl_value *sliced(mdl_builder *b, mdl_value *x, int64_t start, int64_t size) {
    mdl_attr attr[] = {mdl_int("axis", 1), mdl_int("start", start), mdl_int("size", size)};
    return mdl_build(b, MDL_OP_SLICE, 1, &x, 3, attr, NULL, NULL)->out[0];
}

/* The first number of a row, f32[]. */
static mdl_value *first_of(mdl_builder *b, mdl_value *row) {
    return reshaped(b, sliced(b, row, 0, 1), (mdl_type){.dtype = MDL_F32});
}

/* ---- quantizing ---- */
/* What a value was before the cast that narrowed it: one rounding is enough. */
static mdl_value *wide(rewriter *w, mdl_value *v) {
    bool narrowed = mdl_is(v, MDL_OP_CAST) && v->def->in[0]->type.dtype == MDL_F32;
    return narrowed ? v->def->in[0] : mdl_cast(&w->r.b, v, MDL_F32);
}

/* x times the first number of a row, in 8 bits. */
static mdl_value *scaled_by(rewriter *w, mdl_value *x, mdl_value *row, mdl_dtype to) {
    mdl_builder *b = &w->r.b;
    return mdl_cast(b, mdl_binary(b, MDL_OP_MUL, x, mdl_broadcast_scalar(b, first_of(b, row), &x->type)), to);
}

static mdl_value *scaled(rewriter *w, mdl_value *x, int64_t tensor, mdl_dtype to) {
    return scaled_by(w, x, read_row(w, MDL_STATE_SCALE, tensor, MDL_FP8_PITCH), to);
}

/* The largest size in each row of x; of a row of no segment (by_token): 0. */
static mdl_value *row_amax(rewriter *w, mdl_value *x, bool by_token) {
    mdl_builder *b = &w->r.b;
    int64_t column = 1;
    mdl_value *most = mdl_reduce(b, MDL_OP_REDUCE_MAX, mdl_unary(b, MDL_OP_ABS, x), 1, &column);
    if (!by_token || !w->in_segment || w->in_segment->type.dim[0] != x->type.dim[0]) return most;
    return mdl_select(b, w->in_segment, most, mdl_const_like(b, &most->type, 0));
}

/* The amax of each row is kept; by_token: of the micro-batches of a step together. */
static void measure(rewriter *w, mdl_value *x, int64_t tensor, bool by_token) {
    mdl_builder *b = &w->r.b;
    int64_t rows = x->type.dim[0], most_rows = w->fp8->rows;
    mdl_value *most = row_amax(w, x, by_token);
    if (by_token && w->c->program->grad == MDL_GRAD_ACCUMULATE) {
        mdl_value *before = read_row(w, MDL_STATE_AMAX, tensor, most_rows);
        most = mdl_binary(b, MDL_OP_MAX, most, reshaped(b, sliced(b, before, 0, rows), most->type));
    }
    most = reshaped(b, most, table(1, rows));
    if (rows < most_rows) {
        mdl_type rest = table(1, most_rows - rows);
        mdl_value *both[] = {most, mdl_const_like(b, &rest, 0)};
        mdl_attr axis = mdl_int("axis", 1);
        most = mdl_build(b, MDL_OP_CONCAT, 2, both, 1, &axis, NULL, NULL)->out[0];
    }
    mdl_write_in_order(b, w->c->layout, row_of(MDL_STATE_AMAX, tensor), most);
}

/* The format's largest number, 2^margin below. */
static double largest_of(const rewriter *w, mdl_dtype dtype) {
    return (dtype == MDL_E5M2 ? 57344 : 448) / (double)((int64_t)1 << w->fp8->recipe.margin);
}

/* What makes amaxes the largest numbers: of tensors of zeros, and of those that have no number, `otherwise`. */
static mdl_value *scale_for(mdl_builder *b, mdl_value *amax, mdl_value *largest, mdl_value *otherwise) {
    const mdl_type *type = &amax->type;
    mdl_value *huge = mdl_const_like(b, type, 0x1.fffffep127), *limit = mdl_const_like(b, type, 0x1p126);
    mdl_value *positive = mdl_binary(b, MDL_OP_LT, mdl_const_like(b, type, 0), amax),
              *finite = mdl_binary(b, MDL_OP_LE, amax, huge);
    mdl_value *fit = mdl_binary(b, MDL_OP_MIN, mdl_binary(b, MDL_OP_DIV, largest, amax), limit);
    return mdl_select(b, mdl_binary(b, MDL_OP_AND, positive, finite), fit, otherwise);
}

/* Scaled by its own amax, which takes a pass over x before that which quantizes. Leaves the inverse. */
static mdl_value *scaled_by_itself(rewriter *w, mdl_value *x, int64_t tensor, bool by_token, mdl_dtype to) {
    mdl_builder *b = &w->r.b;
    int64_t column = 1, row = 0;
    mdl_type wide_row = table(1, MDL_FP8_PITCH);
    mdl_value *rows = reshaped(b, row_amax(w, x, by_token), table(1, x->type.dim[0]));
    mdl_value *most = mdl_reduce(b, MDL_OP_REDUCE_MAX, rows, 1, &column), *one = mdl_const_like(b, &most->type, 1);
    mdl_value *scale = scale_for(b, most, mdl_const_like(b, &most->type, largest_of(w, to)), one);
    w->inverse[tensor] = mdl_broadcast(b, mdl_binary(b, MDL_OP_DIV, one, scale), 1, &row, &wide_row);
    return scaled_by(w, x, mdl_broadcast(b, scale, 1, &row, &wide_row), to);
}

static mdl_value *transposed(rewriter *w, mdl_value *x) {
    return mdl_build(&w->r.b, MDL_OP_TRANSPOSE, 1, &x, 0, NULL, NULL, NULL)->out[0];
}

/* An input or a gradient, with the axis that is summed last. */
static mdl_value *activation(rewriter *w, mdl_value *v, mdl_fp8_role role, int layer, int64_t summed) {
    int64_t tensor = number_of(w, role, layer);
    mdl_value **q = &w->quantized[tensor], **t = &w->transposed[tensor];
    if (!*q && w->fp8->recipe.current) {
        *q = scaled_by_itself(w, mdl_cast(&w->r.b, v, MDL_F32), tensor, true, dtype_of(role));
    } else if (!*q) {
        mdl_value *x = wide(w, v);
        *q = scaled(w, x, tensor, dtype_of(role));
        measure(w, x, tensor, true);
    }
    if (summed == 1) return *q;
    return *t ? *t : (*t = transposed(w, *q));
}

static mdl_value *weight(rewriter *w, int layer, int64_t summed) {
    const mdl_fp8_linear *l = &w->fp8->linears.at[layer];
    mdl_state state = mdl_state_by_name(summed == 1 ? MDL_STATE_QUANTIZED : MDL_STATE_TRANSPOSED, l->n, l->of);
    int64_t rows = l->type.dim[summed != 1], columns = l->type.dim[summed == 1];
    return mdl_read_in_order(&w->r.b, w->c->layout, state, mdl_type_make(MDL_E4M3, 2, (int64_t[]){rows, columns}));
}

/* ---- products ---- */
/* An operand of a product by its place in the model. */
typedef struct {
    mdl_fp8_role role;
    int layer;
} place;

static int find_layer(const rewriter *w, const mdl_value *a, const mdl_value *b) {
    for (int i = 0; i < w->fp8->linears.n; i++)
        if (w->operand[0][i] && w->operand[1][i] &&
            ((w->operand[0][i] == a && w->operand[1][i] == b) || (w->operand[0][i] == b && w->operand[1][i] == a)))
            return i;
    return -1;
}

/* The places of a dot's operands; false: it is not a product of a layer. */
static bool places_of(const rewriter *w, const mdl_op *dot, place of[2]) {
    if (dot->code != MDL_OP_DOT || dot->in[0]->type.rank != 2 || dot->in[1]->type.rank != 2 || mdl_find_attr(dot, "left_batch"))
        return false;
    int layer = layer_of(w, dot->in[1]);
    if (layer >= 0) {
        bool forward = w->operand[0][layer] == dot->in[0];
        of[0] = (place){forward ? MDL_FP8_INPUT : MDL_FP8_GRADIENT, layer}, of[1] = (place){MDL_FP8_WEIGHT, layer};
        return true;
    }
    layer = find_layer(w, dot->in[0], dot->in[1]);
    bool input_first = layer >= 0 && w->operand[0][layer] == dot->in[0];
    of[0] = (place){input_first ? MDL_FP8_INPUT : MDL_FP8_GRADIENT, layer};
    of[1] = (place){input_first ? MDL_FP8_GRADIENT : MDL_FP8_INPUT, layer};
    return layer >= 0;
}

/* The first product with a weight is the layer's own, the next that of its input's gradient. */
static void note_operands(rewriter *w, const mdl_region *in) {
    for (int i = 0; i < in->ops.n; i++) {
        const mdl_op *dot = in->ops.at[i];
        int layer = dot->code == MDL_OP_DOT ? layer_of(w, dot->in[1]) : -1;
        if (layer >= 0) w->operand[w->operand[0][layer] != NULL][layer] = dot->in[0];
    }
}

static mdl_value *inverse_of(rewriter *w, int64_t tensor) {
    return w->inverse[tensor] ? w->inverse[tensor] : read_row(w, MDL_STATE_INVERSE, tensor, MDL_FP8_PITCH);
}

static void small_product(rewriter *w, const mdl_op *dot, const place of[2]) {
    mdl_value *in[6], **next = in;
    mdl_attr *attr = MDL_NEW_ARRAY(w->c->arena, mdl_attr, dot->n_attr + 5);
    int n = 0;
    w->r.b.span = dot->span;
    for (int i = 0; i < 2; i++)
        *next++ = of[i].role == MDL_FP8_WEIGHT
                      ? weight(w, of[i].layer, summed_axis(dot, i))
                      : activation(w, mdl_mapped(dot->in[i]), of[i].role, of[i].layer, summed_axis(dot, i));
    for (int i = 2; i < dot->n_in; i++) *next++ = mdl_mapped(dot->in[i]);
    for (int i = 0; i < 2; i++) *next++ = inverse_of(w, number_of(w, of[i].role, of[i].layer));
    for (int i = 0; i < dot->n_attr; i++)
        if (strcmp(dot->attr[i].key, "left") && strcmp(dot->attr[i].key, "right") && strcmp(dot->attr[i].key, "to"))
            attr[n++] = dot->attr[i];
    int64_t last = 1;
    attr[n++] = mdl_ints(w->c->arena, "left", 1, &last), attr[n++] = mdl_ints(w->c->arena, "right", 1, &last);
    attr[n++] = mdl_str("to", mdl_dtype_name(dot->out[0]->type.dtype)), attr[n++] = mdl_int("scales", 1);
    if (of[1].role == MDL_FP8_WEIGHT) attr[n++] = mdl_int("fast", 1); /* the sum over tokens needs all digits */
    mdl_map(dot->out[0], mdl_build(&w->r.b, MDL_OP_DOT, (int)(next - in), in, n, attr, NULL, NULL)->out[0]);
}

/* In `calibrate`: the products as they were, and the amaxes of their operands. */
static void measured_product(rewriter *w, const mdl_op *dot, const place of[2]) {
    w->r.b.span = dot->span;
    for (int i = 0; i < 2; i++) {
        int64_t tensor = number_of(w, of[i].role, of[i].layer);
        if (of[i].role == MDL_FP8_WEIGHT || w->quantized[tensor]) continue;
        w->quantized[tensor] = mdl_mapped(dot->in[i]);
        measure(w, wide(w, mdl_mapped(dot->in[i])), tensor, true);
    }
    mdl_keep(&w->r, dot);
}

/* ---- the end of a step ---- */
static mdl_state all_of(const rewriter *w, mdl_state_kind kind) {
    mdl_state s = mdl_state_flat(kind, 0);
    s.tiles = mdl_fp8_tensors(w->fp8);
    return s;
}

static mdl_value *read_all(rewriter *w, mdl_state_kind kind, int64_t columns) {
    return mdl_read_in_order(&w->r.b, w->c->layout, all_of(w, kind), table(mdl_fp8_tensors(w->fp8), columns));
}

static void write_all(rewriter *w, mdl_state_kind kind, mdl_value *x) {
    int64_t row = 0;
    mdl_type type = table(x->type.dim[0], MDL_FP8_PITCH);
    if (x->type.rank == 1) x = mdl_broadcast(&w->r.b, x, 1, &row, &type);
    mdl_write_in_order(&w->r.b, w->c->layout, all_of(w, kind), x);
}

/* f32[n]: the largest number of each tensor's format. */
static mdl_value *largest(rewriter *w, mdl_type type) {
    mdl_builder *b = &w->r.b;
    mdl_type index = type;
    mdl_attr axis = mdl_int("axis", 0);
    index.dtype = MDL_I32;
    mdl_value *number = mdl_build(b, MDL_OP_IOTA, 0, NULL, 1, &axis, &index, NULL)->out[0];
    mdl_value *first = mdl_const_like(b, &index, (double)number_of(w, MDL_FP8_GRADIENT, 0));
    return mdl_select(b, mdl_binary(b, MDL_OP_LT, number, first), mdl_const_like(b, &type, largest_of(w, MDL_E4M3)),
                      mdl_const_like(b, &type, largest_of(w, MDL_E5M2)));
}

/* The new amaxes go into the history, its largest gives the scale, or the scale stays. */
static void update_scales(rewriter *w) {
    mdl_builder *b = &w->r.b;
    int64_t column = 1;
    mdl_value *amax = mdl_reduce(b, MDL_OP_REDUCE_MAX, read_all(w, MDL_STATE_AMAX, w->fp8->rows), 1, &column);
    mdl_value *past = read_all(w, MDL_STATE_HISTORY, w->fp8->recipe.history);
    amax = reshaped(b, amax, table(amax->type.dim[0], 1));
    mdl_value *both[] = {amax, sliced(b, past, 0, w->fp8->recipe.history - 1)};
    mdl_attr axis = mdl_int("axis", 1);
    mdl_value *history = mdl_build(b, MDL_OP_CONCAT, 2, both, 1, &axis, NULL, NULL)->out[0];
    mdl_value *most = mdl_reduce(b, MDL_OP_REDUCE_MAX, history, 1, &column);
    mdl_value *old = reshaped(b, sliced(b, read_all(w, MDL_STATE_SCALE, MDL_FP8_PITCH), 0, 1), most->type);
    mdl_value *one = mdl_const_like(b, &most->type, 1), *zero = mdl_const_like(b, &most->type, 0);
    old = mdl_select(b, mdl_binary(b, MDL_OP_LT, zero, old), old, one); /* in a fresh arena it is 0 */
    mdl_value *scale = scale_for(b, most, largest(w, most->type), old);
    write_all(w, MDL_STATE_HISTORY, history);
    write_all(w, MDL_STATE_SCALE, scale);
    write_all(w, MDL_STATE_INVERSE, mdl_binary(b, MDL_OP_DIV, one, scale));
}

/* Before anything is known of a tensor its scale is 1. */
static void reset_scales(rewriter *w) {
    mdl_type rows = table(mdl_fp8_tensors(w->fp8), MDL_FP8_PITCH), past = table(rows.dim[0], w->fp8->recipe.history);
    write_all(w, MDL_STATE_SCALE, mdl_const_like(&w->r.b, &rows, 1));
    write_all(w, MDL_STATE_INVERSE, mdl_const_like(&w->r.b, &rows, 1));
    if (!w->fp8->recipe.current) write_all(w, MDL_STATE_HISTORY, mdl_const_like(&w->r.b, &past, 0));
}

/* From the copies in bf16, behind all that writes them. */
static void quantize_weights(rewriter *w) {
    for (int i = 0; i < w->fp8->linears.n; i++) {
        const mdl_fp8_linear *l = &w->fp8->linears.at[i];
        mdl_type type = l->type;
        int64_t tensor = number_of(w, MDL_FP8_WEIGHT, i);
        type.dtype = MDL_BF16;
        mdl_value *x = mdl_cast(
            &w->r.b, mdl_read_in_order(&w->r.b, w->c->layout, mdl_state_by_name(MDL_STATE_COMPUTE, l->n, l->of), type), MDL_F32);
        mdl_value *q = w->fp8->recipe.current ? scaled_by_itself(w, x, tensor, false, MDL_E4M3) : scaled(w, x, tensor, MDL_E4M3);
        mdl_write_in_order(&w->r.b, w->c->layout, mdl_state_by_name(MDL_STATE_QUANTIZED, l->n, l->of), q);
        mdl_write_in_order(&w->r.b, w->c->layout, mdl_state_by_name(MDL_STATE_TRANSPOSED, l->n, l->of), transposed(w, q));
        if (w->fp8->recipe.current)
            mdl_write_in_order(&w->r.b, w->c->layout, row_of(MDL_STATE_INVERSE, tensor), w->inverse[tensor]);
        else
            measure(w, x, tensor, false);
    }
}

/* ---- all of it ---- */
static void find_tokens(rewriter *w, const mdl_region *in) {
    mdl_builder *b = &w->r.b;
    for (int i = 0; i < in->ops.n && !w->in_segment; i++) {
        const mdl_op *op = in->ops.at[i];
        if (op->code != MDL_OP_INPUT || op->out[0]->type.dtype != MDL_SEG) continue;
        mdl_value *seq = mdl_keep(&w->r, op)->out[0];
        mdl_value *segment = mdl_build(b, MDL_OP_SEGMENT_ID, 1, &seq, 0, NULL, NULL, NULL)->out[0];
        w->in_segment = mdl_binary(b, MDL_OP_LE, mdl_const_like(b, &segment->type, 0), segment);
    }
}

static void visit(rewriter *w, const mdl_op *op) {
    place of[2];
    bool ours = (w->small || w->measures) && places_of(w, op, of);
    if (ours && w->small)
        small_product(w, op, of);
    else if (ours)
        measured_product(w, op, of);
    else if (op->code != MDL_OP_INPUT || !op->out[0]->scratch) /* the segments are there already */
        mdl_keep(&w->r, op);
}

mdl_region *mdl_pass_fp8(mdl_pass_context *c, mdl_region *in) {
    const mdl_program_spec *p = c->program;
    bool writes = p->optimizer || p->calibrate || p->source == MDL_FROM_INIT || p->source == MDL_FROM_PARAMS;
    if (!mdl_fp8_tensors(c->fp8) || (p->grad == MDL_GRAD_NONE && !writes)) return in;
    rewriter w = {.c = c,
                  .fp8 = c->fp8,
                  .r = mdl_rewrite_begin(c, in),
                  .small = p->grad != MDL_GRAD_NONE && !p->calibrate,
                  .measures = p->calibrate};
    int64_t n = mdl_fp8_tensors(c->fp8);
    w.inverse = MDL_NEW_ARRAY(c->arena, mdl_value *, n);
    w.quantized = MDL_NEW_ARRAY(c->arena, mdl_value *, n), w.transposed = MDL_NEW_ARRAY(c->arena, mdl_value *, n);
    for (int i = 0; i < 2; i++) w.operand[i] = MDL_NEW_ARRAY(c->arena, const mdl_value *, c->fp8->linears.n);
    note_operands(&w, in);
    if (w.small || w.measures) find_tokens(&w, in);
    for (int i = 0; i < in->ops.n; i++) visit(&w, in->ops.at[i]);
    w.r.b.span = (mdl_span){0};
    if (p->source == MDL_FROM_INIT) reset_scales(&w);
    if ((p->optimizer || p->calibrate) && !c->fp8->recipe.current) update_scales(&w);
    if (writes) quantize_weights(&w);
    return mdl_pass_simplify(c, mdl_rewrite_end(&w.r));
}
