/* Declarations at the top level of a file. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/front/elab.h"

static const mdl_loc nowhere = {0};

static void define(fe *e, fe_env *env, const mdl_ast *name, fe_value value) {
    fe_define(e, env, (fe_symbol){.name = name->text, .loc = name->name, .role = FE_FIXED, .value = value}, false);
}

/* A named positive integer is a dim of its own. */
static fe_value named_dim(fe *e, const char *name, fe_value v) {
    if (v.kind == FE_INT && v.i > 0 && !v.dim) v.dim = fe_dim_new(e, name, v.i);
    return v;
}

static void note_integer(fe *e, const char *name, const fe_value *v) {
    mdl_dim_value dim = {.name = name, .value = v->i};
    if (v->kind == FE_INT) MDL_PUSH(e->arena, e->module->dims, dim);
}

/* ---- overrides ---- */
static const char *kind_name(fe_kind kind) {
    return kind == FE_INT    ? "an integer"
           : kind == FE_REAL ? "a number"
           : kind == FE_BOOL ? "true or false"
                             : "a value that --set can give";
}

/* The text of --set as a value of the kind that it replaces. */
static fe_value parse_set(fe *e, const char *name, const char *text, fe_kind kind) {
    char *end = NULL;
    fe_value v = fe_poison();
    errno = 0;
    if (kind == FE_STR) return fe_str(text);
    if (kind == FE_INT) v = fe_int(strtoll(text, &end, 10));
    if (kind == FE_REAL) v = fe_real(strtod(text, &end));
    if (kind == FE_BOOL && (!strcmp(text, "true") || !strcmp(text, "false"))) return fe_bool(*text == 't');
    if (end && end != text && !*end && !errno && (kind != FE_REAL || isfinite(v.f))) return v;
    mdl_report(e->d, MDL_SEVERITY_ERROR, nowhere, "--set %s=%s: expected %s", name, text, kind_name(kind));
    return fe_poison();
}

static fe_value override(fe *e, const char *name, fe_value v) {
    const char *text = fe_set_text(e, name);
    if (!text || v.kind == FE_POISON) return v;
    return parse_set(e, name, text, v.kind);
}

/* ---- config and table ---- */
static bool same_constant(const fe_value *a, const fe_value *b) {
    if (a->kind == FE_STR && b->kind == FE_STR) return !strcmp(a->s, b->s);
    return a->kind == b->kind && fe_is_constant(a) && fe_number(a) == fe_number(b);
}

static fe_value check_allowed(fe *e, fe_env *env, const mdl_ast *config, fe_value v, bool set) {
    mdl_text all = {.arena = e->arena};
    const char **texts = MDL_NEW_ARRAY(e->arena, const char *, config->list.n + 1);
    if (!config->list.n || v.kind == FE_POISON) return v;
    for (int i = 0; i < config->list.n; i++) {
        fe_value allowed = fe_eval(e, env, config->list.at[i]);
        if (allowed.kind == FE_POISON || same_constant(&allowed, &v)) return v;
        texts[i] = fe_value_text(e, &allowed);
        mdl_text_printf(&all, "%s%s", i ? ", " : "", texts[i]);
    }
    const char *got = fe_value_text(e, &v), *near = fe_suggest(e, got, config->list.n, texts);
    if (set)
        mdl_report(e->d, MDL_SEVERITY_ERROR, nowhere, "--set %s=%s: not one of its values%s", config->text, got, near);
    else
        mdl_report(e->d, MDL_SEVERITY_ERROR, config->a->loc, "the default of '%s' is not one of its values%s", config->text, near);
    mdl_detail(e->d, "they are %s", all.at);
    return fe_poison();
}

static void declare_config(fe *e, fe_env *env, const mdl_ast *config) {
    fe_value v = fe_eval(e, env, config->a);
    if (v.kind != FE_POISON && !fe_is_constant(&v) && v.kind != FE_STR)
        v = fe_fail(e, config->a->loc, NULL, "a config is a number, bool or string, not %s", fe_type_text(e, &v));
    v.dim = NULL;
    v = check_allowed(e, env, config, v, false);
    bool set = v.kind != FE_POISON;
    v = override(e, config->text, v);
    if (set) v = check_allowed(e, env, config, v, true);
    v = named_dim(e, config->text, v);
    note_integer(e, config->text, &v);
    define(e, env, config, v);
    fe_symbol shown = {.name = config->text, .value = v};
    if (v.kind == FE_STR) MDL_PUSH(e->arena, e->configs, shown);
}

