/* The backend vtable: everything the training loop asks of a machine. */
#ifndef MDL_DEVICE_H
#define MDL_DEVICE_H

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

typedef struct mdl_device mdl_device;

/* What a device does at best, as measured. */
typedef struct {
    double copy;      /* bytes a second, read and written ones counted, of a large copy */
    double f32, bf16; /* floating-point operations a second, of a large product of such matrices */
} mdl_rates;

/* What a device did during one replay, by its own clock. */
typedef struct {
    double busy, span;   /* seconds in which something ran; from the first's beginning to the last's end */
    int64_t records;     /* kernels, copies, fills */
    const char *why_not; /* a sentence where this is not known, else NULL */
} mdl_activity;

typedef struct {
    const char *name; /* "cpu", "cuda" */
    /* Loads a verified plan: allocates every arena (zeroed), maps native code, prepares GEMMs. Afterwards nothing is
     * allocated. threads: 0 = all cores; results are the same bits for any number. The plan must outlive the device. */
    mdl_status (*load)(const mdl_plan *plan, int threads, mdl_device **device);
    void (*unload)(mdl_device *device);
    /* Copies between host memory and an arena; size-checked. */
    mdl_status (*upload)(mdl_device *device, mdl_arena_id arena, int64_t offset, const void *from, int64_t bytes);
    mdl_status (*download)(mdl_device *device, mdl_arena_id arena, int64_t offset, void *to, int64_t bytes);
    mdl_status (*fill)(mdl_device *device, mdl_arena_id arena, int byte); /* 0, or 0xff: NaN, for tests */
    /* Replays a program to its end. */
    mdl_status (*run)(mdl_device *device, const char *program);
    /* Replays once with a clock around every launch: seconds[i] for launch i. */
    mdl_status (*profile)(mdl_device *device, const char *program, double *seconds);
    /* Replays launches first to last - 1 of a program, one by one: when it returns they have ended. */
    mdl_status (*run_part)(mdl_device *device, const char *program, int first, int last);
    /* Measures, on memory of its own that is given back: a product of square matrices of `edge` rows, and a copy of one. 0: large
     * enough to show what the device can do, which takes a second or two. */
    mdl_status (*rates)(mdl_device *device, int64_t edge, mdl_rates *rates);
    /* All that rates depend on: "NVIDIA H100 80GB HBM3, cuBLASLt 130100". */
    const char *(*identity)(const mdl_device *device);
    int64_t (*memory)(const mdl_device *device); /* bytes held */
    /* What a person should know before a long run of this plan here, or NULL: a sentence. The function may be NULL too. */
    const char *(*note)(const mdl_device *device);
    /* Replays twice and tells what the device did the second time, which takes longer than others. NULL where a program is no more
     * than its launches. */
    mdl_status (*activity)(mdl_device *device, const char *program, mdl_activity *activity);
    /* How products are computed here, as text that another device of the same identity takes, before it has run any program, to give
     * the same bits. Where there is no choice, both are NULL or the text is empty. choose() writes to arenas. */
    const char *(*choices)(const mdl_device *device, mdl_arena *memory);
    mdl_status (*choose)(mdl_device *device, const char *choices);
} mdl_backend;

extern const mdl_backend mdl_backend_cpu, mdl_backend_cuda;
/* On a GPU a program runs as one graph, or (false) launch by launch, each to its end before the next: slower, and a failing launch
 * is named where it fails. For devices that are loaded afterwards as well as before; true at first. */
void mdl_cuda_set_graphs(bool on);
/* By the plan's target, from one list. */
mdl_status mdl_backend_find(const char *target, const mdl_backend **backend);

#endif
