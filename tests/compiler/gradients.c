/* Every gradient rule against central differences, in f64 on the interpreter. A new op fails here until it has a case in
 * gradient_cases.txt or a line in the list of ops without a gradient. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/pass/pass.h"
#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"

/* Central differences of fourth order leave step^4 = 6e-14 times a fifth derivative, and rounding 1e-16 / step; 1e-8 of the
 * largest element is far above both and far below any wrong term. */
static const double step = 5e-4, tolerance = 1e-8;
enum { MAX_OPERANDS = 8 };

/* Ops through which no gradient flows, and why. */
static const struct {
    mdl_opcode code;
    const char *why;
} no_gradients[] = {
    {MDL_OP_EQ, "a bool"},
    {MDL_OP_NE, "a bool"},
    {MDL_OP_LT, "a bool"},
    {MDL_OP_LE, "a bool"},
    {MDL_OP_AND, "a bool"},
    {MDL_OP_OR, "a bool"},
    {MDL_OP_NOT, "a bool"},
    {MDL_OP_CONST, "depends on nothing"},
    {MDL_OP_IMM, "depends on nothing"},
    {MDL_OP_IOTA, "depends on nothing"},
    {MDL_OP_INPUT, "depends on nothing"},
    {MDL_OP_RANDOM, "depends on integers"},
    {MDL_OP_TRANSPOSE, "behind the gradients: of what passes have quantized"},
    {MDL_OP_ARG, "made after autodiff"},
    {MDL_OP_TOKEN, "no value"},
    {MDL_OP_TILES, "whole numbers"},
    {MDL_OP_HOLD, "made after autodiff"},
    {MDL_OP_READ, "where a gradient ends: every case has one"},
    {MDL_OP_ARGMAX, "an integer"},
    {MDL_OP_MEAN, "decomposed before autodiff"},
    {MDL_OP_PARTIAL_SUM, "made after autodiff"},
    {MDL_OP_SEGMENT_ID, "an integer"},
    {MDL_OP_POSITION, "an integer"},
    {MDL_OP_SEGLEN, "an integer"},
    {MDL_OP_FIRST, "an integer"},
    {MDL_OP_ATTENTION_BWD, "no second derivatives"},
    {MDL_OP_XENT_BWD, "no second derivatives"},
    {MDL_OP_WRITE, "has no result"},
    {MDL_OP_RESULT, "has no result"},
    {MDL_OP_LOSS, "where a gradient begins: every case has one"},
    {MDL_OP_METRIC, "has no result"},
    {MDL_OP_OUTPUT, "has no result"},
    {MDL_OP_YIELD, "has no result"},
    {MDL_OP_KERNEL, "made after autodiff"},
    {MDL_OP_FUSED, "made after autodiff"},
    {MDL_OP_FINISH, "made after autodiff"},
};
enum { NO_GRADIENTS = sizeof no_gradients / sizeof *no_gradients };

typedef struct {
    mdl_test *t;
    mdl_arena *arena;
    mdl_values v; /* far apart: no element comes near the kink of max or abs */
} problem;

static problem new_problem(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    return (problem){t, arena, {.arena = arena}};
}

/* The case as a program whose results are losses: weights[i] * result, where mask[i] selects, scaled by 0.7. */
static mdl_region *with_losses(problem *p, const mdl_test_program *c) {
    mdl_region *r = mdl_test_parse(p->t, p->arena, mdl_printf(p->arena, "program test {\n%s}\n", c->text));
    if (!r) return NULL;
    mdl_builder b = {.arena = p->arena, .region = r};
    for (int i = 0, n = r->ops.n; i < n; i++) {
        if (r->ops.at[i]->code != MDL_OP_RESULT) continue;
        mdl_value *y = r->ops.at[i]->in[0];
        mdl_type mask = y->type;
        mask.dtype = MDL_BOOL;
        const char *name = mdl_attr_str(r->ops.at[i], "name");
        mdl_value *weighted = mdl_binary(&b, MDL_OP_MUL, y, mdl_input(&b, mdl_printf(p->arena, "weights-%s", name), y->type));
        mdl_value *in[] = {weighted,
                           mask.rank ? mdl_input(&b, mdl_printf(p->arena, "mask-%s", name), mask) : mdl_const(&b, MDL_BOOL, 1),
                           mdl_const(&b, y->type.dtype, 0.7)};
        mdl_attr attr[] = {mdl_str("name", name), mdl_real("weight", 0.5 + i), mdl_str("group", "")};
        mdl_build(&b, MDL_OP_LOSS, 3, in, 3, attr, NULL, NULL);
    }
    return r;
}

