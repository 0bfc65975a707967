/* JSON objects to records, strictly: every key of the table must be there, of its type, and no other. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan/fields.h"

static const char *kind_name(const json_t *value) {
    switch (json_typeof(value)) {
        case JSON_OBJECT: return "an object";
        case JSON_ARRAY: return "a list";
        case JSON_STRING: return "a string";
        case JSON_INTEGER: return "an integer";
        case JSON_REAL: return "a real number";
        case JSON_NULL: return "null";
        default: return json_is_true(value) ? "true" : "false";
    }
}

static mdl_status expected(const char *what, const json_t *got) {
    if (json_is_string(got)) return mdl_fail(MDL_BAD_INPUT, "expected %s, got \"%.60s\"", what, json_string_value(got));
    return mdl_fail(MDL_BAD_INPUT, "expected %s, got %s", what, kind_name(got));
}

/* A decimal integer and nothing else. */
static bool parse_integer(const char *s, const char **end, int64_t *value) {
    bool minus = *s == '-';
    int64_t n = 0;
    if (minus) s++;
    if (*s < '0' || *s > '9') return false;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, *s - '0', &n)) return false;
    if (!minus && n == INT64_MIN) return false;
    *value = minus ? n : -n;
    *end = s;
    return true;
}

/* "f32[2048,320]" */
static bool parse_type(const char *s, mdl_type *type) {
    char name[16];
    const char *bracket = strchr(s, '[');
    if (!bracket || (size_t)(bracket - s) >= sizeof name) return false;
    memcpy(name, s, (size_t)(bracket - s));
    name[bracket - s] = 0;
    *type = (mdl_type){0};
    if (!mdl_dtype_parse(name, &type->dtype)) return false;
    s = bracket + 1;
    if (*s == ']') return s[1] == 0;
    for (;; s++) {
        if (type->rank == MDL_MAX_RANK || !parse_integer(s, &s, &type->dim[type->rank])) return false;
        type->rank++;
        if (*s != ',') return s[0] == ']' && s[1] == 0;
    }
}

/* What an argument begins with: r w u (buffer read, written, both), i (immediate), s (device scalar). */
static const char *parse_prefix(const char *s, mdl_arg_kind *kind, mdl_access *access) {
    static const char letters[] = "?rwu";
    *access = 0;
    if (*s == 'i') return *kind = MDL_ARG_IMMEDIATE, s + 1;
    if (*s == 's') return *kind = MDL_ARG_SCALAR, *access = MDL_ACCESS_READ, s + 1;
    *kind = MDL_ARG_BUFFER;
    const char *found = *s ? strchr(letters + 1, *s) : NULL;
    if (!found) return NULL;
    *access = (mdl_access)(found - letters);
    return s + 1;
}

/* "r12" "i2048" "s5" */
static bool parse_arg(const char *s, mdl_plan_arg *arg) {
    *arg = (mdl_plan_arg){0};
    return (s = parse_prefix(s, &arg->kind, &arg->access)) && parse_integer(s, &s, &arg->value) && !*s;
}

/* "i0" at the start: the number of an immediate. */
static bool parse_index(const char *s, const char **end, int *index) {
    int64_t n;
    if (*s != 'i' || !parse_integer(s + 1, end, &n) || n < 0 || n > INT32_MAX) return false;
    *index = (int)n;
    return true;
}

/* "rf32:320*i0" "wf32:320*g" "rsegments:1*i1" "rf32:320*i0@960" "i" "i0/g" */
static bool parse_signature(const char *s, mdl_plan_signature *out) {
    char name[16];
    *out = (mdl_plan_signature){.times = MDL_TIMES_ONE};
    const char *rest = parse_prefix(s, &out->kind, &out->access), *colon = rest ? strchr(rest, ':') : NULL;
    if (!rest) return false;
    if (out->kind == MDL_ARG_IMMEDIATE) return !*rest || (parse_index(s, &s, &out->times) && !strcmp(s, "/g"));
    if (!colon || (size_t)(colon - rest) >= sizeof name) return false;
    memcpy(name, rest, (size_t)(colon - rest));
    name[colon - rest] = 0;
    if (!mdl_dtype_parse(name, &out->dtype) || !parse_integer(colon + 1, &s, &out->elements)) return false;
    if (!strncmp(s, "*g", 2))
        out->times = MDL_TIMES_GRID, s += 2;
    else if (*s == '*' && !parse_index(s + 1, &s, &out->times))
        return false;
    if (*s == '@' && !parse_integer(s + 1, &s, &out->stride)) return false;
    return !*s;
}

