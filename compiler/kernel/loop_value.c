/* Values to registers. A register is made as far out as the loop variables of its index allow: in the block, in the row, or in a
 * loop. Views vanish into indices; a value that an earlier phase stored is loaded again instead of computed. */
#include <string.h>

#include "compiler/kernel/lowering.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "runtime/base/status.h"

void mdl_refuse_loop(mdl_lowering *l, const char *why) {
    if (!l->error) l->error = why;
}

/* ---- places ---- */
static int depth_of_var(mdl_lowering *l, int var) {
    if (var == MDL_VAR_HEAD) return MDL_DEPTH_BLOCK;
    if (var == MDL_VAR_ROW || (l->tile_var && var == l->tile_var)) return MDL_DEPTH_ROW;
    for (int i = 0; i < l->n_loops; i++)
        if (l->loops[i] == var) return i + 1;
    mdl_bug("a loop variable outside its nest");
}

int mdl_depth_of(mdl_lowering *l, const mdl_affine *idx, int rank) {
    int depth = MDL_DEPTH_BLOCK;
    for (int i = 0; i < rank; i++)
        for (int k = 0; k < idx[i].n; k++) {
            int d = depth_of_var(l, idx[i].term[k].var);
            if (d > depth) depth = d;
        }
    return depth;
}

mdl_loop_list *mdl_list_at(mdl_lowering *l, int depth) {
    return depth < 0 ? &l->out->block : depth == 0 ? l->row : &l->loop[depth - 1];
}

int mdl_new_reg(mdl_lowering *l, mdl_dtype dtype) {
    MDL_PUSH(l->arena, l->out->regs, dtype);
    return l->out->regs.n - 1;
}

mdl_reg mdl_make_reg(mdl_lowering *l, int depth, mdl_loop_stmt s, mdl_dtype dtype) {
    s.dtype = dtype;
    s.reg = mdl_new_reg(l, dtype);
    MDL_PUSH(l->arena, *mdl_list_at(l, depth), s);
    return (mdl_reg){s.reg, depth};
}

int mdl_new_array(mdl_lowering *l, mdl_loop_array array) {
    MDL_PUSH(l->arena, l->out->arrays, array);
    return l->out->arrays.n - 1;
}

int mdl_own_array(mdl_lowering *l, mdl_mem_space space, mdl_dtype dtype, int64_t width) {
    return mdl_new_array(l, (mdl_loop_array){.space = space, .dtype = dtype, .width = width, .row_stride = width});
}

void mdl_address(const mdl_type *type, const mdl_affine *idx, mdl_loop_stmt *to) {
    to->row = type->rank ? idx[0] : mdl_affine_const(0);
    to->col = mdl_affine_const(0);
    for (int i = 1; i < type->rank; i++) to->col = mdl_affine_add(mdl_affine_scale(to->col, type->dim[i]), idx[i]);
}

/* ---- memory ---- */
static mdl_reg load(mdl_lowering *l, const mdl_value *v, int array, const mdl_affine *idx) {
    mdl_loop_stmt s = {.code = MDL_LOOP_LOAD, .array = array};
    mdl_address(&v->type, idx, &s);
    return mdl_make_reg(l, mdl_depth_of(l, idx, v->type.rank), s, v->type.dtype);
}

static bool in_this_row(const mdl_value *v, const mdl_affine *idx) {
    mdl_affine row = mdl_affine_var(MDL_VAR_ROW);
    return v->type.rank && mdl_affine_equal(&idx[0], &row);
}

/* Does idx walk a whole row of v, each column once? */
static bool walks_row(const mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    if (v->type.rank != 2 || !in_this_row(v, idx) || idx[1].c || idx[1].n != 1 || idx[1].term[0].k != 1) return false;
    return l->vars.at[idx[1].term[0].var].extent == v->type.dim[1];
}

static mdl_reg cast(mdl_lowering *l, mdl_reg x, mdl_dtype to);

/* A tile is f32; the value is rounded as it would be in memory. */
static mdl_reg load_leaf(mdl_lowering *l, const mdl_value *v, int array, const mdl_affine *idx) {
    mdl_loop_stmt s = {.code = MDL_LOOP_LOAD, .array = array, .row = idx[0], .col = mdl_affine_const(0)};
    for (int i = 2; i < v->type.rank; i++) s.col = mdl_affine_add(mdl_affine_scale(s.col, v->type.dim[i]), idx[i]);
    mdl_reg x = mdl_make_reg(l, mdl_depth_of(l, idx, v->type.rank), s, MDL_F32);
    return v->type.dtype == MDL_F32 ? x : cast(l, x, v->type.dtype);
}

