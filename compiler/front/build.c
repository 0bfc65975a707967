/* What all that makes ops shares: shapes and arguments are checked, the op is made or its error reported. */
#include "compiler/front/elab.h"

bool fe_shape_ok(fe *e, mdl_loc loc, int n, const fe_dim *const *dims) {
    const char *shown = fe_dims_text(e, n, dims);
    if (n > MDL_MAX_RANK) {
        fe_fail(e, loc, NULL, "%s has %d dims, the most is %d", shown, n, MDL_MAX_RANK);
        return false;
    }
    int64_t bytes = 8;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            if (dims[i] == dims[j] && dims[i]->name) {
                const char *name = dims[i]->name,
                           *hint =
                               mdl_printf(e->arena, "rename one by view[%s -> X], with dim X = 1*%s; (dim X = %s; is %s itself)",
                                          name, name, name, name);
                fe_fail(e, loc, hint, "%s has the dim %s twice", shown, dims[i]->name);
                return false;
            }
        if (__builtin_mul_overflow(bytes, dims[i]->size, &bytes) || bytes > INT64_MAX / 64) {
            fe_fail_value(e, loc, "%s is too large", shown);
            return false;
        }
    }
    return true;
}

bool fe_want_tensor(fe *e, fe_site *s, int i, mdl_dtype dtype) {
    const fe_value *v = &s->v[i];
    bool ok = v->kind == FE_TENSOR && (dtype == MDL_DTYPE_COUNT ? fe_dtype(v) != MDL_SEG : fe_dtype(v) == dtype);
    const char *what = dtype == MDL_DTYPE_COUNT ? "a tensor"
                       : dtype == MDL_F32       ? "a tensor of reals"
                       : dtype == MDL_I32       ? "an i32 tensor"
                       : dtype == MDL_BOOL      ? "a bool tensor"
                                                : "a segments input";
    if (!ok)
        fe_fail(e, s->loc[i], NULL, "argument '%s' of '%s' must be %s, not %s", s->arg[i], s->ast->text, what, fe_type_text(e, v));
    return ok;
}

mdl_value *fe_build(fe *e, mdl_loc loc, mdl_opcode code, int n, mdl_value *const *in, int n_attr, const mdl_attr *attr,
                    const mdl_type *hint) {
    const char *error = NULL;
    fe_at(e, loc);
    mdl_op *op = mdl_build(&e->b, code, n, in, n_attr, attr, hint, &error);
    if (op) return op->n_out ? op->out[0] : NULL;
    if (e->dead) return NULL; /* dims fit by name: what is left are sizes */
    fe_fail(e, loc, NULL, "%s: %s", mdl_ops[code].name, error);
    return NULL;
}
