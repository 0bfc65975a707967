/* Any bytes as the plan.json of a small plan whose other files are right: refused, or a plan that writes and reads again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "runtime/plan/plan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/plan/fixture.h"

enum { ENTRIES = 32 };
static struct {
    char *name, *bytes;
    zip_uint64_t size;
} other[ENTRIES];
static int n_others;

/* Once: what a plan has beside its plan.json. */
static void make_others(void) {
    char path[] = "/tmp/mdlfuzz.XXXXXX";
    int fd = mkstemp(path), error;
    mdl_plan *plan = mdl_fixture_plan();
    if (fd < 0 || mdl_plan_write(plan, path)) abort();
    zip_t *zip = zip_open(path, ZIP_RDONLY, &error);
    zip_int64_t n = zip ? zip_get_num_entries(zip, 0) : 0;
    for (zip_int64_t i = 0; i < n && n_others < ENTRIES; i++) {
        zip_stat_t facts;
        zip_file_t *in = zip_fopen_index(zip, (zip_uint64_t)i, 0);
        if (zip_stat_index(zip, (zip_uint64_t)i, 0, &facts) || !in) abort();
        if (!strcmp(facts.name, "plan.json")) {
            zip_fclose(in);
            continue;
        }
        other[n_others].name = strdup(facts.name), other[n_others].size = facts.size,
        other[n_others].bytes = malloc(facts.size + 1);
        if (zip_fread(in, other[n_others].bytes, facts.size) != (zip_int64_t)facts.size || zip_fclose(in)) abort();
        n_others++;
    }
    if (!n_others) abort();
    zip_discard(zip);
    close(fd);
    unlink(path);
    mdl_plan_free(plan);
}

static void add(zip_t *zip, const char *name, const void *bytes, zip_uint64_t size) {
    zip_source_t *source = zip_source_buffer(zip, bytes, size, 0);
    zip_int64_t index = source ? zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0 || zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) ||
        zip_file_set_mtime(zip, (zip_uint64_t)index, 315532800, 0))
        abort();
}

static char made[] = "/tmp/mdlfuzz.XXXXXX";

static void remove_made(void) { unlink(made); }

static void make_zip(const uint8_t *bytes, size_t size) {
    int error;
    zip_t *zip = zip_open(made, ZIP_CREATE | ZIP_TRUNCATE, &error);
    if (!zip) abort();
    add(zip, "plan.json", bytes, size);
    for (int i = 0; i < n_others; i++) add(zip, other[i].name, other[i].bytes, other[i].size);
    if (zip_close(zip)) abort();
}

int mdl_fuzz_plan(const uint8_t *bytes, size_t size) {
    mdl_plan *plan = NULL;
    if (!n_others) {
        int fd = mkstemp(made);
        if (fd < 0 || close(fd) || atexit(remove_made)) abort();
        make_others();
    }
    make_zip(bytes, size);
    mdl_status status = mdl_plan_read(made, &plan);
    if (!status) { /* verified: it verifies again */
        mdl_status again = mdl_plan_verify(plan);
        if (again) fprintf(stderr, "%s\n", mdl_message(again)), abort();
        mdl_plan_free(plan);
    } else if (!*mdl_message(status)) {
        abort();
    }
    mdl_status_free(status);
    return 0;
}
