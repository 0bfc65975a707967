/* Attention with bodies, for the CPU: each operand that a body makes becomes a function that fills the template's tile, each result
 * that goes through one a function that takes the tile. */
#include <string.h>

#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "compiler/target/cpu.h"
#include "compiler/target/describe.h"
#include "runtime/base/status.h"

typedef struct {
    mdl_arena *arena;
    const mdl_op *fused, *anchor, *yield;
    int slot[256];    /* by argument: its buffer */
    int first_result; /* buffers of results follow those of operands */
    const char *error;
} pasting;

/* ---- mini kernels: a few values of the body as a body of their own ---- */
typedef struct {
    mdl_builder b;
    const mdl_op *fused;
    mdl_value **made;      /* by value id of the fused body */
    const mdl_value *tile; /* a result of the anchor, which is the argument behind the fused op's own */
} extract;

static mdl_value *extracted(extract *x, const mdl_value *v) {
    if (x->made[v->id]) return x->made[v->id];
    mdl_value **in = MDL_NEW_ARRAY(x->b.arena, mdl_value *, v->def->n_in);
    mdl_attr index = mdl_int("index", v == x->tile ? x->fused->n_in : 0);
    mdl_op *op;
    if (v == x->tile) {
        op = mdl_build(&x->b, MDL_OP_ARG, 0, NULL, 1, &index, &v->type, NULL);
    } else {
        for (int i = 0; i < v->def->n_in; i++) in[i] = extracted(x, v->def->in[i]);
        op = mdl_clone(&x->b, v->def, in);
    }
    return x->made[v->id] = op->out[0];
}

static extract begin_extract(const pasting *p, const mdl_value *tile) {
    extract x = {
        .b = {.arena = p->arena, .region = mdl_region_new(p->arena, ""), .span = p->fused->span}, .fused = p->fused, .tile = tile};
    x.made = MDL_NEW_ARRAY(p->arena, mdl_value *, p->fused->body->next_id + 1);
    return x;
}

/* A kernel op for the lowering: the fused op's operands, and the tile's shape behind them. */
static const mdl_op *end_extract(const pasting *p, extract *x, int n, mdl_value *const *yields) {
    mdl_build(&x->b, MDL_OP_YIELD, n, yields, 0, NULL, NULL, NULL);
    mdl_op *kernel = MDL_NEW(p->arena, mdl_op);
    *kernel = *p->fused;
    kernel->code = MDL_OP_KERNEL;
    kernel->body = x->b.region;
    kernel->in = MDL_NEW_ARRAY(p->arena, mdl_value *, p->fused->n_in + 1);
    memcpy(kernel->in, p->fused->in, sizeof *kernel->in * (size_t)p->fused->n_in);
    if (x->tile) kernel->in[kernel->n_in++] = (mdl_value *)x->tile;
    mdl_attr rows = mdl_int("rows", p->anchor->in[0]->type.dim[0]);
    kernel->attr = mdl_copy(p->arena, &rows, sizeof rows);
    kernel->n_attr = 1;
    return kernel;
}

static const char *pasted(pasting *p, const mdl_op *kernel, const char *name, const mdl_loop_paste *paste,
                          const mdl_loop_layout *results) {
    static const mdl_schedule schedule = {.row_block = 1, .lanes = 1};
    const char *error = NULL, *text = NULL, *symbol = mdl_printf(p->arena, MDL_KERNEL_PLACEHOLDER "_%s", name);
    const mdl_loop_kernel *loops = mdl_loop_lower(p->arena, kernel, &schedule, NULL, results, paste, &error);
    if (loops) text = mdl_cpu_print_pasted(p->arena, loops, symbol, paste->store, &error);
    if (error) p->error = error;
    return text;
}

/* ---- operands ---- */
static mdl_attention_operand load(pasting *p, const mdl_value *v, const char *name) {
    extract x = begin_extract(p, NULL);
    mdl_value *y = extracted(&x, v);
    mdl_loop_paste paste = {.yield = 0, .heads = v->type.dim[1]};
    return (mdl_attention_operand){.text =
                                       pasted(p, end_extract(p, &x, 1, &y), mdl_printf(p->arena, "load_%s", name), &paste, NULL)};
}

static int slot_of(const pasting *p, const mdl_value *argument) { return p->slot[mdl_attr_int(argument->def, "index")]; }

static mdl_attention_operand statistic(const pasting *p, const mdl_value *argument) {
    return (mdl_attention_operand){.slot = slot_of(p, argument), .dtype = MDL_F32, .row = argument->type.dim[1], .head = 1};
}

/* The other factor of delta = sum of do * o. */
static const mdl_value *forward_result(const mdl_op *anchor) {
    const mdl_op *product = anchor->in[5]->def->in[0]->def;
    const mdl_value *x = product->in[0], *y = product->in[1];
    const mdl_value *wide = anchor->in[3];
    bool first = x == wide || (mdl_is(x, MDL_OP_CAST) && x->def->in[0] == wide);
    return first ? y : x;
}