static const mdl_ast *chosen_row(fe *e, fe_env *env, const mdl_ast *table, const fe_value *key) {
    const mdl_ast *chosen = NULL;
    bool failed = false;
    for (int i = 0; i < table->more.n; i++) {
        const mdl_ast *row = table->more.at[i];
        fe_value v = fe_eval(e, env, row->a);
        failed |= v.kind == FE_POISON;
        if (row->list.n != table->list.n) {
            fe_fail(e, row->loc, NULL, "this row has %d cells, the table has %d columns", row->list.n, table->list.n);
            failed = true;
        }
        if (!same_constant(&v, key)) continue;
        if (chosen) fe_fail(e, row->a->loc, NULL, "the table has two rows for %s", fe_value_text(e, key));
        chosen = row;
    }
    if (!chosen && !failed && key->kind != FE_POISON)
        fe_fail(e, table->loc, NULL, "the table has no row for %s", fe_type_text(e, key));
    return chosen && !failed ? chosen : NULL;
}

static void declare_table(fe *e, fe_env *env, const mdl_ast *table) {
    fe_value key = fe_eval(e, env, table->b);
    const mdl_ast *row = chosen_row(e, env, table, &key);
    for (int i = 0; i < table->list.n; i++) {
        const mdl_ast *column = table->list.at[i];
        fe_value v = row ? fe_eval(e, env, row->list.at[i]) : fe_poison();
        v.dim = NULL;
        v = named_dim(e, column->text, override(e, column->text, v));
        note_integer(e, column->text, &v);
        define(e, env, column, v);
    }
}

/* ---- dims and the token budget ---- */
static void declare_dims(fe *e, fe_env *env, const mdl_ast *dims) {
    for (int i = 0; i < dims->list.n; i++) {
        const mdl_ast *bind = dims->list.at[i];
        const char *text = fe_set_text(e, bind->text);
        mdl_ast one = *dims;
        if (!text) {
            one.list = (mdl_asts){0};
            MDL_PUSH(e->arena, one.list, (mdl_ast *)bind);
            fe_exec_dims(e, env, &one);
        } else {
            fe_value v = parse_set(e, bind->text, text, FE_INT);
            if (v.kind == FE_INT && v.i <= 0) {
                mdl_report(e->d, MDL_SEVERITY_ERROR, nowhere, "--set %s=%s: a dim is positive", bind->text, text);
                v = fe_poison();
            }
            define(e, env, bind, named_dim(e, bind->text, v));
        }
        const fe_symbol *symbol = fe_lookup(env, bind->text);
        if (symbol) note_integer(e, bind->text, &symbol->value);
    }
}

static void declare_batch(fe *e, fe_env *env, const mdl_ast *batch) {
    int64_t given[2] = {e->options->tokens, e->options->segments}, *size[2] = {&e->module->tokens, &e->module->segments};
    if (batch->list.n != 2 || e->has_batch) {
        fe_fail(e, batch->loc, NULL, e->has_batch ? "there is one 'batch'" : "'batch' gives two dims: tokens, then sequences");
        return;
    }
    e->has_batch = true;
    for (int i = 0; i < 2; i++) {
        const mdl_ast *bind = batch->list.at[i];
        fe_value v = fe_eval(e, env, bind->a);
        if (v.kind == FE_INT && given[i]) v = fe_int(given[i]);
        if (v.kind != FE_POISON && (v.kind != FE_INT || v.i < 1 || v.i >= INT32_MAX))
            v = fe_fail(e, bind->a->loc, NULL, "'%s' is an integer from 1 to 2147483646, not %s", bind->text, fe_type_text(e, &v));
        if (v.kind == FE_INT) {
            fe_dim *dim = MDL_NEW(e->arena, fe_dim);
            *dim = (fe_dim){.name = bind->text, .size = v.i, .batch = true};
            v.dim = dim;
            *size[i] = v.i;
        }
        define(e, env, bind, v);
    }
}

/* ---- inputs ---- */
static const struct {
    const char *name;
    mdl_dtype dtype;
} sources[] = {{"tokens", MDL_I32}, {"masked", MDL_I32}, {"next", MDL_I32}, {"column", MDL_F32}, {"present", MDL_BOOL}};
static const char *const source_names[] = {"tokens", "masked", "next", "column", "present"};
enum { N_SOURCES = sizeof sources / sizeof *sources };

