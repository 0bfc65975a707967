/* The verifier: what is outside programs. Every rule is listed in docs/plan-format.md. After it has passed, nothing in a plan can
 * make the runtime read or write outside its arenas, except the native code itself. */
#include "runtime/plan/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const int64_t max_arena_bytes = INT64_C(1) << 50;

/* A piece of an arena that belongs to one name. */
typedef struct {
    int64_t offset, bytes;
    const char *name;
} extent;

static int by_offset(const void *a, const void *b) {
    const extent *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static mdl_status check_disjoint(const char *what, extent *extents, int n) {
    qsort(extents, (size_t)n, sizeof *extents, by_offset);
    for (int i = 1; i < n; i++)
        if (extents[i].offset < extents[i - 1].offset + extents[i - 1].bytes)
            return mdl_fail(MDL_BAD_INPUT, "%ss %s and %s overlap in memory", what, extents[i - 1].name, extents[i].name);
    return MDL_OK;
}

static mdl_status check_header(const mdl_plan *plan) {
    const char *const texts[][2] = {{"model", plan->model},
                                    {"target", plan->target},
                                    {"isa", plan->isa},
                                    {"precision", plan->precision},
                                    {"compiler", plan->compiler}};
    if (plan->version != MDL_PLAN_VERSION)
        return mdl_fail(MDL_BAD_INPUT, "format version %d, expected %d", plan->version, MDL_PLAN_VERSION);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!texts[i][1] || !*texts[i][1]) return mdl_fail(MDL_BAD_INPUT, "\"%s\" is empty", texts[i][0]);
    if (plan->tokens < 1 || plan->tokens > INT32_MAX) return mdl_fail(MDL_BAD_INPUT, "tokens is %" PRId64, plan->tokens);
    if (plan->segments < 1 || plan->segments > INT32_MAX) return mdl_fail(MDL_BAD_INPUT, "segments is %" PRId64, plan->segments);
    if (plan->max_length < 0) return mdl_fail(MDL_BAD_INPUT, "max_length is %" PRId64, plan->max_length);
    if (plan->tile < 1) return mdl_fail(MDL_BAD_INPUT, "tile is %" PRId64, plan->tile);
    return MDL_OK;
}

static mdl_status check_arenas(const mdl_plan *plan) {
    const int64_t *bytes = plan->arena_bytes;
    for (int i = 0; i < MDL_ARENA_COUNT; i++)
        if (bytes[i] < 0 || bytes[i] > max_arena_bytes)
            return mdl_fail(MDL_BAD_INPUT, "arena %s has %" PRId64 " bytes", mdl_arena_name((mdl_arena_id)i), bytes[i]);
    for (int i = 0; i < MDL_ARENA_COUNT; i++) {
        int bits = mdl_arena_like_param((mdl_arena_id)i);
        if (bits && bytes[i] && bytes[i] * 32 != bytes[MDL_ARENA_PARAM] * bits)
            return mdl_fail(MDL_BAD_INPUT, "arena %s has %" PRId64 " bytes, expected 0 or the %" PRId64 " elements of arena param",
                            mdl_arena_name((mdl_arena_id)i), bytes[i], bytes[MDL_ARENA_PARAM] / 4);
    }
    const mdl_plan_file *constants = mdl_plan_find_file(plan, MDL_PLAN_CONSTANTS);
    int64_t given = constants ? constants->size : 0;
    if (given != bytes[MDL_ARENA_CONST])
        return mdl_fail(MDL_BAD_INPUT, "arena const has %" PRId64 " bytes, file %s gives %" PRId64, bytes[MDL_ARENA_CONST],
                        MDL_PLAN_CONSTANTS, given);
    return MDL_OK;
}

static mdl_status check_params_in(const mdl_plan *plan, mdl_arena_id arena) {
    mdl_arena *scratch = mdl_arena_new();
    extent *extents = MDL_NEW_ARRAY(scratch, extent, plan->params.n + 1);
    int n = 0;
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *p = &plan->params.at[i];
        if (p->arena == arena) extents[n++] = (extent){p->offset, mdl_type_bytes(&p->type), p->name};
    }
    mdl_status status = check_disjoint("param", extents, n);
    mdl_arena_free(scratch);
    return status;
}

