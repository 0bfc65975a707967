/* A session as a store of weights. */
#include "runtime/train/weights.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LISTED = 8 };

static mdl_status get(void *session, const mdl_plan_param *param, float *to) {
    return mdl_session_get_param(session, param->arena, param, to);
}

static mdl_status set(void *session, const mdl_plan_param *param, const float *from) {
    return mdl_session_set_param(session, param->arena, param, from);
}

mdl_weight_store mdl_weights_of(mdl_session *session) {
    return (mdl_weight_store){.plan = session->plan, .context = session, .get = get, .set = set};
}

void mdl_weights_print(FILE *out, const char *path, const mdl_weight_report *report) {
    if (report->kept)
        fprintf(out, "%d tensors that are not trained are not in %s: they keep their initial values\n", report->kept, path);
    if (report->fresh.n) fprintf(out, "%d tensors are not in %s and begin from initial values:\n", report->fresh.n, path);
    for (int i = 0; i < report->fresh.n && i < LISTED; i++) fprintf(out, "    %s\n", report->fresh.at[i]);
    if (report->fresh.n > LISTED) fprintf(out, "    ...\n");
    if (report->prefix && *report->prefix) fprintf(out, "the names in %s lack '%s' and were read with it\n", path, report->prefix);
    for (int i = 0; i < report->notes.n; i++) fprintf(out, "note: %s\n", report->notes.at[i]);
}

static mdl_status count_bad(mdl_session *s, const mdl_plan_param *param, int64_t *bad) {
    int64_t n = mdl_type_count(&param->type);
    float *values = malloc((size_t)mdl_type_bytes(&param->type) + 1);
    if (!values) return mdl_fail(MDL_SYSTEM, "no memory for parameter '%s'", param->name);
    mdl_status status = mdl_session_get_param(s, param->arena, param, values);
    if (!status) *bad = mdl_weights_bad(n, values);
    free(values);
    return status;
}

mdl_status mdl_weights_check_finite(mdl_session *s) {
    const mdl_plan_param *first = NULL;
    int64_t bad = 0, bad_first = 0, all = 0;
    for (int i = 0; i < s->plan->params.n; i++) {
        const mdl_plan_param *param = &s->plan->params.at[i];
        int64_t here = 0;
        mdl_status status = count_bad(s, param, &here);
        if (status) return status;
        if (here && !first) first = param, bad_first = here;
        bad += here;
        all += mdl_type_count(&param->type);
    }
    if (!first) return MDL_OK;
    return mdl_fail(MDL_MISMATCH,
                    "%" PRId64 " of %" PRId64 " weights are not finite, the first in '%s' (%" PRId64 " of %" PRId64
                    "); no weights are written",
                    bad, all, first->name, bad_first, mdl_type_count(&first->type));
}
