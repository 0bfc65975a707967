/* Which values lie in memory; all else is computed where it is used. Stored is what an anchor, a sink or another kernel's gather
 * takes, and what several kernels need where a load is cheaper than computing it again (see worth_storing). */
#include "compiler/kernel/levels.h"
#include "compiler/kernel/rows.h"

typedef struct {
    mdl_fact *facts; /* by value id */
    mdl_need *of;    /* by value id */
} choice;

static mdl_value *result(const mdl_op *op) { return op->out[0]; }
static bool is_fusable(const choice *c, const mdl_value *v) { return c->facts[v->id].place == MDL_PLACE_FUSABLE; }

static void need_at(mdl_need *d, int level) {
    for (int i = 0; i < d->n_needed; i++)
        if (d->needed[i] == level) return;
    if (d->n_needed < 2) d->needed[d->n_needed++] = level;
}

/* Needed by several kernels: is a load cheaper than computing it again? Row statistics always; a sum of several large operands;
 * a transcendental that is used through a broadcast, where it would be computed once for each copy. */
static bool worth_storing(const choice *c, const mdl_value *v) {
    const mdl_fact *x = &c->facts[v->id];
    if (mdl_widens(v->def)) return false;
    bool often = x->heavy && c->of[v->id].spread;
    if (!x->n_big && !x->reduces) return often;
    if (mdl_type_count(&v->type) <= mdl_rows_of(v)) return x->reduces;
    return (x->n_big && x->big[0] == v->id) || often;
}

void mdl_store(mdl_fact *facts, const mdl_value *v) {
    if (facts[v->id].place != MDL_PLACE_FUSABLE) return;
    if (mdl_is(v, MDL_OP_RESHAPE)) {
        facts[v->id].place = MDL_PLACE_MEMORY;
        facts[v->id].view = true;
        mdl_store(facts, v->def->in[0]);
        return;
    }
    facts[v->id].stored = true;
}

static void use(choice *c, const mdl_op *user, int i) {
    const mdl_value *u = user->in[i], *v = user->n_out ? result(user) : NULL;
    mdl_need *d = &c->of[u->id];
    if (!v || !is_fusable(c, v) || mdl_from_memory(c->facts, user, i)) {
        mdl_store(c->facts, u);
        d->taken = true;
        return;
    }
    bool stored = c->facts[v->id].stored;
    d->spread |= user->code == MDL_OP_BROADCAST && mdl_type_count(&v->type) > mdl_type_count(&u->type);
    d->spread |= c->of[v->id].spread && !stored;
    if (stored) need_at(d, c->facts[v->id].level);
    for (int k = 0; !stored && k < c->of[v->id].n_needed; k++) need_at(d, c->of[v->id].needed[k]);
}

/* All users of v are known. */
static void decide(choice *c, const mdl_value *v) {
    mdl_fact *x = &c->facts[v->id];
    bool once_a_copy = x->heavy && c->of[v->id].spread && mdl_is_heavy(v->def) && mdl_is_large(v) && !x->reduces;
    if (mdl_is_column_sum(v->def) || once_a_copy) x->stored = true;
    if (c->of[v->id].n_needed > 1 && worth_storing(c, v)) mdl_store(c->facts, v);
}

mdl_need *mdl_choose_stored(mdl_arena *arena, const mdl_region *region, mdl_fact *facts) {
    choice c = {facts, MDL_NEW_ARRAY(arena, mdl_need, region->next_id + 1)};
    for (int i = region->ops.n - 1; i >= 0; i--) {
        const mdl_op *op = region->ops.at[i];
        if (op->n_out && is_fusable(&c, result(op))) decide(&c, result(op));
        for (int k = 0; k < op->n_in; k++) use(&c, op, k);
    }
    return c.of;
}