static mdl_status check_param(const mdl_plan *plan, const mdl_plan_param *p) {
    int64_t bytes;
    MDL_TRY(mdl_check_type(&p->type, &bytes), "type");
    if (p->type.dtype != MDL_F32) return mdl_fail(MDL_BAD_INPUT, "expected f32, got %s", mdl_dtype_name(p->type.dtype));
    if (p->arena != MDL_ARENA_PARAM && p->arena != MDL_ARENA_FROZEN)
        return mdl_fail(MDL_BAD_INPUT, "expected arena param or frozen, got %s", mdl_arena_name(p->arena));
    return mdl_check_range(plan, p->arena, p->offset, bytes, 4);
}

static mdl_status check_ties(const mdl_plan *plan) {
    MDL_TRY(mdl_check_names("tie", plan->ties.at, plan->ties.n, sizeof *plan->ties.at, offsetof(mdl_plan_tie, name)), "ties");
    for (int i = 0; i < plan->ties.n; i++) {
        const mdl_plan_tie *tie = &plan->ties.at[i];
        bool found = false;
        for (int j = 0; j < plan->params.n; j++) {
            if (!strcmp(plan->params.at[j].name, tie->name)) return mdl_fail(MDL_BAD_INPUT, "tie %s is also a param", tie->name);
            found = found || (tie->target && !strcmp(plan->params.at[j].name, tie->target));
        }
        if (!found) return mdl_fail(MDL_BAD_INPUT, "tie %s: no param is called %s", tie->name, tie->target ? tie->target : "");
    }
    return MDL_OK;
}

static mdl_status check_params(const mdl_plan *plan) {
    MDL_TRY(mdl_check_names("param", plan->params.at, plan->params.n, sizeof *plan->params.at, offsetof(mdl_plan_param, name)),
            "params");
    for (int i = 0; i < plan->params.n; i++) MDL_TRY(check_param(plan, &plan->params.at[i]), "param %s", plan->params.at[i].name);
    MDL_TRY(check_params_in(plan, MDL_ARENA_PARAM), "params");
    MDL_TRY(check_params_in(plan, MDL_ARENA_FROZEN), "params");
    return check_ties(plan);
}

/* In order and at tiles; every trained param lies in one. */
static mdl_status check_units(const mdl_plan *plan) {
    int64_t end = 0, tile = plan->tile;
    for (int i = 0; i < plan->units.n; i++) {
        const mdl_plan_unit *u = &plan->units.at[i];
        if (!u->name) return mdl_fail(MDL_BAD_INPUT, "unit %d has no name", i);
        if (u->offset < end) return mdl_fail(MDL_BAD_INPUT, "unit %d (%s) begins before the end of the one before it", i, u->name);
        if (u->bytes < 4 || u->bytes % 4 || u->bytes / 4 % tile || u->offset % 4 || u->offset / 4 % tile)
            return mdl_fail(MDL_BAD_INPUT, "unit %d (%s) is not made of tiles of %" PRId64 " elements", i, u->name, tile);
        MDL_TRY(mdl_check_range(plan, MDL_ARENA_PARAM, u->offset, u->bytes, 4), "unit %d (%s)", i, u->name);
        end = u->offset + u->bytes;
    }
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *p = &plan->params.at[i];
        int64_t last = p->offset + mdl_type_bytes(&p->type);
        bool found = p->arena != MDL_ARENA_PARAM;
        for (int k = 0; k < plan->units.n && !found; k++)
            found = plan->units.at[k].offset <= p->offset && last <= plan->units.at[k].offset + plan->units.at[k].bytes;
        if (!found) return mdl_fail(MDL_BAD_INPUT, "param %s lies in no unit", p->name);
    }
    return MDL_OK;
}

static bool is_one_of(const char *s, const char *const *list) {
    for (; s && *list; list++)
        if (!strcmp(s, *list)) return true;
    return false;
}

