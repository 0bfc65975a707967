/* Every model of models/ as native code for a card of each kind: that it compiles. What spills is shown, and is no failure: how
 * many registers a kernel takes is the assembler's choice. */
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "compiler/target/cuda_nvrtc.h"
#include "tests/check.h"

static const char arches[] = "sm_80,sm_90a,sm_100a,sm_120";

/* Two layers: a deeper model has the same kernels. */
static void compiles(mdl_test *t, const char *model) {
    const char *said = NULL, *name = strrchr(model, '/') + 1;
    if (!mdl_case(t, "%s for %s", name, arches)) return;
    int code = mdl_shell(t, &said, "mdlc '%s' --target cuda --arch %s --set L=2 --quiet -o '%s/model.plan'", model, arches,
                         mdl_test_scratch(t));
    CHECK(t, !code, "exit %d:\n%s", code, said);
    if (!code && *said) printf("%s", said);
    code = mdl_shell(t, &said, "mdlrun inspect '%s/model.plan' kernels | grep -c ' / .* / .* / '", mdl_test_scratch(t));
    CHECK(t, !code, "no kernel has resources of four arches: %s", said);
}

void suite_cuda_models(mdl_test *t) {
    glob_t models = {0};
    mdl_arena *arena = mdl_arena_new();
    const mdl_nvrtc *nvrtc;
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    if (status) printf("cuda_models: skipped: %s\n", mdl_message(status));
    glob(mdl_printf(arena, "%s/models/*.mdl", mdl_test_source(t)), 0, NULL, &models);
    int n = 0;
    for (size_t i = 0; i < models.gl_pathc && !status && !MDL_TEST_SANITIZED; i++)
        if (!mdl_shell(t, NULL, "grep -q '^model ' '%s'", models.gl_pathv[i])) compiles(t, models.gl_pathv[i]), n++;
    CHECK(t, status || MDL_TEST_SANITIZED || n >= 3, "%d models", n);
    globfree(&models);
    mdl_status_free(status);
    mdl_arena_free(arena);
}
