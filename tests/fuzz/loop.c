/* Any bytes as a kernel of loop IR: refused with a message, or what is printed of it reads back as the same text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/loop.h"
#include "tests/fuzz/fuzz.h"

int mdl_fuzz_loop(const uint8_t *bytes, size_t size) {
    mdl_arena *memory = mdl_arena_new();
    const char *wrong = NULL;
    const mdl_loop_kernel *kernel = mdl_loop_parse(memory, mdl_strndup(memory, (const char *)bytes, size), &wrong);
    if (!kernel && (!wrong || !*wrong)) abort();
    if (kernel && !mdl_loop_verify(memory, kernel)) {
        const char *text = mdl_loop_print(memory, kernel);
        const mdl_loop_kernel *again = mdl_loop_parse(memory, text, &wrong);
        if (!again || strcmp(text, mdl_loop_print(memory, again))) fprintf(stderr, "%s\n%s\n", text, again ? "" : wrong), abort();
    }
    mdl_arena_free(memory);
    return 0;
}