static mdl_status check_input(const mdl_plan *plan, const mdl_plan_input *input) {
    static const char *const sources[] = {"tokens", "masked", "next", "column", "present", "segments", "scalar", "seed", NULL};
    int64_t bytes;
    const mdl_type *type = &input->type;
    if (!is_one_of(input->source, sources))
        return mdl_fail(MDL_BAD_INPUT, "unknown source \"%s\"", input->source ? input->source : "");
    MDL_TRY(mdl_check_type(type, &bytes), "type");
    if (!strcmp(input->source, "scalar") && (type->dtype != MDL_F32 || type->rank))
        return mdl_fail(MDL_BAD_INPUT, "a scalar has type f32[]");
    if (!strcmp(input->source, "seed") && (type->dtype != MDL_I32 || type->rank != 1 || type->dim[0] != 2))
        return mdl_fail(MDL_BAD_INPUT, "a seed has type i32[2]");
    if (!strcmp(input->source, "segments") != (type->dtype == MDL_SEG))
        return mdl_fail(MDL_BAD_INPUT, "source \"segments\" and type segments go together");
    if (type->dtype == MDL_SEG && (type->dim[0] != plan->segments || type->dim[1] != plan->tokens))
        return mdl_fail(MDL_BAD_INPUT, "expected segments[%" PRId64 ",%" PRId64 "], got segments[%" PRId64 ",%" PRId64 "]",
                        plan->segments, plan->tokens, type->dim[0], type->dim[1]);
    return mdl_check_range(plan, MDL_ARENA_INPUT, input->offset, bytes, mdl_dtype_bits(type->dtype) / 8);
}

static int64_t count_lines(const mdl_plan_file *file) {
    int64_t n = 0;
    for (int64_t i = 0; i < file->size; i++) n += file->bytes[i] == '\n';
    return n + (file->size && file->bytes[file->size - 1] != '\n');
}

/* Every id that the vocabulary can give is a row of the table that the input indexes. */
static mdl_status check_ids(const mdl_plan *plan, const mdl_plan_input *input) {
    static const char *const sources[] = {"tokens", "masked", "next", NULL};
    if (input->below < 0) return mdl_fail(MDL_BAD_INPUT, "its ids are below %" PRId64, input->below);
    if (!input->below || !plan->vocab || !is_one_of(input->source, sources)) return MDL_OK;
    int64_t tokens = count_lines(mdl_plan_find_file(plan, plan->vocab));
    if (tokens <= input->below) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "the vocabulary has %" PRId64 " tokens, the table has %" PRId64 " rows", tokens, input->below);
}

static mdl_status check_inputs(const mdl_plan *plan) {
    MDL_TRY(mdl_check_names("input", plan->inputs.at, plan->inputs.n, sizeof *plan->inputs.at, offsetof(mdl_plan_input, name)),
            "inputs");
    mdl_arena *scratch = mdl_arena_new();
    extent *extents = MDL_NEW_ARRAY(scratch, extent, plan->inputs.n + 1);
    mdl_status status = MDL_OK;
    for (int i = 0; i < plan->inputs.n && !status; i++) {
        const mdl_plan_input *input = &plan->inputs.at[i];
        status = mdl_context(check_input(plan, input), "input %s", input->name);
        if (!status) status = mdl_context(check_ids(plan, input), "input %s", input->name);
        if (!status) extents[i] = (extent){input->offset, mdl_type_bytes(&input->type), input->name};
    }
    if (!status) status = check_disjoint("input", extents, plan->inputs.n);
    mdl_arena_free(scratch);
    return status;
}

static bool is_identifier(const char *s) {
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", *s)) return false;
    return !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")];
}

static mdl_status check_hash(const char *hash, const void *bytes, int64_t size) {
    mdl_arena *scratch = mdl_arena_new();
    const char *actual = mdl_plan_hash(scratch, bytes, size);
    mdl_status status = MDL_OK;
    if (!hash || strcmp(hash, actual)) status = mdl_fail(MDL_BAD_INPUT, "its hash is %s, expected %s", actual, hash ? hash : "one");
    mdl_arena_free(scratch);
    return status;
}

/* Is `arch` a part of the list "sm_80,sm_90a"? */
static bool is_listed(const char *list, const char *arch) {
    size_t n = strlen(arch);
    for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (n && strcspn(list, ",") == n && !memcmp(list, arch, n)) return true;
    return false;
}

