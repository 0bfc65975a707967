/* Gather, scatter and segments: indexing along axis 0. */
#include <string.h>

#include "compiler/op/rules.h"

static const char *rows_by(const mdl_op *op, int x, int64_t rows, mdl_type *out) {
    if (!IN(x)->rank) return "needs a row axis";
    *out = *IN(x);
    out->dim[0] = rows;
    return NULL;
}

TYPE(GATHER) {
    if (IN(1)->dtype != MDL_I32 || IN(1)->rank != 1) return "the index is i32[T]";
    return rows_by(op, 0, IN(1)->dim[0], out);
}

TYPE(SCATTER_ADD) {
    if (op->n_in != 2 && op->n_in != 3) return "takes x, index and an optional init";
    if (IN(1)->dtype != MDL_I32 || IN(1)->rank != 1 || !IN(0)->rank || IN(1)->dim[0] != IN(0)->dim[0])
        return "the index is i32[T] of x's rows";
    int64_t rows = mdl_attr_int_or(op, "rows", 0);
    if (rows < 1) return "needs {rows}";
    const char *wrong = rows_by(op, 0, rows, out);
    if (!wrong) wrong = mdl_accumulated(op, out);
    return wrong ? wrong : op->n_in == 3 && !mdl_type_equal(IN(2), out) ? "init must have the result's type" : NULL;
}

TYPE(TRANSPOSE) {
    if (IN(0)->rank != 2 || mdl_dtype_bits(IN(0)->dtype) != 8) return "transposes a matrix of 8 bits";
    *out = mdl_type_make(IN(0)->dtype, 2, (int64_t[]){IN(0)->dim[1], IN(0)->dim[0]});
    return NULL;
}

static const char *is_segments(const mdl_type *t) { return t->dtype == MDL_SEG && t->rank == 2 ? NULL : "needs segments[S,T]"; }

static const char *per_token(const mdl_op *op, mdl_type *out) {
    *out = (mdl_type){.dtype = MDL_I32, .rank = 1, .dim = {IN(0)->dim[1]}};
    return is_segments(IN(0));
}
static const char *per_segment(const mdl_op *op, mdl_type *out) {
    *out = (mdl_type){.dtype = MDL_I32, .rank = 1, .dim = {IN(0)->dim[0]}};
    return is_segments(IN(0));
}
TYPE(SEGMENT_ID) { return per_token(op, out); }
TYPE(POSITION) { return per_token(op, out); }
TYPE(SEGLEN) { return per_segment(op, out); }
TYPE(FIRST) { return per_segment(op, out); }
TYPE(TILES) {
    int64_t rows = mdl_attr_int_or(op, "rows", 0);
    if (rows < 1) return "needs {rows}";
    const char *wrong = is_segments(IN(0));
    if (!wrong) *out = (mdl_type){MDL_I32, 2, {(IN(0)->dim[1] + rows - 1) / rows + IN(0)->dim[0], 2}};
    return wrong;
}

static const char *between(const mdl_op *op, int from, int to, mdl_type *out) {
    const char *wrong = is_segments(IN(1));
    if (wrong) return wrong;
    if (!IN(0)->rank || IN(0)->dim[0] != IN(1)->dim[from]) return "rows differ from the segments'";
    return rows_by(op, 0, IN(1)->dim[to], out);
}
TYPE(SEGSUM) {
    const char *wrong = between(op, 1, 0, out);
    return wrong ? wrong : mdl_accumulated(op, out);
}
TYPE(SPREAD) { return between(op, 0, 1, out); }

#define B mdl_ad_builder(ad)
static mdl_value *call(mdl_ad *ad, mdl_opcode code, mdl_value *x, mdl_value *y, int n_attr, const mdl_attr *attr) {
    mdl_value *in[] = {x, y};
    return mdl_build(B, code, 2, in, n_attr, attr, NULL, NULL)->out[0];
}
/* A table read with {zero_row} learns nothing for that row from being gathered (PyTorch's padding_idx). */
static mdl_value *without_row(mdl_ad *ad, mdl_value *index, const mdl_value *table) {
    const mdl_attr *row = mdl_is(table, MDL_OP_READ) ? mdl_find_attr(table->def, "zero_row") : NULL;
    if (!row) return index;
    mdl_value *hit = mdl_binary(B, MDL_OP_EQ, index, mdl_const_like(B, &index->type, (double)row->i));
    return mdl_select(B, hit, mdl_const_like(B, &index->type, -1), index);
}

GRADIENT(GATHER) {
    mdl_attr rows = mdl_int("rows", IN(0)->dim[0]);
    mdl_ad_add(ad, op->in[0], call(ad, MDL_OP_SCATTER_ADD, dout[0], without_row(ad, op->in[1], op->in[0]), 1, &rows));
}
GRADIENT(SCATTER_ADD) {
    if (mdl_ad_wants(ad, op->in[0]))
        mdl_ad_add(ad, op->in[0], call(ad, MDL_OP_GATHER, mdl_cast(B, dout[0], IN(0)->dtype), op->in[1], 0, NULL));
    if (op->n_in == 3 && mdl_ad_wants(ad, op->in[2])) mdl_ad_add(ad, op->in[2], dout[0]);
}
GRADIENT(SEGSUM) { mdl_ad_add(ad, op->in[0], call(ad, MDL_OP_SPREAD, mdl_cast(B, dout[0], IN(0)->dtype), op->in[1], 0, NULL)); }
GRADIENT(SPREAD) { mdl_ad_add(ad, op->in[0], call(ad, MDL_OP_SEGSUM, dout[0], op->in[1], 0, NULL)); }
NO_GRADIENT(TRANSPOSE)
NO_GRADIENT(SEGMENT_ID)
NO_GRADIENT(POSITION)
NO_GRADIENT(SEGLEN)
NO_GRADIENT(FIRST)
NO_GRADIENT(TILES)

