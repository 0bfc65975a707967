/* Which buffers of two plans hold the same. */
#include <stdlib.h>
#include <string.h>

#include "runtime/diff/diff.h"

/* ---- one model ---- */
static mdl_status check_params(const mdl_plan *a, const mdl_plan *b) {
    if (a->params.n != b->params.n)
        return mdl_fail(MDL_BAD_INPUT, "the plans are not of one model: %d and %d parameters", a->params.n, b->params.n);
    for (int i = 0; i < a->params.n; i++) {
        const mdl_plan_param *mine = &a->params.at[i], *theirs = mdl_plan_find_param(b, mine->name);
        if (!theirs || !mdl_type_equal(&mine->type, &theirs->type))
            return mdl_fail(MDL_BAD_INPUT, "the plans are not of one model: parameter %s %s", mine->name,
                            theirs ? "has another shape in B" : "is not in B");
    }
    return MDL_OK;
}

mdl_status mdl_diff_check_model(const mdl_plan *a, const mdl_plan *b) {
    mdl_status status = check_params(a, b);
    for (int i = 0; i < a->inputs.n && !status; i++) {
        const mdl_plan_input *mine = &a->inputs.at[i], *theirs = mdl_plan_find_input(b, mine->name);
        if (!theirs || strcmp(mine->source, theirs->source) || !mdl_type_equal(&mine->type, &theirs->type))
            status = mdl_fail(MDL_BAD_INPUT, "the plans take different batches: input %s %s", mine->name,
                              theirs ? "is another in B (mdlc --tokens and --seqs)" : "is not in B");
    }
    return status;
}

mdl_status mdl_diff_share_weights(mdl_session *a, mdl_session *b) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < a->plan->params.n && !status; i++) {
        const mdl_plan_param *mine = &a->plan->params.at[i], *theirs = mdl_plan_find_param(b->plan, mine->name);
        float *values = malloc((size_t)mdl_type_bytes(&mine->type));
        if (!values) return mdl_fail(MDL_SYSTEM, "no memory for parameter %s", mine->name);
        status = mdl_session_get_param(a, mine->arena, mine, values);
        if (!status) status = mdl_session_set_param(b, theirs->arena, theirs, values);
        free(values);
    }
    if (!status && mdl_plan_find_program(b->plan, "refresh")) status = mdl_session_run(b, "refresh");
    return status ? status : mdl_session_zero_moments(b);
}

/* ---- pairs ---- */
/* By buffer: the last launch that writes it or a view of it; -1: none does. */
static int *last_writes(mdl_arena *memory, const mdl_plan_program *p) {
    int *last = MDL_NEW_ARRAY(memory, int, p->buffers.n + 1);
    for (int i = 0; i < p->buffers.n; i++) last[i] = -1;
    for (int l = 0; l < p->launches.n; l++)
        for (int k = 0; k <= p->launches.at[l].args.n; k++) {
            mdl_plan_use use;
            bool written = mdl_plan_use_at(&p->launches.at[l], k, &use) && use.access & MDL_ACCESS_WRITE;
            if (written && use.buffer != p->launches.at[l].workspace) last[mdl_plan_base(p, use.buffer)] = l;
        }
    return last;
}

/* Names of activations are of one plan only. */
static bool is_named(const mdl_plan_buffer *b) { return b->arena != MDL_ARENA_ACTIVATION; }

static bool comparable(const mdl_plan_buffer *a, const mdl_plan_buffer *b) {
    return !a->stride && !b->stride && mdl_type_count(&a->type) == mdl_type_count(&b->type);
}

/* The written buffer of p that holds what b does: by number, else by name; of several the one that is written last. -1: none. */
static int counterpart(const mdl_plan_program *p, const int *last, const mdl_plan_buffer *b) {
    int found = -1;
    for (int by_name = 0; by_name < 2 && found < 0; by_name++)
        for (int i = 0; i < p->buffers.n; i++) {
            const mdl_plan_buffer *c = &p->buffers.at[i];
            bool same = by_name ? is_named(b) && is_named(c) && !strcmp(b->name, c->name) : b->value && b->value == c->value;
            if (same && last[i] >= 0 && comparable(b, c) && (found < 0 || last[i] >= last[found])) found = i;
        }
    return found;
}

static int by_launch(const void *a, const void *b) {
    const mdl_diff_pair *x = a, *y = b;
    return x->launch[0] != y->launch[0] ? x->launch[0] - y->launch[0] : x->buffer[0] - y->buffer[0];
}

mdl_status mdl_diff_open(mdl_session *a, mdl_session *b, const char *name, mdl_diff *d) {
    int *last[2], written = 0;
    *d = (mdl_diff){.memory = mdl_arena_new(), .session = {a, b}};
    for (int side = 0; side < 2; side++) {
        d->program[side] = mdl_plan_find_program(d->session[side]->plan, name);
        if (!d->program[side]) return mdl_fail(MDL_USAGE, "plan %s has no program %s", side ? "B" : "A", name);
        last[side] = last_writes(d->memory, d->program[side]);
    }
    bool *taken = MDL_NEW_ARRAY(d->memory, bool, d->program[1]->buffers.n + 1);
    for (int i = 0; i < d->program[0]->buffers.n; i++) {
        if (last[0][i] < 0) continue;
        int other = counterpart(d->program[1], last[1], &d->program[0]->buffers.at[i]);
        written++;
        if (other < 0 || taken[other]) continue;
        taken[other] = true;
        MDL_PUSH(d->memory, d->pairs, ((mdl_diff_pair){.buffer = {i, other}, .launch = {last[0][i], last[1][other]}}));
    }
    d->alone[0] = written - d->pairs.n;
    for (int i = 0; i < d->program[1]->buffers.n; i++) d->alone[1] += last[1][i] >= 0 && !taken[i];
    if (d->pairs.n) qsort(d->pairs.at, (size_t)d->pairs.n, sizeof *d->pairs.at, by_launch);
    return MDL_OK;
}

void mdl_diff_close(mdl_diff *d) { mdl_arena_free(d->memory); }