static double total_loss(problem *p, const mdl_region *r) {
    mdl_arena *scratch = mdl_arena_new();
    mdl_arrays results = {0};
    double total = 0;
    mdl_interpret(scratch, r, &p->v.inputs, &p->v.states, &results);
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        if (op->code != MDL_OP_LOSS) continue;
        total += 0.7 * mdl_attr_real(op, "weight") *
                 *mdl_arrays_find(&results, mdl_printf(scratch, "sum.%s", mdl_attr_str(op, "name")))->at;
    }
    mdl_arena_free(scratch);
    return total;
}

static double difference(problem *p, const mdl_region *r, double *at) {
    static const double weight[] = {1.0 / 12, -8.0 / 12, 8.0 / 12, -1.0 / 12};
    static const int offset[] = {-2, -1, 1, 2};
    double old = *at, sum = 0;
    for (int k = 0; k < 4; k++) {
        *at = old + offset[k] * step;
        sum += weight[k] * total_loss(p, r);
    }
    *at = old;
    return sum / step;
}

static bool is_trained(const char *state) { return strncmp(state, "frozen", 6) != 0; }

/* Returns the number of elements with a gradient. `before`: what the gradients held, when they accumulate. */
static int compare(problem *p, const mdl_region *forward, const mdl_region *backward, double before) {
    mdl_arrays states = {0}, results = {0};
    int moved = 0;
    for (int i = 0; i < p->v.states.n; i++) {
        mdl_named_array *a = &p->v.states.at[i];
        mdl_arrays_set(p->arena, &states, a->name, a->type, a->at);
        double *g = mdl_arrays_set(p->arena, &states, mdl_state_text(p->arena, MDL_STATE_GRAD, a->name), a->type, NULL);
        for (int64_t k = 0, n = mdl_type_count(&a->type); k < n; k++) g[k] = before;
    }
    mdl_values all = p->v; /* with the gradients that an accumulating program reads */
    mdl_draw_values(&all, backward);
    mdl_interpret(p->arena, backward, &all.inputs, &states, &results);
    for (int i = 0; i < p->v.states.n; i++) {
        mdl_named_array *a = &p->v.states.at[i], *g = mdl_arrays_find(&states, mdl_state_text(p->arena, MDL_STATE_GRAD, a->name));
        if (!is_trained(a->name)) continue;
        int64_t n = mdl_type_count(&a->type);
        double *fd = MDL_NEW_ARRAY(p->arena, double, n), largest = 0;
        for (int64_t k = 0; k < n; k++) {
            fd[k] = difference(p, forward, &a->at[k]);
            largest = fmax(largest, fabs(fd[k]));
            moved += fd[k] != 0;
        }
        for (int64_t k = 0; k < n; k++)
            CHECK(p->t, fabs(g->at[k] - before - fd[k]) <= tolerance * fmax(largest, 1e-3),
                  "d %s[%d] is %.12g, central differences give %.12g", a->name, (int)k, g->at[k] - before, fd[k]);
    }
    return moved;
}

/* ---- coverage ---- */
typedef struct {
    bool real[MAX_OPERANDS], covered[MAX_OPERANDS]; /* by operand: is of a real type; has been differentiated */
} coverage;

static void note_coverage(mdl_arena *arena, const mdl_region *r, coverage *of) {
    bool *depends = MDL_NEW_ARRAY(arena, bool, r->next_id + 1);
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        bool any = op->code == MDL_OP_READ && is_trained(mdl_first_param(op));
        for (int k = 0; k < op->n_in; k++) {
            bool real = mdl_dtype_is_real(op->in[k]->type.dtype);
            any |= depends[op->in[k]->id];
            of[op->code].real[k] |= real;
            of[op->code].covered[k] |= real && depends[op->in[k]->id];
        }
        for (int k = 0; k < op->n_out; k++) depends[op->out[k]->id] = any && mdl_dtype_is_real(op->out[k]->type.dtype);
    }
}

static const char *without_gradient(mdl_opcode code) {
    for (int i = 0; i < NO_GRADIENTS; i++)
        if (no_gradients[i].code == code) return no_gradients[i].why;
    return NULL;
}

static void check_coverage(mdl_test *t, const coverage *of) {
    mdl_case(t, "every operand of every op is covered");
    for (int code = 0; code < MDL_OP_COUNT; code++) {
        const char *name = mdl_ops[code].name;
        if (without_gradient(code)) continue;
        CHECK(t, of[code].covered[0] || of[code].covered[1], "no gradient case for op %s", name);
        for (int k = 0; k < MAX_OPERANDS; k++)
            CHECK(t, of[code].covered[k] || !of[code].real[k], "no gradient case for operand %d of %s", k, name);
    }
    CHECK(t, of[MDL_OP_DOT].covered[3], "dot: a start with a bias is not covered");
    CHECK(t, of[MDL_OP_DOT].covered[2] && of[MDL_OP_SUM].covered[1] && of[MDL_OP_SCATTER_ADD].covered[2], "starts are not covered");
}