/* ---- evaluation ---- */
static void copy_row(double *to, const double *from, int64_t cols) { memcpy(to, from, sizeof *to * (size_t)cols); }

static void add_row(mdl_interp *in, const mdl_op *op, double *to, const double *from, int64_t cols) {
    mdl_dtype acc = mdl_accumulation_of(op).acc;
    for (int64_t c = 0; c < cols; c++) to[c] = mdl_eval_round(in, acc, to[c] + from[c]);
}

EVALUATE(GATHER) {
    int64_t cols = mdl_span_product(IN(0), 1, IN(0)->rank);
    const double *table = mdl_eval_in(in, op, 0), *index = mdl_eval_in(in, op, 1);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t t = 0; t < IN(1)->dim[0]; t++)
        if (index[t] >= 0) copy_row(out + t * cols, table + (int64_t)index[t] * cols, cols);
}

EVALUATE(TRANSPOSE) {
    const double *x = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t r = 0; r < IN(0)->dim[0]; r++)
        for (int64_t c = 0; c < IN(0)->dim[1]; c++) out[c * IN(0)->dim[0] + r] = x[r * IN(0)->dim[1] + c];
}

EVALUATE(SCATTER_ADD) {
    int64_t cols = mdl_span_product(IN(0), 1, IN(0)->rank), rows = op->out[0]->type.dim[0];
    const double *x = mdl_eval_in(in, op, 0), *index = mdl_eval_in(in, op, 1);
    double *out = mdl_eval_out(in, op, 0);
    if (op->n_in == 3) copy_row(out, mdl_eval_in(in, op, 2), rows * cols);
    for (int64_t t = 0; t < IN(1)->dim[0]; t++)
        if (index[t] >= 0 && index[t] < rows) add_row(in, op, out + (int64_t)index[t] * cols, x + t * cols, cols);
}

/* Loops over the segments, each from .. to-1; cu_seqlens is S + 1 offsets. */
#define FOR_SEGMENTS(seq, type, s, from, to)                                                  \
    for (int64_t s = 0, from = (int64_t)(seq)[0], to = (int64_t)(seq)[1]; s < (type)->dim[0]; \
         s++, from = to, to = s < (type)->dim[0] ? (int64_t)(seq)[s + 1] : to)

EVALUATE(SEGMENT_ID) {
    const double *seq = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t t = 0; t < IN(0)->dim[1]; t++) out[t] = -1;
    FOR_SEGMENTS(seq, IN(0), s, from, to)
    for (int64_t t = from; t < to; t++) out[t] = (double)s;
}

EVALUATE(POSITION) {
    const double *seq = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    FOR_SEGMENTS(seq, IN(0), s, from, to)
    for (int64_t t = from; t < to; t++) out[t] = (double)(t - from);
}

EVALUATE(SEGLEN) {
    const double *seq = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    FOR_SEGMENTS(seq, IN(0), s, from, to) out[s] = (double)(to - from);
}

EVALUATE(FIRST) {
    const double *seq = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    FOR_SEGMENTS(seq, IN(0), s, from, to) out[s] = to > from ? (double)from : -1;
}

/* The longest segment that has not had its turn, the first of equals; -1: none. */
static int64_t longest(const double *seq, int64_t S, const bool *had) {
    int64_t best = -1;
    for (int64_t s = 0; s < S; s++)
        if (!had[s] && (best < 0 || seq[s + 1] - seq[s] > seq[best + 1] - seq[best])) best = s;
    return best;
}

EVALUATE(TILES) {
    const double *seq = mdl_eval_in(in, op, 0);
    double *out = mdl_eval_out(in, op, 0);
    int64_t rows = mdl_attr_int(op, "rows"), S = IN(0)->dim[0], n = 0;
    bool *had = MDL_NEW_ARRAY(mdl_eval_arena(in), bool, S + 1);
    for (int64_t s; (s = longest(seq, S, had)) >= 0; had[s] = true)
        for (int64_t first = 0; first < (int64_t)(seq[s + 1] - seq[s]); first += rows, n++)
            out[2 * n] = (double)s, out[2 * n + 1] = (double)first;
    for (n *= 2; n < mdl_type_count(&op->out[0]->type); n++) out[n] = -1;
}

EVALUATE(SEGSUM) {
    const double *x = mdl_eval_in(in, op, 0), *seq = mdl_eval_in(in, op, 1);
    int64_t cols = mdl_span_product(IN(0), 1, IN(0)->rank);
    double *out = mdl_eval_out(in, op, 0);
    FOR_SEGMENTS(seq, IN(1), s, from, to)
    for (int64_t t = from; t < to; t++) add_row(in, op, out + s * cols, x + t * cols, cols);
}

EVALUATE(SPREAD) {
    const double *x = mdl_eval_in(in, op, 0), *seq = mdl_eval_in(in, op, 1);
    int64_t cols = mdl_span_product(IN(0), 1, IN(0)->rank);
    double *out = mdl_eval_out(in, op, 0);
    FOR_SEGMENTS(seq, IN(1), s, from, to)
    for (int64_t t = from; t < to; t++) copy_row(out + t * cols, x + s * cols, cols);
}
