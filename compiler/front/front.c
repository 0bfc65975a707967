/* From a model file to a module: loads the sources, declares, elaborates the model, checks the whole. */
#include "compiler/front/front.h"

#include <string.h>

#include "compiler/front/elab.h"

static const char *join(fe *e, const char *folder, size_t n, const char *name) {
    return n ? mdl_printf(e->arena, "%.*s/%s", (int)n, folder, name) : name;
}

/* Reads a file beside the model, or else from the library's folder. */
const mdl_file *fe_read_beside(fe *e, const char *name, mdl_loc loc, bool library) {
    const char *model = e->options->path, *slash = strrchr(model, '/');
    const char *path = join(e, model, slash ? (size_t)(slash - model) : 0, name), *why = NULL;
    if (!*name || *name == '/' || strstr(name, "..")) {
        fe_fail(e, loc, NULL, "\"%s\" is not a path beside the model", name);
        return NULL;
    }
    const mdl_file *file = mdl_file_read(e->arena, path, path, &why);
    if (!file && library && e->options->library) {
        const char *other = join(e, e->options->library, strlen(e->options->library), name), *ignored;
        file = mdl_file_read(e->arena, other, other, &ignored);
    }
    if (!file) fe_fail(e, loc, NULL, "cannot read \"%s\" (%s): %s", name, path, why);
    return file;
}

static bool is_late(const mdl_ast *item) {
    return item->kind == MDL_AST_MODEL || item->kind == MDL_AST_LAYOUT || item->kind == MDL_AST_EXPORT;
}
static bool is_function(const mdl_ast *item) { return item->kind == MDL_AST_FN || item->kind == MDL_AST_BLOCK; }

/* Uses, then functions, then what is computed in the order of the file. */
static void declare_all(fe *e, fe_source *source, bool library) {
    const mdl_asts *items = &source->ast->list;
    for (int i = 0; i < items->n; i++)
        if (items->at[i]->kind == MDL_AST_USE) fe_declare(e, source->env, items->at[i], library);
    for (int i = 0; i < items->n; i++)
        if (is_function(items->at[i])) fe_declare(e, source->env, items->at[i], library);
    for (int i = 0; i < items->n; i++) {
        const mdl_ast *item = items->at[i];
        if (item->kind == MDL_AST_USE || is_function(item) || (is_late(item) && !library)) continue;
        fe_declare(e, source->env, item, library);
    }
}

static fe_source *new_source(fe *e, const char *name, const mdl_file *file) {
    fe_source *source = MDL_NEW(e->arena, fe_source);
    *source = (fe_source){.name = name, .path = file->path, .file = file, .loading = true};
    source->env = fe_env_new(e, fe_env_new(e, NULL));
    MDL_PUSH(e->arena, e->sources, source);
    mdl_source entry = {.name = name, .text = file->text};
    MDL_PUSH(e->arena, e->module->sources, entry);
    int errors = mdl_error_count(e->d);
    source->ast = mdl_parse(e->arena, file, e->d);
    if (mdl_error_count(e->d) > errors) source->ast = NULL;
    return source;
}

fe_source *fe_load(fe *e, const char *name, mdl_loc loc, bool library) {
    for (int i = 0; i < e->sources.n; i++) {
        if (strcmp(e->sources.at[i]->name, name)) continue;
        if (e->sources.at[i]->loading) fe_fail(e, loc, NULL, "\"%s\" uses itself", name);
        return e->sources.at[i]->loading ? NULL : e->sources.at[i];
    }
    const mdl_file *file = fe_read_beside(e, name, loc, library);
    if (!file) return NULL;
    fe_source *source = new_source(e, name, file);
    if (source->ast) declare_all(e, source, library);
    source->loading = false;
    return source->ast ? source : NULL;
}

static void elaborate_model(fe *e, fe_source *source, const mdl_ast *model) {
    if (e->has_model) {
        fe_fail(e, model->name, NULL, "a file holds one model");
        return;
    }
    fe_frame frame = {.decl = model, .call = model->loc, .id = ++e->frames};
    e->has_model = true;
    e->module->name = model->text;
    e->frame = &frame;
    fe_exec_body(e, fe_env_new(e, source->env), model->b);
    e->frame = NULL;
}

static void elaborate(fe *e, fe_source *source) {
    const mdl_asts *items = &source->ast->list;
    declare_all(e, source, false);
    for (int i = 0; i < items->n; i++)
        if (items->at[i]->kind == MDL_AST_MODEL) elaborate_model(e, source, items->at[i]);
    fe_check_uncalled(e);
    fe_sets_end(e);
    mdl_loc start = {source->file, 0, 0};
    if (!e->has_model) mdl_report(e->d, MDL_SEVERITY_ERROR, start, "the file has no model");
    if (!e->has_batch) mdl_report(e->d, MDL_SEVERITY_ERROR, start, "the file has no token budget: batch T = ..., S = ...;");
    if (mdl_error_count(e->d)) return; /* what follows would only repeat them */
    fe_check_unused(e);
    for (int i = 0; i < items->n; i++) {
        if (items->at[i]->kind == MDL_AST_LAYOUT) fe_layout(e, source->env, items->at[i]);
        if (items->at[i]->kind == MDL_AST_EXPORT) fe_export(e, source->env, items->at[i]);
    }
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

mdl_module *mdl_front(mdl_arena *arena, const mdl_front_options *options, mdl_diagnostics *d) {
    const char *why = NULL;
    const mdl_file *file = mdl_file_read(arena, options->path, options->path, &why);
    if (!file) {
        mdl_report(d, MDL_SEVERITY_ERROR, (mdl_loc){0}, "cannot read %s: %s", options->path, why);
        return NULL;
    }
    fe e = {.arena = arena,
            .d = d,
            .options = options,
            .module = MDL_NEW(arena, mdl_module),
            .scratch = mdl_region_new(arena, "scratch")};
    e.module->forward = mdl_region_new(arena, "forward");
    e.module->init = mdl_region_new(arena, "init");
    e.b = (mdl_builder){.arena = arena, .region = e.module->forward};
    fe_sets_begin(&e);
    fe_source *source = new_source(&e, base_name(options->path), file);
    if (source->ast) elaborate(&e, source);
    mdl_region_give_stable_ids(e.module->init, mdl_region_give_stable_ids(e.module->forward, 1));
    return mdl_error_count(d) ? NULL : e.module;
}
