/* What the lexer and the parser share while they read one file. */
#ifndef MDL_GRAMMAR_PARSE_H
#define MDL_GRAMMAR_PARSE_H

#include "grammar/ast.h"

typedef struct {
    mdl_arena *arena;
    mdl_diagnostics *d;
    const mdl_file *file;
    int at;          /* bytes read so far */
    int last_end;    /* end of the token before the last one: where a missing ';' belongs */
    int this_end;    /* end of the last token */
    bool recovering; /* tokens are being discarded: a '{' takes its whole block along, and a ';' stands for it */
    bool in_block;   /* ... and the '{' has been read already */
    bool bad_token;  /* the lexer has already reported what the parser is about to call an error */
    mdl_ast *root;
} mdl_parse_context;

#endif
