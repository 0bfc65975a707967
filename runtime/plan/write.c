/* The plan as a file: plan.json (one record a line), one entry per kernel's source, then the files, stored without compression in
 * a fixed order with fixed times: the same plan gives the same bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "runtime/base/file.h"
#include "runtime/plan/fields.h"

static mdl_status write_list(mdl_text *text, const mdl_list *list, const void *owner) {
    mdl_any_vec vec;
    memcpy(&vec, (const char *)owner + list->at, sizeof vec);
    mdl_text_printf(text, ",\n\"%s\":[", list->key);
    bool launches = !strcmp(list->key, "launches");
    for (int i = 0; i < vec.n; i++) {
        const void *item = (const char *)vec.at + list->size * (size_t)i;
        unsigned kind = launches ? 1u << ((const mdl_plan_launch *)item)->kind : ~0u;
        mdl_text_printf(text, "%s\n{", i ? "," : "");
        MDL_TRY(mdl_fields_write(text, list->fields, item, kind, ","), "%s[%d]", list->key, i);
        mdl_text_append(text, "}", 1);
    }
    mdl_text_append(text, "]", 1);
    return MDL_OK;
}

static mdl_status write_program(mdl_text *text, const mdl_plan_program *program) {
    mdl_text_append(text, "\n{", 2);
    MDL_TRY(mdl_fields_write(text, mdl_plan_program_header, program, ~0u, ","), "header");
    for (const mdl_list *list = mdl_plan_program_lists; list->key; list++) MDL_TRY(write_list(text, list, program), "lists");
    mdl_text_append(text, "}", 1);
    return MDL_OK;
}

static mdl_status write_json(mdl_text *text, const mdl_plan *plan) {
    mdl_text_printf(text, "{\"format\":\"mdl-plan\",\n");
    MDL_TRY(mdl_fields_write(text, mdl_plan_header, plan, ~0u, ",\n"), "plan");
    for (const mdl_list *list = mdl_plan_lists; list->key; list++) MDL_TRY(write_list(text, list, plan), "plan");
    mdl_text_printf(text, ",\n\"programs\":[");
    for (int i = 0; i < plan->programs.n; i++) {
        if (i) mdl_text_append(text, ",", 1);
        MDL_TRY(write_program(text, &plan->programs.at[i]), "program %s", plan->programs.at[i].name);
    }
    mdl_text_printf(text, "]}\n");
    return MDL_OK;
}

/* Stored, time 1980-01-01 00:00, mode 0644. */
static mdl_status add_entry(zip_t *zip, const char *name, const void *bytes, int64_t size) {
    zip_source_t *source = zip_source_buffer(zip, bytes, (zip_uint64_t)size, 0);
    if (!source) return mdl_fail(MDL_SYSTEM, "%s: %s", name, zip_strerror(zip));
    zip_int64_t index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return mdl_fail(MDL_SYSTEM, "%s: %s", name, zip_strerror(zip));
    }
    zip_uint64_t i = (zip_uint64_t)index;
    if (zip_set_file_compression(zip, i, ZIP_CM_STORE, 0) || zip_file_set_dostime(zip, i, 0, 0x21, 0) ||
        zip_file_set_external_attributes(zip, i, 0, ZIP_OPSYS_UNIX, 0100644u << 16))
        return mdl_fail(MDL_SYSTEM, "%s: %s", name, zip_strerror(zip));
    return MDL_OK;
}

static mdl_status add_entries(zip_t *zip, const mdl_plan *plan, const mdl_text *json) {
    MDL_TRY(add_entry(zip, "plan.json", json->at, (int64_t)json->n), "plan");
    for (int i = 0; i < plan->kernels.n; i++) {
        const mdl_plan_kernel *k = &plan->kernels.at[i];
        MDL_TRY(add_entry(zip, mdl_plan_source_path(plan->memory, plan, k), k->source, (int64_t)strlen(k->source)),
                "kernel");
    }
    for (int i = 0; i < plan->files.n; i++) {
        const mdl_plan_file *f = &plan->files.at[i];
        MDL_TRY(add_entry(zip, f->path, f->bytes, f->size), "file");
    }
    return MDL_OK;
}

/* Closes the archive into `source`, which the caller keeps. */
static mdl_status build_zip(zip_source_t *source, const mdl_plan *plan, const mdl_text *json) {
    zip_error_t error;
    zip_error_init(&error);
    zip_t *zip = zip_open_from_source(source, ZIP_CREATE | ZIP_TRUNCATE, &error);
    if (!zip) return mdl_fail(MDL_SYSTEM, "zip: %s", zip_error_strerror(&error));
    zip_source_keep(source);
    mdl_status status = add_entries(zip, plan, json);
    if (!status && !zip_close(zip)) return MDL_OK;
    if (!status) status = mdl_fail(MDL_SYSTEM, "zip: %s", zip_strerror(zip));
    zip_discard(zip);
    return status;
}

/* Errors of `out` stay in the stream. */
static mdl_status copy_out(zip_source_t *source, FILE *out) {
    static char buffer[1 << 16];
    zip_int64_t n;
    if (zip_source_open(source)) return mdl_fail(MDL_SYSTEM, "zip: %s", zip_error_strerror(zip_source_error(source)));
    while ((n = zip_source_read(source, buffer, sizeof buffer)) > 0 && !ferror(out)) fwrite(buffer, 1, (size_t)n, out);
    mdl_status status = n < 0 ? mdl_fail(MDL_SYSTEM, "zip: %s", zip_error_strerror(zip_source_error(source))) : MDL_OK;
    zip_source_close(source);
    return status;
}

static mdl_status write_file(zip_source_t *source, const char *path) {
    mdl_new_file file;
    mdl_status status = mdl_file_create(path, &file);
    return status ? status : mdl_file_commit(&file, mdl_context(copy_out(source, file.out), "%s", path));
}

static void set_hashes(mdl_plan *plan) {
    for (int i = 0; i < plan->files.n; i++) {
        mdl_plan_file *f = &plan->files.at[i];
        f->hash = mdl_plan_hash(plan->memory, f->bytes, f->size);
    }
    for (int i = 0; i < plan->kernels.n; i++) {
        mdl_plan_kernel *k = &plan->kernels.at[i];
        if (!k->hash && k->source) k->hash = mdl_plan_hash(plan->memory, k->source, (int64_t)strlen(k->source));
    }
}

mdl_status mdl_plan_write(mdl_plan *plan, const char *path) {
    set_hashes(plan);
    mdl_plan_count_launches(plan);
    MDL_TRY(mdl_plan_verify(plan), "%s: the plan to write is wrong", path);
    mdl_text json = {.arena = plan->memory};
    MDL_TRY(write_json(&json, plan), "%s", path);
    plan->hash = mdl_plan_hash(plan->memory, json.at, (int64_t)json.n);
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(NULL, 0, 0, &error);
    if (!source) return mdl_fail(MDL_SYSTEM, "zip: %s", zip_error_strerror(&error));
    mdl_status status = mdl_context(build_zip(source, plan, &json), "%s", path);
    if (!status) status = write_file(source, path);
    zip_source_free(source);
    return status;
}