static mdl_reg keep(mdl_lowering *l, const mdl_value *v, int64_t index, const mdl_affine *idx) {
    mdl_reg x = load(l, v, l->operand[index], idx);
    l->kept[index] = mdl_own_array(l, MDL_MEM_TILE, v->type.dtype, v->type.dim[1]);
    l->kept_in[index] = l->current;
    mdl_loop_stmt s = {.code = MDL_LOOP_STORE, .reg = -1, .in = {x.reg}, .array = l->kept[index]};
    mdl_address(&v->type, idx, &s);
    MDL_PUSH(l->arena, *mdl_list_at(l, x.depth), s);
    return x;
}

static mdl_reg argument(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    int64_t index = mdl_attr_int(v->def, "index");
    if (mdl_is(l->kernel->in[index], MDL_OP_IMM)) {
        double number = 2;
        for (int64_t i = 0; i < index; i++) number += mdl_is(l->kernel->in[i], MDL_OP_IMM);
        return mdl_make_reg(l, MDL_DEPTH_BLOCK, (mdl_loop_stmt){.code = MDL_LOOP_IMM, .value = number}, MDL_I32);
    }
    if (l->paste && l->paste->leaf && l->paste->leaf[index]) return load_leaf(l, v, l->operand[index], idx);
    if (l->kept[index] >= 0 && l->kept_in[index] < l->current && in_this_row(v, idx)) return load(l, v, l->kept[index], idx);
    if (l->out->schedule.keep && l->kept[index] < 0 && walks_row(l, v, idx)) return keep(l, v, index, idx);
    return load(l, v, l->operand[index], idx);
}

/* table[index[row], ...]: a load whose row is a register. */
static mdl_reg gather(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    const mdl_value *table = v->def->in[0];
    mdl_reg row = mdl_lower_value(l, v->def->in[1], idx);
    mdl_affine rest[MDL_MAX_RANK];
    rest[0] = mdl_affine_const(0);
    for (int i = 1; i < table->type.rank; i++) rest[i] = idx[i];
    mdl_loop_stmt s = {.code = MDL_LOOP_GATHER, .in = {row.reg}, .array = l->operand[mdl_attr_int(table->def, "index")]};
    mdl_address(&table->type, rest, &s);
    int depth = mdl_depth_of(l, rest, table->type.rank);
    return mdl_make_reg(l, depth > row.depth ? depth : row.depth, s, v->type.dtype);
}

static mdl_reg random_number(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    const mdl_op *op = v->def;
    mdl_affine none = mdl_affine_const(0);
    mdl_reg stream = mdl_lower_value(l, op->in[1], &none);
    mdl_loop_stmt s = {.code = MDL_LOOP_RANDOM,
                       .in = {stream.reg},
                       .array = l->operand[mdl_attr_int(op->in[0]->def, "index")],
                       .normal = !strcmp(mdl_attr_str(op, "dist"), "normal"),
                       .row = none,
                       .col = mdl_affine_position(&v->type, idx)};
    return mdl_make_reg(l, mdl_depth_of(l, idx, v->type.rank), s, v->type.dtype);
}

/* ---- arithmetic ---- */
static bool is_narrow(mdl_dtype d) { return mdl_dtype_is_real(d) && mdl_dtype_bits(d) < 32; }

static mdl_reg cast(mdl_lowering *l, mdl_reg x, mdl_dtype to) {
    return mdl_make_reg(l, x.depth, (mdl_loop_stmt){.code = MDL_LOOP_COMPUTE, .op = MDL_OP_CAST, .in = {x.reg}}, to);
}

mdl_reg mdl_lower_widened(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx, mdl_dtype to) {
    mdl_reg x = mdl_lower_value(l, v, idx);
    return v->type.dtype == to ? x : cast(l, x, to);
}

/* Arithmetic is f32: narrower operands are widened, and the result is rounded. Choosing and converting are not arithmetic. */
static mdl_reg pointwise(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    const mdl_op *op = v->def;
    bool moves = op->code == MDL_OP_SELECT || op->code == MDL_OP_CAST;
    mdl_loop_stmt s = {.code = MDL_LOOP_COMPUTE, .op = op->code};
    int depth = MDL_DEPTH_BLOCK;
    for (int i = 0; i < op->n_in; i++) {
        mdl_dtype of = op->in[i]->type.dtype;
        mdl_reg x = mdl_lower_widened(l, op->in[i], idx, is_narrow(of) && !moves ? MDL_F32 : of);
        s.in[i] = x.reg;
        if (x.depth > depth) depth = x.depth;
    }
    mdl_dtype to = v->type.dtype;
    if (moves || !is_narrow(to)) return mdl_make_reg(l, depth, s, to);
    return cast(l, mdl_make_reg(l, depth, s, MDL_F32), to);
}

