/* `export "config.json" { ... }`: the object evaluated to JSON text, keys in order. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/front/elab.h"
#include "runtime/base/outputs.h"

static json_t *to_json(fe *e, fe_env *env, const mdl_ast *ast, int depth);

static json_t *constant(fe *e, mdl_loc loc, const fe_value *v) {
    json_t *json = NULL;
    switch (v->kind) {
        case FE_POISON: return NULL;
        case FE_INT: return json_integer(v->i);
        case FE_REAL: return json_real(v->f);
        case FE_BOOL: return json_boolean(v->i);
        case FE_NULL: return json_null();
        case FE_STR:
            if (!(json = json_string(v->s))) fe_fail(e, loc, NULL, "this string is not valid UTF-8");
            return json;
        case FE_LIST:
            json = json_array();
            for (int i = 0; i < v->n; i++) json_array_append_new(json, constant(e, loc, &v->items[i]));
            return json;
        default: fe_fail(e, loc, NULL, "%s has no form in JSON", fe_type_text(e, v)); return NULL;
    }
}

static json_t *object(fe *e, fe_env *env, const mdl_ast *ast, int depth) {
    json_t *json = json_object();
    for (int i = 0; i < ast->list.n; i++) {
        const mdl_ast *pair = ast->list.at[i];
        const char *key = fe_interpolate(e, env, pair->name, pair->text);
        if (!key) continue;
        if (json_object_get(json, key)) fe_fail(e, pair->name, NULL, "the key \"%s\" is given twice", key);
        json_t *value = to_json(e, env, pair->a, depth + 1);
        if (value && json_object_set_new(json, key, value)) fe_fail(e, pair->name, NULL, "this key is not valid UTF-8");
    }
    return json;
}

static json_t *to_json(fe *e, fe_env *env, const mdl_ast *ast, int depth) {
    if (depth > FE_MAX_NESTING) return fe_fail(e, ast->loc, NULL, "this value is nested too deeply"), NULL;
    if (ast->kind == MDL_AST_OBJECT) return object(e, env, ast, depth);
    if (ast->kind == MDL_AST_LIST) {
        json_t *json = json_array();
        for (int i = 0; i < ast->list.n; i++) json_array_append_new(json, to_json(e, env, ast->list.at[i], depth + 1));
        return json;
    }
    fe_value v = fe_eval(e, env, ast);
    return constant(e, ast->loc, &v);
}

/* Why a name cannot be exported; NULL: it can. */
static const char *why_taken(const char *name) {
    static const char *const files[] = {MDL_RUN_FILES, NULL};
    for (int i = 0; files[i]; i++)
        if (!strcmp(files[i], name)) return "a training run writes a file of this name itself";
    return *name == '.' ? "a name that begins with a dot is hidden" : NULL;
}

void fe_export(fe *e, fe_env *env, const mdl_ast *export) {
    for (int i = 0; i < e->module->exports.n; i++)
        if (!strcmp(e->module->exports.at[i].name, export->text)) {
            fe_fail(e, export->name, NULL, "\"%s\" is exported twice", export->text);
            return;
        }
    if (strchr(export->text, '/') || !*export->text) {
        fe_fail(e, export->name, NULL, "'export' takes a file name without folders");
        return;
    }
    const char *taken = why_taken(export->text);
    if (taken) {
        fe_fail(e, export->name, NULL, "'export' cannot write \"%s\": %s", export->text, taken);
        return;
    }
    json_t *json = object(e, env, export->a, 0);
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (text) MDL_PUSH(e->arena, e->module->exports, ((mdl_export){export->text, mdl_printf(e->arena, "%s\n", text)}));
    free(text);
    json_decref(json);
}
