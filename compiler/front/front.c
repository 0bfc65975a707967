/* From a model file to a module: loads the sources, declares, elaborates the model, checks the whole. */
#include "compiler/front/front.h"

#include <string.h>

#include "compiler/front/elab.h"

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
    fe_declare_all(e, source, false);
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
    fe_builtin_words(&e);
    fe_sets_begin(&e);
    fe_source *source = fe_source_new(&e, base_name(options->path), file);
    if (source->ast) elaborate(&e, source);
    mdl_region_give_stable_ids(e.module->init, mdl_region_give_stable_ids(e.module->forward, 1));
    return mdl_error_count(d) ? NULL : e.module;
}
