/* safetensors: u64 little-endian header length N, N bytes of JSON, then the tensors' bytes without gaps. Reading enforces every
 * rule of the format before a byte is used; offsets in the header count from the end of the header. */
#include "runtime/base/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/file.h"

enum { MAX_HEADER = 100000000, LENGTH_BYTES = 8 };

/* Every dtype of the format. Those without a type of our own are checked like the others, then set aside. */
static const struct {
    const char *name;
    int bits;
    mdl_dtype ours; /* MDL_DTYPE_COUNT: none */
} dtypes[] = {
    {"F32", 32, MDL_F32},
    {"BF16", 16, MDL_BF16},
    {"I32", 32, MDL_I32},
    {"F64", 64, MDL_F64},
    {"BOOL", 8, MDL_BOOL},
    {"F16", 16, MDL_F16},
    {"I64", 64, MDL_DTYPE_COUNT},
    {"U64", 64, MDL_DTYPE_COUNT},
    {"U32", 32, MDL_DTYPE_COUNT},
    {"I16", 16, MDL_DTYPE_COUNT},
    {"U16", 16, MDL_DTYPE_COUNT},
    {"I8", 8, MDL_DTYPE_COUNT},
    {"U8", 8, MDL_DTYPE_COUNT},
    {"C64", 64, MDL_DTYPE_COUNT},
    {"F8_E4M3", 8, MDL_DTYPE_COUNT},
    {"F8_E5M2", 8, MDL_DTYPE_COUNT},
    {"F8_E8M0", 8, MDL_DTYPE_COUNT},
    {"F4", 4, MDL_DTYPE_COUNT},
    {"F6_E2M3", 6, MDL_DTYPE_COUNT},
    {"F6_E3M2", 6, MDL_DTYPE_COUNT},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

typedef struct {
    mdl_tensor tensor;
    int dtype; /* row of dtypes[] */
    int64_t begin, end;
} entry;

struct mdl_safetensors {
    mdl_arena *memory;
    const char *path;
    unsigned char *map;
    int64_t size, data; /* bytes of the file; where the tensors begin */
    entry *entries;     /* in file order, those without a type of ours included */
    int n_entries;
    const mdl_tensor **tensors; /* those with a type of ours */
    const entry **others;       /* the rest */
    int n_tensors, n_others;
    int *slot; /* open addressing over entries: index + 1, 0 when free */
    uint64_t mask;
    json_t *header;
};

static uint64_t read_u64(const unsigned char *at) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static mdl_status map_file(mdl_safetensors *file) {
    struct stat info;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return mdl_fail(MDL_BAD_INPUT, "cannot open it: %s", strerror(errno));
    mdl_status status = MDL_OK;
    if (fstat(fd, &info)) {
        status = mdl_fail_errno("cannot read its size");
    } else if (!S_ISREG(info.st_mode)) {
        status = mdl_fail(MDL_BAD_INPUT, "not a regular file");
    } else if (info.st_size < LENGTH_BYTES) {
        status =
            mdl_fail(MDL_BAD_INPUT, "%" PRId64 " bytes: too short to hold the header's length (8 bytes)", (int64_t)info.st_size);
    } else {
        file->size = info.st_size;
        file->map = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file->map == MAP_FAILED) {
            file->map = NULL;
            status = mdl_fail_errno("cannot map it");
        }
    }
    close(fd);
    return status;
}

static mdl_status parse_header(mdl_safetensors *file) {
    uint64_t length = read_u64(file->map);
    if (length > MAX_HEADER)
        return mdl_fail(MDL_BAD_INPUT, "header length %" PRIu64 " is over the format's limit of %d bytes", length, MAX_HEADER);
    if ((int64_t)length > file->size - LENGTH_BYTES)
        return mdl_fail(MDL_BAD_INPUT, "header length %" PRIu64 " goes past the end of the file (%" PRId64 " bytes)", length,
                        file->size);
    const char *text = (const char *)file->map + LENGTH_BYTES;
    if (!length || text[0] != '{') return mdl_fail(MDL_BAD_INPUT, "the header does not begin with '{'");
    json_error_t error;
    file->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!file->header) return mdl_fail(MDL_BAD_INPUT, "header, byte %d: %s", error.position, error.text);
    file->data = LENGTH_BYTES + (int64_t)length;
    return MDL_OK;
}

static mdl_status check_metadata(const json_t *metadata) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) return mdl_fail(MDL_BAD_INPUT, "__metadata__ is not an object");
    json_object_foreach((json_t *)metadata, key, value) {
        if (!json_is_string(value)) return mdl_fail(MDL_BAD_INPUT, "__metadata__: the value of \"%s\" is not a string", key);
    }
    return MDL_OK;
}

