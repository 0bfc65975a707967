/* The vocabulary: a text file beside the model, one token a line; ids are line numbers from 0. */
#include <string.h>

#include "compiler/front/elab.h"

/* The line that holds exactly `token`, or -1. */
static int64_t line_of(const mdl_file *file, const char *token) {
    size_t length = strlen(token);
    for (int i = 0; i < file->n_lines; i++) {
        const char *line = file->text + file->lines[i];
        if (strcspn(line, "\r\n") == length && !strncmp(line, token, length)) return i;
    }
    return -1;
}

static int64_t count_tokens(const mdl_file *file) {
    int n = file->n_lines;
    while (n && !file->text[file->lines[n - 1]]) n--; /* the end of the last line begins no token */
    return n;
}

static void special(fe *e, fe_env *env, const mdl_ast *pair, const char *path, const mdl_file *file) {
    if (pair->a->kind != MDL_AST_STR) {
        fe_fail(e, pair->a->loc, NULL, "a special token is a string");
        return;
    }
    int64_t id = line_of(file, pair->a->text);
    fe_value v = fe_int(id);
    if (id < 0) v = fe_fail(e, pair->a->loc, NULL, "'%s' has no token \"%s\"", path, pair->a->text);
    fe_define(e, env, (fe_symbol){.name = pair->text, .loc = pair->name, .role = FE_FIXED, .value = v}, false);
    mdl_dim_value entry = {.name = pair->text, .value = id};
    if (id >= 0) MDL_PUSH(e->arena, e->module->specials, entry);
}

void fe_vocab(fe *e, fe_env *env, const mdl_ast *vocab) {
    if (e->module->vocab_name) {
        fe_fail(e, vocab->loc, NULL, "there is one 'vocab'");
        return;
    }
    const mdl_file *file = fe_read_beside(e, vocab->text, vocab->name, false);
    e->module->vocab_name = vocab->text;
    for (int i = 0; i < vocab->a->list.n; i++) {
        const mdl_ast *pair = vocab->a->list.at[i];
        fe_symbol unknown = {.name = pair->text, .loc = pair->name, .role = FE_FIXED, .value = fe_poison()};
        if (file)
            special(e, env, pair, vocab->text, file);
        else
            fe_define(e, env, unknown, false);
    }
    if (!file) return;
    e->module->vocab_text = file->text;
    e->vocab_size = count_tokens(file);
    if (!e->vocab_size) fe_fail(e, vocab->name, NULL, "'%s' has no tokens", vocab->text);
}
