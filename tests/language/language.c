/* The language's reference: every example in docs/language.md compiles, or fails as it says. Damaged files: every prefix of a
 * model, and models with a token left out, give messages and never a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/front/front.h"
#include "grammar/ast.h"
#include "tests/check.h"

typedef struct {
    mdl_test *t;
    mdl_arena *arena;
    const char *root;
    const char *prelude; /* the last example, without its model */
} suite;

static mdl_module *compile(suite *s, mdl_arena *arena, const char *text, mdl_diagnostics **d) {
    const char *path = mdl_printf(arena, "%s/example.mdl", mdl_test_scratch(s->t));
    FILE *out = fopen(path, "wb");
    if (!out) return NULL;
    fputs(text, out);
    fclose(out);
    *d = mdl_diagnostics_new(arena);
    mdl_front_options options = {.path = path, .library = mdl_printf(arena, "%s/models", s->root)};
    return mdl_front(arena, &options, *d);
}

/* ---- the examples ---- */
/* An example as a whole file: `body` goes into a model after the prelude, `top` gets what it lacks. */
static const char *whole(suite *s, const char *kind, const char *text) {
    if (!strcmp(kind, "body")) return mdl_printf(s->arena, "%s\nmodel m {\n%s\n}\n", s->prelude, text);
    if (strcmp(kind, "top")) return text;
    const char *batch = strstr(text, "batch ") ? "" : "batch T = 64, S = 4;\n",
               *model = strstr(text, "model ") ? "" : "model m { const one = 1; }\n";
    return mdl_printf(s->arena, "mdl 1;\n%s%s\n%s", batch, text, model);
}

static void run_example(suite *s, int line, const char *info, const char *text) {
    char kind[16] = "";
    const char *error = strstr(info, "error ");
    sscanf(info, "%15s", kind);
    if (!mdl_case(s->t, "docs/language.md:%d", line)) return;
    mdl_diagnostics *d;
    mdl_module *module = compile(s, s->arena, whole(s, kind, text), &d);
    const char *said = mdl_diagnostics_text(d);
    if (error)
        CHECK(s->t, !module && strstr(said, error + 6), "expected an error with \"%s\", got:\n%s", error + 6, said);
    else
        CHECK(s->t, module && !*said, "the example does not compile:\n%s", said);
}

static const char *next_line(const char *at) {
    const char *end = strchr(at, '\n');
    return end ? end + 1 : at + strlen(at);
}

/* Calls `run` for each ```mdl block; returns their number. */
static int each_example(suite *s, const char *doc, void (*run)(suite *, int, const char *, const char *)) {
    int n = 0, line = 1;
    for (const char *at = doc; *at; at = next_line(at), line++) {
        if (strncmp(at, "```", 3)) continue;
        const char *info = mdl_strndup(s->arena, at + 3, strcspn(at + 3, "\n")), *begin = next_line(at), *end = begin;
        int first = line;
        for (at = begin, line++; *at && strncmp(at, "```", 3); at = next_line(at), line++) end = next_line(at);
        if (strncmp(info, "mdl", 3)) continue;
        run(s, first, info + 3, mdl_strndup(s->arena, begin, (size_t)(end - begin)));
        n++;
    }
    return n;
}

static void find_prelude(suite *s, int line, const char *info, const char *text) {
    (void)line, (void)info;
    const char *model = strstr(text, "\nmodel ");
    if (model) s->prelude = mdl_strndup(s->arena, text, (size_t)(model - text));
}

static void examples(suite *s) {
    const char *why, *path = mdl_printf(s->arena, "%s/docs/language.md", s->root);
    const mdl_file *doc = mdl_file_read(s->arena, path, path, &why);
    mdl_case(s->t, "the reference is there");
    CHECK(s->t, doc, "%s: %s", path, why);
    if (!doc) return;
    each_example(s, doc->text, find_prelude);
    int n = each_example(s, doc->text, run_example);
    mdl_case(s->t, "the reference has examples");
    CHECK(s->t, n > 25, "only %d", n);
}

/* ---- damage ---- */
static const char *model_text(suite *s) {
    const char *why, *path = mdl_printf(s->arena, "%s/models/esm2.mdl", s->root);
    const mdl_file *file = mdl_file_read(s->arena, path, path, &why);
    return file ? file->text : "";
}

/* The parser alone on a text; returns the number of errors. */
static int parse_errors(const char *text, int length) {
    mdl_arena *arena = mdl_arena_new();
    mdl_diagnostics *d = mdl_diagnostics_new(arena);
    mdl_text dump = {.arena = arena};
    mdl_ast_print(&dump, mdl_parse(arena, mdl_file_new(arena, "text.mdl", text, length), d));
    int errors = mdl_error_count(d);
    (void)mdl_diagnostics_text(d);
    mdl_arena_free(arena);
    return errors;
}

/* The whole front end on a text: a module exactly without errors. */
static bool front_is_sane(suite *s, const char *text) {
    mdl_arena *arena = mdl_arena_new();
    mdl_diagnostics *d = NULL;
    mdl_module *module = compile(s, arena, text, &d);
    bool sane = d && !module == (mdl_error_count(d) > 0) && (module || *mdl_diagnostics_text(d));
    mdl_arena_free(arena);
    return sane;
}

