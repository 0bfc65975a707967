/* A plan on a GPU: what gpu.c makes and gpu_launch.c runs. */
#ifndef MDL_DEVICE_CUDA_GPU_H
#define MDL_DEVICE_CUDA_GPU_H

#include "runtime/device/cuda/gpu_driver.h"
#include "runtime/device/cuda/gpu_products.h"
#include "runtime/device/cuda/place.h"

/* How a launch is run. */
typedef struct {
    const mdl_bound_launch *bound;
    CUfunction function;
    void *argument[1]; /* of a kernel */
    const mdl_gpu_product *product;
} mdl_gpu_launch;

typedef struct {
    const mdl_driver *cu;
    CUdevice device;
    CUcontext context; /* the device's primary one: cuBLASLt works in it too */
    CUstream stream;   /* of everything */
    char name[128];    /* "NVIDIA H100 80GB HBM3" */
    CUmodule *modules; /* by kernel */
    CUfunction *functions;
    int64_t *shared;             /* by kernel: dynamic bytes that it may have */
    MDL_VEC(CUdeviceptr) blocks; /* of memory */
    /* Two copies of arena INPUT in memory that the GPU reads by itself, taken in turns; `sent` stands behind the last copy of each.
     */
    char *staged[2];
    CUevent sent[2];
    int turn;
    mdl_gpu_products *products; /* NULL: the plan has none */
    mdl_gpu_launch **programs;
    CUgraphExec *graphs; /* by program; NULL: not captured yet */
    int started;         /* the program that was started last; -1: none */
    bool lost;           /* the context, by an error of a launch: nothing of the GPU's may be touched */
} mdl_gpu;

/* After a call of the driver: the failure, if it is one, and whether the context is lost. */
mdl_status mdl_gpu_check(mdl_gpu *gpu, CUresult result) __attribute__((warn_unused_result));

mdl_status mdl_gpu_prepare(mdl_device *d);
mdl_status mdl_gpu_map(mdl_device *d, const mdl_plan_map *map, void *buffer, int64_t rows, void *to);
mdl_status mdl_gpu_run(mdl_device *d, int program);                       /* as a graph; returns when it has been handed over */
mdl_status mdl_gpu_part(mdl_device *d, int program, int first, int last); /* each to its end: a failing one is named */
mdl_status mdl_gpu_profile(mdl_device *d, int program, double *seconds);
mdl_status mdl_gpu_rates(mdl_device *d, int64_t edge, mdl_rates *rates);
mdl_status mdl_gpu_activity(mdl_device *d, int program, mdl_activity *activity);

#endif
