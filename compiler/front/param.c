/* Parameters with their initial values; losses, metrics and outputs. */
#include <math.h>
#include <string.h>

#include "compiler/front/elab.h"
#include "compiler/ir/state.h"

typedef struct {
    const mdl_ast *init, *tied, *zero_row, *group;
    bool frozen, carry, nodecay;
} param_flags;

static bool no_args(fe *e, const mdl_ast *flag) {
    if (flag->i) fe_fail(e, flag->loc, NULL, "'%s' takes no argument", flag->text);
    return !flag->i;
}

static const mdl_ast *one_arg(fe *e, const mdl_ast *flag) {
    if (flag->list.n == 1 && !flag->list.at[0]->text) return flag->list.at[0]->a;
    fe_fail(e, flag->loc, NULL, "'%s' takes one argument: %s(...)", flag->text, flag->text);
    return NULL;
}

static bool read_flag(fe *e, const mdl_ast *flag, param_flags *f) {
    static const char *const names[] = {"init", "tied", "frozen", "carry", "nodecay", "zero_row", "group"};
    if (flag->kind == MDL_AST_INIT) return f->init = flag->a, true;
    if (flag->kind == MDL_AST_TIED) return f->tied = flag->a, true;
    if (!strcmp(flag->text, "frozen")) return f->frozen = true, no_args(e, flag);
    if (!strcmp(flag->text, "carry")) return f->carry = true, no_args(e, flag);
    if (!strcmp(flag->text, "nodecay")) return f->nodecay = true, no_args(e, flag);
    if (!strcmp(flag->text, "zero_row")) return (f->zero_row = one_arg(e, flag)) != NULL;
    if (!strcmp(flag->text, "group")) return (f->group = one_arg(e, flag)) != NULL;
    fe_fail(e, flag->name, NULL, "a parameter has no property '%s'%s", flag->text, fe_suggest(e, flag->text, 7, names));
    return false;
}

static bool read_flags(fe *e, const mdl_ast *param, param_flags *f) {
    bool ok = true;
    for (int i = 0; i < param->list.n; i++) ok &= read_flag(e, param->list.at[i], f);
    if (!ok) return false;
    const char *wrong = NULL;
    if (f->init && f->tied) wrong = "has both 'init' and 'tied'";
    if (!f->init && !f->tied) wrong = "needs 'init' or 'tied'";
    if (f->frozen && f->carry) wrong = "is both frozen and carry";
    if (f->tied && (f->frozen || f->carry || f->nodecay || f->zero_row || f->group))
        wrong = "is tied: its other properties are those of its target";
    if (wrong) fe_fail(e, param->name, NULL, "parameter '%s' %s", param->text, wrong);
    return !wrong;
}

static const char *path_of(fe *e, fe_env *env, const mdl_ast *param) {
    mdl_text path = {.arena = e->arena};
    const char *as = fe_interpolate(e, env, param->b->loc, param->b->text);
    if (!as) return NULL;
    const char *scope = mdl_scope_path(&e->b.span);
    mdl_text_printf(&path, "%s%s%s", scope, *scope ? "." : "", as);
    return path.at;
}

static bool path_is_free(fe *e, const mdl_ast *param, const char *path) {
    const mdl_module *m = e->module;
    const mdl_loc *first = NULL;
    for (int i = 0; i < m->params.n && !first; i++)
        if (!strcmp(m->params.at[i].name, path)) first = &e->param_locs.at[i];
    for (int i = 0; i < m->ties.n && !first; i++)
        if (!strcmp(m->ties.at[i].name, path)) first = &e->tie_locs.at[i];
    if (!first || e->dead) return true;
    fe_fail(e, param->loc,
            mdl_printf(
                e->arena,
                "the first is at %s\n  to use one parameter twice, declare it once and pass it to both, or give it a second name "
                "by 'tied'",
                mdl_place(e->arena, *first, param->loc.file)),
            "two parameters are named \"%s\"", path);
    return false;
}

/* The call in the outermost file that led here, or the place itself: what tells two uses of one block apart. */
static mdl_loc outermost(const fe *e, mdl_loc loc) {
    for (const fe_frame *f = e->frame; f && f->up; f = f->up) loc = f->call;
    return loc;
}

/* ---- initial values, in the init region ---- */
static mdl_value *seed(fe *e) {
    if (!e->seed) e->seed = mdl_input(&e->b, "seed", (mdl_type){.dtype = MDL_I32, .rank = 1, .dim = {2}});
    return e->seed;
}

