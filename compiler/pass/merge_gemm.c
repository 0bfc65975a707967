/* needs: primitives, before autodiff. keeps: every value. breaks: nothing; reads of several adjacent parameters appear.
 *
 * Dots x.w1, x.w2, ... of one x with parameters [O_i, I] become one dot with their concatenation, which costs nothing because the
 * layout places the group's parameters side by side; so do the biases added to them, when each dot is used for nothing else. */
#include <string.h>

#include "compiler/pass/pass.h"

typedef struct {
    MDL_VEC(mdl_op *) dots;
    mdl_op *bias[64]; /* the add of each member, or NULL */
    bool biased;      /* every member has one */
} group;

static bool is_param_read(const mdl_value *v) { return mdl_is(v, MDL_OP_READ) && mdl_find_attr(v->def, "of")->n == 1; }

/* x [.., I] . w [O, I], w read from one parameter that is used once. O is a multiple of 8: so every member of a group begins where
 * kernels may move 16 bytes. */
static bool mergeable(const mdl_op *op, const int *uses) {
    if (op->code != MDL_OP_DOT || op->n_in != 2 || mdl_find_attr(op, "left_batch")) return false;
    const mdl_attr *left = mdl_find_attr(op, "left"), *right = mdl_find_attr(op, "right");
    const mdl_value *x = op->in[0], *w = op->in[1];
    return is_param_read(w) && uses[w->id] == 1 && w->type.rank == 2 && w->type.dim[0] % 8 == 0 && left->n == 1 &&
           right->is[0] == 1 && left->is[0] == x->type.rank - 1;
}

static const mdl_param *param_of(const mdl_module *m, const mdl_value *read) {
    const char *name = mdl_first_param(read->def);
    for (int i = 0; i < m->params.n; i++)
        if (!strcmp(m->params.at[i].name, name)) return &m->params.at[i];
    return NULL;
}

/* Without a module (a pass run alone on text) all parameters are of one kind. */
static bool same_kind(const mdl_module *m, const mdl_value *x, const mdl_value *y) {
    if (!m) return true;
    const mdl_param *a = param_of(m, x), *b = param_of(m, y);
    return a && b && a->role == MDL_TRAINED && b->role == MDL_TRAINED && a->decay == b->decay && !strcmp(a->group, b->group);
}

/* add(dot, broadcast(read b [O])), the dot's only use */
static bool is_bias_add(const mdl_op *op, const int *uses) {
    if (op->code != MDL_OP_ADD || !mdl_is(op->in[0], MDL_OP_DOT) || uses[op->in[0]->id] != 1 ||
        !mdl_is(op->in[1], MDL_OP_BROADCAST))
        return false;
    const mdl_value *b = op->in[1]->def->in[0];
    const mdl_attr *axes = mdl_find_attr(op->in[1]->def, "axes");
    return is_param_read(b) && uses[b->id] == 1 && uses[op->in[1]->id] == 1 && b->type.rank == 1 &&
           axes->is[0] == op->out[0]->type.rank - 1;
}

static mdl_value *read_group(mdl_rewrite *r, int n, mdl_value *const *reads) {
    const char *names[64];
    mdl_type type = reads[0]->type;
    type.dim[0] = 0;
    for (int i = 0; i < n; i++) {
        names[i] = mdl_first_param(reads[i]->def);
        type.dim[0] += reads[i]->type.dim[0];
    }
    return mdl_read(&r->b, mdl_state_by_name(MDL_STATE_PARAM, n, names), type, 0, NULL);
}

static void emit_group(mdl_rewrite *r, group *g) {
    mdl_value *w[64], *b[64];
    for (int i = 0; i < g->dots.n; i++) w[i] = g->dots.at[i]->in[1];
    const mdl_op *lead = g->dots.at[0];
    const mdl_attr *left = mdl_find_attr(lead, "left"), *right = mdl_find_attr(lead, "right");
    r->b.span = lead->span;
    mdl_value *y = mdl_dot(&r->b, mdl_mapped(lead->in[0]), read_group(r, g->dots.n, w), 1, left->is, right->is);
    int64_t last = y->type.rank - 1, start = 0;
    if (g->biased) {
        for (int i = 0; i < g->dots.n; i++) b[i] = g->bias[i]->in[1]->def->in[0];
        mdl_value *bias = read_group(r, g->dots.n, b);
        y = mdl_binary(&r->b, MDL_OP_ADD, y, mdl_broadcast(&r->b, bias, 1, &last, &y->type));
    }
    for (int i = 0; i < g->dots.n; i++) {
        const mdl_op *replaced = g->biased ? g->bias[i] : g->dots.at[i];
        int64_t size = w[i]->type.dim[0];
        r->b.span = replaced->span;
        mdl_map(replaced->out[0], mdl_slice(&r->b, y, (int)last, start, size));
        start += size;
    }
}

/* The ops that a group replaces: its dots, their reads, and the reads of their biases. */
static void mark(group *g) {
    g->biased = true;
    for (int i = 0; i < g->dots.n; i++) g->biased &= g->bias[i] != NULL;
    for (int i = 0; i < g->dots.n; i++) {
        g->dots.at[i]->scratch = g->dots.at[i]->in[1]->def->scratch = g;
        if (g->biased) g->bias[i]->in[1]->def->scratch = g->bias[i]->in[1]->def->in[0]->def->scratch = g;
    }
}

/* Groups of at least two, by x; ops that a group replaces point to it. */
static void find_groups(mdl_pass_context *c, mdl_region *in, const int *uses) {
    mdl_op **add_of = MDL_NEW_ARRAY(c->arena, mdl_op *, in->next_id + 1);
    group **by_x = MDL_NEW_ARRAY(c->arena, group *, in->next_id + 1);
    for (int i = 0; i < in->ops.n; i++)
        if (is_bias_add(in->ops.at[i], uses)) add_of[in->ops.at[i]->in[0]->id] = in->ops.at[i];
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        if (!mergeable(op, uses)) continue;
        group **g = &by_x[op->in[0]->id];
        if (!*g) *g = MDL_NEW(c->arena, group);
        if ((*g)->dots.n && !same_kind(c->module, (*g)->dots.at[0]->in[1], op->in[1])) continue;
        if ((*g)->dots.n == 64) continue;
        (*g)->bias[(*g)->dots.n] = add_of[op->out[0]->id];
        MDL_PUSH(c->arena, (*g)->dots, op);
    }
    for (int i = 0; i < in->next_id; i++)
        if (by_x[i] && by_x[i]->dots.n > 1) mark(by_x[i]);
}

mdl_region *mdl_pass_merge_gemm(mdl_pass_context *c, mdl_region *in) {
    mdl_rewrite r = mdl_rewrite_begin(c, in);
    find_groups(c, in, mdl_count_uses(c->arena, in));
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        group *g = op->scratch;
        if (g && g->dots.at[0] == op) emit_group(&r, g);
        if (op->n_out && op->out[0]->scratch) continue; /* already a slice of its group's result */
        if (g) continue;                                /* replaced */
        mdl_keep(&r, op);
    }
    return mdl_rewrite_end(&r);
}
