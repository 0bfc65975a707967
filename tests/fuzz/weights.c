/* Any bytes as the weights of a small model: refused with the store as it was, or every trained parameter is given once, finite. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/weights/weights.h"
#include "tests/fuzz/fuzz.h"
#include "tests/train/fake.h"

enum { PARAMS = 4 };
static int given[PARAMS];

static mdl_status set(void *plan, const mdl_plan_param *param, const float *from) {
    for (int64_t i = 0; i < mdl_type_count(&param->type); i++)
        if (!isfinite(from[i])) abort();
    given[param - ((mdl_plan *)plan)->params.at]++;
    return MDL_OK;
}

int mdl_fuzz_weights(const uint8_t *bytes, size_t size) {
    static mdl_plan *plan;
    if (!plan) plan = mdl_fake_plan();
    mdl_weight_store store = {.plan = plan, .context = plan, .set = set};
    mdl_weight_report report = {.memory = mdl_arena_new()};
    memset(given, 0, sizeof given);
    mdl_status status = mdl_weights_read(&store, mdl_fuzz_file(bytes, size), &(mdl_weight_rules){0}, &report);
    for (int i = 0; i < PARAMS; i++)
        if (given[i] > !status || (!status && plan->params.at[i].arena == MDL_ARENA_PARAM && !given[i])) abort();
    mdl_status_free(status);
    mdl_arena_free(report.memory);
    return 0;
}
