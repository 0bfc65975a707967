/* The scalar f64 interpreter. Values are arrays of doubles, held in each value's scratch while a program runs. */
#include "compiler/ir/interp.h"

#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/op/op.h"
#include "runtime/base/status.h"

struct mdl_interp {
    mdl_arena *arena;
    mdl_arrays *inputs, *states, *results;
    const mdl_op *outer; /* region op being run, or NULL */
    bool round_f32;
};

mdl_named_array *mdl_arrays_find(mdl_arrays *arrays, const char *name) {
    for (int i = 0; i < arrays->n; i++)
        if (!strcmp(arrays->at[i].name, name)) return &arrays->at[i];
    return NULL;
}

double *mdl_arrays_set(mdl_arena *arena, mdl_arrays *arrays, const char *name, mdl_type type, const double *from) {
    mdl_named_array *a = mdl_arrays_find(arrays, name);
    if (!a) {
        MDL_PUSH(arena, *arrays, ((mdl_named_array){.name = mdl_strdup(arena, name)}));
        a = &arrays->at[arrays->n - 1];
    }
    int64_t n = mdl_type_count(&type);
    if (!a->at || mdl_type_count(&a->type) != n) a->at = MDL_NEW_ARRAY(arena, double, n);
    a->type = type;
    if (from) memcpy(a->at, from, sizeof *from * (size_t)n);
    return a->at;
}

mdl_arena *mdl_eval_arena(mdl_interp *in) { return in->arena; }
double *mdl_eval_in(mdl_interp *in, const mdl_op *op, int i) {
    (void)in;
    return op->in[i]->scratch;
}
double *mdl_eval_out(mdl_interp *in, const mdl_op *op, int i) {
    mdl_value *v = op->out[i];
    if (!v->scratch) v->scratch = MDL_NEW_ARRAY(in->arena, double, mdl_type_count(&v->type));
    return v->scratch;
}
void mdl_eval_bind(mdl_interp *in, const mdl_value *v, double *at) {
    (void)in;
    ((mdl_value *)v)->scratch = at;
}
double *mdl_eval_input(mdl_interp *in, const char *name) {
    mdl_named_array *a = mdl_arrays_find(in->inputs, name);
    return a ? a->at : NULL;
}
void mdl_eval_result(mdl_interp *in, const char *name, const mdl_type *type, const double *at) {
    mdl_arrays_set(in->arena, in->results, name, *type, at);
}

static mdl_named_array *state_array(mdl_interp *in, mdl_state_kind kind, const char *name) {
    mdl_named_array *a = mdl_arrays_find(in->states, mdl_state_text(in->arena, kind, name));
    if (!a) mdl_bug("the interpreter knows no state '%s'", mdl_state_text(in->arena, kind, name));
    return a;
}

/* Calls `copy` for each piece of memory that an access touches: the state's, and the value's. */
static void each_piece(mdl_interp *in, const mdl_op *op, double *value, void (*copy)(double *state, double *value, int64_t n)) {
    mdl_state s = mdl_state_of(op);
    int64_t n = mdl_type_count(op->code == MDL_OP_READ ? &op->out[0]->type : &op->in[0]->type);
    if (!s.n) copy(state_array(in, s.kind, NULL)->at + s.tile * (n / s.tiles), value, n);
    for (int i = 0; i < s.n; i++) {
        mdl_named_array *a = state_array(in, s.kind, s.of[i]);
        n = mdl_type_count(&a->type);
        copy(a->at, value, n);
        value += n;
    }
}

static void load(double *state, double *value, int64_t n) { memcpy(value, state, sizeof *value * (size_t)n); }
static void store(double *state, double *value, int64_t n) { memcpy(state, value, sizeof *value * (size_t)n); }

void mdl_eval_read(mdl_interp *in, const mdl_op *op) { each_piece(in, op, mdl_eval_out(in, op, 0), load); }

void mdl_eval_write(mdl_interp *in, const mdl_op *op) {
    mdl_state s = mdl_state_of(op);
    const char *key = s.n > 1 || s.tile ? NULL : mdl_state_text(in->arena, s.kind, s.n ? s.of[0] : NULL);
    if (key && !mdl_arrays_find(in->states, key)) mdl_arrays_set(in->arena, in->states, key, op->in[0]->type, NULL);
    each_piece(in, op, mdl_eval_in(in, op, 0), store);
}

static bool rounds(const mdl_interp *in, mdl_dtype dtype) { return dtype != MDL_F64 && (dtype != MDL_F32 || in->round_f32); }

double mdl_eval_round(mdl_interp *in, mdl_dtype dtype, double x) { return rounds(in, dtype) ? mdl_dtype_round(dtype, x) : x; }

/* In place: where a result is its operand's memory, that is rounded already. */
static void round_results(mdl_interp *in, const mdl_op *op) {
    for (int k = 0; k < op->n_out; k++) {
        const mdl_type *type = &op->out[k]->type;
        double *at = op->out[k]->scratch;
        if (type->dtype == MDL_SEG || type->dtype == MDL_TOKEN || !rounds(in, type->dtype)) continue;
        for (int64_t i = 0, n = mdl_type_count(type); i < n; i++) at[i] = mdl_dtype_round(type->dtype, at[i]);
    }
}

static void run(mdl_interp *in, const mdl_region *region) {
    for (int i = 0; i < region->ops.n; i++) {
        mdl_rules[region->ops.at[i]->code].evaluate(in, region->ops.at[i]);
        round_results(in, region->ops.at[i]);
    }
}

double *mdl_eval_arg(mdl_interp *in, int64_t index) { return in->outer->in[index]->scratch; }

void mdl_eval_body(mdl_interp *in, const mdl_op *op) {
    mdl_interp inner = *in;
    inner.outer = op;
    mdl_region_clear_scratch(op->body); /* bodies are shared by equal layers */
    run(&inner, op->body);
}

void mdl_eval_yield(mdl_interp *in, const mdl_op *op) {
    for (int i = 0; i < op->n_in; i++) mdl_eval_bind(in, in->outer->out[i], op->in[i]->scratch);
}

static void interpret(mdl_interp in, const mdl_region *program) {
    mdl_region_clear_scratch((mdl_region *)program);
    run(&in, program);
    mdl_region_clear_scratch((mdl_region *)program);
}

void mdl_interpret(mdl_arena *arena, const mdl_region *program, mdl_arrays *inputs, mdl_arrays *states, mdl_arrays *results) {
    interpret((mdl_interp){.arena = arena, .inputs = inputs, .states = states, .results = results}, program);
}

void mdl_interpret_rounded(mdl_arena *arena, const mdl_region *program, mdl_arrays *inputs, mdl_arrays *states,
                           mdl_arrays *results) {
    interpret((mdl_interp){.arena = arena, .inputs = inputs, .states = states, .results = results, .round_f32 = true}, program);
}
