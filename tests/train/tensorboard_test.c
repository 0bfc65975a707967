/* Suite `tensorboard`: CRCs against published values, and event files read back record by record. TensorBoard itself reads them in
 * the suite `huggingface`, where there is a Python that has it. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/report/tensorboard.h"
#include "tests/check.h"

static void crcs(mdl_test *t) {
    unsigned char zeros[32] = {0}, ones[32];
    memset(ones, 0xff, sizeof ones);
    mdl_case(t, "CRC-32C: the check value, and those of RFC 3720");
    CHECK(t, mdl_crc32c("123456789", 9) == 0xe3069283u, "%08x", mdl_crc32c("123456789", 9));
    CHECK(t, mdl_crc32c(zeros, 32) == 0x8a9136aau, "%08x", mdl_crc32c(zeros, 32));
    CHECK(t, mdl_crc32c(ones, 32) == 0x62a8ab43u, "%08x", mdl_crc32c(ones, 32));
    CHECK(t, !mdl_crc32c("", 0), "of nothing");
}

static uint64_t little(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    while (bytes--) value = value << 8 | at[bytes];
    return value;
}

typedef struct {
    const unsigned char *at, *end;
} reader;

static uint64_t varint(reader *r) {
    uint64_t value = 0;
    for (int shift = 0; r->at < r->end; shift += 7) {
        value |= (uint64_t)(*r->at & 127) << shift;
        if (*r->at++ < 128) break;
    }
    return value;
}

/* "2=10 5{1{1"train/loss" 2=2.5}}": fields by number, the wall time left out. */
static void print_message(mdl_text *out, reader r, int depth) {
    while (r.at < r.end) {
        uint64_t key = varint(&r), length;
        int field = (int)(key / 8);
        float number;
        switch (key % 8) {
            case 0: mdl_text_printf(out, " %d=%lld", field, (long long)varint(&r)); break;
            case 1: r.at += 8; break;
            case 5:
                memcpy(&number, r.at, sizeof number);
                mdl_text_printf(out, " %d=%g", field, (double)number);
                r.at += 4;
                break;
            default:
                length = varint(&r);
                bool text = field == 3 || (depth == 2 && field == 1);
                if (text) {
                    mdl_text_printf(out, " %d\"%.*s\"", field, (int)length, (const char *)r.at);
                } else {
                    mdl_text_printf(out, " %d{", field);
                    print_message(out, (reader){r.at, r.at + length}, depth + 1);
                    mdl_text_printf(out, " }");
                }
                r.at += length;
        }
    }
}

static void print_records(mdl_test *t, mdl_text *out, const unsigned char *bytes, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t length = at + 12 <= n ? (size_t)little(bytes + at, 8) : n;
        bool whole = at + 16 + length <= n;
        CHECK(t, whole, "a record at %zu goes past the end", at);
        if (!whole) return;
        CHECK(t, little(bytes + at + 8, 4) == mdl_crc32c_masked(bytes + at, 8), "the length's CRC at %zu", at);
        CHECK(t, little(bytes + at + 12 + length, 4) == mdl_crc32c_masked(bytes + at + 12, length), "the data's CRC at %zu", at);
        print_message(out, (reader){bytes + at + 12, bytes + at + 12 + length}, 0);
        mdl_text_printf(out, "\n");
        at += 16 + length;
    }
}

/* The bytes of the one file in a folder whose name says that it holds events. */
static size_t read_events(mdl_test *t, const char *folder, unsigned char *bytes, size_t room) {
    DIR *d = opendir(folder);
    size_t n = 0;
    int files = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[1024];
        if (strncmp(e->d_name, "events.out.tfevents.", 20)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = fopen(path, "rb");
        n = f ? fread(bytes, 1, room, f) : 0;
        if (f) fclose(f);
        files++;
    }
    if (d) closedir(d);
    CHECK(t, files == 1, "%d files of events", files);
    return n;
}

static void files(mdl_test *t) {
    static unsigned char bytes[1 << 16];
    mdl_arena *memory = mdl_arena_new();
    mdl_events *events = NULL;
    mdl_text text = {.arena = memory};
    mdl_figures training = {0}, evaluation = {0};
    const char *folder = mdl_printf(memory, "%s/a/events", mdl_test_scratch(t));
    mdl_case(t, "an event file: version first, tags of training and evaluation, steps");
    mdl_figures_add(&training, "step", 300);
    mdl_figures_add(&training, "loss", 2.5);
    mdl_figures_add(&training, "grad_norm", NAN);
    mdl_figures_add(&evaluation, "eval_loss", 2.25);
    mdl_figures_add(&evaluation, "step", 70000);
    mdl_status status = mdl_events_open(folder, &events);
    if (!status) status = mdl_events_write(events, &training);
    if (!status) status = mdl_events_write(events, &evaluation);
    CHECK(t, !status, "%s", mdl_message(status));
    print_records(t, &text, bytes, read_events(t, folder, bytes, sizeof bytes)); /* open still: each event is flushed */
    mdl_events_close(events);
    const char *expected =
        " 2=0 3\"brain.Event:2\"\n"
        " 2=300 5{ 1{ 1\"train/loss\" 2=2.5 } 1{ 1\"train/grad_norm\" 2=nan } }\n"
        " 2=70000 5{ 1{ 1\"eval/loss\" 2=2.25 } }\n";
    CHECK(t, text.at && !strcmp(text.at, expected), "%s", text.at ? text.at : "nothing");
    mdl_status_free(status);
    mdl_arena_free(memory);
}

/* As many figures as there may be, with the longest names: all of them arrive. */
static void long_names(mdl_test *t) {
    static unsigned char bytes[1 << 16];
    static char names[MDL_MAX_FIGURES][300];
    mdl_arena *memory = mdl_arena_new();
    mdl_events *events = NULL;
    mdl_figures figures = {0};
    const char *folder = mdl_printf(memory, "%s/long", mdl_test_scratch(t));
    mdl_text text = {.arena = memory};
    mdl_case(t, "as many figures as fit, with long names");
    for (int i = 0; i < MDL_MAX_FIGURES; i++) {
        memset(names[i], 'x', sizeof names[i] - 1);
        mdl_figures_add(&figures, names[i], i);
    }
    mdl_status status = mdl_events_open(folder, &events);
    if (!status) status = mdl_events_write(events, &figures);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_events_close(events);
    print_records(t, &text, bytes, read_events(t, folder, bytes, sizeof bytes));
    CHECK(t, text.at && strstr(text.at, "2=63 }"), "the last figure is lost");
    mdl_status_free(status);
    mdl_case(t, "a folder that cannot be made");
    status = mdl_events_open("/proc/no/events", &events);
    CHECK(t, status && !events && strstr(mdl_message(status), "/proc/no"), "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_arena_free(memory);
}

void suite_tensorboard(mdl_test *t) {
    crcs(t);
    files(t);
    long_names(t);
}