static void test_rules(mdl_test *t) {
    coverage of[MDL_OP_COUNT] = {0};
    mdl_arena *arena = mdl_arena_new();
    for (const mdl_test_program *c = mdl_test_programs(t, arena, "compiler/gradient_cases.txt"); c->name; c++) {
        problem p = new_problem(t);
        bool run = mdl_case(t, "%s", c->name);
        mdl_region *forward = with_losses(&p, c), *backward = NULL;
        if (forward) note_coverage(p.arena, forward, of);
        if (forward && run) {
            const char *after;
            mdl_status status = mdl_run_pass(p.arena, "autodiff", mdl_region_text(p.arena, forward), &after);
            CHECK(t, !status, "%s", mdl_message(status));
            if (!status) backward = mdl_test_parse(t, p.arena, after);
            mdl_status_free(status);
        }
        if (backward) {
            mdl_draw_values(&p.v, forward);
            CHECK(t, compare(&p, forward, backward, 0) > 0, "no gradient flows");
        }
        mdl_arena_free(p.arena);
    }
    check_coverage(t, of);
    mdl_arena_free(arena);
}

/* ---- what autodiff does besides the rules ---- */
static mdl_region *differentiate(problem *p, mdl_region *forward, mdl_grad_mode mode) {
    mdl_program_spec spec = {.name = "test", .source = MDL_FROM_FORWARD, .grad = mode};
    mdl_pass_context c = {.arena = p->arena, .target = mdl_targets[0], .program = &spec};
    mdl_region *out = mdl_pass_autodiff(&c, forward);
    const char *wrong = mdl_verify(p->arena, out);
    CHECK(p->t, !wrong, "%s", wrong);
    return out;
}

static void test_modes(mdl_test *t) {
    static const mdl_test_program c = {
        "",
        "%0 = read {state=\"param\", of=[\"a\"]} : f32[3,4]\n%1 = read {state=\"param\", of=[\"unused\"]} : f32[2]\n"
        "%2 = exp %0 : f32[3,4]\nresult %2 {name=\"y\"}\n"};
    problem p = new_problem(t);
    mdl_region *forward = with_losses(&p, &c);
    mdl_draw_values(&p.v, forward);
    mdl_case(t, "a gradient is written over what was there; that of an unused parameter is 0");
    mdl_region *write = differentiate(&p, forward, MDL_GRAD_WRITE);
    compare(&p, forward, write, 0);
    mdl_case(t, "a gradient is added to what was there");
    compare(&p, forward, differentiate(&p, forward, MDL_GRAD_ACCUMULATE), 3);
    mdl_case(t, "without gradients the program stays as it is");
    CHECK(t, differentiate(&p, forward, MDL_GRAD_NONE) == forward, "it changed");
    mdl_arena_free(p.arena);
}

/* A table with a row that learns nothing: its gradient is that of the finite difference but for this row, which is 0 (the row's
 * other uses count). */
static void test_zero_row(mdl_test *t) {
    static const mdl_test_program c = {
        "",
        "%0 = read {state=\"param\", of=[\"a\"], zero_row=2} : f32[4,2]\n%1 = input {name=\"index.4\"} : i32[9]\n"
        "%2 = gather %0, %1 : f32[9,2]\n%3 = exp %0 : f32[4,2]\n"
        "result %2 {name=\"y\"}\nresult %3 {name=\"z\"}\n"};
    problem p = new_problem(t);
    mdl_arrays states = {0}, results = {0};
    mdl_case(t, "a zero row learns nothing from being gathered");
    mdl_region *forward = with_losses(&p, &c), *backward = differentiate(&p, forward, MDL_GRAD_WRITE);
    mdl_draw_values(&p.v, backward);
    const double *index = mdl_arrays_find(&p.v.inputs, "index.4")->at;
    bool hit = false;
    for (int i = 0; i < 9; i++) hit |= index[i] == 2;
    CHECK(t, hit, "the row is never gathered: the case proves nothing");
    mdl_named_array *a = mdl_arrays_find(&p.v.states, "a");
    mdl_arrays_set(p.arena, &states, "a", a->type, a->at);
    mdl_interpret(p.arena, backward, &p.v.inputs, &states, &results);
    const double *g = mdl_arrays_find(&states, "grad of a")->at;
    mdl_named_array *w = mdl_arrays_find(&p.v.inputs, "weights-y");
    static const int order[] = {0, 1, 2, 3, 6, 7, 4, 5}; /* the zero row last: from there on what is gathered weighs nothing */
    for (int i = 0; i < 8; i++) {
        int k = order[i];
        if (i == 6) memset(w->at, 0, 9 * 2 * sizeof *w->at);
        double fd = difference(&p, forward, &a->at[k]);
        CHECK(t, fabs(g[k] - fd) <= tolerance, "element %d: %.12g, expected %.12g", k, g[k], fd);
    }
    mdl_arena_free(p.arena);
}

void suite_gradients(mdl_test *t) {
    test_rules(t);
    test_modes(t);
    test_zero_row(t);
}
