/* A program as it goes into the plan, as text: buffers in their places, launches in order (mdlc --dump launches). */
#include <inttypes.h>

#include "compiler/emit/emit.h"

static void print_buffer(mdl_text *t, mdl_arena *scratch, const mdl_plan_buffer *b, int i) {
    mdl_text_printf(t, "  b%d = %s %s", i, mdl_arena_name(b->arena), mdl_type_text(scratch, &b->type));
    if (b->of >= 0) mdl_text_printf(t, " in b%d", b->of);
    mdl_text_printf(t, " at %" PRId64, b->offset);
    if (b->stride) mdl_text_printf(t, " stride %" PRId64, b->stride);
    mdl_text_printf(t, "  # %s\n", b->name);
}

static void print_args(mdl_text *t, const mdl_plan_launch *l) {
    static const char *const marks[] = {"?", "", "=", "+="}; /* read, written, both */
    for (int i = 0; i < l->args.n; i++) {
        const mdl_plan_arg *a = &l->args.at[i];
        if (a->kind == MDL_ARG_IMMEDIATE)
            mdl_text_printf(t, " %" PRId64, a->value);
        else
            mdl_text_printf(t, " %sb%" PRId64, marks[a->access & 3], a->value);
    }
}

static void print_launch(mdl_text *t, const mdl_plan *plan, const mdl_plan_launch *l) {
    const mdl_gemm *g = &l->gemm;
    if (l->kind == MDL_LAUNCH_KERNEL)
        mdl_text_printf(t, "  %s[%" PRId64 "]", plan->kernels.at[l->kernel].symbol, l->grid);
    else if (l->kind == MDL_LAUNCH_GEMM)
        mdl_text_printf(t, "  gemm[%" PRId64 " x %" PRId64 " x %" PRId64 "%s%s]", g->m, g->n, g->k, g->has_bias ? ", bias" : "",
                        g->has_c ? ", added" : "");
    else
        mdl_text_printf(t, "  copy");
    print_args(t, l);
    if (l->stream) mdl_text_printf(t, " stream %d", l->stream);
    for (int i = 0; i < l->waits.n; i++) mdl_text_printf(t, " after %d", l->waits.at[i]);
    mdl_text_printf(t, "  # %s %s\n", l->label, l->span);
}

void mdl_print_launches(mdl_text *t, const mdl_plan *plan, const mdl_plan_program *program) {
    mdl_arena *scratch = mdl_arena_new();
    mdl_text_printf(t, "program %s {\n", program->name);
    for (int i = 0; i < program->buffers.n; i++) print_buffer(t, scratch, &program->buffers.at[i], i);
    for (int i = 0; i < program->launches.n; i++) print_launch(t, plan, &program->launches.at[i]);
    mdl_text_printf(t, "}\n");
    mdl_arena_free(scratch);
}
