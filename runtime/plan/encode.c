/* Records to JSON text: `"key":value` pairs in the order of their table. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan/fields.h"

static mdl_status put_string(mdl_text *text, const char *s) {
    json_t *value = json_string(s);
    if (!value) return mdl_fail(MDL_BAD_INPUT, "the text is not valid UTF-8");
    char *dump = json_dumps(value, JSON_ENCODE_ANY);
    mdl_text_append(text, dump, strlen(dump));
    free(dump);
    json_decref(value);
    return MDL_OK;
}

static mdl_status put_real(mdl_text *text, double number) {
    json_t *value = json_real(number);
    if (!value) return mdl_fail(MDL_BAD_INPUT, "the number is not finite");
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    mdl_text_append(text, dump, strlen(dump));
    free(dump);
    json_decref(value);
    return MDL_OK;
}

static void put_type(mdl_text *text, const mdl_type *type) {
    mdl_text_printf(text, "\"%s[", mdl_dtype_name(type->dtype));
    for (int i = 0; i < type->rank; i++) mdl_text_printf(text, "%s%" PRId64, i ? "," : "", type->dim[i]);
    mdl_text_printf(text, "]\"");
}

static void put_prefix(mdl_text *text, mdl_arg_kind kind, mdl_access access) {
    static const char letters[] = "?rwu";
    switch (kind) {
        case MDL_ARG_BUFFER: mdl_text_printf(text, "\"%c", letters[access & 3]); break;
        case MDL_ARG_IMMEDIATE: mdl_text_printf(text, "\"i"); break;
        case MDL_ARG_SCALAR: mdl_text_printf(text, "\"s"); break;
    }
}

static void put_arg(mdl_text *text, const mdl_plan_arg *arg) {
    put_prefix(text, arg->kind, arg->access);
    mdl_text_printf(text, "%" PRId64 "\"", arg->value);
}

/* "rf32:320*i0", "wf32:320*g", "rsegments:1*i1", "rf32:320*i0@960", "i", "i0/g" */
static void put_signature(mdl_text *text, const mdl_plan_signature *s) {
    if (s->kind == MDL_ARG_IMMEDIATE) {
        mdl_text_printf(text, s->times < 0 ? "\"i\"" : "\"i%d/g\"", s->times);
        return;
    }
    put_prefix(text, s->kind, s->access);
    mdl_text_printf(text, "%s:%" PRId64, mdl_dtype_name(s->dtype), s->elements);
    if (s->times >= 0) mdl_text_printf(text, "*i%d", s->times);
    if (s->times == MDL_TIMES_GRID) mdl_text_append(text, "*g", 2);
    if (s->stride) mdl_text_printf(text, "@%" PRId64, s->stride);
    mdl_text_append(text, "\"", 1);
}

/* "sm_90a:40:0:0:1024", and ":3" where there is room for 3 blocks only */
static void put_resources(mdl_text *text, const mdl_plan_resources *r) {
    mdl_text_printf(text, "\"%s:%d:%" PRId64 ":%" PRId64 ":%" PRId64, r->arch, r->registers, r->spill_bytes, r->stack_bytes,
                    r->shared_bytes);
    if (r->resident) mdl_text_printf(text, ":%d", r->resident);
    mdl_text_append(text, "\"", 1);
}

/* "0:1280:20x64:3840:64": buffer, first, heads x cols, row, head */
static void put_map(mdl_text *text, const mdl_plan_map *m) {
    mdl_text_printf(text, "\"%d:%" PRId64 ":%" PRId64 "x%" PRId64 ":%" PRId64 ":%" PRId64 "\"", m->buffer, m->first, m->heads,
                    m->cols, m->row, m->head);
}

