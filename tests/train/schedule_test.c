/* Learning rates against numbers computed with the formulas of transformers' optimization.py. */
#include <math.h>
#include <stddef.h>

#include "runtime/train/schedule.h"
#include "tests/check.h"

#define ESM2 \
    { MDL_SCHEDULE_LINEAR, 1, 2000, 500000, 0 }
#define NATIVE \
    { MDL_SCHEDULE_LINEAR, 1, 2000, 450000, 0.1 }
#define AMPLIFY \
    { MDL_SCHEDULE_COSINE, 1, 1000, 1000000, 0.1 }

/* get_linear_schedule_with_warmup, get_cosine_schedule_with_warmup, get_cosine_with_min_lr_schedule_with_warmup,
 * get_constant_schedule_with_warmup: the factor at `step`, counted from 0. */
static const struct {
    mdl_schedule schedule;
    int64_t step;
    double factor;
} points[] = {
    {{MDL_SCHEDULE_CONSTANT, 1, 20, 100, 0}, 0, 1},
    {{MDL_SCHEDULE_CONSTANT, 1, 20, 100, 0}, 99, 1},
    {{MDL_SCHEDULE_CONSTANT_WITH_WARMUP, 1, 20, 100, 0.5}, 0, 0},
    {{MDL_SCHEDULE_CONSTANT_WITH_WARMUP, 1, 20, 100, 0.5}, 1, 0.05},
    {{MDL_SCHEDULE_CONSTANT_WITH_WARMUP, 1, 20, 100, 0.5}, 10, 0.5},
    {{MDL_SCHEDULE_CONSTANT_WITH_WARMUP, 1, 20, 100, 0.5}, 20, 1},
    {{MDL_SCHEDULE_CONSTANT_WITH_WARMUP, 1, 20, 100, 0.5}, 5000, 1},
    {ESM2, 0, 0},
    {ESM2, 1, 0.0005},
    {ESM2, 1999, 0.9995},
    {ESM2, 2000, 1},
    {ESM2, 2001, 0.9999979919678715},
    {ESM2, 250000, 0.5020080321285141},
    {ESM2, 499999, 2.0080321285140564e-06},
    {ESM2, 500000, 0},
    {ESM2, 600000, 0},
    {NATIVE, 2000, 1},
    {NATIVE, 226000, 0.55},
    {NATIVE, 450000, 0.1},
    {NATIVE, 499999, 0.1},
    {AMPLIFY, 0, 0},
    {AMPLIFY, 500, 0.5},
    {AMPLIFY, 1000, 1},
    {AMPLIFY, 1001, 0.9999999999977749},
    {AMPLIFY, 250750, 0.8681980515339464},
    {AMPLIFY, 500500, 0.55},
    {AMPLIFY, 750250, 0.23180194846605365},
    {AMPLIFY, 1000000, 0.1},
    {AMPLIFY, 2000000, 0.1},
    {{MDL_SCHEDULE_COSINE, 1, 0, 100, 0}, 0, 1},
    {{MDL_SCHEDULE_COSINE, 1, 0, 100, 0}, 1, 0.9997532801828658},
    {{MDL_SCHEDULE_COSINE, 1, 0, 100, 0}, 10, 0.9755282581475768},
    {{MDL_SCHEDULE_COSINE, 1, 0, 100, 0}, 99, 0.0002467198171342},
    {{MDL_SCHEDULE_LINEAR, 1, 0, 100, 0}, 0, 1},
    {{MDL_SCHEDULE_LINEAR, 1, 0, 100, 0}, 99, 0.01},
    {{MDL_SCHEDULE_LINEAR, 1, 5, 5, 0}, 4, 0.8}, /* the warm-up is the whole run */
    {{MDL_SCHEDULE_LINEAR, 1, 10, 5, 0}, 12, 0}, /* or longer than it */
};

void suite_schedule(mdl_test *t) {
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        mdl_schedule schedule = points[i].schedule;
        mdl_case(t, "%s, warm-up %lld, decay to %lld, floor %g, at step %lld", mdl_schedule_name(schedule.kind),
                 (long long)schedule.warmup_steps, (long long)schedule.decay_steps, schedule.min_ratio, (long long)points[i].step);
        double got = mdl_schedule_at(&schedule, points[i].step);
        /* 1e-14: the same formula in double, in another order of operations. */
        CHECK(t, fabs(got - points[i].factor) <= 1e-14, "expected %.17g, got %.17g", points[i].factor, got);
        schedule.peak = 4e-4;
        got = mdl_schedule_at(&schedule, points[i].step);
        CHECK(t, fabs(got - 4e-4 * points[i].factor) <= 1e-17, "peak 4e-4: expected %.17g, got %.17g", 4e-4 * points[i].factor,
              got);
    }
}