static mdl_status check_resources(const mdl_plan *plan, const mdl_plan_kernel *k) {
    if (k->resources.n && strcmp(plan->target, "cuda"))
        return mdl_fail(MDL_BAD_INPUT, "resources of an arch in a plan for %s", plan->target);
    for (int i = 0; i < k->resources.n; i++) {
        const mdl_plan_resources *r = &k->resources.at[i];
        if (!is_listed(plan->isa, r->arch)) return mdl_fail(MDL_BAD_INPUT, "resources of %s, which the plan is not for", r->arch);
        for (int j = 0; j < i; j++)
            if (!strcmp(k->resources.at[j].arch, r->arch)) return mdl_fail(MDL_BAD_INPUT, "resources of %s twice", r->arch);
        if (r->registers < 0 || r->spill_bytes < 0 || r->stack_bytes < 0 || r->shared_bytes < 0)
            return mdl_fail(MDL_BAD_INPUT, "resources of %s below 0", r->arch);
    }
    return MDL_OK;
}

static mdl_status check_kernels(const mdl_plan *plan) {
    MDL_TRY(
        mdl_check_names("kernel", plan->kernels.at, plan->kernels.n, sizeof *plan->kernels.at, offsetof(mdl_plan_kernel, symbol)),
        "kernels");
    for (int i = 0; i < plan->kernels.n; i++) {
        const mdl_plan_kernel *k = &plan->kernels.at[i];
        if (!is_identifier(k->symbol)) return mdl_fail(MDL_BAD_INPUT, "kernel %d: \"%s\" is not a C identifier", i, k->symbol);
        if (!k->class || !*k->class) return mdl_fail(MDL_BAD_INPUT, "kernel %s has no class", k->symbol);
        if (!k->source) return mdl_fail(MDL_BAD_INPUT, "kernel %s has no source", k->symbol);
        MDL_TRY(check_hash(k->hash, k->source, (int64_t)strlen(k->source)), "kernel %s", k->symbol);
        MDL_TRY(mdl_check_signature(k), "kernel %s", k->symbol);
        MDL_TRY(check_resources(plan, k), "kernel %s", k->symbol);
    }
    return MDL_OK;
}

/* Relative, no "." or ".." or empty parts, and not an entry that the format itself has. */
static bool is_safe_path(const mdl_plan *plan, const char *path) {
    if (!strcmp(path, "plan.json") || strchr(path, '\\') || path[strlen(path) - 1] == '/') return false;
    for (const char *part = path; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        if (!n || (n == 1 && *part == '.') || (n == 2 && !memcmp(part, "..", 2))) return false;
    }
    mdl_arena *scratch = mdl_arena_new();
    bool apart = true;
    for (int i = 0; i < plan->kernels.n; i++) apart &= strcmp(path, mdl_plan_source_path(scratch, plan, &plan->kernels.at[i])) != 0;
    mdl_arena_free(scratch);
    return apart;
}

static mdl_status check_files(const mdl_plan *plan) {
    MDL_TRY(mdl_check_names("file", plan->files.at, plan->files.n, sizeof *plan->files.at, offsetof(mdl_plan_file, path)), "files");
    for (int i = 0; i < plan->files.n; i++) {
        const mdl_plan_file *f = &plan->files.at[i];
        if (!is_safe_path(plan, f->path)) return mdl_fail(MDL_BAD_INPUT, "file %d: the path \"%s\" is not allowed", i, f->path);
        if (f->size < 0 || (f->size && !f->bytes)) return mdl_fail(MDL_BAD_INPUT, "file %s: it has no bytes", f->path);
        MDL_TRY(check_hash(f->hash, f->bytes ? f->bytes : "", f->size), "file %s", f->path);
    }
    if (plan->vocab && !mdl_plan_find_file(plan, plan->vocab)) return mdl_fail(MDL_BAD_INPUT, "there is no file %s", plan->vocab);
    if (!plan->export_name) return MDL_OK;
    mdl_arena *scratch = mdl_arena_new();
    const char *path = mdl_printf(scratch, "assets/%s", plan->export_name);
    mdl_status status = mdl_plan_find_file(plan, path) ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "there is no file %s", path);
    mdl_arena_free(scratch);
    return status;
}

