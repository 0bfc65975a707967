/* Where the time of a program goes: measured on real batches, as a whole and launch by launch. */
#ifndef MDL_PROFILE_PROFILE_H
#define MDL_PROFILE_PROFILE_H

#include <stdio.h>

#include "runtime/train/session.h"

/* Seconds of something that was done several times. */
typedef struct {
    double median, p95;
} mdl_spread;
mdl_spread mdl_spread_of(double *seconds, int n); /* n > 0; sorts them */

typedef struct {
    const char *program;
    int steps, warmup; /* steps: also of replays launch by launch */
    double lr;         /* a step trains, as in a run */
} mdl_profile_options;

typedef struct {
    mdl_arena *memory;
    const mdl_plan *plan;
    const mdl_plan_program *program;
    int steps;
    double *launch;        /* [steps][launches]: seconds, when launches run one by one */
    mdl_spread one_by_one; /* of their sums */
    /* Of steps as training makes them. replay: until the device is done. step: from one batch to the next, so also the wait for a
     * batch and its upload. */
    mdl_spread step, replay;
    /* Of as many replays while the device was watched. */
    mdl_spread busy, span; /* seconds in which it did something; from the first's beginning to the last's end */
    mdl_activity activity; /* of the last of them */
    bool watched;
    mdl_loader_times loader; /* a step */
    double tokens;           /* of sequences, a step */
    int64_t held;            /* bytes of the device's memory; mdl_plan_memory predicts them */
    const char *device;
    mdl_rates rates;
} mdl_profile;

/* The session has weights, the loader gives one batch a step. Everything but device and rates. */
mdl_status mdl_profile_measure(mdl_session *session, mdl_loader *loader, const mdl_adamw *adamw, const mdl_profile_options *options,
                               mdl_profile *profile);
void mdl_profile_free(mdl_profile *profile);

/* ---- rates.c ---- */
/* Device and rates: those kept in the cache's rates.json under the device's identity, or measured now and kept. *note: why they
 * could not be kept, or NULL. */
mdl_status mdl_profile_rate(mdl_session *session, mdl_profile *profile, const char **note);

/* ---- rows.c ---- */
/* A row stands for one launch, or for all of a kernel (of products: of a shape) or a class. Numbers are of a whole replay. */
typedef enum { MDL_BY_CLASS, MDL_BY_KERNEL, MDL_BY_LAUNCH } mdl_profile_by;
typedef enum { MDL_BOUND_MEMORY, MDL_BOUND_COMPUTE, MDL_BOUND_LATENCY } mdl_bound;
typedef struct {
    const char *name, *class, *span; /* span: model line of the first launch */
    int first, launches;             /* index of the first launch; how many */
    mdl_spread seconds;
    double bytes, flops;
    double share;    /* of the time of all launches */
    double reach;    /* the time that the device's rates allow, over the median */
    mdl_bound bound; /* what these rates say bounds it; LATENCY: far from both */
} mdl_profile_row;
typedef MDL_VEC(mdl_profile_row) mdl_profile_rows;
/* The longest first; by launch: in the order of launches. */
mdl_profile_rows mdl_profile_group(const mdl_profile *profile, mdl_profile_by by);
const char *mdl_bound_name(mdl_bound bound); /* "memory" */

/* ---- how it is shown ---- */
/* The share of a replay in which the device does nothing; of a profile that was watched. */
double mdl_profile_idle(const mdl_profile *profile);
/* What all of it was measured on, the step, what no launch accounts for, the loader. */
void mdl_profile_print_head(const mdl_profile *profile, FILE *out);
/* At most so many rows. */
void mdl_profile_print_rows(const mdl_profile *profile, mdl_profile_by by, int most, FILE *out);
/* All of it, as one JSON object. */
mdl_status mdl_profile_print_json(const mdl_profile *profile, FILE *out);
/* The program as a timeline: a line for each stream, launches as wide as they are long, coloured by class. */
mdl_status mdl_profile_write_svg(const mdl_profile *profile, const char *path);

#endif
