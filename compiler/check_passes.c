/* --check-passes: draws inputs and states, interprets after every pass, compares with the first answer. */
#include "compiler/check_passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/philox.h"
#include "runtime/base/compare.h"

struct mdl_pass_checker {
    mdl_pass_context *c;
    mdl_arena *arena; /* lives as long as the checker; a pass has its own */
    mdl_arrays inputs, states;
    mdl_arrays seen; /* the first answers: results, and states as "state NAME" */
    uint32_t draws;
};

/* What a pass may change, by the narrowest dtype that it brings in: a part of the largest value; and what the values of a gradient
 * count as at least, as a part of the largest gradient, since a gradient whose terms cancel is their rounding. */
static const struct {
    double tolerance, least;
} accuracy[MDL_DTYPE_COUNT] = {
    /* The interpreter holds f32 exactly and passes reorder sums: 1e-9 is far above f64 rounding at these sizes, far below any wrong
     * term. The rounding of cancelling terms is about 1e-16 of the size of other gradients: 1e-14 of that may change. */
    [MDL_F32] = {1e-9, 1e-5},
    [MDL_F64] = {1e-9, 1e-5},
    /* A gradient here is behind some hundred roundings of at most 2^-9 each, of either sign: 0.051 was the most that any gradient
     * of the project's models moved. A wrong term moves one by its own size. */
    [MDL_BF16] = {0.1, 1.0 / 64},
    /* Roundings of up to 2^-3 in a gradient (e5m2) and 2^-4 elsewhere, of either sign, in sums of a few dozen terms. */
    [MDL_E4M3] = {0.2, 1.0 / 64},
};
double mdl_pass_tolerance(mdl_dtype precision) { return accuracy[precision].tolerance; }

enum { FLAT = 5 }; /* whole arenas, the first of the states */

static double normal(mdl_pass_checker *k) { return mdl_philox_reference_normal(7, 7, 7, k->draws++); }
static double uniform(mdl_pass_checker *k) { return mdl_philox_reference_uniform(7, 7, 7, k->draws++); }

static void fill_normal(mdl_pass_checker *k, mdl_named_array *a, double scale) {
    for (int64_t i = 0, n = mdl_type_count(&a->type); i < n; i++) a->at[i] = scale * normal(k);
}

/* The smallest table that anything is gathered from: integers stay below it. */
static int64_t smallest_table(const mdl_region *r) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        if (op->code == MDL_OP_GATHER && op->in[0]->type.dim[0] < least) least = op->in[0]->type.dim[0];
    }
    return least < INT64_MAX ? least : 8;
}

static void draw_input(mdl_pass_checker *k, const mdl_op *op, int64_t below) {
    const char *name = mdl_attr_str(op, "name");
    if (mdl_arrays_find(&k->inputs, name)) return;
    const mdl_type *t = &op->out[0]->type;
    double *at = mdl_arrays_set(k->arena, &k->inputs, name, *t, NULL);
    int64_t n = mdl_type_count(t);
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == MDL_SEG)
            at[i] = i < n - 1 ? (double)(t->dim[1] * i / n) : (double)(t->dim[1] * (n - 1) / n); /* the rest is a tail */
        else if (t->dtype == MDL_F32)
            at[i] = 0.1 + uniform(k);
        else
            at[i] = i % 4 == 1 ? (double)below - 1 : floor(uniform(k) * (double)below); /* special tokens often come last */
        if (!strcmp(name, "labels") && uniform(k) < 0.5) at[i] = -100;
    }
}

