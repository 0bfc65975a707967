/* Names, and errors with the chain of instantiations that led to them. */
#include <stdarg.h>
#include <string.h>

#include "compiler/front/elab.h"
#include "runtime/base/nearest.h"

fe_env *fe_env_new(fe *e, fe_env *parent) {
    fe_env *env = MDL_NEW(e->arena, fe_env);
    env->parent = parent;
    return env;
}

static fe_symbol *own(const fe_env *env, const char *name) {
    for (int i = env->symbols.n - 1; i >= 0; i--)
        if (!strcmp(env->symbols.at[i].name, name)) return &env->symbols.at[i];
    return NULL;
}

fe_symbol *fe_lookup(const fe_env *env, const char *name) {
    fe_symbol *symbol = NULL;
    for (; env && !symbol; env = env->parent) symbol = own(env, name);
    return symbol;
}

void fe_define(fe *e, fe_env *env, fe_symbol symbol, bool hides) {
    const fe_symbol *old = hides ? own(env, symbol.name) : fe_lookup(env, symbol.name);
    if (old) {
        const char *where =
            old->loc.file ? mdl_printf(e->arena, "declared at %s", mdl_place(e->arena, old->loc, symbol.loc.file)) : NULL;
        fe_fail(e, symbol.loc, where, "'%s' is already declared", symbol.name);
        symbol.value = fe_poison();
    }
    MDL_PUSH(e->arena, env->symbols, symbol);
}

/* "(i=0, size="650M")", or "". */
static const char *circumstances(fe *e, const fe_frame *frame, bool outermost) {
    mdl_text text = {.arena = e->arena};
    for (int i = 0; frame && i < frame->loops.n; i++)
        mdl_text_printf(&text, "%s%s=%s", text.n ? ", " : " (", frame->loops.at[i].name,
                        fe_value_text(e, &frame->loops.at[i].value));
    for (int i = 0; outermost && i < e->configs.n; i++)
        mdl_text_printf(&text, "%s%s=\"%s\"", text.n ? ", " : " (", e->configs.at[i].name, e->configs.at[i].value.s);
    return text.n ? mdl_printf(e->arena, "%s)", text.at) : "";
}

static bool inside(mdl_loc loc, mdl_loc call) { return loc.file == call.file && loc.begin >= call.begin && loc.end <= call.end; }

/* One note for each call that led here, the innermost first; one whose call shows in the message itself is left out. */
static void trace(fe *e, mdl_loc loc) {
    enum { MOST = 8 };
    const fe_frame *f = e->frame;
    int n = 0;
    if (f && f->up && inside(loc, f->call) && !f->uncalled) f = f->up;
    if (f && !f->up && f->loops.n) mdl_note(e->d, "in model %s%s", f->decl->text, circumstances(e, f, true));
    for (; f && f->up; f = f->up) {
        if (++n > MOST && f->up->up) continue;
        if (f->uncalled) {
            mdl_note(e->d, "nothing calls '%s': it is checked with dims that stand for any", f->decl->text);
            return;
        }
        const char *kind = f->decl->kind == MDL_AST_BLOCK ? "block" : "fn",
                   *verb = f->decl->kind == MDL_AST_BLOCK ? "instantiated" : "called";
        mdl_note(e->d, "in %s %s, %s at %s%s", kind, f->decl->text, verb, mdl_place(e->arena, f->call, loc.file),
                 circumstances(e, f->up, !f->up->up));
    }
    if (n > MOST + 1) mdl_note(e->d, "%d calls between these are not shown", n - MOST - 1);
}

fe_value fe_fail(fe *e, mdl_loc loc, const char *detail, const char *format, ...) {
    va_list args;
    va_start(args, format);
    mdl_vreport(e->d, MDL_SEVERITY_ERROR, loc, format, args);
    va_end(args);
    if (detail) mdl_detail(e->d, "%s", detail);
    trace(e, loc);
    return fe_poison();
}

fe_value fe_fail_value(fe *e, mdl_loc loc, const char *format, ...) {
    if (e->dead) return fe_poison();
    va_list args;
    va_start(args, format);
    mdl_vreport(e->d, MDL_SEVERITY_ERROR, loc, format, args);
    va_end(args);
    trace(e, loc);
    return fe_poison();
}

const char *fe_suggest(fe *e, const char *name, int n, const char *const *names) {
    const char *near = mdl_nearest(name, n, names);
    return near ? mdl_printf(e->arena, " (did you mean '%s'?)", near) : "";
}

const char *fe_suggest_visible(fe *e, const fe_env *env, const char *name) {
    MDL_VEC(const char *) names = {0};
    for (; env; env = env->parent)
        for (int i = 0; i < env->symbols.n; i++) MDL_PUSH(e->arena, names, env->symbols.at[i].name);
    for (int i = 0; i < e->words.n; i++) MDL_PUSH(e->arena, names, e->words.at[i]);
    return fe_suggest(e, name, names.n, names.at);
}

/* Users look for the line of their own model: inside a library block, the call in the model file that led there. */
static mdl_loc in_model_file(const fe *e, mdl_loc loc) {
    const fe_frame *f = e->frame;
    const mdl_file *model = f ? f->decl->loc.file : NULL;
    for (const fe_frame *up = f; up; up = up->up) model = up->decl->loc.file;
    for (; f && f->up && loc.file != model; f = f->up) loc = f->call;
    return loc;
}

void fe_at(fe *e, mdl_loc loc) {
    loc = in_model_file(e, loc);
    e->b.span.file = loc.file ? loc.file->path : NULL;
    mdl_locate(loc, &e->b.span.line, &e->b.span.column);
}