static mdl_status read_dtype(const json_t *value, entry *e) {
    const char *name = json_string_value(value);
    if (!name) return mdl_fail(MDL_BAD_INPUT, "\"dtype\" is missing or is not a string");
    for (e->dtype = 0; e->dtype < DTYPES; e->dtype++)
        if (!strcmp(dtypes[e->dtype].name, name)) break;
    if (e->dtype == DTYPES) return mdl_fail(MDL_BAD_INPUT, "unknown dtype \"%s\"", name);
    e->tensor.type.dtype = dtypes[e->dtype].ours;
    return MDL_OK;
}

/* Fills the type's dims and `bits`, the size that dtype and shape give. */
static mdl_status read_shape(const json_t *shape, entry *e, int64_t *bits) {
    if (!json_is_array(shape)) return mdl_fail(MDL_BAD_INPUT, "\"shape\" is missing or is not an array");
    size_t rank = json_array_size(shape);
    if (rank > MDL_MAX_RANK) return mdl_fail(MDL_BAD_INPUT, "%zu dims; at most %d are supported", rank, MDL_MAX_RANK);
    e->tensor.type.rank = (int)rank;
    *bits = dtypes[e->dtype].bits;
    for (size_t i = 0; i < rank; i++) {
        json_t *value = json_array_get(shape, i);
        int64_t dim = json_integer_value(value);
        if (!json_is_integer(value) || dim < 0) return mdl_fail(MDL_BAD_INPUT, "dim %zu of \"shape\" is not a natural number", i);
        if (__builtin_mul_overflow(*bits, dim, bits)) return mdl_fail(MDL_BAD_INPUT, "the size of \"shape\" overflows");
        e->tensor.type.dim[i] = dim;
    }
    if (*bits % 8)
        return mdl_fail(MDL_BAD_INPUT, "dtype and shape give %" PRId64 " bits, which is no whole number of bytes", *bits);
    return MDL_OK;
}

static mdl_status read_offsets(const json_t *offsets, entry *e) {
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return mdl_fail(MDL_BAD_INPUT, "\"data_offsets\" is missing or is not an array of two numbers");
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0)
        return mdl_fail(MDL_BAD_INPUT, "\"data_offsets\" are not natural numbers");
    e->begin = json_integer_value(begin);
    e->end = json_integer_value(end);
    if (e->end < e->begin)
        return mdl_fail(MDL_BAD_INPUT, "data_offsets [%" PRId64 ", %" PRId64 "] end before they begin", e->begin, e->end);
    return MDL_OK;
}

static mdl_status read_entry(const json_t *value, entry *e) {
    int64_t bits = 0;
    mdl_status status = MDL_OK;
    if (!json_is_object(value)) return mdl_fail(MDL_BAD_INPUT, "its entry is not an object");
    if ((status = read_dtype(json_object_get(value, "dtype"), e))) return status;
    if ((status = read_shape(json_object_get(value, "shape"), e, &bits))) return status;
    if ((status = read_offsets(json_object_get(value, "data_offsets"), e))) return status;
    if (e->end - e->begin != bits / 8)
        return mdl_fail(MDL_BAD_INPUT, "data_offsets span %" PRId64 " bytes; dtype and shape give %" PRId64, e->end - e->begin,
                        bits / 8);
    return MDL_OK;
}

static mdl_status read_entries(mdl_safetensors *file) {
    const char *key;
    json_t *value;
    file->entries = MDL_NEW_ARRAY(file->memory, entry, json_object_size(file->header));
    json_object_foreach(file->header, key, value) {
        if (!strcmp(key, "__metadata__")) {
            mdl_status status = check_metadata(value);
            if (status) return status;
            continue;
        }
        entry *e = &file->entries[file->n_entries++];
        e->tensor.name = key; /* lives in file->header */
        MDL_TRY(read_entry(value, e), "tensor \"%s\"", key);
    }
    return MDL_OK;
}

static int by_offset(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return strcmp(a->tensor.name, b->tensor.name);
}

