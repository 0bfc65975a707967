/* Names of syntax nodes, and their printed form. */
#include "grammar/ast.h"

enum { MAX_DEPTH = 1000 };

static const char *const names[] = {
#define AST(id, name) name,
    MDL_AST_KINDS(AST)
#undef AST
};

const char *mdl_ast_kind_name(mdl_ast_kind kind) { return kind < MDL_AST_COUNT ? names[kind] : "?"; }

static void print(mdl_text *text, const mdl_ast *node, int depth);

static void print_list(mdl_text *text, const mdl_asts *list, int depth) {
    for (int i = 0; i < list->n; i++) print(text, list->at[i], depth);
}

static void print_head(mdl_text *text, const mdl_ast *node, int depth) {
    int line, column;
    mdl_locate(node->loc, &line, &column);
    mdl_text_printf(text, "%*s%s", 2 * depth, "", mdl_ast_kind_name(node->kind));
    if (node->text) mdl_text_printf(text, node->kind == MDL_AST_STR ? " \"%s\"" : " %s", node->text);
    if (node->kind == MDL_AST_INT || node->kind == MDL_AST_BOOL) mdl_text_printf(text, " %lld", (long long)node->i);
    if (node->kind == MDL_AST_REAL) mdl_text_printf(text, " %.17g", node->f);
    mdl_text_printf(text, " @%d:%d\n", line, column);
}

static void print(mdl_text *text, const mdl_ast *node, int depth) {
    if (!node) return;
    if (depth > MAX_DEPTH) {
        mdl_text_printf(text, "%*s...\n", 2 * depth, "");
        return;
    }
    print_head(text, node, depth);
    print(text, node->a, depth + 1);
    print_list(text, &node->list, depth + 1);
    if (node->kind == MDL_AST_BRACKET && node->i) mdl_text_printf(text, "%*s->\n", 2 * depth + 2, "");
    print_list(text, &node->more, depth + 1);
    print(text, node->b, depth + 1);
    print(text, node->c, depth + 1);
    print(text, node->d, depth + 1);
}

void mdl_ast_print(mdl_text *text, const mdl_ast *node) { print(text, node, 0); }
