/* libcupti without a GPU: a record for each thing that the fake driver did while a kind was enabled, of 600 ns every 1000 ns.
 * $MDL_FAKE_CUPTI: "refuses" enables nothing, "silent" records nothing. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

typedef struct {
    uint32_t kind;
    unsigned char other[12];
    uint64_t start, end;
} record;
enum { KERNEL = 10 };

static void (*request)(uint8_t **buffer, size_t *bytes, size_t *most);
static void (*complete)(void *context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid);
static int64_t flushed;
static int enabled;

static int is(const char *mode) {
    const char *value = getenv("MDL_FAKE_CUPTI");
    return value && !strcmp(value, mode);
}

int cuptiGetResultString(int result, const char **text) { return *text = result == 39 ? "another one watches" : "fake", 0; }
int cuptiActivityRegisterCallbacks(void (*r)(uint8_t **, size_t *, size_t *),
                                   void (*c)(void *, uint32_t, uint8_t *, size_t, size_t)) {
    return request = r, complete = c, 0;
}
int cuptiActivityEnable(int kind) {
    if (kind == KERNEL) flushed = fake_ran();
    return enabled |= kind == KERNEL, is("refuses") ? 39 : 0;
}
int cuptiActivityDisable(int kind) { return enabled &= kind != KERNEL, 0; }
int cuptiActivityFlushAll(uint32_t flag) {
    uint8_t *buffer = NULL;
    size_t bytes = 0, most = 0, n = 0;
    if (!enabled || flag != 1 || is("silent")) return 0;
    request(&buffer, &bytes, &most);
    for (; flushed < fake_ran() && (n + 1) * sizeof(record) <= bytes; flushed++, n++)
        ((record *)buffer)[n] = (record){KERNEL, {0}, 1000 * (uint64_t)flushed, 1000 * (uint64_t)flushed + 600};
    return complete(NULL, 0, buffer, bytes, n * sizeof(record)), 0;
}
int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, record **at) {
    *at = *at ? *at + 1 : (record *)buffer;
    return (uint8_t *)*at < buffer + valid ? 0 : 12;
}
