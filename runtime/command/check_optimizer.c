/* The optimizer alone: the plan's `update` against AdamW in double, element by element. */
#include <math.h>
#include <string.h>

#include "runtime/base/compare.h"
#include "runtime/command/check_run.h"
#include "runtime/train/weights.h"

/* One trained parameter with the reference's gradient (zeros where it has none). */
typedef struct {
    const mdl_plan_param *param;
    int64_t n;
    float *weight, *gradient, *moment1, *moment2; /* before the step; then what the host makes of them */
    float *got;
} subject;

typedef MDL_VEC(subject) subject_list;

static mdl_status read_subject(mdl_check *c, subject *s) {
    mdl_arena *memory = c->reference.memory;
    const char *name = mdl_printf(memory, "grad.%s", s->param->name);
    mdl_status status = MDL_OK;
    s->n = mdl_type_count(&s->param->type);
    s->weight = MDL_NEW_ARRAY(memory, float, s->n + 1);
    s->gradient = MDL_NEW_ARRAY(memory, float, s->n + 1);
    s->moment1 = MDL_NEW_ARRAY(memory, float, s->n + 1);
    s->moment2 = MDL_NEW_ARRAY(memory, float, s->n + 1);
    s->got = MDL_NEW_ARRAY(memory, float, s->n + 1);
    if (mdl_safetensors_find(c->reference.file, name)) status = mdl_reference_floats(&c->reference, name, s->n, &s->gradient, NULL);
    if (!status) status = mdl_session_get_param(c->session, MDL_ARENA_PARAM, s->param, s->weight);
    return status ? status : mdl_session_set_param(c->session, MDL_ARENA_GRAD, s->param, s->gradient);
}

static mdl_status read_subjects(mdl_check *c, subject_list *subjects) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < c->session->plan->params.n && !status; i++) {
        subject s = {.param = &c->session->plan->params.at[i]};
        if (s.param->arena != MDL_ARENA_PARAM) continue;
        status = read_subject(c, &s);
        MDL_PUSH(c->reference.memory, *subjects, s);
    }
    return status;
}

static double global_norm(const subject_list *subjects) {
    double sum = 0;
    for (int i = 0; i < subjects->n; i++)
        for (int64_t k = 0; k < subjects->at[i].n; k++) sum += pow(subjects->at[i].gradient[k], 2);
    return sqrt(sum);
}

/* The first step from zero moments, as PyTorch's AdamW with clip_grad_norm_ defines it. */
static void host_step(const mdl_adamw *a, double lr, double norm, subject *s) {
    double clip = a->max_grad_norm > 0 ? fmin(1, a->max_grad_norm / (norm + 1e-6)) : 1;
    double decay = s->param->decay ? a->weight_decay : 0, correction1 = 1 - a->beta1, root2 = sqrt(1 - a->beta2);
    for (int64_t k = 0; k < s->n; k++) {
        double g = s->gradient[k] * clip, m = (1 - a->beta1) * g, v = (1 - a->beta2) * g * g;
        double w = s->weight[k] * (1 - lr * decay) - lr / correction1 * m / (sqrt(v) / root2 + a->eps);
        s->weight[k] = (float)w;
        s->moment1[k] = (float)m;
        s->moment2[k] = (float)v;
    }
}

static mdl_status compare(mdl_check *c, const subject *s, mdl_arena_id arena, mdl_row_id row, const float *want) {
    mdl_status status = mdl_session_get_param(c->session, arena, s->param, s->got);
    if (!status) {
        mdl_comparison error = mdl_compare_floats(s->n, s->got, want);
        mdl_check_table_note(&c->table, row, s->param->name, mdl_error_l2(&error));
    }
    return status;
}

mdl_status mdl_check_optimizer(mdl_check *c) {
    mdl_reference *r = &c->reference;
    subject_list subjects = {0};
    double got = 0;
    mdl_status status = mdl_reference_load_weights(r, c->session);
    if (!status) status = read_subjects(c, &subjects);
    if (!status) status = mdl_session_set_adamw(c->session, &r->adamw, 1, r->lr);
    if (!status) status = mdl_session_update(c->session, &got);
    if (status) return status;
    double norm = global_norm(&subjects);
    mdl_check_table_note(&c->table, MDL_ROW_NORM, "", fabs(got - norm) / (norm > 0 ? norm : 1));
    for (int i = 0; i < subjects.n && !status; i++) {
        subject *s = &subjects.at[i];
        host_step(&r->adamw, r->lr, norm, s);
        status = compare(c, s, MDL_ARENA_PARAM, MDL_ROW_UPDATE, s->weight);
        if (!status) status = compare(c, s, MDL_ARENA_MOMENT1, MDL_ROW_MOMENT, s->moment1);
        if (!status) status = compare(c, s, MDL_ARENA_MOMENT2, MDL_ROW_MOMENT, s->moment2);
    }
    return status;
}