/* Tensors lie one after another from 0 to the file's end: no hole, no overlap, nothing left over. */
static mdl_status check_layout(mdl_safetensors *file) {
    int64_t at = 0, have = file->size - file->data;
    qsort(file->entries, (size_t)file->n_entries, sizeof *file->entries, by_offset);
    for (int i = 0; i < file->n_entries; i++) {
        const entry *e = &file->entries[i];
        if (e->begin != at)
            return mdl_fail(MDL_BAD_INPUT, "tensor \"%s\": begins at %" PRId64 ", expected %" PRId64 ": %s", e->tensor.name,
                            e->begin, at, e->begin < at ? "it overlaps the tensor before it" : "there is a hole before it");
        if (e->end > have)
            return mdl_fail(MDL_BAD_INPUT,
                            "tensor \"%s\": ends at %" PRId64 ", but the file holds %" PRId64 " bytes of data: it is truncated",
                            e->tensor.name, e->end, have);
        at = e->end;
    }
    if (at != have) return mdl_fail(MDL_BAD_INPUT, "%" PRId64 " bytes after the last tensor", have - at);
    return MDL_OK;
}

/* A pointer to a tensor's bytes, aligned for its element type: a header of odd length makes every tensor need a copy. */
static const void *locate(mdl_safetensors *file, const entry *e) {
    const unsigned char *at = file->map + file->data + e->begin;
    size_t align = (size_t)(dtypes[e->dtype].bits + 7) / 8;
    return (uintptr_t)at % align ? mdl_copy(file->memory, at, (size_t)(e->end - e->begin)) : at;
}

static void build_index(mdl_safetensors *file) {
    uint64_t size = 8;
    while (size < 2 * (uint64_t)file->n_entries) size *= 2;
    file->mask = size - 1;
    file->slot = MDL_NEW_ARRAY(file->memory, int, size);
    file->tensors = MDL_NEW_ARRAY(file->memory, const mdl_tensor *, file->n_entries + 1);
    file->others = MDL_NEW_ARRAY(file->memory, const entry *, file->n_entries + 1);
    for (int i = 0; i < file->n_entries; i++) {
        entry *e = &file->entries[i];
        uint64_t h = XXH3_64bits(e->tensor.name, strlen(e->tensor.name)) & file->mask;
        while (file->slot[h]) h = (h + 1) & file->mask;
        file->slot[h] = i + 1;
        if (dtypes[e->dtype].ours == MDL_DTYPE_COUNT) {
            file->others[file->n_others++] = e;
            continue;
        }
        e->tensor.bytes = locate(file, e);
        file->tensors[file->n_tensors++] = &e->tensor;
    }
}

static mdl_status load(mdl_safetensors *file) {
    mdl_status status = map_file(file);
    if (!status) status = parse_header(file);
    if (!status) status = read_entries(file);
    if (!status) status = check_layout(file);
    if (!status) build_index(file);
    return status;
}

mdl_status mdl_safetensors_open(const char *path, mdl_safetensors **result) {
    mdl_arena *memory = mdl_arena_new();
    mdl_safetensors *file = MDL_NEW(memory, mdl_safetensors);
    file->memory = memory;
    file->path = mdl_strdup(memory, path);
    mdl_status status = load(file);
    *result = status ? NULL : file;
    if (status) mdl_safetensors_close(file);
    return mdl_context(status, "%s", path);
}

void mdl_safetensors_close(mdl_safetensors *file) {
    if (!file) return;
    if (file->map) munmap(file->map, (size_t)file->size);
    json_decref(file->header);
    mdl_arena_free(file->memory);
}

int mdl_safetensors_count(const mdl_safetensors *file) { return file->n_tensors; }

const mdl_tensor *mdl_safetensors_at(const mdl_safetensors *file, int i) { return file->tensors[i]; }

const char *mdl_safetensors_other(const mdl_safetensors *file, int i, const char **dtype) {
    if (i >= file->n_others) return NULL;
    *dtype = dtypes[file->others[i]->dtype].name;
    return file->others[i]->tensor.name;
}

static const entry *find(const mdl_safetensors *file, const char *name) {
    for (uint64_t h = XXH3_64bits(name, strlen(name)) & file->mask; file->slot[h]; h = (h + 1) & file->mask) {
        const entry *e = &file->entries[file->slot[h] - 1];
        if (!strcmp(e->tensor.name, name)) return e;
    }
    return NULL;
}

const mdl_tensor *mdl_safetensors_find(const mdl_safetensors *file, const char *name) {
    const entry *e = find(file, name);
    return e && e->tensor.bytes ? &e->tensor : NULL;
}

mdl_status mdl_safetensors_need(const mdl_safetensors *file, const char *name, const mdl_tensor **tensor) {
    const entry *e = find(file, name);
    *tensor = e && e->tensor.bytes ? &e->tensor : NULL;
    if (*tensor) return MDL_OK;
    if (!e) return mdl_fail(MDL_BAD_INPUT, "%s: there is no tensor \"%s\"", file->path, name);
    return mdl_fail(MDL_BAD_INPUT, "%s: tensor \"%s\": dtype %s is not supported; expected F32, BF16, F16, I32, F64 or BOOL",
                    file->path, name, dtypes[e->dtype].name);
}

