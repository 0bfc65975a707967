/* The plan's tables: parameters, inputs, losses, names, files, and constants made at compile time. */
#include <string.h>

#include "compiler/emit/emit.h"

static int64_t aligned(int64_t n) { return (n + MDL_PLAN_ALIGN - 1) / MDL_PLAN_ALIGN * MDL_PLAN_ALIGN; }

static bool has_arena(const mdl_emitter *e, mdl_arena_id id) {
    if (id == MDL_ARENA_QUANTIZED || id == MDL_ARENA_TRANSPOSED) return mdl_fp8_tensors(e->fp8) > 0;
    return id != MDL_ARENA_COMPUTE || strcmp(e->plan->precision, "f32");
}

/* Trained parameters as the layout has them; frozen and carried ones one after the other. */
static void params(mdl_emitter *e) {
    int64_t *frozen = &e->plan->arena_bytes[MDL_ARENA_FROZEN];
    for (int i = 0; i < e->module->params.n; i++) {
        const mdl_param *p = &e->module->params.at[i];
        const mdl_placed_param *at = mdl_layout_find(e->layout, p->name);
        mdl_plan_param out = {p->name,
                              p->type,
                              at ? MDL_ARENA_PARAM : MDL_ARENA_FROZEN,
                              at ? at->offset * 4 : *frozen,
                              p->decay,
                              p->role == MDL_CARRY,
                              p->group ? p->group : "",
                              p->init ? p->init : ""};
        if (!at) *frozen = aligned(*frozen + mdl_type_bytes(&p->type));
        MDL_PUSH(e->arena, e->plan->params, out);
    }
    int64_t elements = e->layout->tiles * MDL_TILE;
    e->plan->arena_bytes[MDL_ARENA_PARAM] = elements * 4;
    for (int i = 0; i < MDL_ARENA_COUNT; i++)
        if (has_arena(e, (mdl_arena_id)i)) e->plan->arena_bytes[i] += elements * mdl_arena_like_param((mdl_arena_id)i) / 8;
    e->plan->arena_bytes[MDL_ARENA_SCALING] = mdl_fp8_bytes(e->fp8);
    e->plan->arena_bytes[MDL_ARENA_AMAX] = mdl_fp8_amax_bytes(e->fp8);
    e->plan->tile = MDL_TILE;
    for (int i = 0; i < e->layout->units.n; i++) {
        const mdl_unit *u = &e->layout->units.at[i];
        MDL_PUSH(e->arena, e->plan->units, ((mdl_plan_unit){u->name, u->tile * MDL_TILE * 4, u->tiles * MDL_TILE * 4}));
    }
    for (int i = 0; i < e->module->ties.n; i++)
        MDL_PUSH(e->arena, e->plan->ties, ((mdl_plan_tie){e->module->ties.at[i].name, e->module->ties.at[i].target}));
}

static void file(mdl_emitter *e, const char *path, const char *bytes, int64_t size) {
    MDL_PUSH(e->arena, e->plan->files, ((mdl_plan_file){.path = path, .bytes = bytes, .size = size}));
}

/* A file of tables: by tile, how many of its elements belong to parameters (i32), then whether weight decay applies (bool). */
static void constants(mdl_emitter *e) {
    int64_t tiles = e->layout->tiles;
    char *all = MDL_NEW_ARRAY(e->arena, char, 5 * tiles), *decay = all + 4 * tiles;
    int32_t *used = (int32_t *)(void *)all;
    for (int i = 0; i < e->layout->trained.n; i++) {
        const mdl_placed_param *p = &e->layout->trained.at[i];
        int64_t end = p->offset + mdl_type_count(&p->type);
        for (int64_t t = p->offset / MDL_TILE; t * MDL_TILE < end; t++) {
            decay[t] = p->decay;
            used[t] = (int32_t)(end - t * MDL_TILE < MDL_TILE ? end - t * MDL_TILE : MDL_TILE);
        }
    }
    e->plan->arena_bytes[MDL_ARENA_CONST] = 5 * tiles;
    file(e, MDL_PLAN_CONSTANTS, all, 5 * tiles);
}

/* Is the value, or an element of it, an element of the input? */
static bool comes_from(const mdl_value *v, const char *input) {
    switch (v->def->code) {
        case MDL_OP_INPUT: return !strcmp(mdl_attr_str(v->def, "name"), input);
        case MDL_OP_RESHAPE:
        case MDL_OP_BROADCAST:
        case MDL_OP_PERMUTE:
        case MDL_OP_SLICE: return comes_from(v->def->in[0], input);
        case MDL_OP_SELECT: return comes_from(v->def->in[1], input) || comes_from(v->def->in[2], input);
        default: return false;
    }
}

