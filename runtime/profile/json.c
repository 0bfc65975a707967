/* A profile as JSON. Times are seconds. */
#include <jansson.h>

#include "runtime/profile/profile.h"

static json_t *spread(mdl_spread s) { return json_pack("{s:f, s:f}", "median", s.median, "p95", s.p95); }

static json_t *row_object(const mdl_profile_row *r) {
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:f, s:f, s:f, s:f, s:s}", "name", r->name, "class", r->class, "line", r->span,
                     "first", r->first, "launches", r->launches, "seconds", spread(r->seconds), "bytes", r->bytes, "flops",
                     r->flops, "share", r->share, "of_best", r->reach, "bound", mdl_bound_name(r->bound));
}

static json_t *rows_array(const mdl_profile *p, mdl_profile_by by) {
    json_t *array = json_array();
    mdl_profile_rows rows = mdl_profile_group(p, by);
    for (int i = 0; i < rows.n; i++) json_array_append_new(array, row_object(&rows.at[i]));
    return array;
}

static json_t *idle(const mdl_profile *p) {
    if (p->activity.why_not) return json_pack("{s:s}", "why_not", p->activity.why_not);
    return json_pack("{s:f, s:o, s:o, s:I}", "share", mdl_profile_idle(p), "busy", spread(p->busy), "span", spread(p->span),
                     "records", (json_int_t)p->activity.records);
}

static json_t *whole(const mdl_profile *p) {
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:f, s:i}", "model", p->plan->model, "program", p->program->name,
                               "precision", p->plan->precision, "target", p->plan->target, "isa", p->plan->isa, "tokens",
                               (json_int_t)p->plan->tokens, "tokens_in_sequences", p->tokens, "steps", p->steps);
    json_object_set_new(object, "device", json_string(p->device));
    json_object_set_new(object, "rates",
                        json_pack("{s:f, s:f, s:f}", "copy", p->rates.copy, "f32", p->rates.f32, "bf16", p->rates.bf16));
    json_object_set_new(
        object, "memory",
        json_pack("{s:I, s:I}", "allocated", (json_int_t)p->held, "predicted", (json_int_t)mdl_plan_memory(p->plan)));
    json_object_set_new(object, "step", spread(p->step));
    json_object_set_new(object, "replay", spread(p->replay));
    json_object_set_new(object, "launches_one_by_one", spread(p->one_by_one));
    json_object_set_new(object, "unaccounted", json_real(p->replay.median - p->one_by_one.median));
    if (p->watched) json_object_set_new(object, "idle", idle(p));
    json_object_set_new(object, "loader",
                        json_pack("{s:f, s:f, s:f}", "packing", p->loader.packing, "waits_for_device", p->loader.for_room,
                                  "device_waits", p->loader.for_batch));
    json_object_set_new(object, "classes", rows_array(p, MDL_BY_CLASS));
    json_object_set_new(object, "kernels", rows_array(p, MDL_BY_KERNEL));
    json_object_set_new(object, "launches", rows_array(p, MDL_BY_LAUNCH));
    return object;
}

mdl_status mdl_profile_print_json(const mdl_profile *p, FILE *out) {
    json_t *object = whole(p);
    int failed = json_dumpf(object, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    fputc('\n', out);
    return failed ? mdl_fail(MDL_SYSTEM, "the profile cannot be written as JSON") : MDL_OK;
}
