/* --check-passes: draws inputs and states, interprets after every pass, compares with the first answer. */
#include "compiler/check_passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/philox.h"

struct mdl_pass_checker {
    mdl_pass_context *c;
    mdl_arrays inputs, states;
    mdl_arrays seen; /* the first answers: results, and states as "state NAME" */
    uint32_t draws;
};

/* What a pass may change, as a part of the largest value, by the narrowest dtype that it brings in. */
static const double tolerances[MDL_DTYPE_COUNT] = {
    /* The interpreter holds f32 exactly and passes reorder sums: far above f64 rounding at these sizes, far below any wrong term.
     */
    [MDL_F32] = 1e-9,
    [MDL_F64] = 1e-9,
    /* A gradient here is behind some hundred roundings of at most 2^-9 each, of either sign: 0.051 was the most that any gradient
     * of the project's models moved. A wrong term moves one by its own size. */
    [MDL_BF16] = 0.1,
};
double mdl_pass_tolerance(mdl_dtype precision) { return tolerances[precision]; }

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
    double *at = mdl_arrays_set(k->c->arena, &k->inputs, name, *t, NULL);
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
    static const char *const flat[FLAT] = {MDL_STATE_PARAM, MDL_STATE_GRAD, MDL_STATE_MOMENT1, MDL_STATE_MOMENT2,
                                           MDL_STATE_COMPUTE};
    const mdl_layout *l = k->c->layout;
    mdl_type wide = {.dtype = MDL_F32, .rank = 2, .dim = {l->tiles, MDL_TILE}},
             tiles = {.dtype = MDL_BOOL, .rank = 1, .dim = {l->tiles}};
    double *arena[FLAT];
    for (int i = 0; i < FLAT; i++) arena[i] = mdl_arrays_set(k->c->arena, &k->states, flat[i], wide, NULL);
    for (int64_t i = 0; i < l->tiles * MDL_TILE; i++) arena[3][i] = uniform(k);
    double *decay = mdl_arrays_set(k->c->arena, &k->states, MDL_STATE_DECAY, tiles, NULL);
    for (int64_t i = 0; i < l->tiles; i++) decay[i] = i % 2;
    for (int i = 0; i < l->trained.n; i++) {
        const mdl_placed_param *p = &l->trained.at[i];
        mdl_named_array of[] = {{p->name, p->type, arena[0] + p->offset},
                                {mdl_printf(k->c->arena, "grad/%s", p->name), p->type, arena[1] + p->offset}};
        for (int m = 0; m < 2; m++) {
            fill_normal(k, &of[m], 0.5);
            MDL_PUSH(k->c->arena, k->states, of[m]);
        }
        mdl_named_array copy = {mdl_printf(k->c->arena, MDL_COMPUTE_PREFIX "%s", p->name), p->type, arena[4] + p->offset};
        memcpy(copy.at, of[0].at, sizeof *copy.at * (size_t)mdl_type_count(&copy.type)); /* rounded when it is read */
        MDL_PUSH(k->c->arena, k->states, copy);
    }
    for (int i = 0; i < k->c->module->params.n; i++) {
        const mdl_param *p = &k->c->module->params.at[i];
        if (mdl_arrays_find(&k->states, p->name)) continue;
        mdl_arrays_set(k->c->arena, &k->states, p->name, p->type, NULL);
        fill_normal(k, mdl_arrays_find(&k->states, p->name), 0.5);
    }
}

mdl_pass_checker *mdl_checker_new(mdl_pass_context *c, const mdl_region *program) {
    mdl_pass_checker *k = MDL_NEW(c->arena, mdl_pass_checker);
    k->c = c;
    draw_states(k);
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
            a.at = mdl_copy(k->c->arena, a.at, sizeof *a.at * (size_t)mdl_type_count(&a.type));
        MDL_PUSH(k->c->arena, out, a);
    }
    return out;
}

/* A gradient that cancels to little keeps the rounding of its terms: the least that its error is compared with. */
static double cancelled(mdl_pass_checker *k, const char *name) {
    double largest = 1e-300;
    for (int i = 0; i < k->seen.n && !strncmp(name, "state grad/", 11); i++) {
        const mdl_named_array *a = &k->seen.at[i];
        if (strncmp(a->name, "state grad/", 11)) continue;
        for (int64_t n = 0; n < mdl_type_count(&a->type); n++)
            if (fabs(a->at[n]) > 64 * largest) largest = fabs(a->at[n]) / 64;
    }
    return largest;
}