/* Every parameter, its gradient and moments; the flat arenas hold them at their places. */
static void draw_states(mdl_pass_checker *k) {
    static const mdl_state_kind flat[FLAT] = {MDL_STATE_PARAM, MDL_STATE_GRAD, MDL_STATE_MOMENT1, MDL_STATE_MOMENT2,
                                              MDL_STATE_COMPUTE};
    const mdl_layout *l = k->c->layout;
    mdl_type wide = {.dtype = MDL_F32, .rank = 2, .dim = {l->tiles, MDL_TILE}},
             tiles = {.dtype = MDL_BOOL, .rank = 1, .dim = {l->tiles}};
    double *arena[FLAT];
    for (int i = 0; i < FLAT; i++) arena[i] = mdl_arrays_set(k->arena, &k->states, mdl_state_name(flat[i]), wide, NULL);
    for (int64_t i = 0; i < l->tiles * MDL_TILE; i++) arena[3][i] = uniform(k);
    double *decay = mdl_arrays_set(k->arena, &k->states, mdl_state_name(MDL_STATE_DECAY), tiles, NULL);
    mdl_type counts = {.dtype = MDL_I32, .rank = 1, .dim = {l->tiles}};
    double *used = mdl_arrays_set(k->arena, &k->states, mdl_state_name(MDL_STATE_USED), counts, NULL);
    for (int64_t i = 0; i < l->tiles; i++) used[i] = MDL_TILE - i % 3;
    for (int64_t i = 0; i < l->tiles; i++) decay[i] = i % 2;
    for (int i = 0; i < l->trained.n; i++) {
        const mdl_placed_param *p = &l->trained.at[i];
        mdl_named_array of[] = {{p->name, p->type, arena[0] + p->offset},
                                {mdl_state_text(k->arena, MDL_STATE_GRAD, p->name), p->type, arena[1] + p->offset}};
        for (int m = 0; m < 2; m++) {
            fill_normal(k, &of[m], 0.5);
            MDL_PUSH(k->arena, k->states, of[m]);
        }
        mdl_named_array copy = {mdl_state_text(k->arena, MDL_STATE_COMPUTE, p->name), p->type, arena[4] + p->offset};
        memcpy(copy.at, of[0].at, sizeof *copy.at * (size_t)mdl_type_count(&copy.type)); /* rounded when it is read */
        MDL_PUSH(k->arena, k->states, copy);
    }
    for (int i = 0; i < k->c->module->params.n; i++) {
        const mdl_param *p = &k->c->module->params.at[i];
        if (mdl_arrays_find(&k->states, p->name)) continue;
        mdl_arrays_set(k->arena, &k->states, p->name, p->type, NULL);
        fill_normal(k, mdl_arrays_find(&k->states, p->name), 0.5);
    }
}

/* Counts and sums that a step keeps: positive, for 1/N. */
static void draw_tallies(mdl_pass_checker *k, const mdl_region *program) {
    for (int i = 0; i < program->ops.n; i++) {
        const mdl_op *op = program->ops.at[i];
        if (!mdl_is_state(op, MDL_STATE_COUNT) && !mdl_is_state(op, MDL_STATE_SUM)) continue;
        const char *name = mdl_state_text(k->arena, mdl_state_of(op).kind, mdl_first_param(op));
        if (mdl_arrays_find(&k->states, name)) continue;
        mdl_arrays_set(k->arena, &k->states, name, (mdl_type){.dtype = MDL_F32}, &(double){1 + uniform(k)});
    }
}

mdl_pass_checker *mdl_checker_new(mdl_pass_context *c, const mdl_region *program) {
    mdl_pass_checker *k = MDL_NEW(c->arena, mdl_pass_checker);
    k->c = c;
    k->arena = c->arena;
    draw_states(k);
    draw_tallies(k, program);
    int64_t below = smallest_table(program);
    for (int i = 0; i < program->ops.n; i++)
        if (program->ops.at[i]->code == MDL_OP_INPUT) draw_input(k, program->ops.at[i], below);
    return k;
}

/* A copy of all states in which the named parts still lie inside the flat arenas. */
static mdl_arrays copy_states(mdl_pass_checker *k) {
    mdl_arrays out = {0};
    for (int i = 0; i < k->states.n; i++) {
        mdl_named_array a = k->states.at[i];
        int inside = -1;
        for (int f = 0; f < FLAT && f < i; f++) {
            const mdl_named_array *w = &k->states.at[f];
            if (a.at >= w->at && a.at < w->at + mdl_type_count(&w->type)) inside = f;
        }
        if (inside >= 0)
            a.at = out.at[inside].at + (a.at - k->states.at[inside].at);
        else
            a.at = mdl_copy(k->arena, a.at, sizeof *a.at * (size_t)mdl_type_count(&a.type));
        MDL_PUSH(k->arena, out, a);
    }
    return out;
}

static bool is_gradient(const char *name) {
    const char *kind = mdl_state_name(MDL_STATE_GRAD);
    return !strncmp(name, kind, strlen(kind));
}

