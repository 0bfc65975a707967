/* Any bytes as a safetensors file: refused, or every tensor is where the file has it, and what is written again reads the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void expect(bool ok) {
    if (!ok) abort();
}

static unsigned touch(const mdl_tensor *tensor) {
    unsigned sum = 0;
    for (int64_t i = 0; i < mdl_type_bytes(&tensor->type); i++) sum += ((const unsigned char *)tensor->bytes)[i];
    return sum;
}

static void write_again(const mdl_safetensors *file) {
    char *text = NULL;
    size_t size = 0;
    int n = mdl_safetensors_count(file);
    mdl_tensor *tensors = calloc((size_t)n + 1, sizeof *tensors);
    FILE *out = open_memstream(&text, &size);
    expect(tensors && out);
    for (int i = 0; i < n; i++) tensors[i] = *mdl_safetensors_at(file, i);
    expect(!mdl_safetensors_stream(out, n, tensors, NULL, NULL) && !fclose(out));
    mdl_safetensors *again = NULL;
    expect(!mdl_safetensors_open(mdl_fuzz_file((const uint8_t *)text, size), &again) && mdl_safetensors_count(again) == n);
    for (int i = 0; i < n; i++) {
        const mdl_tensor *tensor = mdl_safetensors_find(again, tensors[i].name);
        expect(tensor && mdl_type_equal(&tensor->type, &tensors[i].type) && touch(tensor) == touch(&tensors[i]));
    }
    mdl_safetensors_close(again);
    free(tensors);
    free(text);
}

int mdl_fuzz_safetensors(const uint8_t *bytes, size_t size) {
    mdl_safetensors *file = NULL;
    mdl_status status = mdl_safetensors_open(mdl_fuzz_file(bytes, size), &file);
    expect(!status != !file && (!status || *mdl_message(status)));
    mdl_status_free(status);
    if (!file) return 0;
    int64_t all = 0;
    for (int i = 0; i < mdl_safetensors_count(file); i++) {
        const mdl_tensor *tensor = mdl_safetensors_at(file, i);
        expect(mdl_safetensors_find(file, tensor->name) == tensor);
        touch(tensor);
        all += mdl_type_bytes(&tensor->type);
    }
    expect(all <= (int64_t)size);
    write_again(file);
    mdl_safetensors_close(file);
    return 0;
}