/* "sm_90a:40:0:0:1024:3": arch, registers, bytes of spills, stack, shared memory; resident blocks, or nothing */
static bool parse_resources(const char *s, mdl_plan_resources *out) {
    int64_t number[5] = {0};
    size_t n = strcspn(s, ":");
    *out = (mdl_plan_resources){0};
    if (!n || n >= sizeof out->arch) return false;
    memcpy(out->arch, s, n);
    s += n;
    for (int i = 0; i < 4; i++)
        if (*s != ':' || !parse_integer(s + 1, &s, &number[i])) return false;
    if (*s == ':' && (!parse_integer(s + 1, &s, &number[4]) || number[4] < 1)) return false;
    if (*s || number[0] < 0 || number[0] > INT32_MAX || number[4] > INT32_MAX) return false;
    out->registers = (int)number[0], out->resident = (int)number[4];
    out->spill_bytes = number[1], out->stack_bytes = number[2], out->shared_bytes = number[3];
    return true;
}

/* "0:1280:20x64:3840:64": buffer, first, heads x cols, row, head */
static bool parse_map(const char *s, mdl_plan_map *out) {
    static const char between[] = "::x::";
    int64_t number[6];
    for (int i = 0; i < 6; i++) {
        if (i && *s++ != between[i - 1]) return false;
        if (!parse_integer(s, &s, &number[i])) return false;
    }
    if (*s || number[0] < 0 || number[0] > INT32_MAX) return false;
    *out = (mdl_plan_map){(int)number[0], number[1], number[2], number[3], number[4], number[5]};
    return true;
}

static bool parse_name(const char *s, const char *(*name)(int), int count, int *value) {
    for (int i = 0; i < count; i++)
        if (!strcmp(s, name(i))) return *value = i, true;
    return false;
}

static const char *arena_name(int i) { return mdl_arena_name((mdl_arena_id)i); }
static const char *launch_name(int i) { return mdl_launch_name((mdl_launch_kind)i); }

static mdl_status get_item(mdl_arena *arena, mdl_field_kind kind, const json_t *value, void *to) {
    if (kind == MDL_FIELD_INTS) {
        json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
        if (n < 0 || n > INT32_MAX) return expected("an index", value);
        *(int *)to = (int)n;
        return MDL_OK;
    }
    if (!json_is_string(value)) return expected("a string", value);
    const char *s = json_string_value(value);
    if (kind == MDL_FIELD_STRS)
        *(const char **)to = mdl_strdup(arena, s);
    else if (kind == MDL_FIELD_SIGNATURE && !parse_signature(s, to))
        return expected("what a kernel takes, such as \"rf32:320*i0\", \"wf32:64*g\", \"i\", \"i0/g\"", value);
    else if (kind == MDL_FIELD_RESOURCES && !parse_resources(s, to))
        return expected("what a kernel takes of an arch, such as \"sm_90a:40:0:0:1024\"", value);
    else if (kind == MDL_FIELD_MAPS && !parse_map(s, to))
        return expected("a tensor map, such as \"0:1280:20x64:3840:64\"", value);
    else if (kind == MDL_FIELD_ARGS && !parse_arg(s, to))
        return expected("an argument such as \"r12\", \"w3\", \"u4\", \"i2048\"", value);
    return MDL_OK;
}

static mdl_status get_list(mdl_arena *arena, mdl_field_kind kind, const json_t *value, void *at) {
    size_t size = kind == MDL_FIELD_ARGS        ? sizeof(mdl_plan_arg)
                  : kind == MDL_FIELD_SIGNATURE ? sizeof(mdl_plan_signature)
                  : kind == MDL_FIELD_RESOURCES ? sizeof(mdl_plan_resources)
                  : kind == MDL_FIELD_MAPS      ? sizeof(mdl_plan_map)
                  : kind == MDL_FIELD_INTS      ? sizeof(int)
                                                : sizeof(const char *);
    if (!json_is_array(value)) return expected("a list", value);
    int n = (int)json_array_size(value);
    mdl_any_vec vec = {mdl_alloc(arena, size * (size_t)n), n, n};
    for (int i = 0; i < n; i++)
        MDL_TRY(get_item(arena, kind, json_array_get(value, (size_t)i), (char *)vec.at + size * (size_t)i), "item %d", i);
    memcpy(at, &vec, sizeof vec);
    return MDL_OK;
}

static mdl_status get_sizes(const json_t *value, int64_t *bytes) {
    if (!json_is_object(value)) return expected("an object", value);
    for (int i = 0; i < MDL_ARENA_COUNT; i++) {
        const json_t *size = json_object_get(value, arena_name(i));
        if (!size) return mdl_fail(MDL_BAD_INPUT, "\"%s\" is missing", arena_name(i));
        if (!json_is_integer(size)) return mdl_context(expected("an integer", size), "\"%s\"", arena_name(i));
        bytes[i] = json_integer_value(size);
    }
    if (json_object_size(value) != MDL_ARENA_COUNT) return mdl_fail(MDL_BAD_INPUT, "unknown arenas");
    return MDL_OK;
}

