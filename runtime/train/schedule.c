/* The schedules of schedule.def. */
#include "runtime/train/schedule.h"

#include <math.h>

static const char *const names[] = {
#define SCHEDULE(id, name, about) name,
#include "runtime/train/schedule.def"
#undef SCHEDULE
};

const char *mdl_schedule_name(mdl_schedule_kind kind) { return names[kind]; }

/* 0 at the end of the warm-up, 1 from decay_steps on. */
static double progress(const mdl_schedule *s, int64_t step) {
    int64_t span = s->decay_steps - s->warmup_steps;
    if (span < 1) span = 1;
    double p = (double)(step - s->warmup_steps) / (double)span;
    return p > 1 ? 1 : p;
}

double mdl_schedule_at(const mdl_schedule *s, int64_t step) {
    double factor = 1;
    if (s->kind == MDL_SCHEDULE_CONSTANT) return s->peak;
    if (step < s->warmup_steps) return s->peak * ((double)step / (double)s->warmup_steps);
    if (s->kind == MDL_SCHEDULE_CONSTANT_WITH_WARMUP) return s->peak;
    if (s->kind == MDL_SCHEDULE_LINEAR) factor = 1 - progress(s, step);
    if (s->kind == MDL_SCHEDULE_COSINE) factor = 0.5 * (1 + cos(acos(-1.0) * progress(s, step)));
    return s->peak * (factor * (1 - s->min_ratio) + s->min_ratio);
}
