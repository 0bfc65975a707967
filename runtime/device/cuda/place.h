/* Where a plan for target cuda runs: on a GPU, or on the host in emulation. The backend (cuda.c) does what is alike. */
#ifndef MDL_DEVICE_CUDA_PLACE_H
#define MDL_DEVICE_CUDA_PLACE_H

#include "runtime/base/arena.h"
#include "runtime/device/cuda/arch.h"
#include "runtime/device/device.h"
#include "runtime/device/launch.h"

typedef struct {
    /* Finds the device and loads the plan's kernels; sets d->at. */
    mdl_status (*open)(mdl_device *d);
    void (*close)(mdl_device *d);                                         /* whatever has been made */
    mdl_status (*allocate)(mdl_device *d, int64_t bytes, char **address); /* 256-aligned; close frees it */
    mdl_status (*copy_in)(mdl_device *d, char *to, const void *from, int64_t bytes);
    /* All of arena INPUT's range, in the order of calls, without waiting for what runs; `from` may change afterwards. */
    mdl_status (*send_input)(mdl_device *d, int64_t offset, const char *from, int64_t bytes);
    mdl_status (*copy_out)(mdl_device *d, void *to, const char *from, int64_t bytes);
    mdl_status (*set)(mdl_device *d, char *at, int byte, int64_t bytes);
    /* After the launches are bound: makes all that is needed to run them. May scribble on the arenas. */
    mdl_status (*prepare)(mdl_device *d);
    /* By index of the program. All in the order of calls; errors of a launch may come with a later call. */
    mdl_status (*run)(mdl_device *d, int program);
    mdl_status (*profile)(mdl_device *d, int program, double *seconds);
    /* Launches first to last - 1, each to its end: a failing one is named. */
    mdl_status (*part)(mdl_device *d, int program, int first, int last);
    /* Makes a tensor map of MDL_MAP_BYTES for a kernel: of `rows` rows of the buffer. */
    mdl_status (*map)(mdl_device *d, const mdl_plan_map *map, void *buffer, int64_t rows, void *to);
    mdl_status (*rates)(mdl_device *d, int64_t edge, mdl_rates *rates);
    mdl_status (*activity)(mdl_device *d, int program, mdl_activity *activity);
    const char *(*identity)(const mdl_device *d);
    /* mdl_backend's; NULL where products have no choice. */
    const char *(*choices)(const mdl_device *d, mdl_arena *memory);
    mdl_status (*choose)(mdl_device *d, const char *choices);
    /* The program whose launches made the device unusable, -1 when it is not. A fresh one can be opened afterwards, or not:
     * the driver may be lost to the process. */
    int (*lost)(mdl_device *d);
} mdl_cuda_place;

struct mdl_device {
    const mdl_plan *plan;
    mdl_arena *memory; /* of what is kept on the host */
    const mdl_cuda_place *place;
    void *at; /* the place's own */
    char *arena[MDL_ARENA_COUNT];
    int64_t held;
    mdl_bound_launch **programs; /* programs[p][l] */
    char *input;                 /* what the host has last put into arena INPUT */
    int64_t unsent, unsent_end;  /* the range of it that the device does not have yet; empty where they are equal */
    const char *note;            /* or NULL */
};

extern const mdl_cuda_place mdl_cuda_host, mdl_cuda_gpu;

/* A kernel's one argument: the addresses of the launch's buffers, then its integers, then, aligned, its tensor maps. */
mdl_status mdl_cuda_argument(mdl_device *d, const mdl_bound_launch *launch, void **argument);
/* A failure of launch l, said with its kernel and its place in the model. */
mdl_status mdl_cuda_blame(const mdl_device *d, int program, int l, mdl_status status) __attribute__((warn_unused_result));

bool mdl_cuda_graphs(void); /* what mdl_cuda_set_graphs has set */

#endif