/* A parameter's rows lie inside each group of the file's. */
static mdl_status check_rows(const mdl_plan *plan, const mdl_plan_name_map *map) {
    const mdl_plan_param *param = map->rows ? mdl_plan_find_param(plan, map->ours ? map->ours : "") : NULL;
    if (!map->rows && !map->groups && !map->first) return MDL_OK;
    bool fits = param && param->type.rank && map->groups > 0 && map->rows > 0 && map->first >= 0 && !strcmp(map->kind, "also") &&
                map->rows % map->groups == 0 && param->type.dim[0] % map->groups == 0 &&
                map->first <= map->rows / map->groups - param->type.dim[0] / map->groups;
    if (fits) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "%lld rows in %lld groups, the parameter's from %lld: not a part of such a tensor",
                    (long long)map->rows, (long long)map->groups, (long long)map->first);
}

static mdl_status check_tables(const mdl_plan *plan) {
    static const char *const kinds[] = {"name", "also", "ignore", NULL};
    MDL_TRY(mdl_check_names("dim", plan->dims.at, plan->dims.n, sizeof *plan->dims.at, offsetof(mdl_plan_dim, name)), "dims");
    MDL_TRY(
        mdl_check_names("special", plan->specials.at, plan->specials.n, sizeof *plan->specials.at, offsetof(mdl_plan_dim, name)),
        "specials");
    MDL_TRY(mdl_check_names("loss", plan->losses.at, plan->losses.n, sizeof *plan->losses.at, offsetof(mdl_plan_loss, name)),
            "losses");
    MDL_TRY(mdl_check_names("metric", plan->metrics.at, plan->metrics.n, sizeof *plan->metrics.at, 0), "metrics");
    for (int i = 0; i < plan->layouts.n; i++) {
        const mdl_plan_name_map *map = &plan->layouts.at[i];
        if (!is_one_of(map->kind, kinds))
            return mdl_fail(MDL_BAD_INPUT, "layout line %d: unknown kind \"%s\"", i, map->kind ? map->kind : "");
        if (!map->layout || !map->theirs || !map->ours != !strcmp(map->kind, "ignore"))
            return mdl_fail(MDL_BAD_INPUT, "layout line %d: a name is missing or too many", i);
        MDL_TRY(check_rows(plan, map), "layout line %d, \"%s\"", i, map->theirs);
    }
    return MDL_OK;
}

/* Results of all programs have places of their own: none is lost when another program runs before it is read. */
static mdl_status check_results(const mdl_plan *plan) {
    mdl_arena *scratch = mdl_arena_new();
    MDL_VEC(extent) extents = {0};
    for (int p = 0; p < plan->programs.n; p++)
        for (int i = 0; i < plan->programs.at[p].results.n; i++) {
            const mdl_plan_result *r = &plan->programs.at[p].results.at[i];
            const mdl_plan_buffer *b = &plan->programs.at[p].buffers.at[r->buffer];
            MDL_PUSH(scratch, extents,
                     ((extent){b->offset, b->bytes, mdl_printf(scratch, "%s of %s", r->name, plan->programs.at[p].name)}));
        }
    mdl_status status = extents.n ? check_disjoint("result", extents.at, extents.n) : MDL_OK;
    mdl_arena_free(scratch);
    return status;
}

mdl_status mdl_plan_verify(const mdl_plan *plan) {
    MDL_TRY(check_header(plan), "plan");
    MDL_TRY(check_tables(plan), "plan");
    MDL_TRY(check_kernels(plan), "plan");
    MDL_TRY(check_files(plan), "plan");
    MDL_TRY(check_arenas(plan), "plan");
    MDL_TRY(check_params(plan), "plan");
    MDL_TRY(check_units(plan), "plan");
    MDL_TRY(check_inputs(plan), "plan");
    MDL_TRY(mdl_check_names("program", plan->programs.at, plan->programs.n, sizeof *plan->programs.at,
                            offsetof(mdl_plan_program, name)),
            "plan");
    for (int i = 0; i < plan->programs.n; i++)
        MDL_TRY(mdl_check_program(plan, &plan->programs.at[i]), "program %s", plan->programs.at[i].name);
    MDL_TRY(mdl_check_launch_counts(plan), "plan");
    return mdl_context(check_results(plan), "plan");
}
