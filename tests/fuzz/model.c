/* Any bytes as a model: refused with a message, or a module that verifies. */
#include <stdio.h>
#include <stdlib.h>

#include "compiler/front/front.h"
#include "tests/fuzz/fuzz.h"

int mdl_fuzz_model(const uint8_t *bytes, size_t size) {
    mdl_arena *memory = mdl_arena_new();
    mdl_diagnostics *diagnostics = mdl_diagnostics_new(memory);
    mdl_front_options options = {.path = mdl_fuzz_file(bytes, size), .library = MDL_FUZZ_MODELS};
    mdl_module *module = mdl_front(memory, &options, diagnostics);
    if (!module && !*mdl_diagnostics_text(diagnostics)) abort();
    const char *wrong = module ? mdl_verify(memory, module->forward) : NULL;
    if (wrong) fprintf(stderr, "%s\n", wrong), abort();
    mdl_arena_free(memory);
    return 0;
}