static mdl_value *draw(fe *e, const char *dist, int stream, const mdl_type *type) {
    mdl_attr value = mdl_int("value", stream), kind = mdl_str("dist", dist);
    mdl_value *in[] = {seed(e), mdl_build(&e->b, MDL_OP_IMM, 0, NULL, 1, &value, NULL, NULL)->out[0]};
    return mdl_build(&e->b, MDL_OP_RANDOM, 2, in, 1, &kind, type, NULL)->out[0];
}

/* x * scale + shift */
static mdl_value *affine(fe *e, mdl_value *x, double scale, double shift) {
    if (scale != 1) x = mdl_binary(&e->b, MDL_OP_MUL, x, mdl_const_like(&e->b, &x->type, scale));
    return shift == 0 ? x : mdl_binary(&e->b, MDL_OP_ADD, x, mdl_const_like(&e->b, &x->type, shift));
}

/* By inversion: for u uniform, deviation * sqrt(2) * erfinv(v * erf(bound / (deviation * sqrt(2)))) with v = 2u - 1 has the density
 * of the normal within +-bound, scaled to 1. The middles of u's 2^24 steps make v symmetric and keep it off -1; f32 holds them
 * exactly. The clamp moves only what rounding carried past the bound. */
static mdl_value *truncated(fe *e, const fe_init *init, int stream, const mdl_type *type) {
    double root = init->b * M_SQRT2;
    mdl_value *v = affine(e, draw(e, "uniform", stream, type), 2, 0x1p-24 - 1);
    mdl_value *y = affine(e, mdl_unary(&e->b, MDL_OP_ERFINV, affine(e, v, erf(init->c / root), 0)), root, 0);
    y = mdl_binary(&e->b, MDL_OP_MIN, y, mdl_const_like(&e->b, type, init->c));
    return affine(e, mdl_binary(&e->b, MDL_OP_MAX, y, mdl_const_like(&e->b, type, -init->c)), 1, init->a);
}

static mdl_value *init_expression(fe *e, const mdl_ast *param, const fe_init *init, int rank, const fe_dim *const *dims) {
    fe_value v = fe_eval(e, init->env, init->expr);
    mdl_type type = fe_shape(MDL_F32, rank, dims);
    if (v.kind == FE_POISON) return NULL;
    fe_at(e, param->loc);
    if (fe_is_number(&v)) return mdl_const_like(&e->b, &type, fe_number(&v));
    bool same = v.kind == FE_TENSOR && fe_dtype(&v) == MDL_F32 && fe_rank(&v) == rank;
    for (int i = 0; same && i < rank; i++) same = v.dims[i] == dims[i] || (!dims[i]->name && v.dims[i]->size == dims[i]->size);
    if (same) return v.tensor;
    fe_fail(e, init->expr->loc, mdl_printf(e->arena, "expected %s, got %s", fe_dims_text(e, rank, dims), fe_type_text(e, &v)),
            "the initial value of '%s' does not have its dims", param->text);
    return NULL;
}

static mdl_value *initial(fe *e, const mdl_ast *param, const fe_init *init, int stream, int rank, const fe_dim *const *dims) {
    mdl_type type = fe_shape(MDL_F32, rank, dims);
    switch (init->kind) {
        case FE_INIT_NORMAL: return affine(e, draw(e, "normal", stream, &type), init->b, init->a);
        case FE_INIT_TRUNC_NORMAL: return truncated(e, init, stream, &type);
        case FE_INIT_UNIFORM: return affine(e, draw(e, "uniform", stream, &type), init->b - init->a, init->a);
        case FE_INIT_CONSTANT: return mdl_const_like(&e->b, &type, init->a);
        case FE_INIT_VALUE: return init_expression(e, param, init, rank, dims);
    }
    return NULL;
}

static mdl_value *with_zero_row(fe *e, mdl_value *x, int64_t row) {
    mdl_type type = x->type;
    type.dtype = MDL_I32;
    mdl_attr axis = mdl_int("axis", 0);
    mdl_value *index = mdl_build(&e->b, MDL_OP_IOTA, 0, NULL, 1, &axis, &type, NULL)->out[0];
    mdl_value *is_row = mdl_binary(&e->b, MDL_OP_EQ, index, mdl_const_like(&e->b, &type, (double)row));
    return mdl_select(&e->b, is_row, mdl_const_like(&e->b, &x->type, 0), x);
}

