/* The order of parameters in memory: groups in backward order (the last layer's first), so that gradients become ready from the
 * front; members of a merged group side by side; every group starts at a tile, so that weight decay is constant in a tile; the
 * groups of a repeated scope stay together. What is left of a group's last tile is a gap, which nothing may rely on. */
#include <stdlib.h>
#include <string.h>

#include "compiler/pass/pass.h"
#include "runtime/base/status.h"

static const mdl_param *find(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->params.n; i++)
        if (!strcmp(m->params.at[i].name, name)) return &m->params.at[i];
    mdl_bug("the model reads '%s', which it does not declare", name);
}

static bool placed(const mdl_layout *l, const char *name) {
    for (int i = l->trained.n - 1; i >= 0; i--)
        if (!strcmp(l->trained.at[i].name, name)) return true;
    return false;
}

/* The widest group of parameters that some read wants side by side with `name`. */
static const mdl_attr *group_of(const mdl_module *m, const mdl_attr *alone) {
    const mdl_attr *widest = alone;
    for (int i = 0; i < m->forward->ops.n && alone->n == 1; i++) {
        const mdl_op *op = m->forward->ops.at[i];
        const mdl_attr *names = op->code == MDL_OP_READ ? mdl_find_attr(op, "of") : NULL;
        for (int k = 0; names && names->n > widest->n && k < names->n; k++)
            if (!strcmp(names->ss[k], alone->ss[0])) widest = names;
    }
    return widest;
}

/* A group is placed as a whole, or not at all: by another read of the same group. */
static void place_group(mdl_arena *arena, mdl_layout *l, const mdl_module *m, const mdl_attr *names) {
    int64_t at = l->tiles * MDL_TILE;
    if (find(m, names->ss[0])->role != MDL_TRAINED || placed(l, names->ss[0])) return;
    names = group_of(m, names);
    for (int i = 0; i < names->n; i++) {
        const mdl_param *p = find(m, names->ss[i]);
        if (p->role != MDL_TRAINED || placed(l, p->name)) continue;
        MDL_PUSH(arena, l->trained, ((mdl_placed_param){p->name, p->type, at, p->decay}));
        at += mdl_type_count(&p->type);
    }
    l->tiles = (at + MDL_TILE - 1) / MDL_TILE;
}

/* ---- units ---- */
const char *mdl_unit_of_scope(mdl_arena *arena, const char *scope) {
    for (const char *part = scope; *part; part += *part == '.') {
        size_t n = strcspn(part, ".");
        if (n && n == strspn(part, "0123456789")) return mdl_printf(arena, "%.*s", (int)(part + n - scope), scope);
        part += n;
    }
    return "";
}

static const char *unit_of(mdl_arena *arena, const mdl_module *m, const mdl_attr *names) {
    const char *scope = find(m, names->ss[0])->scope;
    return scope ? mdl_unit_of_scope(arena, scope) : "";
}

static void note_unit(mdl_arena *arena, mdl_layout *l, const char *unit, int64_t from) {
    if (from == l->tiles) return;
    if (!l->units.n || strcmp(l->units.at[l->units.n - 1].name, unit)) MDL_PUSH(arena, l->units, ((mdl_unit){unit, from, 0}));
    l->units.at[l->units.n - 1].tiles += l->tiles - from;
}

/* The groups of ops `last` .. 0 that are of the unit. */
static void place_unit(mdl_arena *arena, mdl_layout *l, const mdl_module *m, const char *unit, int last) {
    int64_t from = l->tiles;
    for (int i = last; i >= 0; i--) {
        const mdl_op *op = m->forward->ops.at[i];
        const mdl_attr *names = op->code == MDL_OP_READ ? mdl_find_attr(op, "of") : NULL;
        if (names && !strcmp(unit_of(arena, m, names), unit)) place_group(arena, l, m, names);
    }
    note_unit(arena, l, unit, from);
}

static void place(mdl_arena *arena, mdl_layout *l, const mdl_module *m, int at) {
    const mdl_attr *names = mdl_find_attr(m->forward->ops.at[at], "of");
    const char *unit = unit_of(arena, m, names);
    int64_t from = l->tiles;
    int done = 0;
    while (done < names->n && placed(l, names->ss[done])) done++;
    if (done == names->n) return;
    if (*unit) {
        place_unit(arena, l, m, unit, at);
    } else {
        place_group(arena, l, m, names);
        note_unit(arena, l, unit, from);
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const mdl_placed_param *const *)a)->name, (*(const mdl_placed_param *const *)b)->name);
}

mdl_layout *mdl_layout_params(mdl_arena *arena, const mdl_module *m) {
    mdl_layout *l = MDL_NEW(arena, mdl_layout);
    for (int i = m->forward->ops.n - 1; i >= 0; i--)
        if (m->forward->ops.at[i]->code == MDL_OP_READ) place(arena, l, m, i);
    if (!l->tiles) l->tiles = 1;
    l->by_name = MDL_NEW_ARRAY(arena, const mdl_placed_param *, l->trained.n);
    for (int i = 0; i < l->trained.n; i++) l->by_name[i] = &l->trained.at[i];
    qsort(l->by_name, (size_t)l->trained.n, sizeof *l->by_name, by_name);
    return l;
}