/* The largest number among the gradients. */
static double gradient_scale(const mdl_arrays *states) {
    double largest = 0;
    for (int i = 0; i < states->n; i++) {
        const mdl_named_array *a = &states->at[i];
        if (!is_gradient(a->name)) continue;
        mdl_comparison c = mdl_compare_doubles(mdl_type_count(&a->type), a->at, a->at);
        largest = fmax(largest, c.largest);
    }
    return largest;
}

static bool rounds(const mdl_pass_checker *k, const char *pass) { return k->c->precision != MDL_F32 && !strcmp(pass, "precision"); }

/* With the first answer. `scale`: of the gradients, for one of them. */
static mdl_status compare(mdl_pass_checker *k, const char *pass, const char *name, const mdl_named_array *a, double scale) {
    mdl_dtype precision = rounds(k, pass) ? k->c->precision : MDL_F32;
    mdl_named_array *old = mdl_arrays_find(&k->seen, name);
    if (!old) {
        mdl_arrays_set(k->arena, &k->seen, name, a->type, a->at);
        return MDL_OK;
    }
    mdl_comparison c = mdl_compare_doubles(mdl_type_count(&a->type), a->at, old->at);
    if (!(mdl_error_max(&c) <= accuracy[precision].tolerance * fmax(c.largest, accuracy[precision].least * scale)))
        return mdl_fail(MDL_MISMATCH, "pass %s changes %s: by %.3g of %.3g", pass, name, mdl_error_max(&c), c.largest);
    return MDL_OK;
}

static bool writes(mdl_pass_checker *k, const mdl_region *r, const char *name) {
    for (int i = 0; i < r->ops.n; i++) {
        if (r->ops.at[i]->code != MDL_OP_WRITE) continue;
        mdl_state s = mdl_state_of(r->ops.at[i]);
        if (!s.n && !strcmp(mdl_state_name(s.kind), name)) return true;
        for (int n = 0; n < s.n; n++)
            if (!strcmp(mdl_state_text(k->arena, s.kind, s.of[n]), name)) return true;
    }
    return false;
}

/* What was there before must still be. */
static mdl_status nothing_lost(mdl_pass_checker *k, const char *pass, const mdl_region *program, mdl_arrays *results) {
    for (int i = 0; i < k->seen.n; i++) {
        const char *name = k->seen.at[i].name;
        bool state = !strncmp(name, "state ", 6);
        if (state ? !writes(k, program, name + 6) : !mdl_arrays_find(results, name))
            return mdl_fail(MDL_MISMATCH, "pass %s loses %s", pass, name);
    }
    return MDL_OK;
}

/* After a pass that rounds: what it made is what later passes must keep. */
static void take(mdl_pass_checker *k, const mdl_region *program, const mdl_arrays *results, const mdl_arrays *states) {
    for (int i = 0; i < results->n; i++)
        mdl_arrays_set(k->arena, &k->seen, results->at[i].name, results->at[i].type, results->at[i].at);
    for (int i = 0; i < states->n; i++)
        if (writes(k, program, states->at[i].name))
            mdl_arrays_set(k->arena, &k->seen, mdl_printf(k->arena, "state %s", states->at[i].name), states->at[i].type,
                           states->at[i].at);
}

mdl_status mdl_check_pass(mdl_pass_checker *k, const char *pass, const mdl_region *program) {
    mdl_arrays states = copy_states(k), results = {0};
    for (int i = 0; i < program->ops.n; i++) /* autodiff and optimizer bring inputs of their own */
        if (program->ops.at[i]->code == MDL_OP_INPUT) draw_input(k, program->ops.at[i], smallest_table(program));
    mdl_interpret(k->arena, program, &k->inputs, &states, &results);
    for (int i = 0; i < results.n; i++) MDL_TRY(compare(k, pass, results.at[i].name, &results.at[i], 0), "--check-passes");
    double scale = gradient_scale(&states);
    for (int i = 0; i < states.n; i++) {
        const char *name = states.at[i].name;
        if (!writes(k, program, name)) continue;
        if (!strcmp(name, mdl_state_name(MDL_STATE_PARAM)) && !strcmp(pass, "optimizer")) continue;
        MDL_TRY(compare(k, pass, mdl_printf(k->arena, "state %s", name), &states.at[i], is_gradient(name) ? scale : 0),
                "--check-passes");
    }
    MDL_TRY(nothing_lost(k, pass, program, &results), "--check-passes");
    if (rounds(k, pass)) take(k, program, &results, &states);
    return MDL_OK;
}
