/* A plan on a device, ready to replay: where every scalar, batch input and result lies is looked up once, at load.
 * The training loop and the check command both work through it. */
#ifndef MDL_TRAIN_SESSION_H
#define MDL_TRAIN_SESSION_H

#include "runtime/data/loader.h"
#include "runtime/device/device.h"
#include "runtime/plan/plan.h"

/* The scalar inputs of every plan: SCALAR(id, name). docs/plan-format.md says what they mean. */
#define MDL_SCALARS(SCALAR)                                \
    SCALAR(LR, "lr")                                       \
    SCALAR(ONE_MINUS_BETA1, "one_minus_beta1")             \
    SCALAR(BETA2, "beta2")                                 \
    SCALAR(ONE_MINUS_BETA2, "one_minus_beta2")             \
    SCALAR(BIAS_CORRECTION1, "bias_correction1")           \
    SCALAR(SQRT_BIAS_CORRECTION2, "sqrt_bias_correction2") \
    SCALAR(EPS, "eps")                                     \
    SCALAR(WEIGHT_DECAY, "weight_decay")                   \
    SCALAR(MAX_GRAD_NORM, "max_grad_norm")
typedef enum {
#define SCALAR(id, name) MDL_SCALAR_##id,
    MDL_SCALARS(SCALAR)
#undef SCALAR
        MDL_SCALAR_COUNT
} mdl_scalar;

typedef struct {
    double beta1, beta2, eps, weight_decay, max_grad_norm; /* max_grad_norm 0: no clipping */
} mdl_adamw;

/* The programs that a step is made of, and evaluation. */
typedef enum {
    MDL_RUN_COUNT_FIRST,
    MDL_RUN_COUNT_NEXT,
    MDL_RUN_ONLY,
    MDL_RUN_FIRST,
    MDL_RUN_MIDDLE,
    MDL_RUN_LAST,
    MDL_RUN_UPDATE,
    MDL_RUN_EVAL,
    MDL_RUN_KINDS
} mdl_run_kind;

/* What a step gave. Arrays have one entry a loss or metric of the plan, and live in the session. */
typedef struct {
    double loss;           /* sum over losses of weight * mean; 0 when nothing is labelled */
    double grad_norm;      /* before clipping; 0 from programs without the optimizer */
    const double *losses;  /* means */
    const double *metrics; /* means; NAN where nothing was counted */
    int64_t labels;        /* counted by all losses together */
} mdl_step;

/* A result's place: an f32 or i32 number, or a tensor, in RESULT. */
typedef struct {
    const mdl_plan_buffer *buffer; /* NULL: the program has no such result */
} mdl_result_ref;

typedef struct {
    mdl_plan *plan;
    const mdl_backend *backend;
    mdl_device *device;
    bool poison; /* fill ACTIVATION with NaN before every replay: for checks */
    bool stale;  /* parameters were put in place that their copies in the plan's precision do not follow yet */
    bool scaled; /* the scales of 8-bit operands are those of these weights, or the plan has none */

    /* Below: the session's own. */
    int64_t scalar[MDL_SCALAR_COUNT]; /* offsets in INPUT */
    struct mdl_run_refs *refs;        /* [MDL_RUN_KINDS] */
    double *loss_mean, *metric_mean;
} mdl_session;

/* Reads and verifies the plan, loads it on its target's device with `threads` threads (0: all). */
mdl_status mdl_session_open(const char *plan_path, int threads, mdl_session **session);
/* The same of a plan in memory, which the session takes over, also on failure. */
mdl_status mdl_session_attach(mdl_plan *plan, const mdl_backend *backend, int threads, mdl_session **session);
void mdl_session_close(mdl_session *session); /* NULL is allowed */

/* Runs `init` with a seed: every parameter gets its initial value. Moments become 0. */
mdl_status mdl_session_init(mdl_session *session, uint64_t seed);
mdl_status mdl_session_zero_moments(mdl_session *session);

/* Uploads the optimizer's numbers for optimizer step t = 1, 2, ... with learning rate lr; computed in double, rounded once. */
mdl_status mdl_session_set_adamw(mdl_session *session, const mdl_adamw *adamw, int64_t t, double lr);
mdl_status mdl_session_set_scalar(mdl_session *session, mdl_scalar scalar, double value);

mdl_status mdl_session_upload(mdl_session *session, const mdl_batch *batch);
/* What must run before the program: `refresh`, where parameters were set since the last one; before one that trains `calibrate`, once,
 * on the batch that has been uploaded. For who replays launches. */
mdl_status mdl_session_prepare(mdl_session *session, const char *program);
/* Replays any program by name, prepared. */
mdl_status mdl_session_run(mdl_session *session, const char *program);
/* The scales of a checkpoint, arena SCALING whole: the next step does not measure for the first ones. */
mdl_status mdl_session_set_scaling(mdl_session *session, const void *from);
/* A result of a program that has just run: the number, or for tensors `bytes` bytes of it. */
mdl_status mdl_session_result(mdl_session *session, const char *program, const char *name, double *value);
mdl_status mdl_session_result_tensor(mdl_session *session, const char *program, const char *name, const mdl_plan_buffer **buffer,
                                     void *to, int64_t bytes);

/* One optimizer step over n micro-batches: train_only; or count_first, count_next ... over all of them, then train_first,
 * train_middle ..., train_last. Nothing is read from the device before the end. The optimizer's scalars must have been set. */
mdl_status mdl_session_step(mdl_session *session, int n, const mdl_batch *batches, mdl_step *step);
/* Loss and gradients of one batch, no optimizer: count_first and train_first. Gradients are left in GRAD. */
mdl_status mdl_session_gradients(mdl_session *session, const mdl_batch *batch, mdl_step *step);
/* The program eval on a batch: adds the sums and counts of losses, then of metrics, to sum and count. Of what training needs only
 * inputs change, which every step uploads anew. */
mdl_status mdl_session_evaluate(mdl_session *session, const mdl_batch *batch, double *sum, double *count);
/* The optimizer alone, on what is in GRAD. */
mdl_status mdl_session_update(mdl_session *session, double *grad_norm);

/* Floating-point operations of a step of n micro-batches, from the launch records. */
double mdl_session_flops(const mdl_session *session, int n);

/* Parameters, their gradients and moments as the host sees them: f32, whatever the plan's precision. */
mdl_status mdl_session_get_param(mdl_session *session, mdl_arena_id arena, const mdl_plan_param *param, float *to);
mdl_status mdl_session_set_param(mdl_session *session, mdl_arena_id arena, const mdl_plan_param *param, const float *from);

#endif
