/* Learning rates by step, and the numbers that AdamW needs in a step. */
#ifndef MDL_TRAIN_SCHEDULE_H
#define MDL_TRAIN_SCHEDULE_H

#include <stdint.h>

typedef enum {
#define SCHEDULE(id, name, about) MDL_SCHEDULE_##id,
#include "runtime/train/schedule.def"
#undef SCHEDULE
    MDL_SCHEDULE_COUNT
} mdl_schedule_kind;

typedef struct {
    mdl_schedule_kind kind;
    double peak;          /* the highest learning rate */
    int64_t warmup_steps; /* 0 = none */
    int64_t decay_steps;  /* the step at which the decay ends */
    double min_ratio;     /* the floor, as a share of the peak */
} mdl_schedule;

/* The learning rate of `step`, counted from 0 as in PyTorch's LambdaLR: during warm-up it is peak * step / warmup_steps,
 * so the first step of a run with a warm-up has learning rate 0. Formulas: transformers' get_*_schedule; with min_ratio m
 * the decaying factor f becomes f * (1 - m) + m. After decay_steps the rate stays at the floor. */
double mdl_schedule_at(const mdl_schedule *schedule, int64_t step);

const char *mdl_schedule_name(mdl_schedule_kind kind);

#endif