static const char *source_of(fe *e, const mdl_ast *flag, mdl_dtype dtype) {
    const mdl_ast *arg = flag->list.n == 1 && !flag->list.at[0]->text ? flag->list.at[0]->a : NULL;
    if (!arg || arg->kind != MDL_AST_STR) return fe_fail(e, flag->loc, NULL, "'from' takes a string: from(\"tokens\")"), NULL;
    for (int i = 0; i < N_SOURCES; i++) {
        if (strcmp(sources[i].name, arg->text)) continue;
        if (sources[i].dtype == dtype) return sources[i].name;
        fe_fail(e, arg->loc, NULL, "\"%s\" gives %s, the input is %s", arg->text, mdl_dtype_name(sources[i].dtype),
                mdl_dtype_name(dtype));
        return NULL;
    }
    fe_fail(e, arg->loc, "the sources are \"tokens\", \"masked\", \"next\", \"column\" and \"present\"", "unknown source \"%s\"%s",
            arg->text, fe_suggest(e, arg->text, N_SOURCES, source_names));
    return NULL;
}

static bool read_maxlen(fe *e, fe_env *env, const mdl_ast *flag, mdl_dtype dtype) {
    if (flag->list.n != 1 || flag->list.at[0]->text)
        return fe_fail(e, flag->loc, NULL, "'maxlen' takes one size: maxlen(P)"), false;
    if (dtype != MDL_SEG) return fe_fail(e, flag->loc, NULL, "'maxlen' belongs to segments"), false;
    fe_value v = fe_eval(e, env, flag->list.at[0]->a);
    if (v.kind == FE_POISON) return false;
    if (v.kind != FE_INT || v.i <= 0)
        return fe_fail(e, flag->loc, NULL, "'maxlen' is a positive integer, not %s", fe_type_text(e, &v)), false;
    e->module->max_length = v.i;
    return true;
}

static bool input_flags(fe *e, fe_env *env, const mdl_ast *input, mdl_dtype dtype, const char **source) {
    static const char *const names[] = {"from", "maxlen"};
    *source = dtype == MDL_SEG ? "segments" : NULL;
    for (int i = 0; i < input->list.n; i++) {
        const mdl_ast *flag = input->list.at[i];
        if (flag->kind == MDL_AST_FLAG && !strcmp(flag->text, "from") && dtype != MDL_SEG) {
            if (!(*source = source_of(e, flag, dtype))) return false;
        } else if (flag->kind == MDL_AST_FLAG && !strcmp(flag->text, "maxlen")) {
            if (!read_maxlen(e, env, flag, dtype)) return false;
        } else {
            fe_fail(e, flag->name, NULL, "%s has no property '%s'%s", dtype == MDL_SEG ? "a segments input" : "an input",
                    flag->text, fe_suggest(e, flag->text, 2, names));
            return false;
        }
    }
    if (*source) return true;
    fe_fail(e, input->loc, "the sources are \"tokens\", \"masked\", \"next\", \"column\" and \"present\"",
            "input '%s' needs from(\"...\")", input->text);
    return false;
}

static fe_value new_input(fe *e, fe_env *env, const mdl_ast *input) {
    const fe_dim *dims[FE_MAX_ARGS];
    const char *source;
    mdl_dtype dtype;
    if (!input->a->i) return fe_fail(e, input->a->loc, NULL, "an input is a tensor: i32[T], segments[S, T]");
    if (!fe_type_dtype(e, input->a, &dtype)) return fe_poison();
    int rank = fe_type_dims(e, env, input->a, false, dims);
    if (rank < 0 || !input_flags(e, env, input, dtype, &source)) return fe_poison();
    bool pair =
        rank == 2 && dims[0]->batch && dims[1]->batch && dims[0]->size == e->module->segments && dims[1]->size == e->module->tokens;
    if (dtype == MDL_SEG && !pair)
        return fe_fail(e, input->a->loc, NULL, "segments have the two dims of 'batch': sequences, then tokens");
    mdl_input_decl decl = {.name = input->text, .source = source, .type = fe_shape(dtype, rank, dims)};
    fe_at(e, input->loc);
    decl.span = e->b.span;
    MDL_PUSH(e->arena, e->module->inputs, decl);
    return fe_tensor(e, mdl_input(&e->b, input->text, decl.type), rank, dims);
}