static void truncation(suite *s) {
    enum { STEP = 7 };
    const char *text = model_text(s);
    int length = (int)strlen(text), silent = 0, end = (int)(strstr(text, "\nlayout") - text);
    mdl_case(s->t, "every prefix of a model is reported or complete");
    for (int n = 0; n < length; n += STEP) {
        int errors = parse_errors(text, n);
        silent += n < end - 10 && !errors && strstr(text, "\nmodel") + 10 < text + n;
        if (n % (STEP * 8) == 0) CHECK(s->t, front_is_sane(s, mdl_strndup(s->arena, text, (size_t)n)), "prefix of %d bytes", n);
    }
    CHECK(s->t, !silent, "%d prefixes that end inside the model parse without an error", silent);
}

/* Leaves out, doubles or replaces a stretch of a model. */
static void mutation(suite *s) {
    static const char *const with[] = {"", ";", "{", "}", "[", "(", "D", "0", "\"", "-> ", "as \"x\" ", "= ", "?", "..", "T"};
    const char *text = model_text(s);
    int length = (int)strlen(text);
    unsigned random = 12345;
    mdl_case(s->t, "damaged models");
    for (int i = 0; i < 400; i++) {
        random = random * 1664525u + 1013904223u;
        int at = (int)(random >> 8) % (length - 20), cut = (int)(random >> 4) % 12;
        const char *put = with[(random >> 16) % (sizeof with / sizeof *with)];
        const char *damaged = mdl_printf(s->arena, "%.*s%s%s", at, text, put, text + at + cut);
        CHECK(s->t, front_is_sane(s, damaged), "at byte %d, %d bytes replaced by '%s'", at, cut, put);
    }
}

static const char *repeat(suite *s, const char *before, const char *piece, int n, const char *after) {
    mdl_text text = {.arena = s->arena};
    mdl_text_printf(&text, "%s", before);
    for (int i = 0; i < n; i++) mdl_text_append(&text, piece, strlen(piece));
    mdl_text_printf(&text, "%s", after);
    return text.at;
}

static void extremes(suite *s) {
    mdl_case(s->t, "deep and long texts");
    const char *texts[] = {
        "",
        "mdl",
        "mdl 1;",
        "\"",
        "mdl 1; }",
        "mdl 1; {",
        "\xff\xfe",
        repeat(s, "mdl 1; const a = ", "(", 20000, ";"),
        repeat(s, "mdl 1; const a = ", "-", 20000, "1;"),
        repeat(s, "mdl 1; const a = 1", " + 1", 100000, ";"),
        repeat(s, "mdl 1; const a = ", "[", 5000, ";"),
        repeat(s, "mdl 1; model m { ", "if true { ", 5000, ""),
        repeat(s, "mdl 1; batch T = 4, S = 2; model m { let a = 1", " ? 1 : 1", 3000, "; }"),
        repeat(s, "mdl 1; const a = \"", "x", 100000, "\";"),
        "mdl 1; batch T = 4, S = 2; model m { for i in 0 .. 9000000000000000000 { for j in 0 .. 9000000000000000000 { let a = i; } "
        "} }",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) CHECK(s->t, front_is_sane(s, texts[i]), "text %zu", i);
}

/* Every elementwise row of the op table is a function of the language. */
static void elementwise(suite *s) {
    for (int i = 0; i < MDL_OP_COUNT; i++) {
        bool logic = i == MDL_OP_AND || i == MDL_OP_OR || i == MDL_OP_NOT;
        if (mdl_ops[i].class != MDL_POINTWISE || i == MDL_OP_CAST || !mdl_case(s->t, "function %s", mdl_ops[i].name)) continue;
        const char *x = logic ? "known" : "x", *first = i == MDL_OP_SELECT ? "known" : x;
        const char *args =
            mdl_ops[i].arity == 1 ? x : mdl_printf(s->arena, mdl_ops[i].arity == 2 ? "%s, %s" : "%s, %s, x", first, x);
        const char *text = mdl_printf(s->arena,
                                      "mdl 1; dim D = 4; batch T = 8, S = 2; input x: f32[S, D] from(\"column\");\n"
                                      "input known: bool[S, D] from(\"present\"); model m { output o.x = %s(%s); }",
                                      mdl_ops[i].name, args);
        mdl_diagnostics *d;
        mdl_module *module = compile(s, s->arena, text, &d);
        CHECK(s->t, module, "%s", mdl_diagnostics_text(d));
        if (!module) continue;
        const mdl_region *forward = module->forward;
        CHECK(s->t, (int)forward->ops.at[forward->ops.n - 2]->code == i, "%s became %s", mdl_ops[i].name,
              mdl_ops[forward->ops.at[forward->ops.n - 2]->code].name);
    }
}

void suite_language(mdl_test *t) {
    suite s = {.t = t, .arena = mdl_arena_new(), .root = mdl_test_source(t)};
    examples(&s);
    elementwise(&s);
    truncation(&s);
    mutation(&s);
    extremes(&s);
    mdl_arena_free(s.arena);
}
