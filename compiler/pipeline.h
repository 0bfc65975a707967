/* The compiler as a library: a module becomes a plan. */
#ifndef MDL_PIPELINE_H
#define MDL_PIPELINE_H

#include "compiler/ir/fp8.h"
#include "compiler/ir/module.h"
#include "compiler/target/target.h"
#include "runtime/plan/plan.h"

/* Behind the passes, what emission makes of a program can be dumped too. */
#define MDL_DUMP_LAUNCHES "launches"

typedef struct {
    const mdl_target *target; /* NULL: the first */
    mdl_dtype precision;      /* of matrix operands and activations: f32 or bf16 */
    bool fp8;                 /* linear layers of repeated scopes in 8 bits; precision is bf16 */
    mdl_fp8_recipe recipe;    /* of fp8 */
    const char *isa;          /* instruction set of the kernels; NULL: this machine's */
    const char *dump;         /* "all", or passes by name, with commas; NULL: nothing */
    const char *dump_only;    /* one program's name, or NULL: all */
    const char *stop_after;   /* a pass by name, or NULL */
    bool check;               /* interpret every program on small random inputs after every pass, and compare */
    FILE *out;                /* where dumps go */
} mdl_pipeline_options;

/* Returns a status that names the model's line when the target cannot do something. With stop_after, *plan is NULL. */
mdl_status mdl_compile(mdl_arena *arena, mdl_module *module, const mdl_pipeline_options *options, mdl_plan **plan);

/* Runs one pass on the text of a program, as on its own; the result is text again. "precision=bf16" is that pass of a plan in bf16,
 * "tiles=cuda" that of one for target cuda. * For tests. */
mdl_status mdl_run_pass(mdl_arena *arena, const char *pass, const char *text, const char **result);

typedef struct {
    const char *name, *help;
} mdl_pass_info;
/* In order; ends in a row of NULLs. */
extern const mdl_pass_info mdl_pass_list[];

#endif