/* Writes the initial value of a parameter; -1 as `row`: no zero row. */
static bool initialize(fe *e, const mdl_ast *param, const char *path, const fe_init *init, int64_t row, int rank,
                       const fe_dim *const *dims) {
    mdl_region *saved = e->b.region;
    e->b.region = e->module->init;
    fe_at(e, param->loc);
    mdl_value *x = initial(e, param, init, e->module->params.n, rank, dims);
    fe_at(e, param->loc);
    if (x && row >= 0) x = with_zero_row(e, x, row);
    if (x) mdl_write(&e->b, mdl_state_by_name(MDL_STATE_PARAM, 1, &path), x, 0, NULL);
    e->b.region = saved;
    return x != NULL;
}

/* ---- the param statement ---- */
static fe_value tie(fe *e, fe_env *env, const mdl_ast *param, const param_flags *f, const char *path, int rank,
                    const fe_dim *const *dims) {
    fe_value target = fe_eval(e, env, f->tied);
    if (target.kind == FE_POISON) return target;
    if (target.kind != FE_TENSOR || !mdl_is(target.tensor, MDL_OP_READ))
        return fe_fail(e, f->tied->loc, NULL, "'%s' is not a parameter", f->tied->text);
    bool same = fe_rank(&target) == rank;
    for (int i = 0; same && i < rank; i++) same = target.dims[i] == dims[i];
    if (!same)
        return fe_fail(e, param->a->loc,
                       mdl_printf(e->arena, "expected %s, got %s", fe_type_text(e, &target), fe_dims_text(e, rank, dims)),
                       "'%s' is tied to '%s', whose dims differ", param->text, f->tied->text);
    mdl_tie entry = {.name = path, .target = mdl_first_param(target.tensor->def)};
    if (e->dead) return target;
    MDL_PUSH(e->arena, e->module->ties, entry);
    MDL_PUSH(e->arena, e->tie_locs, outermost(e, param->loc));
    return target;
}

static bool zero_row(fe *e, fe_env *env, const param_flags *f, int rank, const fe_dim *const *dims, int64_t *row) {
    *row = -1;
    if (!f->zero_row) return true;
    fe_value v = fe_eval(e, env, f->zero_row);
    if (v.kind == FE_POISON) return false;
    if (v.kind != FE_INT) return fe_fail(e, f->zero_row->loc, NULL, "a row is an integer, not %s", fe_type_text(e, &v)), false;
    if (!rank || v.i < 0 || v.i >= dims[0]->size)
        return fe_fail_value(e, f->zero_row->loc, "row %lld is outside %s", (long long)v.i, fe_dims_text(e, rank, dims)), false;
    *row = v.i;
    return true;
}

static const char *group_of(fe *e, fe_env *env, const mdl_ast *group) {
    if (!group) return "";
    fe_value v = fe_eval(e, env, group);
    if (v.kind == FE_STR) return v.s;
    if (v.kind != FE_POISON) fe_fail(e, group->loc, NULL, "a group is a string, not %s", fe_type_text(e, &v));
    return NULL;
}

static fe_value new_param(fe *e, fe_env *env, const mdl_ast *param, const param_flags *f, const char *path, int rank,
                          const fe_dim *const *dims) {
    int64_t row;
    mdl_type type = fe_shape(MDL_F32, rank, dims);
    fe_value init = fe_eval(e, env, f->init);
    const char *group = group_of(e, env, f->group);
    if (!zero_row(e, env, f, rank, dims, &row) || init.kind == FE_POISON || !group) return fe_poison();
    if (init.kind != FE_INIT)
        return fe_fail(
            e, f->init->loc,
            "it is one of normal(m, s), trunc_normal(m, s, bound), uniform(a, b), zeros, ones, constant(c), value(expression)",
            "an initial value is not %s", fe_type_text(e, &init));
    mdl_param p = {.name = path,
                   .type = type,
                   .decay = !f->nodecay,
                   .group = group,
                   .scope = mdl_scope_path(&e->b.span),
                   .init = init.init->text,
                   .role = f->carry    ? MDL_CARRY
                           : f->frozen ? MDL_FROZEN
                                       : MDL_TRAINED};
    fe_at(e, param->loc);
    p.span = e->b.span;
    if (!e->dead) {
        if (!initialize(e, param, path, init.init, row, rank, dims)) return fe_poison();
        MDL_PUSH(e->arena, e->module->params, p);
        MDL_PUSH(e->arena, e->param_locs, outermost(e, param->loc));
    }
    if (f->carry) return fe_tensor(e, NULL, 0, NULL);
    fe_at(e, param->loc);
    mdl_state state = mdl_state_by_name(MDL_STATE_PARAM, 1, &path);
    mdl_attr attr[3];
    int n = mdl_state_attrs(e->arena, &state, attr);
    attr[n] = mdl_int("zero_row", row);
    mdl_op *read = mdl_build(&e->b, MDL_OP_READ, 0, NULL, n + (row >= 0), attr, &type, NULL);
    return fe_tensor(e, read->out[0], rank, dims);
}