const char *mdl_safetensors_metadata(const mdl_safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

static const char *format_name(mdl_dtype dtype) {
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].ours == dtype && dtype != MDL_DTYPE_COUNT) return dtypes[i].name;
    return NULL;
}

static mdl_status describe(json_t *header, const mdl_tensor *tensor, int64_t *at) {
    const char *dtype = format_name(tensor->type.dtype);
    if (!dtype) return mdl_fail(MDL_BAD_INPUT, "dtype %s cannot be written", mdl_dtype_name(tensor->type.dtype));
    if (json_object_get(header, tensor->name)) return mdl_fail(MDL_BAD_INPUT, "the name occurs twice");
    json_t *shape = json_array();
    bool whole = shape != NULL;
    for (int i = 0; i < tensor->type.rank; i++) whole &= !json_array_append_new(shape, json_integer(tensor->type.dim[i]));
    if (!whole) return json_decref(shape), mdl_fail(MDL_SYSTEM, "no memory for its shape");
    int64_t begin = *at;
    *at += mdl_type_bytes(&tensor->type);
    json_t *entry =
        json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)begin, (json_int_t)*at);
    if (!entry) return mdl_fail(MDL_SYSTEM, "no memory for its entry");
    if (json_object_set_new(header, tensor->name, entry)) return mdl_fail(MDL_BAD_INPUT, "the name is not valid UTF-8");
    return MDL_OK;
}

/* The header's text, padded with spaces to a multiple of 8 bytes; the caller frees it. */
static mdl_status make_header(int n, const mdl_tensor *tensors, char **text, size_t *length) {
    mdl_status status = MDL_OK;
    int64_t at = 0;
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    for (int i = 0; i < n; i++) MDL_TRY_OR_DONE(describe(header, &tensors[i], &at), "tensor \"%s\"", tensors[i].name);
    size_t bytes = json_dumpb(header, NULL, 0, JSON_COMPACT);
    *length = (bytes + 7) & ~(size_t)7;
    *text = malloc(*length);
    if (!*text) MDL_TRY_OR_DONE(mdl_fail(MDL_SYSTEM, "no memory for the header"), "%zu bytes", *length);
    memset(*text, ' ', *length);
    if (!bytes || json_dumpb(header, *text, bytes, JSON_COMPACT) != bytes) /* it allocates on its way */
        status = mdl_fail(MDL_SYSTEM, "no memory for the header");
    else if (*length > MAX_HEADER)
        status = mdl_fail(MDL_BAD_INPUT, "the header is over the format's limit of %d bytes", MAX_HEADER);
done:
    json_decref(header);
    return status;
}

static void write_header(FILE *out, const char *header, size_t length) {
    unsigned char size[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++) size[i] = (unsigned char)((uint64_t)length >> 8 * i);
    fwrite(size, 1, sizeof size, out);
    fwrite(header, 1, length, out);
}

/* Errors of writing stay in the stream. */
static mdl_status write_tensors(FILE *out, int n, const mdl_tensor *tensors, mdl_tensor_fetch fetch, void *context) {
    for (int i = 0; i < n && !ferror(out); i++) {
        size_t bytes = (size_t)mdl_type_bytes(&tensors[i].type);
        const void *from = tensors[i].bytes;
        if (!from && bytes) MDL_TRY(fetch(context, &tensors[i], &from), "tensor \"%s\"", tensors[i].name);
        if (bytes) fwrite(from, 1, bytes, out);
    }
    return MDL_OK;
}

mdl_status mdl_safetensors_stream(FILE *out, int n, const mdl_tensor *tensors, mdl_tensor_fetch fetch, void *context) {
    char *header = NULL;
    size_t length = 0;
    mdl_status status = make_header(n, tensors, &header, &length);
    if (!status) {
        write_header(out, header, length);
        status = write_tensors(out, n, tensors, fetch, context);
    }
    free(header);
    return status;
}

mdl_status mdl_safetensors_write(const char *path, int n, const mdl_tensor *tensors) {
    mdl_new_file file;
    mdl_status status = mdl_file_create(path, &file);
    if (status) return status;
    status = mdl_context(mdl_safetensors_stream(file.out, n, tensors, NULL, NULL), "%s", path);
    return mdl_file_commit(&file, status);
}
