/* Suite `safetensors`: what is written reads back, and every rule of the format is enforced with a message that says where. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/safetensors.h"
#include "tests/check.h"

static const char *scratch(mdl_test *t, mdl_arena *arena, const char *name) {
    return mdl_printf(arena, "%s/%s", mdl_test_scratch(t), name);
}

static void put(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) abort();
}

/* A file of this header and n bytes of data; `extra` is added to the header's length as written. */
static void put_safetensors(const char *path, const char *header, size_t length, size_t n, int64_t extra) {
    unsigned char *bytes = calloc(1, 8 + length + n + 1);
    if (!bytes) abort();
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)((int64_t)length + extra) >> 8 * i);
    memcpy(bytes + 8, header, length);
    put(path, bytes, 8 + length + n);
    free(bytes);
}

#define T4 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"
static const struct {
    const char *about, *header;
    size_t data;
    int64_t extra;
} malformed[] = {
    {"header does not begin with a brace", "[1,2]", 0, 0},
    {"header of no bytes", "", 0, 0},
    {"leading space", " {}", 0, 0},
    {"header cut", "{\"a\":{" T4 "}", 4, 0},
    {"text after the object", "{} x", 0, 0},
    {"not UTF-8", "{\"\xff\xfe\":{" T4 "}}", 4, 0},
    {"duplicate name", "{\"a\":{" T4 "},\"a\":{" T4 "}}", 4, 0},
    {"duplicate key in an entry", "{\"a\":{\"dtype\":\"F32\"," T4 "}}", 4, 0},
    {"length over the limit", "{}", 0, 100000000},
    {"negative length", "{}", 0, -3},
    {"length past the end", "{}", 0, 100},
    {"entry is a number", "{\"a\":1}", 0, 0},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0},
    {"unknown dtype", "{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, 0},
    {"negative dim", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, 0},
    {"fractional dim", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, 0},
    {"too many dims", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, 0},
    {"dim beyond 64 bits", "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]}}", 4, 0},
    {"size overflows", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, 0},
    {"bits overflow", "{\"a\":{\"dtype\":\"F32\",\"shape\":[576460752303423488],\"data_offsets\":[0,0]}}", 0, 0},
    {"half a byte", "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, 0},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, 0},
    {"one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, 0},
    {"negative offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, 0},
    {"offsets reversed", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, 0},
    {"size and offsets differ", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, 0},
    {"does not begin at 0", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, 0},
    {"hole", "{\"a\":{" T4 "},\"b\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[8,12]}}", 12, 0},
    {"overlap", "{\"a\":{" T4 "},\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[2,6]}}", 6, 0},
    {"truncated", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, 0},
    {"bytes left over", "{\"a\":{" T4 "}}", 5, 0},
    {"NaN for an offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[NaN,4]}}", 4, 0},
    {"fractional offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0.0,4]}}", 4, 0},
    {"offset beyond 64 bits", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,18446744073709551620]}}", 4, 0},
    {"infinite dim", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,4]}}", 4, 0},
    {"a zero byte in a name", "{\"a\\u0000b\":{" T4 "}}", 4, 0},
    {"an empty tensor in another's middle", "{\"a\":{" T4 "},\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]}}", 4,
     0},
    {"two tensors of the same bytes", "{\"a\":{" T4 "},\"b\":{" T4 "}}", 4, 0},
    {"metadata is no object", "{\"__metadata__\":[]}", 0, 0},
    {"metadata value is no text", "{\"__metadata__\":{\"a\":\"x\",\"b\":1}}", 0, 0},
};