static bool dims_ok(fe *e, const mdl_ast *param, int rank, const fe_dim *const *dims) {
    for (int i = 0; i < rank; i++)
        if (dims[i]->batch)
            return fe_fail(e, param->a->loc, NULL, "a parameter has no batch dim: '%s' has %s", param->text, dims[i]->name), false;
    return true;
}

static fe_value declare(fe *e, fe_env *env, const mdl_ast *param, param_flags *f) {
    const fe_dim *dims[FE_MAX_ARGS];
    mdl_dtype dtype;
    if (!param->a->i || !fe_type_dtype(e, param->a, &dtype) || dtype != MDL_F32)
        return fe_fail(e, param->a->loc, NULL, "a parameter is a tensor of reals: [O, I]");
    int rank = fe_type_dims(e, env, param->a, true, dims);
    const char *path = path_of(e, env, param);
    if (rank < 0 || !path || !read_flags(e, param, f) || !dims_ok(e, param, rank, dims) || !path_is_free(e, param, path))
        return fe_poison();
    return f->tied ? tie(e, env, param, f, path, rank, dims) : new_param(e, env, param, f, path, rank, dims);
}

void fe_exec_param(fe *e, fe_env *env, const mdl_ast *param) {
    param_flags f = {0};
    fe_value v = fe_poison(), otherwise = {.kind = FE_ABSENT}, cond = fe_bool(true);
    if (e->frame->decl->kind == MDL_AST_FN) {
        fe_fail(e, param->loc, NULL, "a fn has no parameters of its own: make '%s' a block", e->frame->decl->text);
    } else {
        if (param->c) cond = fe_eval_condition(e, env, param->c, "if");
        bool taken = cond.kind == FE_BOOL && cond.i;
        mdl_region *saved = e->b.region;
        if (!taken) fe_enter_dead(e, &saved);
        v = declare(e, env, param, &f);
        if (!taken) fe_leave_dead(e, saved);
        if (taken && param->d) fe_enter_dead(e, &saved);
        if (param->d) otherwise = fe_eval(e, env, param->d);
        if (taken && param->d) fe_leave_dead(e, saved);
        if (!taken) v = cond.kind == FE_BOOL ? otherwise : fe_poison();
    }
    fe_role role = f.carry ? FE_CARRY : FE_PARAM;
    fe_define(e, env, (fe_symbol){.name = param->text, .loc = param->name, .role = role, .value = v}, false);
}

/* ---- which ops a set of values needs ---- */
static void mark_needed(mdl_region *region) {
    for (int i = region->ops.n - 1; i >= 0; i--) {
        mdl_op *op = region->ops.at[i];
        bool sink = op->code == MDL_OP_LOSS || op->code == MDL_OP_METRIC || op->code == MDL_OP_OUTPUT;
        if (sink) op->scratch = region;
        for (int k = 0; op->scratch && k < op->n_in; k++) op->in[k]->def->scratch = region;
    }
}

void fe_check_unused(fe *e) {
    mdl_region *region = e->module->forward;
    mark_needed(region);
    for (int p = 0; p < e->module->params.n; p++) {
        const mdl_param *param = &e->module->params.at[p];
        bool used = param->role == MDL_CARRY;
        for (int i = 0; i < region->ops.n && !used; i++) {
            const mdl_op *op = region->ops.at[i];
            used = op->code == MDL_OP_READ && op->scratch && !strcmp(mdl_first_param(op), param->name);
        }
        if (!used)
            mdl_report(e->d, MDL_SEVERITY_ERROR, e->param_locs.at[p],
                       "parameter \"%s\" reaches no loss, metric or output; mark it carry to keep it unused", param->name);
    }
    mdl_region_clear_scratch(region);
}

/* Does the value depend on a parameter? */
static bool depends_on_params(mdl_region *region, const mdl_value *v) {
    bool found = false;
    v->def->scratch = region;
    for (int i = region->ops.n - 1; i >= 0 && !found; i--) {
        mdl_op *op = region->ops.at[i];
        if (!op->scratch) continue;
        found = op->code == MDL_OP_READ;
        for (int k = 0; k < op->n_in; k++) op->in[k]->def->scratch = region;
    }
    mdl_region_clear_scratch(region);
    return found;
}

/* ---- loss, metric, output ---- */
static bool sink_name(fe *e, const mdl_ast *sink, const char *kind, const char *name) {
    const char *key = mdl_printf(e->arena, "%s %s", kind, name);
    for (int i = 0; i < e->sinks.n && !e->dead; i++)
        if (!strcmp(e->sinks.at[i], key)) return fe_fail(e, sink->name, NULL, "there are two of %s", key), false;
    if (!e->dead) MDL_PUSH(e->arena, e->sinks, key);
    return true;
}

