/* Reading a plan file: the archive (stored entries only, nothing larger than the file), plan.json by its tables, the sources of
 * kernels, the files; then everything is verified. No native code is mapped. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "runtime/plan/fields.h"

typedef struct {
    zip_t *zip;
    int64_t limit; /* bytes of the archive not yet read: stored entries cannot hold more than the file */
    mdl_plan *plan;
} reader;

static mdl_status open_zip(const char *path, reader *r) {
    struct stat facts;
    int code = 0;
    if (stat(path, &facts)) return mdl_fail(MDL_BAD_INPUT, "cannot open: %s", strerror(errno));
    if (!S_ISREG(facts.st_mode)) return mdl_fail(MDL_BAD_INPUT, "not a regular file");
    r->limit = facts.st_size;
    r->zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (r->zip) return MDL_OK;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    mdl_status status = mdl_fail(MDL_BAD_INPUT, "not a plan file: %s", zip_error_strerror(&error));
    zip_error_fini(&error);
    return status;
}

/* Reads to the end, where libzip checks the CRC. The bytes are followed by a NUL. */
static mdl_status read_stored(reader *r, zip_uint64_t index, int64_t size, char **bytes) {
    zip_file_t *file = zip_fopen_index(r->zip, index, 0);
    if (!file) return mdl_fail(MDL_BAD_INPUT, "%s", zip_strerror(r->zip));
    *bytes = mdl_alloc(r->plan->memory, (size_t)size + 1);
    int64_t done = 0;
    zip_int64_t n = 1;
    while (done < size && (n = zip_fread(file, *bytes + done, (zip_uint64_t)(size - done))) > 0) done += n;
    char end;
    if (n > 0) n = zip_fread(file, &end, 1);
    mdl_status status = MDL_OK;
    if (n < 0)
        status = mdl_fail(MDL_BAD_INPUT, "%s", zip_error_strerror(zip_file_get_error(file)));
    else if (done < size || n)
        status = mdl_fail(MDL_BAD_INPUT, "its size is not the %" PRId64 " bytes declared", size);
    zip_fclose(file);
    return status;
}

static mdl_status read_entry(reader *r, const char *name, const char **bytes, int64_t *size) {
    zip_stat_t facts;
    zip_int64_t index = zip_name_locate(r->zip, name, 0);
    if (index < 0 || zip_stat_index(r->zip, (zip_uint64_t)index, 0, &facts))
        return mdl_fail(MDL_BAD_INPUT, "the archive has no entry %s", name);
    zip_uint64_t need = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((facts.valid & need) != need || facts.comp_method != ZIP_CM_STORE || facts.encryption_method != ZIP_EM_NONE)
        return mdl_fail(MDL_BAD_INPUT, "entry %s is compressed or encrypted; a plan stores its entries", name);
    if (facts.size != facts.comp_size || facts.size > (zip_uint64_t)r->limit)
        return mdl_fail(MDL_BAD_INPUT, "entry %s declares %" PRIu64 " bytes, more than the file holds", name, facts.size);
    char *text = NULL;
    MDL_TRY(read_stored(r, (zip_uint64_t)index, (int64_t)facts.size, &text), "entry %s", name);
    r->limit -= (int64_t)facts.size;
    *bytes = text;
    *size = (int64_t)facts.size;
    return MDL_OK;
}

static mdl_status read_list(mdl_arena *arena, const json_t *object, const mdl_list *list, void *owner) {
    const json_t *items = json_object_get(object, list->key);
    if (!items) return mdl_fail(MDL_BAD_INPUT, "\"%s\" is missing", list->key);
    if (!json_is_array(items)) return mdl_fail(MDL_BAD_INPUT, "\"%s\": expected a list", list->key);
    int n = (int)json_array_size(items);
    mdl_any_vec vec = {mdl_alloc(arena, list->size * (size_t)n), n, n};
    for (int i = 0; i < n; i++) {
        const json_t *item = json_array_get(items, (size_t)i);
        mdl_status status = mdl_fields_read(arena, list->fields, item, NULL, (char *)vec.at + list->size * (size_t)i);
        if (!status) continue;
        const char *name = json_string_value(json_object_get(item, list->name));
        if (name) return mdl_context(status, "%s %d (%.60s)", list->item, i, name);
        return mdl_context(status, "%s %d", list->item, i);
    }
    memcpy((char *)owner + list->at, &vec, sizeof vec);
    return MDL_OK;
}

static mdl_status read_program(mdl_arena *arena, const json_t *object, int index, mdl_plan_program *program) {
    MDL_TRY(mdl_fields_read(arena, mdl_plan_program_header, object, mdl_plan_program_lists, program), "program %d", index);
    for (const mdl_list *list = mdl_plan_program_lists; list->key; list++)
        MDL_TRY(read_list(arena, object, list, program), "program %.60s", program->name);
    return MDL_OK;
}