static void read_malformed(mdl_test *t, mdl_arena *arena) {
    mdl_text report = {.arena = arena};
    mdl_safetensors *file = NULL;
    const char *path = scratch(t, arena, "bad.safetensors");
    size_t folder = strlen(mdl_test_scratch(t)) + 1;
    if (!mdl_case(t, "malformed files: one message each")) return;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        put_safetensors(path, malformed[i].header, strlen(malformed[i].header), malformed[i].data, malformed[i].extra);
        mdl_status status = mdl_safetensors_open(path, &file);
        CHECK(t, status && mdl_status_code(status) == MDL_BAD_INPUT && !file, "%s: was accepted", malformed[i].about);
        mdl_text_printf(&report, "%s\n    %s\n", malformed[i].about, status ? mdl_message(status) + folder : "accepted");
        mdl_status_free(status);
        mdl_safetensors_close(file);
    }
    put(path, "1234567", 7);
    const char *paths[] = {path, scratch(t, arena, "absent.safetensors"), mdl_printf(arena, "%s/.", mdl_test_scratch(t))};
    for (int i = 0; i < 3; i++) {
        mdl_status status = mdl_safetensors_open(paths[i], &file);
        mdl_text_printf(&report, "%s\n    %s\n",
                        i == 0   ? "short"
                        : i == 1 ? "absent"
                                 : "a folder",
                        status ? mdl_message(status) + folder : "accepted");
        mdl_status_free(status);
    }
    mdl_golden(t, "data/safetensors.txt", report.at);
}

static void cut_everywhere(mdl_test *t, mdl_arena *arena) {
    const char *path = scratch(t, arena, "cut.safetensors");
    unsigned char bytes[256];
    if (!mdl_case(t, "a file cut at any byte is refused")) return;
    put_safetensors(path, "{\"a\":{" T4 "}}", strlen("{\"a\":{" T4 "}}"), 4, 0);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    CHECK(t, n > 40, "the whole file has %zu bytes", n);
    for (size_t cut = 0; cut <= n; cut++) {
        mdl_safetensors *file = NULL;
        put(path, bytes, cut);
        mdl_status status = mdl_safetensors_open(path, &file);
        CHECK(t, !status == (cut == n), "cut at %zu of %zu: %s", cut, n, status ? mdl_message(status) : "accepted");
        mdl_status_free(status);
        mdl_safetensors_close(file);
    }
}

/* Files in the scratch folder: a write leaves no temporary one behind. */
static int files_in(const char *folder, const char *prefix) {
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) n += !strncmp(e->d_name, prefix, strlen(prefix));
    if (d) closedir(d);
    return n;
}

static void check_back(mdl_test *t, const char *path, int n, const mdl_tensor *tensors) {
    mdl_safetensors *file = NULL;
    mdl_status status = mdl_safetensors_write(path, n, tensors);
    if (!status) status = mdl_safetensors_open(path, &file);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    if (!file) return;
    CHECK(t, mdl_safetensors_count(file) == n, "%d tensors", mdl_safetensors_count(file));
    for (int k = 0; k < n; k++) {
        const mdl_tensor *found = mdl_safetensors_find(file, tensors[k].name);
        CHECK(t, found, "%s: absent", tensors[k].name);
        if (!found) continue;
        size_t bytes = (size_t)mdl_type_bytes(&tensors[k].type), align = (size_t)mdl_dtype_bits(found->type.dtype) / 8;
        CHECK(t, mdl_type_equal(&found->type, &tensors[k].type), "%s: of another type", tensors[k].name);
        CHECK(t, !memcmp(found->bytes, tensors[k].bytes, bytes), "%s: its bytes differ", tensors[k].name);
        CHECK(t, (uintptr_t)found->bytes % align == 0, "%s: unaligned", tensors[k].name);
    }
    const char *format = mdl_safetensors_metadata(file, "format"), *first = mdl_safetensors_at(file, 0)->name;
    CHECK(t, !strcmp(first, tensors[0].name), "first is %s", first);
    CHECK(t, format && !strcmp(format, "pt"), "format is %s", format ? format : "absent");
    CHECK(t, !mdl_safetensors_find(file, "absent") && !mdl_safetensors_metadata(file, "absent"), "found what is not there");
    mdl_safetensors_close(file);
}

