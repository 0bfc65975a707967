/* What launches touch: the buffers they use, and the bytes of a buffer. */
#include "runtime/plan/plan.h"

bool mdl_plan_use_at(const mdl_plan_launch *launch, int i, mdl_plan_use *use) {
    if (i == launch->args.n) {
        *use = (mdl_plan_use){launch->workspace, MDL_ACCESS_WRITE};
        return launch->workspace >= 0;
    }
    const mdl_plan_arg *arg = &launch->args.at[i];
    *use = (mdl_plan_use){(int)arg->value, arg->access};
    return arg->kind != MDL_ARG_IMMEDIATE;
}

int mdl_plan_base(const mdl_plan_program *program, int buffer) {
    int of = program->buffers.at[buffer].of;
    return of < 0 ? buffer : of;
}

int64_t mdl_plan_place(const mdl_plan_program *program, int buffer) {
    const mdl_plan_buffer *b = &program->buffers.at[buffer];
    return b->of < 0 ? b->offset : program->buffers.at[b->of].offset + b->offset;
}

mdl_plan_touch mdl_plan_touched(const mdl_plan_program *program, int buffer) {
    const mdl_plan_buffer *b = &program->buffers.at[buffer];
    int64_t place = mdl_plan_place(program, buffer), size = mdl_dtype_bits(b->type.dtype) / 8;
    if (!b->stride) return (mdl_plan_touch){b->arena, place, 1, b->bytes, b->bytes};
    int64_t rows = b->type.dim[0];
    return (mdl_plan_touch){b->arena, place, rows, mdl_type_bytes(&b->type) / rows, b->stride * size};
}

static int64_t end_of(const mdl_plan_touch *t) { return t->offset + (t->rows - 1) * t->pitch + t->row_bytes; }

/* Is one of the rows in from .. to? Both lie within the range of the rows, at least in part. */
static bool meets_row(const mdl_plan_touch *t, int64_t from, int64_t to) {
    int64_t past = from - t->offset - t->row_bytes; /* the first row that ends behind `from` */
    int64_t row = past < 0 ? 0 : past / t->pitch + 1;
    return row < t->rows && t->offset + row * t->pitch < to;
}

bool mdl_plan_overlap(const mdl_plan_program *program, int a, int b) {
    mdl_plan_touch x = mdl_plan_touched(program, a), y = mdl_plan_touched(program, b);
    if (x.arena != y.arena || end_of(&x) <= y.offset || end_of(&y) <= x.offset) return false;
    if (x.rows == 1) return meets_row(&y, x.offset, end_of(&x));
    if (y.rows == 1) return meets_row(&x, y.offset, end_of(&y));
    if (x.pitch != y.pitch) return true;
    int64_t apart = ((y.offset - x.offset) % x.pitch + x.pitch) % x.pitch;
    return apart < x.row_bytes || apart + y.row_bytes > x.pitch;
}