mdl_dtype mdl_accumulator(const mdl_op *reduction) {
    mdl_dtype of = reduction->in[0]->type.dtype;
    return is_narrow(of) ? MDL_F32 : of;
}

static mdl_reg reduced(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    mdl_affine kept[MDL_MAX_RANK];
    memcpy(kept, idx, sizeof *idx * (size_t)v->type.rank);
    kept[0] = mdl_affine_const(0);
    mdl_loop_stmt s = {.code = MDL_LOOP_LOAD, .array = l->folded[v->id]};
    mdl_address(&v->type, kept, &s);
    int depth = v->type.rank == 1 ? MDL_DEPTH_ROW : mdl_depth_of(l, idx, v->type.rank);
    mdl_dtype kept_in = mdl_accumulator(v->def);
    mdl_reg x = mdl_make_reg(l, depth, s, kept_in);
    return kept_in == v->type.dtype ? x : cast(l, x, v->type.dtype);
}

static mdl_reg index_value(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    const mdl_affine *axis = &idx[mdl_attr_int(v->def, "axis")];
    mdl_loop_stmt s = {.code = MDL_LOOP_INDEX, .row = mdl_affine_const(0), .col = *axis};
    return mdl_make_reg(l, mdl_depth_of(l, axis, 1), s, MDL_I32);
}

static mdl_reg view(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    mdl_affine in[MDL_MAX_RANK];
    int part;
    mdl_demand d = mdl_view_index(v->def, l->vars.at, idx, in, &part);
    if (d.kind == MDL_FINE) return mdl_lower_value(l, v->def->in[part], in);
    l->demand = d;
    return (mdl_reg){0, 0};
}

static mdl_reg compute(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    const mdl_op *op = v->def;
    bool again = l->stored[v->id] >= 0 && l->phase[v->id] < l->current && op->code != MDL_OP_ARG && in_this_row(v, idx);
    if (again) return load(l, v, l->stored[v->id], idx);
    if (mdl_is_row_reduction(op)) return reduced(l, v, idx);
    switch (op->code) {
        case MDL_OP_CONST: {
            mdl_loop_stmt s = {.code = MDL_LOOP_CONST, .value = mdl_attr_real(op, "value")};
            return mdl_make_reg(l, MDL_DEPTH_BLOCK, s, v->type.dtype);
        }
        case MDL_OP_ARG: return argument(l, v, idx);
        case MDL_OP_GATHER: return gather(l, v, idx);
        case MDL_OP_RANDOM: return random_number(l, v, idx);
        case MDL_OP_IOTA: return index_value(l, v, idx);
        default: break;
    }
    if (mdl_ops[op->code].class == MDL_POINTWISE) return pointwise(l, v, idx);
    if (mdl_ops[op->code].class == MDL_VIEW) return view(l, v, idx);
    mdl_refuse_loop(l, mdl_printf(l->arena, "'%s' over rows", mdl_ops[op->code].name));
    return (mdl_reg){0, 0};
}

static void remember(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx, mdl_reg x) {
    if (l->memos.n == l->owner_cap) l->memo_owner = mdl_grow(l->arena, l->memo_owner, sizeof(int), l->memos.n, &l->owner_cap);
    l->memo_owner[l->memos.n] = v->id;
    const mdl_affine *copy = v->type.rank ? mdl_copy(l->arena, idx, sizeof *idx * (size_t)v->type.rank) : NULL;
    MDL_PUSH(l->arena, l->memos, ((mdl_memo){copy, x, l->memo_of[v->id]}));
    l->memo_of[v->id] = l->memos.n - 1;
}

mdl_reg mdl_lower_value(mdl_lowering *l, const mdl_value *v, const mdl_affine *idx) {
    if (l->error || l->demand.kind != MDL_FINE) return (mdl_reg){0, 0};
    for (int i = l->memo_of[v->id]; i >= 0; i = l->memos.at[i].earlier) {
        bool same = true;
        for (int k = 0; same && k < v->type.rank; k++) same = mdl_affine_equal(&l->memos.at[i].idx[k], &idx[k]);
        if (same) return l->memos.at[i].at;
    }
    mdl_reg x = compute(l, v, idx);
    if (!l->error && l->demand.kind == MDL_FINE) remember(l, v, idx, x);
    return x;
}