static mdl_status put_list(mdl_text *text, mdl_field_kind kind, const void *at) {
    mdl_any_vec vec;
    memcpy(&vec, at, sizeof vec);
    mdl_text_append(text, "[", 1);
    for (int i = 0; i < vec.n; i++) {
        if (i) mdl_text_append(text, ",", 1);
        if (kind == MDL_FIELD_ARGS)
            put_arg(text, (const mdl_plan_arg *)vec.at + i);
        else if (kind == MDL_FIELD_SIGNATURE)
            put_signature(text, (const mdl_plan_signature *)vec.at + i);
        else if (kind == MDL_FIELD_RESOURCES)
            put_resources(text, (const mdl_plan_resources *)vec.at + i);
        else if (kind == MDL_FIELD_MAPS)
            put_map(text, (const mdl_plan_map *)vec.at + i);
        else if (kind == MDL_FIELD_INTS)
            mdl_text_printf(text, "%d", ((const int *)vec.at)[i]);
        else
            MDL_TRY(put_string(text, ((const char *const *)vec.at)[i]), "item %d", i);
    }
    mdl_text_append(text, "]", 1);
    return MDL_OK;
}

static void put_sizes(mdl_text *text, const int64_t *bytes) {
    for (int i = 0; i < MDL_ARENA_COUNT; i++)
        mdl_text_printf(text, "%s\"%s\":%" PRId64, i ? "," : "{", mdl_arena_name((mdl_arena_id)i), bytes[i]);
    mdl_text_append(text, "}", 1);
}

static mdl_status put(mdl_text *text, mdl_field_kind kind, const void *at) {
    switch (kind) {
        case MDL_FIELD_STR:
        case MDL_FIELD_STR_OR_NULL: {
            const char *s = *(const char *const *)at;
            if (s) return put_string(text, s);
            if (kind == MDL_FIELD_STR) return mdl_fail(MDL_BAD_INPUT, "the text is missing");
            mdl_text_append(text, "null", 4);
            break;
        }
        case MDL_FIELD_I64: mdl_text_printf(text, "%" PRId64, *(const int64_t *)at); break;
        case MDL_FIELD_INT: mdl_text_printf(text, "%d", *(const int *)at); break;
        case MDL_FIELD_BOOL: mdl_text_printf(text, "%s", *(const bool *)at ? "true" : "false"); break;
        case MDL_FIELD_REAL: return put_real(text, *(const double *)at);
        case MDL_FIELD_TYPE: put_type(text, at); break;
        case MDL_FIELD_DTYPE: mdl_text_printf(text, "\"%s\"", mdl_dtype_name(*(const mdl_dtype *)at)); break;
        case MDL_FIELD_ARENA: mdl_text_printf(text, "\"%s\"", mdl_arena_name(*(const mdl_arena_id *)at)); break;
        case MDL_FIELD_LAUNCH: mdl_text_printf(text, "\"%s\"", mdl_launch_name(*(const mdl_launch_kind *)at)); break;
        case MDL_FIELD_ARGS:
        case MDL_FIELD_SIGNATURE:
        case MDL_FIELD_RESOURCES:
        case MDL_FIELD_MAPS:
        case MDL_FIELD_INTS:
        case MDL_FIELD_STRS: return put_list(text, kind, at);
        case MDL_FIELD_SIZES: put_sizes(text, at); break;
    }
    return MDL_OK;
}

static bool is_default(const mdl_field *field, const void *at) {
    if (!field->optional) return false;
    mdl_any_vec vec;
    switch (field->kind) {
        case MDL_FIELD_I64: return *(const int64_t *)at == field->otherwise;
        case MDL_FIELD_INT: return *(const int *)at == field->otherwise;
        case MDL_FIELD_BOOL: return *(const bool *)at == field->otherwise;
        case MDL_FIELD_DTYPE: return *(const mdl_dtype *)at == (mdl_dtype)field->otherwise;
        case MDL_FIELD_RESOURCES:
        case MDL_FIELD_MAPS:
        case MDL_FIELD_INTS: memcpy(&vec, at, sizeof vec); return vec.n == 0;
        default: return false;
    }
}

mdl_status mdl_fields_write(mdl_text *text, const mdl_field *fields, const void *record, unsigned kind, const char *separator) {
    bool first = true;
    for (const mdl_field *f = fields; f->key; f++) {
        const void *at = (const char *)record + f->at;
        if ((f->only && !(f->only & kind)) || is_default(f, at)) continue;
        mdl_text_printf(text, "%s\"%s\":", first ? "" : separator, f->key);
        MDL_TRY(put(text, f->kind, at), "\"%s\"", f->key);
        first = false;
    }
    return MDL_OK;
}
