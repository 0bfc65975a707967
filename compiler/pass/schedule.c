/* needs: kernels. keeps: every value to rounding. breaks: kernels and fused anchors no longer yield sums over rows; they yield one
 * partial sum for each chunk of rows, and finish ops add the chunks in order, onto an initial value where there is one. Kernels
 * learn their blocks.
 *
 * The sums of a unit (a layer) share a finish: it stands behind the last kernel that has one of them, or before the first use of
 * one, with as many sums as the target's limit of arguments allows. Views and writes of sums are no use: they move behind the
 * finish. */
#include <string.h>

#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "compiler/pass/pass.h"

/* A column sum whose partial sums are there. */
typedef struct {
    const mdl_op *sum;   /* in the old kernel */
    const mdl_value *of; /* that kernel's result */
    mdl_value *partial, *init;
} column;

/* The sums that a scope like "layer.3" is made of; those outside every such scope are a unit for each kernel. */
typedef struct {
    const char *name;
    int last; /* index of the last kernel that has one of them */
    MDL_VEC(column) columns;
    MDL_VEC(mdl_op *) delayed; /* that wait for the columns */
} unit;

typedef struct {
    mdl_pass_context *c;
    mdl_rewrite r;
    MDL_VEC(unit) units;
    unit **waits; /* by value id: what a value that is not made yet waits for */
} scheduler;

typedef MDL_VEC(mdl_value *) value_list;

/* ---- finishes ---- */
static mdl_value *arg(mdl_builder *b, value_list *operands, mdl_value *operand) {
    mdl_attr attr = mdl_int("index", operands->n);
    MDL_PUSH(b->arena, *operands, operand);
    return mdl_build(b, MDL_OP_ARG, 0, NULL, 1, &attr, &operand->type, NULL)->out[0];
}

/* Operands are the partials, then the initial values. */
static void finish(scheduler *s, int n, const column *columns) {
    mdl_builder *to = &s->r.b, b = {to->arena, mdl_region_new(to->arena, ""), columns->sum->span};
    value_list operands = {0}, yields = {0};
    mdl_value **partial = MDL_NEW_ARRAY(b.arena, mdl_value *, n);
    mdl_attr attr[3] = {mdl_ints(b.arena, "axes", 1, &(int64_t){0})};
    for (int i = 0; i < n; i++) partial[i] = arg(&b, &operands, columns[i].partial);
    for (int i = 0; i < n; i++) {
        b.span = columns[i].sum->span;
        mdl_value *in[] = {partial[i], columns[i].init ? arg(&b, &operands, columns[i].init) : NULL};
        int n_attr = 1 + mdl_accumulation_attrs(mdl_accumulation_of(columns[i].sum), partial[i]->type.dtype, attr + 1);
        MDL_PUSH(b.arena, yields, mdl_build(&b, MDL_OP_SUM, 1 + (in[1] != NULL), in, n_attr, attr, NULL, NULL)->out[0]);
    }
    mdl_build(&b, MDL_OP_YIELD, yields.n, yields.at, 0, NULL, NULL, NULL);
    to->span = columns->sum->span;
    mdl_op *op = mdl_build_region(to, MDL_OP_FINISH, operands.n, operands.at, 0, NULL, b.region);
    for (int i = 0; i < n; i++) mdl_map(columns[i].of, op->out[i]);
}

static void need(scheduler *s, const mdl_value *v);

static void keep(scheduler *s, mdl_op *op) {
    for (int i = 0; i < op->n_in; i++) need(s, op->in[i]);
    mdl_keep(&s->r, op);
}

static void close_unit(scheduler *s, unit *u) {
    unit was = *u;
    memset(&u->columns, 0, sizeof u->columns);
    memset(&u->delayed, 0, sizeof u->delayed);
    if (was.columns.n) finish(s, was.columns.n, was.columns.at);
    for (int i = 0; i < was.delayed.n; i++)
        if (!was.delayed.at[i]->out[0]->scratch) keep(s, was.delayed.at[i]);
}

