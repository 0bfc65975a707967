/* Any bytes as programs of tensor IR: refused with a message, or what is printed of them reads back as the same text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/ir/ir.h"
#include "tests/fuzz/fuzz.h"

static const char *printed(mdl_arena *memory, const mdl_regions *programs) {
    mdl_text text = {.arena = memory};
    mdl_text_append(&text, "", 0);
    for (int i = 0; i < programs->n; i++) mdl_print_region(&text, programs->at[i], true);
    return text.at;
}

int mdl_fuzz_ir(const uint8_t *bytes, size_t size) {
    mdl_arena *memory = mdl_arena_new();
    mdl_regions programs = {0}, again = {0};
    const char *wrong = mdl_parse_ir(memory, mdl_strndup(memory, (const char *)bytes, size), &programs);
    for (int i = 0; i < programs.n && !wrong; i++) wrong = mdl_verify(memory, programs.at[i]);
    if (!wrong) {
        const char *text = printed(memory, &programs);
        wrong = mdl_parse_ir(memory, text, &again);
        if (wrong || strcmp(text, printed(memory, &again))) fprintf(stderr, "%s\n%s\n", text, wrong ? wrong : ""), abort();
    } else if (!*wrong) {
        abort();
    }
    mdl_arena_free(memory);
    return 0;
}