static void round_trip(mdl_test *t, mdl_arena *arena) {
    float f[6] = {1, -2, 3.5F, 1e-30F, 0, 1e30F};
    double d[2] = {0.1, -0.2};
    uint16_t h[3] = {0x3f80, 0xc000, 0x7fc0};
    int32_t i[1] = {-7};
    bool b[3] = {true, false, true};
    mdl_tensor tensors[] = {{"a.weight", mdl_type_make(MDL_F32, 2, (int64_t[]){2, 3}), f},
                            {"d", mdl_type_make(MDL_F64, 1, (int64_t[]){2}), d},
                            {"\"quoted\" \xc3\xa9", mdl_type_make(MDL_BF16, 1, (int64_t[]){3}), h},
                            {"odd bytes", mdl_type_make(MDL_BOOL, 1, (int64_t[]){3}), b},
                            {"scalar", mdl_type_make(MDL_I32, 0, NULL), i},
                            {"none", mdl_type_make(MDL_F32, 2, (int64_t[]){0, 4}), f}};
    const char *path = scratch(t, arena, "round.safetensors");
    unsigned char head[8] = {1};
    mdl_case(t, "what is written reads back, aligned, and a second write replaces it");
    check_back(t, path, 6, tensors);
    check_back(t, path, 2, tensors + 1);
    FILE *raw = fopen(path, "rb");
    CHECK(t, raw && fread(head, 1, 8, raw) == 8 && head[0] % 8 == 0, "header length %d is no multiple of 8", head[0]);
    if (raw) fclose(raw);
    CHECK(t, files_in(mdl_test_scratch(t), "round.") == 1, "a temporary file is left");
}

static void write_refused(mdl_test *t, mdl_arena *arena) {
    float x = 1;
    mdl_type one = mdl_type_make(MDL_F32, 1, (int64_t[]){1});
    mdl_tensor twice[] = {{"a", one, &x}, {"a", one, &x}};
    mdl_tensor bytes[] = {{"\xff", one, &x}}, fp8[] = {{"q", mdl_type_make(MDL_E4M3, 1, (int64_t[]){1}), &x}};
    const struct {
        const char *name;
        int n;
        const mdl_tensor *tensors;
    } cases[] = {{"refused", 2, twice}, {"refused", 1, bytes}, {"refused", 1, fp8}, {"absent/refused", 1, twice}};
    mdl_text report = {.arena = arena};
    if (!mdl_case(t, "what cannot be written: one message each, and no file")) return;
    for (int i = 0; i < 4; i++) {
        mdl_status status = mdl_safetensors_write(scratch(t, arena, cases[i].name), cases[i].n, cases[i].tensors);
        CHECK(t, status, "case %d was written", i);
        mdl_text_printf(&report, "%s\n", mdl_message(status) + (status ? strlen(mdl_test_scratch(t)) + 1 : 0));
        mdl_status_free(status);
    }
    for (char *bad = report.at; *bad; bad++)
        if (*bad == '\xff') *bad = '?';
    CHECK(t, !files_in(mdl_test_scratch(t), "refused"), "a file was left behind");
    mdl_golden(t, "data/safetensors_write.txt", report.at);
}

static void set_aside(mdl_test *t, mdl_arena *arena) {
    const char *path = scratch(t, arena, "other.safetensors");
    const char *header =
        "{\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]} }";
    mdl_safetensors *file = NULL;
    const mdl_tensor *tensor = NULL;
    mdl_case(t, "a tensor of a dtype we have no type for is set aside and named when needed; an odd header does not unalign");
    put_safetensors(path, header, strlen(header), 20, 0);
    mdl_status status = mdl_safetensors_open(path, &file);
    CHECK(t, !status && mdl_safetensors_count(file) == 1, "%s", mdl_message(status));
    mdl_status_free(status);
    if (!file) return;
    CHECK(t, !mdl_safetensors_find(file, "ids"), "find gave a tensor without a type");
    status = mdl_safetensors_need(file, "w", &tensor);
    CHECK(t, !status && tensor && (uintptr_t)tensor->bytes % 4 == 0, "w: %s, at %p", mdl_message(status),
          tensor ? tensor->bytes : NULL);
    CHECK(t, strlen(header) % 4, "the header's length hides what this tests");
    status = mdl_safetensors_need(file, "ids", &tensor);
    CHECK(t, strstr(mdl_message(status), "tensor \"ids\": dtype I64 is not supported"), "%s", mdl_message(status));
    mdl_status_free(status);
    status = mdl_safetensors_need(file, "v", &tensor);
    CHECK(t, strstr(mdl_message(status), "there is no tensor \"v\""), "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_safetensors_close(file);
}

void suite_safetensors(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    round_trip(t, arena);
    write_refused(t, arena);
    set_aside(t, arena);
    read_malformed(t, arena);
    cut_everywhere(t, arena);
    mdl_arena_free(arena);
}
