/* Sinks (what a program does to the world) and region ops. */
#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/op/rules.h"

static const char *named(const mdl_op *op, const char *key) { return mdl_find_attr(op, key) ? NULL : "lacks a name"; }
static const char *masked(const mdl_op *op) {
    mdl_type mask = *IN(0);
    mask.dtype = MDL_BOOL;
    return mdl_type_equal(&mask, IN(1)) ? named(op, "name") : "the mask must be bool, of the value's shape";
}
TYPE(WRITE) {
    *out = (mdl_type){.dtype = MDL_TOKEN};
    const char *wrong = op->n_in ? mdl_only_tokens(op, 1) : "nothing to write";
    if (!wrong && !IN(0)->rank && !mdl_find_attr(op, "of")) wrong = "a flat range has rows";
    return wrong ? wrong : mdl_state_wrong(op);
}
TYPE(RESULT) { return named(op, "name"); }
TYPE(OUTPUT) { return named(op, "program"); }
TYPE(LOSS) {
    if (op->n_in < 2 || op->n_in > 3) return "takes a value, a mask and perhaps a scale";
    if (op->n_in == 3 && (IN(2)->rank || IN(2)->dtype != IN(0)->dtype)) return "the scale is one number of the value's dtype";
    return mdl_find_attr(op, "weight") ? masked(op) : "needs {weight}";
}
TYPE(METRIC) { return masked(op); }
TYPE(YIELD) { return NULL; }
TYPE(KERNEL) { return NULL; }
TYPE(FUSED) { return NULL; }
TYPE(FINISH) { return NULL; }

NO_GRADIENT(WRITE)
NO_GRADIENT(RESULT)
NO_GRADIENT(OUTPUT)
NO_GRADIENT(LOSS) /* autodiff seeds the adjoint of a loss itself */
NO_GRADIENT(METRIC)
NO_GRADIENT(YIELD)
NO_GRADIENT(KERNEL)
NO_GRADIENT(FUSED)
NO_GRADIENT(FINISH)

EVALUATE(WRITE) { mdl_eval_write(in, op); }
EVALUATE(RESULT) { mdl_eval_result(in, mdl_attr_str(op, "name"), IN(0), mdl_eval_in(in, op, 0)); }
EVALUATE(OUTPUT) { mdl_eval_result(in, mdl_attr_str(op, "name"), IN(0), mdl_eval_in(in, op, 0)); }

static void selected_sum(mdl_interp *in, const mdl_op *op, const char *name) {
    const double *x = mdl_eval_in(in, op, 0), *mask = mdl_eval_in(in, op, 1);
    double sum = 0;
    for (int64_t i = 0, n = mdl_type_count(IN(0)); i < n; i++)
        if (mask[i]) sum += x[i];
    mdl_type scalar = {.dtype = MDL_F64};
    mdl_eval_result(in, name, &scalar, &sum);
}
static const char *sum_name(mdl_interp *in, const mdl_op *op) {
    return mdl_printf(mdl_eval_arena(in), "sum.%s", mdl_attr_str(op, "name"));
}
EVALUATE(LOSS) { selected_sum(in, op, sum_name(in, op)); }
EVALUATE(METRIC) { selected_sum(in, op, sum_name(in, op)); }

EVALUATE(YIELD) { mdl_eval_yield(in, op); }
EVALUATE(KERNEL) { mdl_eval_body(in, op); }
EVALUATE(FUSED) { mdl_eval_body(in, op); }
EVALUATE(FINISH) { mdl_eval_body(in, op); }
