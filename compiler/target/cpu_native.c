/* The plan's C for the CPU as a shared object. */
#include <string.h>

#include "compiler/kernel/template.h"
#include "compiler/target/cpu.h"
#include "compiler/target/host_build.h"

mdl_status mdl_cpu_compile(mdl_plan *plan) {
    const char *march = mdl_printf(plan->memory, "-march=%s", strcmp(plan->isa, "aarch64") ? plan->isa : "armv8-a");
    const char *const flags[] = {"-O3",
                                 "-fopenmp-simd",
                                 "-fno-math-errno",
                                 "-fno-trapping-math",
                                 "-fno-tree-loop-distribute-patterns",
                                 march,
                                 strcmp(plan->isa, "x86-64-v4") ? NULL : "-mprefer-vector-width=512",
                                 NULL};
    const char *const link_flags[] = {"-nostdlib", NULL};
    const char *text = mdl_host_text(plan, mdl_template_prelude());
    mdl_plan_file object = {.path = MDL_PLAN_CPU_OBJECT};
    mdl_host_build how = {"cpu", mdl_template_prelude(), MDL_HOST_UNITS, flags, link_flags};
    mdl_status status = mdl_host_object(plan, &how, &object.bytes, &object.size);
    if (status) return status;
    MDL_PUSH(plan->memory, plan->files, ((mdl_plan_file){.path = "kernels/cpu.c", .bytes = text, .size = (int64_t)strlen(text)}));
    MDL_PUSH(plan->memory, plan->files, object);
    return MDL_OK;
}