static bool rounds(const mdl_pass_checker *k, const char *pass) { return k->c->precision != MDL_F32 && !strcmp(pass, "precision"); }

static mdl_status compare(mdl_pass_checker *k, const char *pass, const char *name, const mdl_named_array *a) {
    double tolerance = mdl_pass_tolerance(rounds(k, pass) ? k->c->precision : MDL_F32);
    mdl_named_array *old = mdl_arrays_find(&k->seen, name);
    if (!old) {
        mdl_arrays_set(k->c->arena, &k->seen, name, a->type, a->at);
        return MDL_OK;
    }
    double worst = 0, scale = rounds(k, pass) ? cancelled(k, name) : 1e-300;
    for (int64_t i = 0, n = mdl_type_count(&a->type); i < n; i++) {
        double d = fabs(a->at[i] - old->at[i]);
        if (!(d <= worst)) worst = d;
        if (fabs(old->at[i]) > scale) scale = fabs(old->at[i]);
    }
    if (worst <= tolerance * scale || (worst == 0)) return MDL_OK;
    return mdl_fail(MDL_MISMATCH, "pass %s changes %s: by %.3g of %.3g", pass, name, worst, scale);
}

static bool writes(const mdl_region *r, const char *name) {
    for (int i = 0; i < r->ops.n; i++)
        if (r->ops.at[i]->code == MDL_OP_WRITE) {
            const mdl_attr *names = mdl_find_attr(r->ops.at[i], "state");
            for (int n = 0; n < names->n; n++)
                if (!strcmp(names->ss[n], name)) return true;
        }
    return false;
}

/* What was there before must still be. */
static mdl_status nothing_lost(mdl_pass_checker *k, const char *pass, const mdl_region *program, mdl_arrays *results) {
    for (int i = 0; i < k->seen.n; i++) {
        const char *name = k->seen.at[i].name;
        bool state = !strncmp(name, "state ", 6);
        if (state ? !writes(program, name + 6) : !mdl_arrays_find(results, name))
            return mdl_fail(MDL_MISMATCH, "pass %s loses %s", pass, name);
    }
    return MDL_OK;
}

/* After a pass that rounds: what it made is what later passes must keep. */
static void take(mdl_pass_checker *k, const mdl_region *program, const mdl_arrays *results, const mdl_arrays *states) {
    for (int i = 0; i < results->n; i++)
        mdl_arrays_set(k->c->arena, &k->seen, results->at[i].name, results->at[i].type, results->at[i].at);
    for (int i = 0; i < states->n; i++)
        if (writes(program, states->at[i].name))
            mdl_arrays_set(k->c->arena, &k->seen, mdl_printf(k->c->arena, "state %s", states->at[i].name), states->at[i].type,
                           states->at[i].at);
}

mdl_status mdl_check_pass(mdl_pass_checker *k, const char *pass, const mdl_region *program) {
    mdl_arrays states = copy_states(k), results = {0};
    for (int i = 0; i < program->ops.n; i++) /* autodiff and optimizer bring inputs of their own */
        if (program->ops.at[i]->code == MDL_OP_INPUT) draw_input(k, program->ops.at[i], smallest_table(program));
    mdl_interpret(k->c->arena, program, &k->inputs, &states, &results);
    for (int i = 0; i < results.n; i++) MDL_TRY(compare(k, pass, results.at[i].name, &results.at[i]), "--check-passes");
    for (int i = 0; i < states.n; i++) {
        if (!writes(program, states.at[i].name)) continue;
        if (!strncmp(states.at[i].name, MDL_STATE_PARAM, strlen(MDL_STATE_PARAM)) && strcmp(pass, "optimizer") == 0) continue;
        MDL_TRY(compare(k, pass, mdl_printf(k->c->arena, "state %s", states.at[i].name), &states.at[i]), "--check-passes");
    }
    MDL_TRY(nothing_lost(k, pass, program, &results), "--check-passes");
    if (rounds(k, pass)) take(k, program, &results, &states);
    return MDL_OK;
}
