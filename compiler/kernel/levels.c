/* Places and levels of values. */
#include "compiler/kernel/levels.h"

#include "compiler/ir/state.h"
#include "compiler/kernel/rows.h"

static mdl_value *result(const mdl_op *op) { return op->out[0]; }

int64_t mdl_rows_of(const mdl_value *v) {
    if (mdl_is_column_sum(v->def)) v = v->def->in[0];
    return v->type.rank ? v->type.dim[0] : 1;
}
bool mdl_is_large(const mdl_value *v) { return v->type.rank >= 2 && mdl_type_count(&v->type) > v->type.dim[0]; }

static void add_to_set(int *set, int *n, int item) {
    for (int i = 0; i < *n && i < 2; i++)
        if (set[i] == item) return;
    if (*n < 2) set[(*n)++] = item;
}

bool mdl_is_apart(const mdl_op *op) {
    if (op->code != MDL_OP_RESHAPE) return false;
    if (mdl_find_attr(op, MDL_LOADED)) return true;
    const mdl_type *in = &op->in[0]->type, *out = &op->out[0]->type;
    if (!in->rank || !out->rank) return false;
    return mdl_type_count(out) / out->dim[0] % (mdl_type_count(in) / in->dim[0]) != 0;
}

static bool is_fusable(const mdl_fact *facts, const mdl_op *op) {
    switch (mdl_ops[op->code].class) {
        case MDL_POINTWISE:
        case MDL_REDUCE: return true;
        case MDL_LEAF: return op->code == MDL_OP_CONST || op->code == MDL_OP_IOTA || op->code == MDL_OP_RANDOM;
        case MDL_INDEX: return op->code == MDL_OP_GATHER;
        case MDL_VIEW:
            if (op->code != MDL_OP_RESHAPE) return op->code != MDL_OP_HOLD;
            return facts[op->in[0]->id].place == MDL_PLACE_FUSABLE && !mdl_is_apart(op);
        default: return false;
    }
}

static bool is_anchor(const mdl_op *op) {
    mdl_class class = mdl_ops[op->code].class;
    if (class == MDL_INDEX) return op->code != MDL_OP_GATHER;
    return class == MDL_SEGMENT || class == MDL_CONTRACT || class == MDL_STRUCTURED || op->code == MDL_OP_FUSED;
}

bool mdl_from_memory(const mdl_fact *facts, const mdl_op *op, int i) {
    const mdl_fact *u = &facts[op->in[i]->id];
    if (u->place == MDL_PLACE_MEMORY) return false; /* it is */
    if (mdl_is_column_sum(op->in[i]->def) || mdl_find_attr(op->in[i]->def, MDL_LOADED)) return true;
    if (op->code == MDL_OP_GATHER && i == 0) return true;
    return (op->code == MDL_OP_RANDOM && i == 0) || (!mdl_keeps_row(op, i) && !u->anywhere) || (i == 1 && op->code == MDL_OP_SUM);
}

bool mdl_is_heavy(const mdl_op *op) { return mdl_ops[op->code].heavy; }
int mdl_size_of_op(const mdl_op *op) { return mdl_is_heavy(op) ? 16 : 1; }

bool mdl_widens(const mdl_op *op) {
    return op->code == MDL_OP_CAST && mdl_dtype_is_narrow(op->in[0]->type.dtype) && mdl_dtype_is_real(result(op)->type.dtype);
}

static void describe_fusable(mdl_fact *facts, const mdl_op *op, mdl_fact *v) {
    v->anywhere = !mdl_is_row_reduction(op);
    v->reduces = mdl_is_row_reduction(op);
    v->heavy = mdl_is_heavy(op);
    for (int i = 0; i < op->n_in; i++) {
        const mdl_fact *u = &facts[op->in[i]->id];
        bool memory = u->place == MDL_PLACE_MEMORY || mdl_from_memory(facts, op, i);
        int level = u->level + mdl_from_memory(facts, op, i);
        if (level > v->level) v->level = level;
        if (memory && mdl_is_large(op->in[i])) add_to_set(v->big, &v->n_big, op->in[i]->id);
        v->varies |= memory || u->varies;
        if (memory) continue;
        v->anywhere &= u->anywhere;
        v->reduces |= u->reduces;
        v->heavy |= u->heavy;
        for (int k = 0; k < u->n_big; k++) add_to_set(v->big, &v->n_big, u->big[k]);
    }
}

