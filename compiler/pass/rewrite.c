/* Copying a program op by op: what every pass is made of. */
#include "compiler/pass/pass.h"
#include "runtime/base/status.h"

mdl_rewrite mdl_rewrite_begin(mdl_pass_context *c, mdl_region *in) {
    mdl_region_clear_scratch(in);
    return (mdl_rewrite){.b = {.arena = c->arena, .region = mdl_region_new(c->arena, in->name)}, .in = in};
}

mdl_value *mdl_mapped(const mdl_value *old) {
    MDL_ASSERT(old->scratch);
    return old->scratch;
}

void mdl_map(const mdl_value *old, mdl_value *fresh) {
    ((mdl_value *)old)->scratch = fresh;
    if (!fresh->stable) fresh->stable = old->stable;
}

mdl_value **mdl_mapped_in(mdl_rewrite *r, const mdl_op *op) {
    mdl_value **in = MDL_NEW_ARRAY(r->b.arena, mdl_value *, op->n_in);
    for (int i = 0; i < op->n_in; i++) in[i] = mdl_mapped(op->in[i]);
    r->b.span = op->span;
    return in;
}

mdl_op *mdl_keep(mdl_rewrite *r, const mdl_op *op) {
    mdl_op *fresh = mdl_clone(&r->b, op, mdl_mapped_in(r, op));
    for (int i = 0; i < op->n_out; i++) mdl_map(op->out[i], fresh->out[i]);
    return fresh;
}

mdl_region *mdl_rewrite_end(mdl_rewrite *r) {
    mdl_region_clear_scratch(r->in);
    mdl_region_renumber(r->b.region);
    return r->b.region;
}

int *mdl_count_uses(mdl_arena *arena, const mdl_region *region) {
    int *uses = MDL_NEW_ARRAY(arena, int, region->next_id + 1);
    for (int i = 0; i < region->ops.n; i++)
        for (int k = 0; k < region->ops.at[i]->n_in; k++) uses[region->ops.at[i]->in[k]->id]++;
    return uses;
}
