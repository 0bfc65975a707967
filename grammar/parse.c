/* Runs the lexer and the parser over one file. */
#include "grammar/parse.h"

#include <stdlib.h>

#include "mdl_parser.h"
/* The names that the generated header wants. */
#define YYSTYPE MDL_YYSTYPE
#define YYLTYPE MDL_YYLTYPE
#include "mdl_lexer.h"

mdl_ast *mdl_parse(mdl_arena *arena, const mdl_file *file, mdl_diagnostics *d) {
    mdl_parse_context context = {.arena = arena, .d = d, .file = file};
    void *scanner = NULL;
    mdl_ast *empty = MDL_NEW(arena, mdl_ast);
    empty->kind = MDL_AST_FILE;
    empty->loc = empty->name = (mdl_loc){file, 0, 0};
    if (mdl_yylex_init_extra(&context, &scanner)) abort(); /* out of memory */
    mdl_yy_scan_bytes(file->text, file->length, scanner);
    mdl_yyparse(scanner, &context);
    mdl_yylex_destroy(scanner);
    return context.root ? context.root : empty;
}