/* A sum of a unit, or what was delayed because of one. */
static void need(scheduler *s, const mdl_value *v) {
    if (!v->scratch) close_unit(s, s->waits[v->id]);
}

/* ---- units ---- */
static unit *unit_of(scheduler *s, const mdl_op *sum, int kernel) {
    const char *name = mdl_unit_of_scope(s->c->arena, mdl_scope_path(&sum->span));
    for (int i = s->units.n - 1; i >= 0; i--) {
        unit *u = &s->units.at[i];
        if (!strcmp(u->name, name) && (*name || u->last == kernel)) return u;
    }
    MDL_PUSH(s->c->arena, s->units, ((unit){.name = name}));
    return &s->units.at[s->units.n - 1];
}

static bool has_body(const mdl_op *op) { return op->code == MDL_OP_KERNEL || op->code == MDL_OP_FUSED; }
static const mdl_op *yield_of(const mdl_op *kernel) { return kernel->body->ops.at[kernel->body->ops.n - 1]; }

static void find_units(scheduler *s, const mdl_region *in) {
    for (int i = 0; i < in->ops.n; i++)
        for (int k = 0; has_body(in->ops.at[i]) && k < in->ops.at[i]->n_out; k++) {
            const mdl_op *sum = yield_of(in->ops.at[i])->in[k]->def;
            if (mdl_is_column_sum(sum)) unit_of(s, sum, i)->last = i;
        }
}

static void add_column(scheduler *s, unit *u, column c) {
    int args = 2 + (c.init != NULL);
    for (int i = 0; i < u->columns.n; i++) args += 2 + (u->columns.at[i].init != NULL);
    if (s->c->target->limits.args && args > s->c->target->limits.args) close_unit(s, u);
    MDL_PUSH(s->c->arena, u->columns, c);
    s->waits[c.of->id] = u;
}

/* ---- kernels ---- */
/* The body with partial sums for column sums. */
static mdl_region *split_body(mdl_pass_context *c, const mdl_op *kernel, int64_t chunks) {
    mdl_rewrite r = mdl_rewrite_begin(c, kernel->body);
    for (int i = 0; i < kernel->body->ops.n; i++) {
        mdl_op *op = kernel->body->ops.at[i];
        if (!mdl_is_column_sum(op)) {
            mdl_keep(&r, op);
            continue;
        }
        mdl_value *x = mdl_mapped(op->in[0]);
        mdl_attr attr[3] = {mdl_int("chunks", chunks)};
        mdl_dtype acc = mdl_accumulation_of(op).acc;
        int n = 1 + mdl_accumulation_attrs((mdl_accumulation){acc, acc}, x->type.dtype, attr + 1);
        r.b.span = op->span;
        mdl_op *partial = mdl_build(&r.b, MDL_OP_PARTIAL_SUM, 1, &x, n, attr, NULL, NULL);
        mdl_map(op->out[0], partial->out[0]);
        partial->out[0]->stable = 0; /* it is not the sum yet: finish makes that */
    }
    return mdl_rewrite_end(&r);
}

/* The operands that the kernel body still uses, and the kernel op over them. Args that only fed an init disappear. */
static mdl_op *rebuild(mdl_rewrite *r, const mdl_op *kernel, mdl_region *body, int64_t blocks) {
    value_list in = {0};
    int *uses = mdl_count_uses(r->b.arena, body);
    int kept = 0;
    for (int i = 0; i < body->ops.n; i++) {
        mdl_op *op = body->ops.at[i];
        if (op->code == MDL_OP_ARG) {
            if (!uses[op->out[0]->id]) continue;
            int64_t index = mdl_attr_int(op, "index");
            op->attr = mdl_copy(r->b.arena, &(mdl_attr){.key = "index", .kind = MDL_ATTR_INT, .i = in.n}, sizeof *op->attr);
            MDL_PUSH(r->b.arena, in, mdl_mapped(kernel->in[index]));
        }
        body->ops.at[kept++] = op;
    }
    body->ops.n = kept;
    mdl_region_renumber(body);
    if (kernel->code == MDL_OP_FUSED) return mdl_build_region(&r->b, MDL_OP_FUSED, in.n, in.at, 0, NULL, body);
    mdl_attr attr[] = {mdl_int("rows", mdl_attr_int(kernel, "rows")), mdl_int("blocks", blocks)};
    return mdl_build_region(&r->b, MDL_OP_KERNEL, in.n, in.at, 2, attr, body);
}