/* Accesses, tokens and holds wait for the kernels of what they are given. */
static bool waits_for(const mdl_fact *facts, const mdl_op *op, int i) {
    bool ordered = mdl_is_access(op) || op->code == MDL_OP_TOKEN || op->code == MDL_OP_HOLD;
    return ordered && facts[op->in[i]->id].place == MDL_PLACE_FUSABLE;
}

static void describe(mdl_fact *facts, const mdl_op *op) {
    mdl_place where = is_fusable(facts, op) ? MDL_PLACE_FUSABLE : MDL_PLACE_MEMORY;
    int level = 0;
    for (int i = 0; i < op->n_in; i++) {
        int of = facts[op->in[i]->id].level + waits_for(facts, op, i);
        if (of > level) level = of;
    }
    bool waits = is_anchor(op) || (mdl_is_apart(op) && facts[op->in[0]->id].place == MDL_PLACE_FUSABLE);
    for (int i = 0; i < op->n_out; i++) {
        mdl_fact *v = &facts[op->out[i]->id];
        *v = (mdl_fact){.place = where, .level = level + waits, .anywhere = true, .fanout = v->fanout};
        if (where == MDL_PLACE_FUSABLE) describe_fusable(facts, op, v);
    }
    /* joins two streams and is used again: if it is ever needed twice it will be in memory */
    if (where != MDL_PLACE_FUSABLE) return;
    mdl_fact *v = &facts[result(op)->id];
    if (v->n_big > 1 && v->fanout > 1 && mdl_is_large(result(op))) v->n_big = 1, v->big[0] = result(op)->id;
}

mdl_fact *mdl_facts_of(mdl_arena *arena, const mdl_region *region) {
    mdl_fact *facts = MDL_NEW_ARRAY(arena, mdl_fact, region->next_id + 1);
    for (int i = 0; i < region->ops.n; i++)
        for (int k = 0; k < region->ops.at[i]->n_in; k++) facts[region->ops.at[i]->in[k]->id].fanout++;
    for (int i = region->ops.n - 1; i >= 0; i--)
        if (mdl_widens(region->ops.at[i]))
            facts[region->ops.at[i]->in[0]->id].fanout += facts[result(region->ops.at[i])->id].fanout - 1;
    for (int i = 0; i < region->ops.n; i++) describe(facts, region->ops.at[i]);
    for (int i = 0; i < region->ops.n; i++) { /* only now: a mark changes no level */
        const mdl_op *op = region->ops.at[i];
        if (!op->n_out || !mdl_find_attr(op, MDL_STORED)) continue;
        if (op->code == MDL_OP_RESHAPE)
            facts[result(op)->id].place = MDL_PLACE_MEMORY;
        else
            facts[result(op)->id].stored = true;
    }
    return facts;
}

bool mdl_computed_again(const mdl_fact *facts, const mdl_value *v, const mdl_value *root) {
    const mdl_fact *x = &facts[v->id];
    return x->place == MDL_PLACE_FUSABLE && x->stored && x->anywhere && !mdl_is_column_sum(v->def) &&
           x->level == facts[root->id].level && mdl_rows_of(v) != mdl_rows_of(root);
}

static void count(mdl_kernel_size *s, const mdl_value *v, bool computed) {
    if (s->mark[v->id] == s->stamp) return;
    s->mark[v->id] = s->stamp;
    s->args += !computed;
    if (computed) s->ops += mdl_size_of_op(v->def);
    for (int i = 0; computed && i < v->def->n_in; i++) {
        const mdl_fact *u = &s->facts[v->def->in[i]->id];
        count(s, v->def->in[i], u->place == MDL_PLACE_FUSABLE && !u->stored);
    }
}

void mdl_add_to_kernel(mdl_kernel_size *s, const mdl_value *root) { count(s, root, true); }