/* The rows of the smallest table that the input indexes; 0: none. */
static int64_t table_rows(const mdl_emitter *e, const char *input) {
    int64_t least = 0;
    for (int i = 0; i < e->module->forward->ops.n; i++) {
        const mdl_op *op = e->module->forward->ops.at[i];
        if (op->code != MDL_OP_GATHER || !comes_from(op->in[1], input)) continue;
        if (!least || op->in[0]->type.dim[0] < least) least = op->in[0]->type.dim[0];
    }
    return least;
}

static void input(mdl_emitter *e, const char *name, const char *source, mdl_type type) {
    int64_t *end = &e->plan->arena_bytes[MDL_ARENA_INPUT];
    MDL_PUSH(e->arena, e->plan->inputs, ((mdl_plan_input){name, source, type, *end, table_rows(e, name)}));
    *end = aligned(*end + mdl_type_bytes(&type));
}

static void inputs(mdl_emitter *e) {
    static const char *const scalars[] = {
        "lr",  "one_minus_beta1", "beta2",        "one_minus_beta2", "bias_correction1", "sqrt_bias_correction2",
        "eps", "weight_decay",    "max_grad_norm"};
    mdl_type scalar = {.dtype = MDL_F32};
    for (int i = 0; i < e->module->inputs.n; i++)
        input(e, e->module->inputs.at[i].name, e->module->inputs.at[i].source, e->module->inputs.at[i].type);
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) input(e, scalars[i], "scalar", scalar);
    input(e, "seed", "seed", (mdl_type){.dtype = MDL_I32, .rank = 1, .dim = {2}});
}

static void losses(mdl_emitter *e) {
    const mdl_region *f = e->module->forward;
    for (int i = 0; i < f->ops.n; i++) {
        const mdl_op *op = f->ops.at[i];
        if (op->code == MDL_OP_LOSS)
            MDL_PUSH(e->arena, e->plan->losses, ((mdl_plan_loss){mdl_attr_str(op, "name"), mdl_attr_real(op, "weight")}));
        if (op->code == MDL_OP_METRIC) MDL_PUSH(e->arena, e->plan->metrics, mdl_attr_str(op, "name"));
    }
    e->plan->arena_bytes[MDL_ARENA_TALLY] = 8 * (e->plan->losses.n + e->plan->metrics.n); /* a sum and a count of each */
}

static void names(mdl_emitter *e) {
    static const char *const kinds[] = {"name", "also", "ignore"};
    const mdl_module *m = e->module;
    for (int i = 0; i < m->dims.n; i++)
        MDL_PUSH(e->arena, e->plan->dims, ((mdl_plan_dim){m->dims.at[i].name, m->dims.at[i].value}));
    for (int i = 0; i < m->specials.n; i++)
        MDL_PUSH(e->arena, e->plan->specials, ((mdl_plan_dim){m->specials.at[i].name, m->specials.at[i].value}));
    for (int i = 0; i < m->layouts.n; i++) {
        const mdl_name_map *n = &m->layouts.at[i];
        MDL_PUSH(e->arena, e->plan->layouts,
                 ((mdl_plan_name_map){n->layout, kinds[n->kind], n->theirs, n->ours, n->rows, n->groups, n->first}));
    }
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void assets(mdl_emitter *e) {
    const mdl_module *m = e->module;
    for (int i = 0; i < m->sources.n; i++)
        file(e, mdl_printf(e->arena, "source/%s", i ? m->sources.at[i].name : base_name(m->sources.at[i].name)),
             m->sources.at[i].text, (int64_t)strlen(m->sources.at[i].text));
    if (m->vocab_text) {
        e->plan->vocab = mdl_printf(e->arena, "assets/%s", base_name(m->vocab_name));
        file(e, e->plan->vocab, m->vocab_text, (int64_t)strlen(m->vocab_text));
    }
    if (m->exports.n) e->plan->export_name = m->exports.at[0].name;
    for (int i = 0; i < m->exports.n; i++)
        file(e, mdl_printf(e->arena, "assets/%s", m->exports.at[i].name), m->exports.at[i].json,
             (int64_t)strlen(m->exports.at[i].json));
}

void mdl_emit_tables(mdl_emitter *e) {
    e->plan->model = e->module->name;
    e->plan->tokens = e->module->tokens;
    e->plan->segments = e->module->segments;
    e->plan->max_length = e->module->max_length;
    losses(e);
    params(e);
    inputs(e);
    constants(e);
    names(e);
    assets(e);
}
