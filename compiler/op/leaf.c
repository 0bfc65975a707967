/* Leaves: constants, indices, inputs, states, random numbers, region arguments. */
#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/kernel/philox.h"
#include "compiler/op/rules.h"
#include "runtime/base/status.h"

static const char *from_hint(const mdl_type *hint, mdl_type *out) {
    if (!hint) return "needs a type";
    *out = *hint;
    return NULL;
}

TYPE(CONST) { return mdl_find_attr(op, "value") ? from_hint(hint, out) : "needs {value}"; }
TYPE(INPUT) { return mdl_find_attr(op, "name") ? from_hint(hint, out) : "needs {name}"; }
TYPE(READ) {
    const char *wrong = mdl_only_tokens(op, 0);
    if (!wrong) wrong = mdl_state_wrong(op);
    if (!wrong && hint && !hint->rank && !mdl_find_attr(op, "of")) wrong = "a flat range has rows";
    return wrong ? wrong : from_hint(hint, out);
}
TYPE(TOKEN) {
    *out = (mdl_type){.dtype = MDL_TOKEN};
    return op->n_in ? NULL : "a token of nothing";
}
TYPE(ARG) { return mdl_find_attr(op, "index") ? from_hint(hint, out) : "needs {index}"; }

TYPE(IMM) {
    *out = (mdl_type){.dtype = MDL_I32};
    return mdl_find_attr(op, "value") ? NULL : "needs {value}";
}

TYPE(IOTA) {
    if (!hint) return "needs a type";
    int64_t axis = mdl_attr_int_or(op, "axis", -1);
    if (axis < 0 || axis >= hint->rank) return "needs {axis} within its rank";
    *out = *hint;
    return hint->dtype == MDL_I32 ? NULL : "iota is i32";
}

TYPE(RANDOM) {
    if (IN(0)->dtype != MDL_I32 || mdl_type_count(IN(0)) != 2) return "the seed is i32[2]";
    if (IN(1)->dtype != MDL_I32 || IN(1)->rank) return "the stream is i32[]";
    const mdl_attr *dist = mdl_find_attr(op, "dist");
    if (!dist || (strcmp(dist->s, "normal") && strcmp(dist->s, "uniform"))) return "needs {dist=\"normal\"} or \"uniform\"";
    return from_hint(hint, out);
}

NO_GRADIENT(CONST)
NO_GRADIENT(IMM)
NO_GRADIENT(IOTA)
NO_GRADIENT(INPUT)
NO_GRADIENT(TOKEN)
NO_GRADIENT(READ) /* autodiff collects the adjoint of a read itself */
NO_GRADIENT(RANDOM)
NO_GRADIENT(ARG)

static void fill(mdl_interp *in, const mdl_op *op, double value) {
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t i = 0, n = mdl_type_count(&op->out[0]->type); i < n; i++) out[i] = value;
}
EVALUATE(CONST) { fill(in, op, mdl_attr_real(op, "value")); }
EVALUATE(IMM) { fill(in, op, (double)mdl_attr_int(op, "value")); }

EVALUATE(IOTA) {
    const mdl_type *t = &op->out[0]->type;
    int axis = (int)mdl_attr_int(op, "axis");
    int64_t inner = mdl_span_product(t, axis + 1, t->rank);
    double *out = mdl_eval_out(in, op, 0);
    for (int64_t i = 0, n = mdl_type_count(t); i < n; i++) out[i] = (double)(i / inner % t->dim[axis]);
}

static void copy_out(mdl_interp *in, const mdl_op *op, const double *from, const char *name) {
    double *out = mdl_eval_out(in, op, 0);
    if (!from) mdl_bug("the interpreter was given no '%s'", name);
    memcpy(out, from, sizeof *out * (size_t)mdl_type_count(&op->out[0]->type));
}
EVALUATE(INPUT) { copy_out(in, op, mdl_eval_input(in, mdl_attr_str(op, "name")), mdl_attr_str(op, "name")); }
EVALUATE(ARG) { mdl_eval_bind(in, op->out[0], mdl_eval_arg(in, mdl_attr_int(op, "index"))); }

EVALUATE(READ) { mdl_eval_read(in, op); }
EVALUATE(TOKEN) { (void)in, (void)op; }

EVALUATE(RANDOM) {
    const double *seed = mdl_eval_in(in, op, 0), *stream = mdl_eval_in(in, op, 1);
    bool normal = !strcmp(mdl_attr_str(op, "dist"), "normal");
    double *out = mdl_eval_out(in, op, 0);
    uint32_t k0 = (uint32_t)(int64_t)seed[0], k1 = (uint32_t)(int64_t)seed[1], at = (uint32_t)(int64_t)stream[0];
    for (int64_t i = 0, n = mdl_type_count(&op->out[0]->type); i < n; i++)
        out[i] =
            normal ? mdl_philox_reference_normal(k0, k1, at, (uint64_t)i) : mdl_philox_reference_uniform(k0, k1, at, (uint64_t)i);
}