static void exec_output(fe *e, fe_env *env, const mdl_ast *sink) {
    fe_value v = fe_eval(e, env, sink->a);
    if (!sink_name(e, sink, "output", mdl_printf(e->arena, "%s.%s", sink->text, sink->b->text)) || v.kind == FE_POISON) return;
    if (v.kind != FE_TENSOR || fe_dtype(&v) == MDL_SEG) {
        fe_fail(e, sink->a->loc, NULL, "an output is a tensor, not %s", fe_type_text(e, &v));
        return;
    }
    mdl_attr attr[] = {mdl_str("program", sink->text), mdl_str("name", sink->b->text)};
    fe_build(e, sink->loc, MDL_OP_OUTPUT, 1, &v.tensor, 2, attr, NULL);
}

static bool read_loss_flags(fe *e, fe_env *env, const mdl_ast *sink, double *weight, const char **group) {
    static const char *const names[] = {"weight", "group"};
    for (int i = 0; i < sink->list.n; i++) {
        const mdl_ast *flag = sink->list.at[i];
        bool is_weight = !strcmp(flag->text, "weight"),
             known = flag->kind == MDL_AST_FLAG && (is_weight || !strcmp(flag->text, "group"));
        if (!known || sink->kind == MDL_AST_METRIC) {
            const char *kind = mdl_ast_kind_name(sink->kind);
            fe_fail(e, flag->name, NULL, "a %s has no property '%s'%s", kind, flag->text,
                    known ? "" : fe_suggest(e, flag->text, 2, names));
            return false;
        }
        const mdl_ast *arg = one_arg(e, flag);
        if (!arg) return false;
        if (!is_weight && !(*group = group_of(e, env, arg))) return false;
        if (!is_weight) continue;
        fe_value v = fe_eval(e, env, arg);
        if (v.kind == FE_POISON) return false;
        if (!fe_is_number(&v))
            return fe_fail(e, arg->loc, NULL, "a weight is a number known at compile time, not %s", fe_type_text(e, &v)), false;
        *weight = fe_number(&v);
    }
    return true;
}

/* Value and mask of a loss or metric with equal dims. */
static bool value_and_mask(fe *e, fe_env *env, const mdl_ast *sink, fe_value *value, fe_value *mask) {
    const char *kind = mdl_ast_kind_name(sink->kind);
    *value = fe_eval(e, env, sink->a);
    *mask = fe_eval(e, env, sink->b);
    if (value->kind == FE_POISON || mask->kind == FE_POISON) return false;
    if (value->kind != FE_TENSOR || fe_dtype(value) != MDL_F32)
        return fe_fail(e, sink->a->loc, NULL, "the value of a %s is a tensor of reals, not %s", kind, fe_type_text(e, value)),
               false;
    if (mask->kind != FE_TENSOR || fe_dtype(mask) != MDL_BOOL)
        return fe_fail(e, sink->b->loc, NULL, "'over' takes a bool tensor, not %s", fe_type_text(e, mask)), false;
    if (!e->dead && depends_on_params(e->b.region, mask->tensor))
        return fe_fail(e, sink->b->loc, NULL, "'over' may depend on inputs only: what is counted must be known before the step"),
               false;
    if (fe_rank(mask) < fe_rank(value)) return fe_broadcast(e, sink->b->loc, "over", mask, value);
    return fe_broadcast(e, sink->a->loc, kind, value, mask);
}

void fe_exec_sink(fe *e, fe_env *env, const mdl_ast *sink) {
    if (sink->kind == MDL_AST_OUTPUT) {
        exec_output(e, env, sink);
        return;
    }
    fe_value value, mask;
    double weight = 1;
    const char *group = "";
    bool ok = sink_name(e, sink, mdl_ast_kind_name(sink->kind), sink->text);
    ok = read_loss_flags(e, env, sink, &weight, &group) && ok;
    if (!value_and_mask(e, env, sink, &value, &mask) || !ok) return;
    mdl_value *in[] = {value.tensor, mask.tensor};
    mdl_attr attr[] = {mdl_str("name", sink->text), mdl_real("weight", weight), mdl_str("group", group)};
    bool loss = sink->kind == MDL_AST_LOSS;
    fe_build(e, sink->loc, loss ? MDL_OP_LOSS : MDL_OP_METRIC, 2, in, loss ? 3 : 1, attr, NULL);
}