/* ---- results ---- */
/* A value that goes to a result, or to a sum over its rows: columns first .. of a row of `width`. */
typedef struct {
    const mdl_value *value;
    int result;
    bool sum;
    int64_t first, width;
} destination;
typedef MDL_VEC(destination) destinations;

static bool depends(const mdl_value *v, const mdl_value *on) {
    if (v == on) return true;
    for (int i = 0; i < v->def->n_in; i++)
        if (v->def->in[i]->def != on->def ? depends(v->def->in[i], on) : v->def->in[i] == on) return true;
    return false;
}

static int64_t columns(const mdl_value *v) { return mdl_span_product(&v->type, 1, v->type.rank); }

/* Where what is made of one of the anchor's results goes. */
static destinations destinations_of(pasting *p, const mdl_value *tile) {
    destinations all = {0};
    for (int i = 0; i < p->yield->n_in; i++) {
        const mdl_value *v = p->yield->in[i];
        bool sum = v->def->code == MDL_OP_PARTIAL_SUM;
        if (sum) v = v->def->in[0];
        int64_t width = columns(v), first = 0;
        bool joined = mdl_is(v, MDL_OP_CONCAT) && v->type.rank == 2;
        for (int k = 0; joined && k < v->def->n_in; first += columns(v->def->in[k++]))
            if (depends(v->def->in[k], tile)) MDL_PUSH(p->arena, all, ((destination){v->def->in[k], i, sum, first, width}));
        if (!joined && depends(v, tile)) MDL_PUSH(p->arena, all, ((destination){v, i, sum, 0, width}));
    }
    return all;
}

/* What the body gives last is dq's scratch if it is dq in f32, whatever that is made into elsewhere. */
static bool is_scratch(const pasting *p, const destination *d) {
    const mdl_value *v = d->value, *dq = p->anchor->out[0];
    return p->anchor->code == MDL_OP_ATTENTION_BWD && d->result == p->yield->n_in - 1 &&
           (v == dq || (mdl_is(v, MDL_OP_CAST) && v->def->in[0] == dq));
}

/* Tiles are of [rows, heads, columns]. */
static mdl_value *by_heads(extract *x, const mdl_value *v, const mdl_type *tile) {
    mdl_value *y = extracted(x, v);
    return v->type.rank == 3 ? y : mdl_reshape(&x->b, y, 3, tile->dim);
}

static mdl_attention_operand store(pasting *p, const mdl_value *tile, const char *name) {
    destinations to = destinations_of(p, tile);
    extract x = begin_extract(p, tile);
    mdl_value **yields = MDL_NEW_ARRAY(p->arena, mdl_value *, to.n + 1);
    mdl_loop_layout *layouts = MDL_NEW_ARRAY(p->arena, mdl_loop_layout, to.n + 1);
    int n = 0;
    for (int i = 0; i < to.n; i++) {
        const destination *d = &to.at[i];
        if (is_scratch(p, d)) continue;
        yields[n] = by_heads(&x, d->value, &tile->type);
        if (d->sum) {
            mdl_attr attr[] = {mdl_int("chunks", p->fused->out[d->result]->type.dim[0]), mdl_str("to", "f32")};
            yields[n] = mdl_build(&x.b, MDL_OP_PARTIAL_SUM, 1, &yields[n], 2, attr, NULL, NULL)->out[0];
        }
        layouts[n++] = (mdl_loop_layout){.row_stride = d->width, .first = d->first, .buffer = p->first_result + d->result};
    }
    bool *leaf = MDL_NEW_ARRAY(p->arena, bool, p->fused->n_in + 1);
    leaf[p->fused->n_in] = true;
    mdl_loop_paste paste = {.yield = -1, .store = true, .heads = tile->type.dim[1], .leaf = leaf};
    return (mdl_attention_operand){
        .text = pasted(p, end_extract(p, &x, n, yields), mdl_printf(p->arena, "store_%s", name), &paste, layouts)};
}

/* A result as it is. */
static mdl_attention_operand plain(const pasting *p, int result, const mdl_type *t, int64_t row, int64_t first) {
    return (mdl_attention_operand){
        .slot = p->first_result + result, .dtype = t->dtype, .row = row, .head = t->dim[2], .first = first};
}

static int result_of(const pasting *p, const mdl_value *v) {
    for (int i = 0; i < p->yield->n_in; i++)
        if (p->yield->in[i] == v) return i;
    return -1;
}

