/* `layout` blocks: other names for the model's tensors in files, unrolled; and tensors of which a parameter is a part. */
#include <string.h>

#include "compiler/front/elab.h"

typedef struct {
    fe *e;
    const char *layout;
    MDL_VEC(mdl_name_map) maps;
    const mdl_ast *unsupported; /* the first right side that is more than a name */
} walk;

static bool is_parameter(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->params.n; i++)
        if (!strcmp(m->params.at[i].name, name)) return true;
    for (int i = 0; i < m->ties.n; i++)
        if (!strcmp(m->ties.at[i].name, name)) return true;
    return false;
}

static const char *suggest_parameter(fe *e, const char *name) {
    const mdl_module *m = e->module;
    const char **names = MDL_NEW_ARRAY(e->arena, const char *, m->params.n + 1);
    for (int i = 0; i < m->params.n; i++) names[i] = m->params.at[i].name;
    return fe_suggest(e, name, m->params.n, names);
}

/* ---- right sides that are more than a name ---- */
static const mdl_param *find_parameter(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->ties.n; i++)
        if (!strcmp(m->ties.at[i].name, name)) name = m->ties.at[i].target;
    for (int i = 0; i < m->params.n; i++)
        if (!strcmp(m->params.at[i].name, name)) return &m->params.at[i];
    return NULL;
}

/* Is this interleave[G]("a", ...), concat("a", ...) or padrows[N]("a"), which are read and not written? */
static bool is_parts(const mdl_ast *map) {
    static const char *const names[] = {"interleave", "concat", "padrows"};
    const mdl_ast *call = map->b;
    if (!map->i || call->kind != MDL_AST_CALL || call->b || !call->list.n) return false;
    for (int i = 0; i < call->list.n; i++)
        if (call->list.at[i]->text || call->list.at[i]->a->kind != MDL_AST_STR) return false;
    for (int i = 0; i < 3; i++)
        if (!strcmp(call->text, names[i])) return (i == 1) == !call->a && (i < 2 || call->list.n == 1);
    return false;
}

/* The number in brackets; 0 after an error, or 1 without brackets. */
static int64_t bracket_of(fe *e, fe_env *env, const mdl_ast *call) {
    if (!call->a) return 1;
    fe_value v = call->a->list.n == 1 && !call->a->i ? fe_eval(e, env, call->a->list.at[0]) : (fe_value){.kind = FE_ABSENT};
    if (v.kind == FE_INT && v.i > 0) return v.i;
    if (v.kind != FE_POISON) fe_fail(e, call->a->loc, NULL, "'%s' takes one positive integer in brackets", call->text);
    return 0;
}

/* A line for each parameter: where in the tensor its rows are. */
static void add_parts(walk *w, fe_env *env, const mdl_ast *call, mdl_name_map entry) {
    fe *e = w->e;
    bool pads = !strcmp(call->text, "padrows");
    int64_t number = bracket_of(e, env, call), rows = 0, groups = pads ? 1 : number;
    int before = w->maps.n;
    for (int i = 0; i < call->list.n && number; i++) {
        const mdl_ast *part = call->list.at[i]->a;
        entry.ours = fe_interpolate(e, env, part->loc, part->text);
        const mdl_param *param = entry.ours ? find_parameter(e->module, entry.ours) : NULL;
        if (!entry.ours) return;
        if (!param) {
            fe_fail(e, part->loc, NULL, "the model has no parameter \"%s\"%s", entry.ours, suggest_parameter(e, entry.ours));
            return;
        }
        int64_t own = param->type.rank ? param->type.dim[0] : 0;
        if (!own || own % groups || (pads && own > number)) {
            fe_fail(e, part->loc, NULL, pads ? "%lld rows are more than %lld" : "%lld rows do not divide into %lld groups",
                    (long long)own, (long long)number);
            return;
        }
        entry.groups = groups;
        entry.first = rows / groups;
        rows += own;
        if (entry.theirs) MDL_PUSH(e->arena, w->maps, entry);
    }
    for (int i = before; i < w->maps.n; i++) w->maps.at[i].rows = pads ? number : rows;
}

static void add_map(walk *w, fe_env *env, const mdl_ast *map) {
    fe *e = w->e;
    mdl_name_map entry = {.layout = w->layout,
                          .kind = map->kind == MDL_AST_IGNORE ? MDL_MAP_IGNORE
                                  : map->i                    ? MDL_MAP_ALSO
                                                              : MDL_MAP_NAME};
    entry.theirs = fe_interpolate(e, env, map->a->loc, map->a->text);
    if (map->b && is_parts(map)) {
        add_parts(w, env, map->b, entry);
        return;
    }
    if (map->b && map->b->kind != MDL_AST_STR) {
        if (!w->unsupported) w->unsupported = map->b;
        return;
    }
    if (map->b) {
        entry.ours = fe_interpolate(e, env, map->b->loc, map->b->text);
        if (!entry.ours) return;
        if (strchr(entry.ours, '*')) {
            if (!w->unsupported) w->unsupported = map->b;
            return;
        }
        if (!is_parameter(e->module, entry.ours))
            fe_fail(e, map->b->loc, NULL, "the model has no parameter \"%s\"%s", entry.ours, suggest_parameter(e, entry.ours));
    }
    if (entry.theirs) MDL_PUSH(e->arena, w->maps, entry);
}

static void visit(walk *w, fe_env *env, const mdl_ast *body, int depth) {
    fe *e = w->e;
    for (int i = 0; i < body->list.n; i++) {
        const mdl_ast *item = body->list.at[i];
        if (item->kind != MDL_AST_FOR) {
            add_map(w, env, item);
            continue;
        }
        fe_value low = fe_eval(e, env, item->a), high = fe_eval(e, env, item->b);
        if (low.kind == FE_POISON || high.kind == FE_POISON) return;
        if (low.kind != FE_INT || high.kind != FE_INT || depth > 8) {
            fe_fail(e, item->loc, NULL, depth > 8 ? "loops are nested too deeply" : "the range of a loop is of integers");
            return;
        }
        int errors = mdl_error_count(e->d);
        for (int64_t k = low.i; k < high.i && mdl_error_count(e->d) == errors && fe_steps(e, item->loc, 10); k++) {
            fe_env *inner = fe_env_new(e, env);
            fe_define(e, inner, (fe_symbol){.name = item->text, .loc = item->name, .role = FE_LOOP, .value = fe_int(k)}, false);
            visit(w, inner, item->d, depth + 1);
        }
    }
}

void fe_layout(fe *e, fe_env *env, const mdl_ast *layout) {
    walk w = {.e = e, .layout = layout->text};
    visit(&w, env, layout->b, 0);
    if (w.unsupported) {
        mdl_report(e->d, MDL_SEVERITY_WARNING, w.unsupported->loc,
                   "not implemented: a right side other than a name, or after 'also' interleave, concat or padrows; layout '%s' is "
                   "left out",
                   layout->text);
        return;
    }
    for (int i = 0; i < w.maps.n; i++) MDL_PUSH(e->arena, e->module->layouts, w.maps.at[i]);
}
