/* The syntax tree of a model file. One kind of node: which fields a kind uses stands in the list below. */
#ifndef MDL_GRAMMAR_AST_H
#define MDL_GRAMMAR_AST_H

#include <stdint.h>

#include "grammar/diagnostics.h"
#include "runtime/base/arena.h"

/* AST(kind, name in dumps)                     fields */
#define MDL_AST_KINDS(AST)                                                                                         \
    /* expressions */                                                                                              \
    AST(INT, "int")         /* i */                                                                                \
    AST(REAL, "real")       /* f */                                                                                \
    AST(BOOL, "bool")       /* i */                                                                                \
    AST(NULL, "null")       /* */                                                                                  \
    AST(STR, "str")         /* text, with its {names} */                                                           \
    AST(NAME, "name")       /* text */                                                                             \
    AST(LIST, "list")       /* list */                                                                             \
    AST(OBJECT, "object")   /* list of PAIR */                                                                     \
    AST(PAIR, "pair")       /* text, a */                                                                          \
    AST(UNARY, "unary")     /* text: operator, a */                                                                \
    AST(BINARY, "binary")   /* text: operator, name: its place, a, b */                                            \
    AST(COND, "cond")       /* a ? b : c */                                                                        \
    AST(CALL, "call")       /* text, a: BRACKET or NULL, list of ARG, b: STR of `as` or NULL */                    \
    AST(INDEX, "index")     /* text, a: BRACKET */                                                                 \
    AST(ARG, "arg")         /* text or NULL, a */                                                                  \
    AST(BRACKET, "bracket") /* list [-> more]; i: has an arrow; or text = a */                                     \
    /* types */                                                                                                    \
    AST(TYPE, "type")     /* text: element type or NULL, i: has brackets, list of dims */                          \
    AST(REST, "..")       /* */                                                                                    \
    AST(BIND_DIM, "?dim") /* text */                                                                               \
    AST(TYPES, "types")   /* list */                                                                               \
    /* declarations */                                                                                             \
    AST(FILE, "file")       /* list */                                                                             \
    AST(USE, "use")         /* text */                                                                             \
    AST(CONFIG, "config")   /* list of SETTING */                                                                  \
    AST(SETTING, "setting") /* text, list: allowed values or empty, a: default */                                  \
    AST(TABLE, "table")     /* list of NAME, b: NAME of the config, more: ROW */                                   \
    AST(ROW, "row")         /* a: key, list: cells */                                                              \
    AST(CONST, "const")     /* list of BIND */                                                                     \
    AST(DIM, "dim")         /* list of BIND */                                                                     \
    AST(BATCH, "batch")     /* list of BIND */                                                                     \
    AST(BIND, "bind")       /* text, a */                                                                          \
    AST(INPUT, "input")     /* text, a: TYPE, list of FLAG */                                                      \
    AST(FLAG, "flag")       /* text, list of ARG, i: has parentheses */                                            \
    AST(VOCAB, "vocab")     /* text, a: OBJECT */                                                                  \
    AST(CHECK, "check")     /* a, b: STR */                                                                        \
    AST(FN, "fn")           /* text, list of NAME (dims), more: FORMAL, a: TYPES or NULL, b: body or expression */ \
    AST(BLOCK, "block")     /* as FN */                                                                            \
    AST(FORMAL, "formal")   /* text, a: TYPE or NULL, b: default or NULL */                                        \
    AST(MODEL, "model")     /* text, b: BODY */                                                                    \
    AST(LAYOUT, "layout")   /* text, b: BODY of MAP, IGNORE, FOR */                                                \
    AST(EXPORT, "export")   /* text, a: OBJECT */                                                                  \
    /* statements */                                                                                               \
    AST(BODY, "body")     /* list */                                                                               \
    AST(LET, "let")       /* list of NAME, a */                                                                    \
    AST(ASSIGN, "assign") /* text, a */                                                                            \
    AST(PARAM, "param")   /* text, a: TYPE, b: STR, list of FLAG, c: condition, d: otherwise */                    \
    AST(INIT, "init")     /* a flag: a */                                                                          \
    AST(TIED, "tied")     /* a flag: a */                                                                          \
    AST(FOR, "for")       /* text, a .. b, c: HEADER, d: BODY */                                                   \
    AST(SCOPE, "scope")   /* c: HEADER, d: BODY */                                                                 \
    AST(HEADER, "header") /* a: STR of scope or NULL, b: precision or NULL */                                      \
    AST(IF, "if")         /* a, b: BODY, c: BODY, IF or NULL */                                                    \
    AST(RETURN, "return") /* list */                                                                               \
    AST(LOSS, "loss")     /* text, a, b: over, list of FLAG */                                                     \
    AST(METRIC, "metric") /* as LOSS */                                                                            \
    AST(OUTPUT, "output") /* text: program, b: NAME, a */                                                          \
    AST(MAP, "map")       /* a: STR, b: right side, i: also */                                                     \
    AST(IGNORE, "ignore") /* a: STR */

typedef enum {
#define AST(id, name) MDL_AST_##id,
    MDL_AST_KINDS(AST)
#undef AST
        MDL_AST_COUNT
} mdl_ast_kind;

typedef struct mdl_ast mdl_ast;
typedef MDL_VEC(mdl_ast *) mdl_asts;

struct mdl_ast {
    mdl_ast_kind kind;
    mdl_loc loc;      /* the whole construct */
    mdl_loc name;     /* of `text` alone, where it has a place of its own; else as loc */
    const char *text; /* NUL-terminated; strings have their escapes replaced */
    int64_t i;
    double f;
    mdl_ast *a, *b, *c, *d;
    mdl_asts list, more;
};

const char *mdl_ast_kind_name(mdl_ast_kind kind);

/* Parses a file. Returns its FILE node; what was wrong with the text is in `d`, and the tree then lacks those parts. */
mdl_ast *mdl_parse(mdl_arena *arena, const mdl_file *file, mdl_diagnostics *d);

/* Prints a tree for people, one node a line, children indented. It is not read back. */
void mdl_ast_print(mdl_text *text, const mdl_ast *node);

#endif
