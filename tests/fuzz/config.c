/* Any bytes as a configuration: refused with a message, or what is printed of it reads back as the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/train/config.h"
#include "tests/fuzz/fuzz.h"

/* To be freed. */
static char *printed(const mdl_config *config) {
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out) abort();
    mdl_config_print(out, config, false);
    if (fclose(out)) abort();
    return text;
}

int mdl_fuzz_config(const uint8_t *bytes, size_t size) {
    mdl_config *config = NULL, *again = NULL;
    mdl_status status = mdl_config_read(mdl_fuzz_file(bytes, size), 0, NULL, &config);
    if (status) {
        if (!*mdl_message(status)) abort();
        mdl_status_free(status);
        return 0;
    }
    char *text = printed(config);
    status = mdl_config_read(mdl_fuzz_file((const uint8_t *)text, strlen(text)), 0, NULL, &again);
    if (status) fprintf(stderr, "%s\n%s\n", text, mdl_message(status)), abort();
    char *second = printed(again);
    if (strcmp(text, second)) fprintf(stderr, "%s\n%s\n", text, second), abort();
    free(text);
    free(second);
    mdl_config_free(config);
    mdl_config_free(again);
    return 0;
}