static mdl_status read_programs(mdl_plan *plan, const json_t *list) {
    if (!json_is_array(list)) return mdl_fail(MDL_BAD_INPUT, "\"programs\": expected a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        mdl_plan_program program = {0};
        mdl_status status = read_program(plan->memory, json_array_get(list, i), (int)i, &program);
        if (status) return status;
        MDL_PUSH(plan->memory, plan->programs, program);
    }
    return MDL_OK;
}

/* Version first: a plan of another version may differ in everything else. */
static mdl_status check_format(const json_t *root) {
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *version = json_object_get(root, "version");
    if (!format || strcmp(format, "mdl-plan")) return mdl_fail(MDL_BAD_INPUT, "\"format\" is not \"mdl-plan\"");
    if (!json_is_integer(version)) return mdl_fail(MDL_BAD_INPUT, "\"version\": expected an integer");
    if (json_integer_value(version) != MDL_PLAN_VERSION)
        return mdl_fail(MDL_BAD_INPUT, "plan of format %lld, this mdlrun reads %d: compile it again",
                        (long long)json_integer_value(version), MDL_PLAN_VERSION);
    return MDL_OK;
}

static mdl_status read_root(mdl_plan *plan, const json_t *root) {
    /* Keys that mdl_fields_read leaves to its caller: the lists, and two more. */
    mdl_list others[16] = {{.key = "format"}, {.key = "programs"}};
    for (int i = 0; mdl_plan_lists[i].key; i++) others[2 + i] = mdl_plan_lists[i];
    MDL_TRY(check_format(root), "plan.json");
    MDL_TRY(mdl_fields_read(plan->memory, mdl_plan_header, root, others, plan), "plan.json");
    for (const mdl_list *list = mdl_plan_lists; list->key; list++) MDL_TRY(read_list(plan->memory, root, list, plan), "plan.json");
    const json_t *programs = json_object_get(root, "programs");
    if (!programs) return mdl_fail(MDL_BAD_INPUT, "plan.json: \"programs\" is missing");
    return mdl_context(read_programs(plan, programs), "plan.json");
}

static mdl_status read_json(reader *r) {
    const char *text;
    int64_t size;
    json_error_t error;
    MDL_TRY(read_entry(r, "plan.json", &text, &size), "not a plan file");
    json_t *root = json_loadb(text, (size_t)size, JSON_REJECT_DUPLICATES, &error);
    if (!root) return mdl_fail(MDL_BAD_INPUT, "plan.json:%d:%d: %s", error.line, error.column, error.text);
    mdl_status status = json_is_object(root) ? read_root(r->plan, root) : mdl_fail(MDL_BAD_INPUT, "plan.json: expected an object");
    json_decref(root);
    r->plan->hash = mdl_plan_hash(r->plan->memory, text, size);
    return status;
}

static mdl_status read_files(reader *r) {
    mdl_plan *plan = r->plan;
    int64_t size;
    for (int i = 0; i < plan->kernels.n; i++) {
        mdl_plan_kernel *k = &plan->kernels.at[i];
        MDL_TRY(read_entry(r, mdl_plan_source_path(plan->memory, plan, k), &k->source, &size), "kernel %d", i);
        if ((int64_t)strlen(k->source) != size) return mdl_fail(MDL_BAD_INPUT, "kernel %s: its source holds a NUL byte", k->symbol);
    }
    for (int i = 0; i < plan->files.n; i++) {
        mdl_plan_file *f = &plan->files.at[i];
        MDL_TRY(read_entry(r, f->path, &f->bytes, &size), "file %d", i);
        if (size != f->size)
            return mdl_fail(MDL_BAD_INPUT, "file %s: plan.json gives %" PRId64 " bytes, the archive %" PRId64, f->path, f->size,
                            size);
    }
    zip_int64_t entries = zip_get_num_entries(r->zip, 0), listed = 1 + plan->kernels.n + plan->files.n;
    if (entries != listed)
        return mdl_fail(MDL_BAD_INPUT, "the archive has %" PRId64 " entries, plan.json lists %" PRId64, (int64_t)entries,
                        (int64_t)listed);
    return MDL_OK;
}

mdl_status mdl_plan_read(const char *path, mdl_plan **plan) {
    reader r = {.plan = mdl_plan_new()};
    mdl_status status = open_zip(path, &r);
    if (!status) status = read_json(&r);
    if (!status) status = read_files(&r);
    if (!status) status = mdl_plan_verify(r.plan);
    if (r.zip) zip_discard(r.zip);
    if (status) {
        mdl_plan_free(r.plan);
        r.plan = NULL;
    }
    *plan = r.plan;
    return mdl_context(status, "%s", path);
}
