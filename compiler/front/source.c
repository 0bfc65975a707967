/* Source files: found beside the model or in the library, read, parsed. */
#include <string.h>

#include "compiler/front/elab.h"

static const char *join(fe *e, const char *folder, size_t n, const char *name) {
    return n ? mdl_printf(e->arena, "%.*s/%s", (int)n, folder, name) : name;
}

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

fe_source *fe_source_new(fe *e, const char *name, const mdl_file *file) {
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