static mdl_status get_text(mdl_arena *arena, const mdl_field *f, const json_t *value, void *at) {
    if (f->kind == MDL_FIELD_STR_OR_NULL && json_is_null(value)) return MDL_OK;
    if (!json_is_string(value)) return expected("a string", value);
    const char *s = json_string_value(value);
    int index = 0;
    switch (f->kind) {
        case MDL_FIELD_TYPE:
            if (!parse_type(s, at)) return expected("a type such as \"f32[16,320]\"", value);
            break;
        case MDL_FIELD_DTYPE:
            if (!mdl_dtype_parse(s, at)) return expected("an element type such as \"f32\"", value);
            break;
        case MDL_FIELD_ARENA:
            if (!parse_name(s, arena_name, MDL_ARENA_COUNT, &index)) return expected("an arena", value);
            *(mdl_arena_id *)at = (mdl_arena_id)index;
            break;
        case MDL_FIELD_LAUNCH:
            if (!parse_name(s, launch_name, MDL_LAUNCH_COLLECTIVE + 1, &index)) return expected("a kind of launch", value);
            *(mdl_launch_kind *)at = (mdl_launch_kind)index;
            break;
        default: *(const char **)at = mdl_strdup(arena, s);
    }
    return MDL_OK;
}

static mdl_status get(mdl_arena *arena, const mdl_field *f, const json_t *value, void *at) {
    switch (f->kind) {
        case MDL_FIELD_I64:
            if (!json_is_integer(value)) return expected("an integer", value);
            *(int64_t *)at = json_integer_value(value);
            return MDL_OK;
        case MDL_FIELD_INT:
            if (!json_is_integer(value)) return expected("an integer", value);
            if (llabs(json_integer_value(value)) > INT32_MAX) return mdl_fail(MDL_BAD_INPUT, "the number does not fit 32 bits");
            *(int *)at = (int)json_integer_value(value);
            return MDL_OK;
        case MDL_FIELD_BOOL:
            if (!json_is_boolean(value)) return expected("true or false", value);
            *(bool *)at = json_is_true(value);
            return MDL_OK;
        case MDL_FIELD_REAL:
            if (!json_is_number(value)) return expected("a number", value);
            *(double *)at = json_number_value(value);
            return MDL_OK;
        case MDL_FIELD_ARGS:
        case MDL_FIELD_SIGNATURE:
        case MDL_FIELD_RESOURCES:
        case MDL_FIELD_MAPS:
        case MDL_FIELD_INTS:
        case MDL_FIELD_STRS: return get_list(arena, f->kind, value, at);
        case MDL_FIELD_SIZES: return get_sizes(value, at);
        default: return get_text(arena, f, value, at);
    }
}

static void set_default(const mdl_field *f, void *at) {
    if (f->kind == MDL_FIELD_INT) *(int *)at = f->otherwise;
    if (f->kind == MDL_FIELD_BOOL) *(bool *)at = f->otherwise;
    if (f->kind == MDL_FIELD_DTYPE) *(mdl_dtype *)at = (mdl_dtype)f->otherwise;
    if (f->kind == MDL_FIELD_I64) *(int64_t *)at = f->otherwise;
}

static bool known(const mdl_field *fields, const mdl_list *others, unsigned kind, const char *key) {
    for (const mdl_field *f = fields; f->key; f++)
        if (!strcmp(f->key, key) && (!f->only || (f->only & kind))) return true;
    for (const mdl_list *l = others; l && l->key; l++)
        if (!strcmp(l->key, key)) return true;
    return false;
}

/* Launches read their kind first: it decides which keys they have. */
mdl_status mdl_fields_read(mdl_arena *arena, const mdl_field *fields, const json_t *object, const mdl_list *others, void *record) {
    unsigned kind = ~0u;
    if (!json_is_object(object)) return expected("an object", object);
    for (const mdl_field *f = fields; f->key; f++) {
        void *at = (char *)record + f->at;
        if (f->only && !(f->only & kind)) continue;
        const json_t *value = json_object_get(object, f->key);
        if (!value && f->optional) {
            set_default(f, at);
            continue;
        }
        if (!value) return mdl_fail(MDL_BAD_INPUT, "\"%s\" is missing", f->key);
        MDL_TRY(get(arena, f, value, at), "\"%s\"", f->key);
        if (f->kind == MDL_FIELD_LAUNCH) kind = 1u << *(mdl_launch_kind *)at;
    }
    for (void *i = json_object_iter((json_t *)object); i; i = json_object_iter_next((json_t *)object, i))
        if (!known(fields, others, kind, json_object_iter_key(i)))
            return mdl_fail(MDL_BAD_INPUT, "unknown key \"%.60s\"", json_object_iter_key(i));
    return MDL_OK;
}
