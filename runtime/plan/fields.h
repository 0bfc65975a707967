/* The records of plan.json as tables: one row per key. The same rows drive the writer and the strict reader, so that the two
 * cannot disagree. */
#ifndef MDL_PLAN_FIELDS_H
#define MDL_PLAN_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "runtime/plan/plan.h"

typedef enum {
    MDL_FIELD_STR,
    MDL_FIELD_STR_OR_NULL,
    MDL_FIELD_I64,
    MDL_FIELD_INT,
    MDL_FIELD_BOOL,
    MDL_FIELD_REAL,
    MDL_FIELD_TYPE,
    MDL_FIELD_DTYPE,
    MDL_FIELD_ARENA,
    MDL_FIELD_LAUNCH,
    MDL_FIELD_ARGS,
    MDL_FIELD_SIGNATURE,
    MDL_FIELD_RESOURCES,
    MDL_FIELD_MAPS,
    MDL_FIELD_INTS,
    MDL_FIELD_STRS,
    MDL_FIELD_SIZES
} mdl_field_kind;

typedef struct {
    const char *key;
    mdl_field_kind kind;
    size_t at;     /* offset in the record */
    bool optional; /* left out of the file when it equals `otherwise` (0, NULL, empty) */
    int otherwise;
    unsigned only; /* launches: bit set of the kinds that have this key; 0: all */
} mdl_field;

/* A list of records under one key of plan.json or of a program. */
typedef struct {
    const char *key, *item; /* "launches", "launch" */
    size_t at, size;        /* of the vector in its owner; of one item */
    const mdl_field *fields;
    const char *name; /* the key whose string names an item in messages */
} mdl_list;

/* All tables end with a row whose key is NULL. */
extern const mdl_field mdl_plan_header[], mdl_plan_program_header[];
extern const mdl_list mdl_plan_lists[], mdl_plan_program_lists[];

/* Every MDL_VEC has this layout. */
typedef struct {
    void *at;
    int n, cap;
} mdl_any_vec;

/* Appends `"key":value` pairs, separated by `separator`, of one record. Fails on a string that is not UTF-8. */
mdl_status mdl_fields_write(mdl_text *text, const mdl_field *fields, const void *record, unsigned kind, const char *separator);
/* Fills a record from an object: a missing, wrong-typed or unknown key is an error. `others` are further keys that the caller
 * reads itself (NULL: none). */
mdl_status mdl_fields_read(mdl_arena *arena, const mdl_field *fields, const json_t *object, const mdl_list *others, void *record);

const char *mdl_launch_name(mdl_launch_kind kind); /* "kernel", "gemm", "copy", "collective" */

#endif
