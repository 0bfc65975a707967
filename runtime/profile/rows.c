/* Launches put together, and what the device's rates say about them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/profile/profile.h"

static const char *const bound_names[] = {
    [MDL_BOUND_MEMORY] = "memory", [MDL_BOUND_COMPUTE] = "compute", [MDL_BOUND_LATENCY] = "latency"};
/* Below this share of what the device can do, neither its memory nor its arithmetic is what a launch waits for. */
static const double far_from_both = 0.3;

const char *mdl_bound_name(mdl_bound bound) { return bound_names[bound]; }

static const char *class_of(const mdl_plan *plan, const mdl_plan_launch *l) {
    return l->kind == MDL_LAUNCH_KERNEL ? plan->kernels.at[l->kernel].class : l->kind == MDL_LAUNCH_GEMM ? "gemm" : "copy";
}

static const char *gemm_text(mdl_arena *memory, const mdl_gemm *g) {
    const char *batch = g->batch > 1 ? mdl_printf(memory, "%" PRId64 " of ", g->batch) : "";
    return mdl_printf(memory, "gemm %s%" PRId64 "x%" PRId64 "x%" PRId64 "%s%s%s%s", batch, g->m, g->n, g->k,
                      g->trans_a ? " At" : "", g->trans_b ? " Bt" : "", g->has_bias ? " +bias" : "", g->has_c ? " +C" : "");
}

static const char *name_of(const mdl_profile *p, const mdl_plan_launch *l, mdl_profile_by by) {
    if (by == MDL_BY_CLASS) return class_of(p->plan, l);
    if (by == MDL_BY_LAUNCH) return l->label;
    if (l->kind == MDL_LAUNCH_GEMM) return gemm_text(p->memory, &l->gemm);
    return l->kind == MDL_LAUNCH_KERNEL ? p->plan->kernels.at[l->kernel].symbol : "copy";
}

/* Operations a second that a launch could do: products and attention work on matrices of their type, all else in f32. */
static double compute_rate(const mdl_profile *p, const mdl_plan_launch *l) {
    bool attention = !strncmp(class_of(p->plan, l), "attention", strlen("attention"));
    bool narrow = l->kind == MDL_LAUNCH_GEMM ? l->gemm.type_a == MDL_BF16 : attention && strcmp(p->plan->precision, "f32") != 0;
    return narrow ? p->rates.bf16 : p->rates.f32;
}

/* A row while launches are added to it. */
typedef struct {
    double memory, compute, least; /* seconds that the rates ask for: least, of the two, launch by launch */
    double *seconds;               /* [steps] */
} sums;
typedef MDL_VEC(sums) sums_list;

static void add(const mdl_profile *p, int launch, mdl_profile_row *row, sums *to) {
    const mdl_plan_launch *l = &p->program->launches.at[launch];
    double memory = p->rates.copy > 0 ? (double)l->bytes / p->rates.copy : 0;
    double compute = compute_rate(p, l) > 0 ? (double)l->flops / compute_rate(p, l) : 0;
    row->launches++;
    row->bytes += (double)l->bytes;
    row->flops += (double)l->flops;
    to->memory += memory;
    to->compute += compute;
    to->least += memory > compute ? memory : compute;
    for (int i = 0; i < p->steps; i++) to->seconds[i] += p->launch[i * p->program->launches.n + launch];
}

static void conclude(const mdl_profile *p, mdl_profile_row *row, sums *s) {
    row->seconds = mdl_spread_of(s->seconds, p->steps);
    row->share = p->one_by_one.median > 0 ? row->seconds.median / p->one_by_one.median : 0;
    row->reach = row->seconds.median > 0 ? s->least / row->seconds.median : 0;
    row->bound = row->reach < far_from_both ? MDL_BOUND_LATENCY : s->memory >= s->compute ? MDL_BOUND_MEMORY : MDL_BOUND_COMPUTE;
}

static int by_time(const void *a, const void *b) {
    const mdl_profile_row *x = a, *y = b;
    if (x->seconds.median != y->seconds.median) return x->seconds.median < y->seconds.median ? 1 : -1;
    return x->first - y->first;
}

mdl_profile_rows mdl_profile_group(const mdl_profile *p, mdl_profile_by by) {
    mdl_profile_rows rows = {0};
    sums_list all = {0};
    for (int i = 0; i < p->program->launches.n; i++) {
        const mdl_plan_launch *l = &p->program->launches.at[i];
        const char *name = name_of(p, l, by);
        int k = by == MDL_BY_LAUNCH ? rows.n : 0;
        while (k < rows.n && strcmp(rows.at[k].name, name)) k++;
        if (k == rows.n) {
            MDL_PUSH(p->memory, rows,
                     ((mdl_profile_row){.name = name, .class = class_of(p->plan, l), .span = l->span, .first = i}));
            MDL_PUSH(p->memory, all, ((sums){.seconds = MDL_NEW_ARRAY(p->memory, double, p->steps)}));
        }
        add(p, i, &rows.at[k], &all.at[k]);
    }
    for (int k = 0; k < rows.n; k++) conclude(p, &rows.at[k], &all.at[k]);
    if (rows.n && by != MDL_BY_LAUNCH) qsort(rows.at, (size_t)rows.n, sizeof *rows.at, by_time);
    return rows;
}
