/* Any bytes as a checkpoint's COMMIT.json, its own hash made right where it can be: refused, or names and sizes that are ones. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static char folder[] = "/tmp/mdlfuzz.XXXXXX", path[64];

static void remove_folder(void) {
    unlink(path);
    rmdir(folder);
}

static void put(const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) abort();
}

/* With a hash that fits, what else is checked shows. */
static void put_mended(mdl_arena *memory, const uint8_t *bytes, size_t size) {
    json_t *root = json_loadb((const char *)bytes, size, 0, NULL);
    const char *self = json_is_object(root) ? mdl_commit_self(memory, root) : NULL;
    if (self) json_object_set_new(root, "self", json_string(self));
    char *text = root ? json_dumps(root, 0) : NULL;
    put(text ? text : (const char *)bytes, text ? strlen(text) : size);
    free(text);
    json_decref(root);
}

static void read_it(mdl_arena *memory) {
    mdl_commit commit = {0};
    mdl_status status = mdl_commit_read(memory, folder, &commit);
    for (int i = 0; i < commit.files.n && !status; i++)
        if (strchr(commit.files.at[i].name, '/') || commit.files.at[i].bytes < 0 || strlen(commit.files.at[i].hash) != 32) abort();
    mdl_status_free(status);
}

int mdl_fuzz_commit(const uint8_t *bytes, size_t size) {
    mdl_arena *memory = mdl_arena_new();
    if (!*path) {
        if (!mkdtemp(folder) || atexit(remove_folder)) abort();
        snprintf(path, sizeof path, "%s/%s", folder, MDL_COMMIT_FILE);
    }
    put(bytes, size);
    read_it(memory);
    put_mended(memory, bytes, size);
    read_it(memory);
    mdl_arena_free(memory);
    return 0;
}