static mdl_attention_operand result(pasting *p, int k, const char *name) {
    const mdl_value *v = p->anchor->out[k];
    int as_it_is = destinations_of(p, v).n == 1 ? result_of(p, v) : -1;
    if (as_it_is >= 0 && !is_scratch(p, &(destination){.value = v, .result = as_it_is}))
        return plain(p, as_it_is, &v->type, v->type.dim[1] * v->type.dim[2], 0);
    return store(p, v, name);
}

/* f32 rows for dq while it is not complete: a result that is there for it, or dq's own place. */
static mdl_attention_operand scratch(pasting *p) {
    const mdl_value *dq = p->anchor->out[0];
    mdl_type f32 = dq->type;
    f32.dtype = MDL_F32;
    destinations to = destinations_of(p, dq);
    const destination *place = NULL;
    for (int i = 0; i < to.n; i++)
        if (is_scratch(p, &to.at[i]) || (!place && !to.at[i].sum && to.at[i].value->type.dtype == MDL_F32)) place = &to.at[i];
    MDL_ASSERT(place);
    return plain(p, place->result, &f32, place->width, place->first);
}

/* Each block's own partial sums begin at zero. */
static const char *enter(pasting *p) {
    mdl_text t = {.arena = p->arena};
    static const char *const names[] = {"q", "k", "v"};
    for (int k = 0; k < 3; k++) {
        destinations to = destinations_of(p, p->anchor->out[k]);
        const mdl_type *tile = &p->anchor->out[k]->type;
        int64_t heads = k ? 1 : tile->dim[1] / p->anchor->out[1]->type.dim[1], n = heads * tile->dim[2];
        for (int i = 0; i < to.n; i++) {
            if (!to.at[i].sum) continue;
            mdl_text_printf(&t, "    float *sum_%s%d = (float *)buffer[%d] + chunk * %lld + %lld + head * %lld;\n", names[k], i,
                            p->first_result + to.at[i].result, (long long)to.at[i].width, (long long)to.at[i].first, (long long)n);
            mdl_text_printf(&t, "    for (int64_t i = 0; i < %lld; i++) sum_%s%d[i] = 0.0f;\n", (long long)n, names[k], i);
        }
    }
    if (!t.n) return NULL;
    return mdl_printf(p->arena,
                      "MDL_FN void " MDL_KERNEL_PLACEHOLDER
                      "_enter(void *const *buffer, const int64_t *immediate, int64_t head, "
                      "int64_t chunk) {\n    (void)immediate;\n%s}\n",
                      t.at);
}

/* ---- the kernel ---- */
static mdl_attention_memory forward_memory(pasting *p) {
    const mdl_op *a = p->anchor;
    mdl_attention_memory m = {.q = load(p, a->in[0], "q"), .k = load(p, a->in[1], "k"), .v = load(p, a->in[2], "v")};
    m.o = result(p, 0, "o");
    m.seq = slot_of(p, a->in[3]);
    m.lse = p->first_result + result_of(p, a->out[1]);
    return m;
}

static mdl_attention_memory backward_memory(pasting *p) {
    const mdl_op *a = p->anchor;
    mdl_attention_memory m = {.q = load(p, a->in[0], "q"), .k = load(p, a->in[1], "k"), .v = load(p, a->in[2], "v")};
    m.grad_o = load(p, a->in[3], "do");
    m.compute_delta = !mdl_is(a->in[5], MDL_OP_ARG);
    if (m.compute_delta)
        m.o = load(p, forward_result(a), "o");
    else
        m.delta = statistic(p, a->in[5]);
    m.dq = result(p, 0, "dq"), m.dk = result(p, 1, "dk"), m.dv = result(p, 2, "dv");
    m.scratch = scratch(p);
    m.seq = slot_of(p, a->in[6]);
    m.lse = slot_of(p, a->in[4]);
    m.enter = enter(p);
    return m;
}

const char *mdl_cpu_fused_attention(mdl_arena *arena, const mdl_op *fused, const char **text) {
    pasting p = {.arena = arena, .fused = fused, .anchor = mdl_fused_anchor(fused)};
    if (fused->n_in > (int)(sizeof p.slot / sizeof *p.slot)) return "attention with so many operands";
    for (int i = 0; i < fused->n_in; i++) p.slot[i] = mdl_is(fused->in[i], MDL_OP_IMM) ? -1 : p.first_result++;
    p.yield = fused->body->ops.at[fused->body->ops.n - 1];
    bool backward = p.anchor->code == MDL_OP_ATTENTION_BWD;
    mdl_attention_shape shape = mdl_attention_shape_of(p.anchor);
    mdl_attention_memory memory = backward ? backward_memory(&p) : forward_memory(&p);
    if (p.error) return p.error;
    *text = backward ? mdl_template_attention_bwd(arena, &shape, &memory, MDL_KERNEL_PLACEHOLDER)
                     : mdl_template_attention(arena, &shape, &memory, MDL_KERNEL_PLACEHOLDER);
    return NULL;
}
