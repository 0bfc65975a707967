/* A file of records (as TFRecord): u64 length, u32 masked CRC of it, data, u32 masked CRC of the data, all little-endian. Data are
 * protocol buffers, written by hand: a message is a sequence of keys, field number * 8 + wire type, each with its value.
 *
 *   Event    1 wall_time: double   2 step: varint   3 file_version: text   5 summary: message
 *   Summary  1 value: message, repeated
 *   Value    1 tag: text   2 simple_value: float */
#include "runtime/report/tensorboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/file.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */
enum { TAG = 256, ROOM = MDL_MAX_FIGURES * (TAG + 16), HEADER = 12, FOOTER = 4 };

/* A message that is being written; what does not fit is counted and not written. */
typedef struct {
    size_t n, room;
    unsigned char *at;
} message;

struct mdl_events {
    FILE *file;
    char *path;
    unsigned char summary[ROOM], record[HEADER + ROOM + 64 + FOOTER];
};

uint32_t mdl_crc32c(const void *bytes, size_t n) {
    uint32_t crc = ~0u;
    for (const unsigned char *at = bytes; n--; at++) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

uint32_t mdl_crc32c_masked(const void *bytes, size_t n) {
    uint32_t crc = mdl_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers ---- */
static void put_bytes(message *m, const void *bytes, size_t n) {
    if (m->n + n <= m->room) memcpy(m->at + m->n, bytes, n);
    m->n += n;
}

static void put_little(message *m, uint64_t value, int bytes) {
    unsigned char text[8];
    for (int i = 0; i < bytes; i++) text[i] = (unsigned char)(value >> 8 * i);
    put_bytes(m, text, (size_t)bytes);
}

static void put_varint(message *m, uint64_t value) {
    for (; value >= 128; value >>= 7) put_little(m, value % 128 + 128, 1);
    put_little(m, value, 1);
}

static void put_key(message *m, int field, int wire) { put_varint(m, (uint64_t)(field * 8 + wire)); }

static void put_field(message *m, int field, const void *bytes, size_t n) {
    put_key(m, field, BYTES);
    put_varint(m, n);
    put_bytes(m, bytes, n);
}

static void put_value(message *summary, const char *tag, double value) {
    unsigned char text[TAG + 16];
    message m = {.room = sizeof text, .at = text};
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_field(&m, 1, tag, strlen(tag));
    put_key(&m, 2, FIXED32);
    put_little(&m, bits, 4);
    put_field(summary, 1, text, m.n);
}

/* ---- records ---- */
/* The record of an event with this field; `what` is its number. */
static mdl_status write_event(mdl_events *events, int64_t step, int what, const void *bytes, size_t n) {
    message head = {.room = HEADER, .at = events->record};
    message event = {.room = sizeof events->record - HEADER - FOOTER, .at = events->record + HEADER};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double wall = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &wall, sizeof bits);
    put_key(&event, 1, FIXED64);
    put_little(&event, bits, 8);
    put_key(&event, 2, VARINT);
    put_varint(&event, (uint64_t)step);
    put_field(&event, what, bytes, n);
    if (event.n > event.room) return mdl_fail(MDL_SYSTEM, "%s: an event is longer than %zu bytes", events->path, event.room);
    put_little(&head, event.n, 8);
    put_little(&head, mdl_crc32c_masked(events->record, 8), 4);
    message foot = {.room = FOOTER, .at = event.at + event.n};
    put_little(&foot, mdl_crc32c_masked(event.at, event.n), 4);
    size_t all = HEADER + event.n + FOOTER;
    if (fwrite(events->record, 1, all, events->file) != all || fflush(events->file)) return mdl_fail_errno("%s", events->path);
    return MDL_OK;
}

/* "loss" to "train/loss", "eval_loss" to "eval/loss". */
static void make_tag(char *tag, const char *name) {
    bool evaluated = !strncmp(name, "eval_", 5);
    snprintf(tag, TAG, "%s/%s", evaluated ? "eval" : "train", evaluated ? name + 5 : name);
}

mdl_status mdl_events_write(mdl_events *events, const mdl_figures *figures) {
    message summary = {.room = ROOM, .at = events->summary};
    const mdl_figure *step = mdl_figures_find(figures, "step");
    for (int i = 0; i < figures->n; i++) {
        char tag[TAG];
        if (&figures->at[i] == step) continue;
        make_tag(tag, figures->at[i].name);
        put_value(&summary, tag, figures->at[i].value);
    }
    if (summary.n > ROOM) return mdl_fail(MDL_SYSTEM, "%s: a summary is longer than %d bytes", events->path, ROOM);
    return write_event(events, step ? (int64_t)step->value : 0, 5, events->summary, summary.n);
}

static char *path_in(mdl_arena *scratch, const char *folder) {
    char host[128] = "localhost";
    if (gethostname(host, sizeof host)) host[0] = 0;
    host[sizeof host - 1] = 0;
    return mdl_printf(scratch, "%s/events.out.tfevents.%lld.%s.%ld", folder, (long long)time(NULL), host, (long)getpid());
}

mdl_status mdl_events_open(const char *folder, mdl_events **out) {
    mdl_arena *scratch = mdl_arena_new();
    mdl_events *events = calloc(1, sizeof *events);
    mdl_status status = events ? mdl_file_make_folder(folder) : mdl_fail(MDL_SYSTEM, "%s: no memory for events", folder);
    *out = NULL;
    if (!status) {
        events->path = strdup(path_in(scratch, folder));
        events->file = events->path ? fopen(events->path, "wbe") : NULL;
        status = events->file ? write_event(events, 0, 3, "brain.Event:2", 13) : mdl_fail_errno("%s", folder);
    }
    mdl_arena_free(scratch);
    if (status)
        mdl_events_close(events);
    else
        *out = events;
    return status;
}

void mdl_events_close(mdl_events *events) {
    if (!events) return;
    if (events->file) fclose(events->file);
    free(events->path);
    free(events);
}
