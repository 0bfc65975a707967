/* Running and timing. */
#include "runtime/profile/profile.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

mdl_spread mdl_spread_of(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    int rank = (95 * n + 99) / 100; /* the nearest: 95 % of the values are at most this one */
    return (mdl_spread){n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2, x[rank - 1]};
}

/* A backend may return from a run before it is done, but not from a download. */
static mdl_status finish(mdl_session *s) {
    float number;
    mdl_arena_id arena = MDL_ARENA_PARAM;
    while (arena < MDL_ARENA_COUNT && s->plan->arena_bytes[arena] < (int64_t)sizeof number) arena++;
    return arena < MDL_ARENA_COUNT ? s->backend->download(s->device, arena, 0, &number, sizeof number) : MDL_OK;
}

typedef struct {
    mdl_session *session;
    mdl_loader *loader;
    const mdl_adamw *adamw;
    const mdl_profile_options *options;
    int64_t t;      /* optimizer steps so far */
    int64_t tokens; /* of the last batch */
} runner;

/* The next batch is on the device, and so are the optimizer's numbers. */
static mdl_status next_batch(runner *r) {
    const mdl_batch *batch = NULL;
    mdl_status status = mdl_loader_next(r->loader, &batch, NULL, NULL);
    if (!status) status = mdl_session_set_adamw(r->session, r->adamw, ++r->t, r->options->lr);
    if (!status) status = mdl_session_upload(r->session, batch);
    if (!status) r->tokens = batch->tokens;
    return status;
}

static mdl_status one_step(runner *r, double *replay) {
    mdl_status status = next_batch(r);
    double start = mdl_seconds_now();
    if (!status) status = mdl_session_run(r->session, r->options->program);
    if (!status) status = finish(r->session);
    *replay = mdl_seconds_now() - start;
    return status;
}

static mdl_status time_steps(runner *r, mdl_profile *p) {
    double *step = MDL_NEW_ARRAY(p->memory, double, p->steps), *replay = MDL_NEW_ARRAY(p->memory, double, p->steps);
    mdl_status status = MDL_OK;
    for (int i = 0; i < r->options->warmup && !status; i++) status = one_step(r, replay);
    mdl_loader_times before = mdl_loader_spent(r->loader);
    for (int i = 0; i < p->steps && !status; i++) {
        double start = mdl_seconds_now();
        status = one_step(r, &replay[i]);
        step[i] = mdl_seconds_now() - start;
        p->tokens += (double)r->tokens / p->steps;
    }
    mdl_loader_times after = mdl_loader_spent(r->loader);
    p->loader = (mdl_loader_times){(after.packing - before.packing) / p->steps, (after.for_room - before.for_room) / p->steps,
                                   (after.for_batch - before.for_batch) / p->steps};
    p->step = mdl_spread_of(step, p->steps);
    p->replay = mdl_spread_of(replay, p->steps);
    return status;
}

static mdl_status time_launches(runner *r, mdl_profile *p) {
    int n = p->program->launches.n;
    double *sum = MDL_NEW_ARRAY(p->memory, double, p->steps);
    mdl_status status = MDL_OK;
    p->launch = MDL_NEW_ARRAY(p->memory, double, p->steps *n + 1);
    for (int i = 0; i < p->steps && !status; i++) {
        double *seconds = &p->launch[i * n];
        if ((status = next_batch(r))) break;
        status = r->session->backend->profile(r->session->device, p->program->name, seconds);
        for (int l = 0; l < n; l++) sum[i] += seconds[l];
    }
    p->one_by_one = mdl_spread_of(sum, p->steps);
    return status;
}

/* Last: it takes its time, and may leave the device slower. */
static mdl_status watch(runner *r, mdl_profile *p) {
    const mdl_backend *backend = r->session->backend;
    double *busy = MDL_NEW_ARRAY(p->memory, double, p->steps), *span = MDL_NEW_ARRAY(p->memory, double, p->steps);
    p->watched = backend->activity;
    for (int i = 0; i < p->steps && p->watched && !p->activity.why_not; i++) {
        mdl_status status = next_batch(r);
        if (!status) status = backend->activity(r->session->device, p->program->name, &p->activity);
        if (status) return status;
        busy[i] = p->activity.busy, span[i] = p->activity.span;
    }
    p->busy = mdl_spread_of(busy, p->steps);
    p->span = mdl_spread_of(span, p->steps);
    return MDL_OK;
}

double mdl_profile_idle(const mdl_profile *p) { return 1 - p->busy.median / p->span.median; }

mdl_status mdl_profile_measure(mdl_session *session, mdl_loader *loader, const mdl_adamw *adamw, const mdl_profile_options *options,
                               mdl_profile *p) {
    runner r = {.session = session, .loader = loader, .adamw = adamw, .options = options};
    *p = (mdl_profile){.memory = mdl_arena_new(), .plan = session->plan, .steps = options->steps};
    p->program = mdl_plan_find_program(session->plan, options->program);
    if (!p->program) return mdl_fail(MDL_USAGE, "the plan has no program %s; see: mdlrun inspect PLAN programs", options->program);
    p->held = session->backend->memory(session->device);
    mdl_status status = time_steps(&r, p);
    if (!status) status = time_launches(&r, p);
    return status ? status : watch(&r, p);
}

void mdl_profile_free(mdl_profile *p) { mdl_arena_free(p->memory); }