static bool has_column_sums(const mdl_op *kernel) {
    for (int i = 0; i < kernel->n_out; i++)
        if (mdl_is_column_sum(yield_of(kernel)->in[i]->def)) return true;
    return false;
}

/* Columns of a row kernel's widest operand or result. */
static int64_t widest(const mdl_op *kernel) {
    int64_t rows = mdl_attr_int(kernel, "rows"), most = 1;
    for (int i = 0; i < kernel->n_in + kernel->n_out; i++) {
        const mdl_type *type = &(i < kernel->n_in ? kernel->in[i] : kernel->out[i - kernel->n_in])->type;
        int64_t columns = type->rank && type->dim[0] == rows ? mdl_type_count(type) / rows : 1;
        if (columns > most) most = columns;
    }
    return most;
}

/* A row kernel's partial sums are made by the blocks of their rows, so there are as many. A fused anchor's blocks are its own. */
static void schedule(scheduler *s, mdl_op *kernel, int at) {
    const mdl_target *target = s->c->target;
    bool fused = kernel->code == MDL_OP_FUSED;
    int64_t rows = fused ? 0 : mdl_attr_int(kernel, "rows");
    int64_t chunks = fused ? target->fused_partials(kernel) : target->partials(rows);
    int64_t blocks = has_column_sums(kernel) ? chunks : target->row_blocks(rows, fused ? 0 : widest(kernel));
    mdl_rewrite *r = &s->r;
    for (int i = 0; i < kernel->n_in; i++) need(s, kernel->in[i]);
    r->b.span = kernel->span;
    mdl_op *fresh = rebuild(r, kernel, split_body(s->c, kernel, chunks), blocks);
    for (int i = 0; i < kernel->n_out; i++) {
        const mdl_op *sum = yield_of(kernel)->in[i]->def;
        if (!mdl_is_column_sum(sum)) {
            mdl_map(kernel->out[i], fresh->out[i]);
            continue;
        }
        mdl_value *init = sum->n_in == 2 ? mdl_mapped(kernel->in[mdl_attr_int(sum->in[1]->def, "index")]) : NULL;
        add_column(s, unit_of(s, sum, at), (column){sum, kernel->out[i], fresh->out[i], init});
    }
    for (int i = 0; i < s->units.n; i++)
        if (s->units.at[i].last == at) close_unit(s, &s->units.at[i]);
}

/* A view or a write of what is not made yet waits with it. */
static bool delayed(scheduler *s, mdl_op *op) {
    if (op->code != MDL_OP_RESHAPE && op->code != MDL_OP_WRITE) return false;
    for (int i = 0; i < op->n_in; i++) {
        if (op->in[i]->scratch) continue;
        unit *u = s->waits[op->out[0]->id] = s->waits[op->in[i]->id];
        MDL_PUSH(s->c->arena, u->delayed, op);
        return true;
    }
    return false;
}

mdl_region *mdl_pass_schedule(mdl_pass_context *c, mdl_region *in) {
    scheduler s = {.c = c, .r = mdl_rewrite_begin(c, in), .waits = MDL_NEW_ARRAY(c->arena, unit *, in->next_id + 1)};
    find_units(&s, in);
    for (int i = 0; i < in->ops.n; i++) {
        mdl_op *op = in->ops.at[i];
        if (has_body(op))
            schedule(&s, op, i);
        else if (!delayed(&s, op))
            keep(&s, op);
    }
    return mdl_rewrite_end(&s.r);
}