/* ---- use ---- */
/* A used file is declared once, where it is first used. */
static fe_source *load(fe *e, const char *name, mdl_loc loc, bool library) {
    for (int i = 0; i < e->sources.n; i++) {
        if (strcmp(e->sources.at[i]->name, name)) continue;
        if (e->sources.at[i]->loading) fe_fail(e, loc, NULL, "\"%s\" uses itself", name);
        return e->sources.at[i]->loading ? NULL : e->sources.at[i];
    }
    const mdl_file *file = fe_read_beside(e, name, loc, library);
    if (!file) return NULL;
    fe_source *source = fe_source_new(e, name, file);
    if (source->ast) fe_declare_all(e, source, library);
    source->loading = false;
    return source->ast ? source : NULL;
}

static void import(fe *e, fe_env *env, const mdl_ast *use) {
    const fe_source *source = load(e, use->text, use->loc, true);
    if (!source) return;
    for (int i = 0; i < source->env->symbols.n; i++) {
        fe_symbol symbol = source->env->symbols.at[i];
        const fe_symbol *old = fe_lookup(env->parent, symbol.name);
        if (old && old->loc.file == symbol.loc.file && old->loc.begin == symbol.loc.begin) continue;
        if (old) {
            const char *there = mdl_printf(e->arena, "declared at %s and at %s", mdl_place(e->arena, old->loc, use->loc.file),
                                           mdl_place(e->arena, symbol.loc, use->loc.file));
            fe_fail(e, use->loc, there, "'%s' comes from two used files", symbol.name);
            continue;
        }
        MDL_PUSH(e->arena, env->parent->symbols, symbol);
    }
}

static bool allowed_in_library(fe *e, const mdl_ast *item) {
    switch (item->kind) {
        case MDL_AST_USE:
        case MDL_AST_CONST:
        case MDL_AST_FN:
        case MDL_AST_BLOCK:
        case MDL_AST_CHECK: return true;
        default:
            fe_fail(e, item->loc, NULL, "a used file holds use, const, check, fn and block; '%s' belongs in a model file",
                    mdl_ast_kind_name(item->kind));
            return false;
    }
}

static void declare(fe *e, fe_env *env, const mdl_ast *item, bool library) {
    if (library && !allowed_in_library(e, item)) return;
    switch (item->kind) {
        case MDL_AST_USE: import(e, env, item); break;
        case MDL_AST_CONFIG:
            for (int i = 0; i < item->list.n; i++) declare_config(e, env, item->list.at[i]);
            break;
        case MDL_AST_TABLE: declare_table(e, env, item); break;
        case MDL_AST_CONST: fe_exec_consts(e, env, item); break;
        case MDL_AST_DIM: declare_dims(e, env, item); break;
        case MDL_AST_BATCH: declare_batch(e, env, item); break;
        case MDL_AST_INPUT: define(e, env, item, new_input(e, env, item)); break;
        case MDL_AST_VOCAB: fe_vocab(e, env, item); break;
        case MDL_AST_CHECK: fe_exec_check(e, env, item); break;
        case MDL_AST_FN:
        case MDL_AST_BLOCK:
            fe_define(e, env, (fe_symbol){.name = item->text, .loc = item->name, .role = FE_FUNCTION, .decl = item, .home = env},
                      false);
            break;
        default: fe_fail(e, item->loc, NULL, "'%s' does not belong here", mdl_ast_kind_name(item->kind));
    }
}

static bool is_late(const mdl_ast *item) {
    return item->kind == MDL_AST_MODEL || item->kind == MDL_AST_LAYOUT || item->kind == MDL_AST_EXPORT;
}
static bool is_function(const mdl_ast *item) { return item->kind == MDL_AST_FN || item->kind == MDL_AST_BLOCK; }

/* Uses, then functions, then what is computed in the order of the file. */
void fe_declare_all(fe *e, fe_source *source, bool library) {
    const mdl_asts *items = &source->ast->list;
    for (int i = 0; i < items->n; i++)
        if (items->at[i]->kind == MDL_AST_USE) declare(e, source->env, items->at[i], library);
    for (int i = 0; i < items->n; i++)
        if (is_function(items->at[i])) declare(e, source->env, items->at[i], library);
    for (int i = 0; i < items->n; i++) {
        const mdl_ast *item = items->at[i];
        if (item->kind == MDL_AST_USE || is_function(item) || (is_late(item) && !library)) continue;
        declare(e, source->env, item, library);
    }
}
