/* The grammar of the model language. No conflicts: the build refuses one. Recovery is at `;` and `}`. */
%require "3.8"
%define api.pure full
%define api.prefix {mdl_yy}
%define api.token.prefix {MDL_TOKEN_}
%define api.location.type {mdl_loc}
%define parse.lac full
%define parse.error custom
%locations
%expect 0
%param {void *scanner}
%parse-param {mdl_parse_context *context}

%code requires {
#include "grammar/parse.h"
}

%union {
    int64_t integer;
    double real;
    const char *text;
    mdl_ast *node;
    mdl_asts list;
}

%code {
#include <string.h>

int mdl_yylex(MDL_YYSTYPE *value, mdl_loc *loc, void *scanner);

/* An empty rule stands at the end of what precedes it. */
#define YYLLOC_DEFAULT(current, rhs, n)                                                            \
    (current) = (n) ? (mdl_loc){YYRHSLOC(rhs, 1).file, YYRHSLOC(rhs, 1).begin, YYRHSLOC(rhs, n).end} \
                    : (mdl_loc){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end}

static mdl_ast *node(mdl_parse_context *context, mdl_ast_kind kind, mdl_loc loc, const char *text) {
    mdl_ast *n = MDL_NEW(context->arena, mdl_ast);
    n->kind = kind;
    n->loc = n->name = loc;
    n->text = text;
    return n;
}

static mdl_ast *binary(mdl_parse_context *context, mdl_loc loc, mdl_loc at, const char *op, mdl_ast *a, mdl_ast *b) {
    mdl_ast *n = node(context, MDL_AST_BINARY, loc, op);
    n->name = at;
    n->a = a;
    n->b = b;
    return n;
}

static void yyerror(const mdl_loc *loc, void *scanner, mdl_parse_context *context, const char *message) {
    (void)scanner;
    mdl_report(context->d, MDL_SEVERITY_ERROR, *loc, "%s", message);
}

#define NODE(kind, loc, text) node(context, MDL_AST_##kind, loc, text)
#define PUSH(list, item)                                \
    do {                                                \
        mdl_ast *item_ = (item);                        \
        if (item_) MDL_PUSH(context->arena, list, item_); \
    } while (0)
#define RECOVERED (yyerrok, context->recovering = context->in_block = false)
#define BINARY(loc, at, op, a, b) binary(context, loc, at, op, a, b)
}

%token <text> IDENT "a name" STRING "a string"
%token <integer> INT "an integer"
%token <real> REAL "a number"
%token ARROW "'->'" DOTDOT "'..'" EQ "'=='" NE "'!='" LE "'<='" GE "'>='" AND "'&&'" OR "'||'"
%token ALSO "'also'" AS "'as'" BATCH "'batch'" BLOCK "'block'" BY "'by'" CHECK "'check'" CONFIG "'config'" CONST "'const'"
%token DEFAULT "'default'" DIM "'dim'" ELSE "'else'" EXPORT "'export'" FALSE "'false'" FN "'fn'" FOR "'for'" IF "'if'"
%token IGNORE "'ignore'" IN "'in'" INIT "'init'" INPUT "'input'" LAYOUT "'layout'" LET "'let'" LOSS "'loss'" MDL "'mdl'"
%token METRIC "'metric'" MODEL "'model'" NULL "'null'" OUTPUT "'output'" OVER "'over'" PARAM "'param'"
%token PRECISION "'precision'" RETURN "'return'" SCOPE "'scope'" TABLE "'table'" TIED "'tied'" TRUE "'true'" USE "'use'"
%token VOCAB "'vocab'"

%type <node> item function model layout map statement body expr or and comparison sum product unary primary bracket arg type dim
%type <node> bind setting formal flag pair row object element returns header header_part if_rest as_part
%type <list> items settings statements maps exprs elements element_list args arg_list dims dim_list binds formals formal_list flags
%type <list> pairs pair_list rows names generics types

%start file

%%

file:
    MDL INT ';' items {
        context->root = NODE(FILE, @$, NULL);
        context->root->list = $4;
        if ($2 != 1) mdl_report(context->d, MDL_SEVERITY_ERROR, @2, "this compiler reads version 1 of the language");
    }
;
items:
    %empty                        { $$ = (mdl_asts){0}; }
  | items item                    { $$ = $1; PUSH($$, $2); }
;
item:
    USE STRING ';'                { $$ = NODE(USE, @2, $2); }
  | CONFIG settings ';'           { $$ = NODE(CONFIG, @$, NULL); $$->list = $2; }
  | TABLE names BY IDENT '{' rows '}' { $$ = NODE(TABLE, @$, NULL); $$->list = $2; $$->b = NODE(NAME, @4, $4); $$->more = $6; }
  | CONST binds ';'               { $$ = NODE(CONST, @$, NULL); $$->list = $2; }
  | DIM binds ';'                 { $$ = NODE(DIM, @$, NULL); $$->list = $2; }
  | BATCH binds ';'               { $$ = NODE(BATCH, @$, NULL); $$->list = $2; }
  | INPUT IDENT ':' type flags ';' { $$ = NODE(INPUT, @$, $2); $$->name = @2; $$->a = $4; $$->list = $5; }
  | VOCAB STRING object           { $$ = NODE(VOCAB, @$, $2); $$->name = @2; $$->a = $3; }
  | CHECK expr ',' STRING ';'     { $$ = NODE(CHECK, @$, NULL); $$->a = $2; $$->b = NODE(STR, @4, $4); }
  | EXPORT STRING object          { $$ = NODE(EXPORT, @$, $2); $$->name = @2; $$->a = $3; }
  | function                      { $$ = $1; }
  | model                         { $$ = $1; }
  | layout                        { $$ = $1; }
  | error ';'                     { $$ = NULL; RECOVERED; }
  | error '}'                     { $$ = NULL; RECOVERED; }
;
settings:
    setting                       { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | settings ',' setting          { $$ = $1; PUSH($$, $3); }
;
setting:
    IDENT '=' expr                { $$ = NODE(SETTING, @$, $1); $$->name = @1; $$->a = $3; }
  | IDENT IN '{' exprs '}' DEFAULT expr { $$ = NODE(SETTING, @$, $1); $$->name = @1; $$->list = $4; $$->a = $7; }
;
names:
    IDENT                         { $$ = (mdl_asts){0}; PUSH($$, NODE(NAME, @1, $1)); }
  | names ',' IDENT               { $$ = $1; PUSH($$, NODE(NAME, @3, $3)); }
;
rows:
    row                           { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | rows row                      { $$ = $1; PUSH($$, $2); }
;
row:
    expr ':' exprs ';'            { $$ = NODE(ROW, @$, NULL); $$->a = $1; $$->list = $3; }
  | error ';'                     { $$ = NULL; RECOVERED; }
;
binds:
    bind                          { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | binds ',' bind                { $$ = $1; PUSH($$, $3); }
;
bind:
    IDENT '=' expr                { $$ = NODE(BIND, @$, $1); $$->name = @1; $$->a = $3; }
;

function:
    FN IDENT generics '(' formals ')' returns '=' expr ';'
        { $$ = NODE(FN, @$, $2); $$->name = @2; $$->list = $3; $$->more = $5; $$->a = $7; $$->b = $9; }
  | FN IDENT generics '(' formals ')' returns body
        { $$ = NODE(FN, @$, $2); $$->name = @2; $$->list = $3; $$->more = $5; $$->a = $7; $$->b = $8; }
  | BLOCK IDENT generics '(' formals ')' returns '=' expr ';'
        { $$ = NODE(BLOCK, @$, $2); $$->name = @2; $$->list = $3; $$->more = $5; $$->a = $7; $$->b = $9; }
  | BLOCK IDENT generics '(' formals ')' returns body
        { $$ = NODE(BLOCK, @$, $2); $$->name = @2; $$->list = $3; $$->more = $5; $$->a = $7; $$->b = $8; }
;
generics:
    %empty                        { $$ = (mdl_asts){0}; }
  | '[' names ']'                 { $$ = $2; }
;
formals:
    %empty                        { $$ = (mdl_asts){0}; }
  | formal_list                   { $$ = $1; }
;
formal_list:
    formal                        { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | formal_list ',' formal        { $$ = $1; PUSH($$, $3); }
;
formal:
    IDENT                         { $$ = NODE(FORMAL, @$, $1); }
  | IDENT '=' expr                { $$ = NODE(FORMAL, @$, $1); $$->name = @1; $$->b = $3; }
  | IDENT ':' type                { $$ = NODE(FORMAL, @$, $1); $$->name = @1; $$->a = $3; }
  | IDENT ':' type '=' expr       { $$ = NODE(FORMAL, @$, $1); $$->name = @1; $$->a = $3; $$->b = $5; }
;
returns:
    %empty                        { $$ = NULL; }
  | ARROW types                   { $$ = NODE(TYPES, @2, NULL); $$->list = $2; }
;
types:
    type                          { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | types ',' type                { $$ = $1; PUSH($$, $3); }
;
type:
    IDENT                         { $$ = NODE(TYPE, @$, $1); }
  | INIT                          { $$ = NODE(TYPE, @$, "init"); }
  | '[' dims ']'                  { $$ = NODE(TYPE, @$, NULL); $$->i = 1; $$->list = $2; }
  | IDENT '[' dims ']'            { $$ = NODE(TYPE, @$, $1); $$->i = 1; $$->list = $3; }
;
dims:
    %empty                        { $$ = (mdl_asts){0}; }
  | dim_list                      { $$ = $1; }
;
dim_list:
    dim                           { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | dim_list ',' dim              { $$ = $1; PUSH($$, $3); }
;
dim:
    DOTDOT                        { $$ = NODE(REST, @$, NULL); }
  | '?' IDENT                     { $$ = NODE(BIND_DIM, @$, $2); }
  | expr                          { $$ = $1; }
;
model:
    MODEL IDENT body              { $$ = NODE(MODEL, @$, $2); $$->name = @2; $$->b = $3; }
;
layout:
    LAYOUT IDENT '{' maps '}'     { $$ = NODE(LAYOUT, @$, $2); $$->name = @2; $$->b = NODE(BODY, @$, NULL); $$->b->list = $4; }
;
maps:
    %empty                        { $$ = (mdl_asts){0}; }
  | maps map                      { $$ = $1; PUSH($$, $2); }
;
map:
    STRING '=' expr ';'           { $$ = NODE(MAP, @$, NULL); $$->a = NODE(STR, @1, $1); $$->b = $3; }
  | ALSO STRING '=' expr ';'      { $$ = NODE(MAP, @$, NULL); $$->i = 1; $$->a = NODE(STR, @2, $2); $$->b = $4; }
  | IGNORE STRING ';'             { $$ = NODE(IGNORE, @$, NULL); $$->a = NODE(STR, @2, $2); }
  | FOR IDENT IN expr DOTDOT expr '{' maps '}'
        { $$ = NODE(FOR, @$, $2); $$->name = @2; $$->a = $4; $$->b = $6; $$->d = NODE(BODY, @$, NULL); $$->d->list = $8; }
  | error ';'                     { $$ = NULL; RECOVERED; }
;

body:
    '{' statements '}'            { $$ = NODE(BODY, @$, NULL); $$->list = $2; }
  | '{' statements error '}'      { RECOVERED; $$ = NODE(BODY, @$, NULL); $$->list = $2; }
;
statements:
    %empty                        { $$ = (mdl_asts){0}; }
  | statements statement          { $$ = $1; PUSH($$, $2); }
;
statement:
    LET names '=' expr ';'        { $$ = NODE(LET, @$, NULL); $$->list = $2; $$->a = $4; }
  | CONST binds ';'               { $$ = NODE(CONST, @$, NULL); $$->list = $2; }
  | DIM binds ';'                 { $$ = NODE(DIM, @$, NULL); $$->list = $2; }
  | CHECK expr ',' STRING ';'     { $$ = NODE(CHECK, @$, NULL); $$->a = $2; $$->b = NODE(STR, @4, $4); }
  | IDENT '=' expr ';'            { $$ = NODE(ASSIGN, @$, $1); $$->name = @1; $$->a = $3; }
  | PARAM IDENT ':' type AS STRING flags ';'
        { $$ = NODE(PARAM, @$, $2); $$->name = @2; $$->a = $4; $$->b = NODE(STR, @6, $6); $$->list = $7; }
  | PARAM IDENT ':' type AS STRING flags IF expr ELSE expr ';'
        { $$ = NODE(PARAM, @$, $2); $$->name = @2; $$->a = $4; $$->b = NODE(STR, @6, $6); $$->list = $7; $$->c = $9; $$->d = $11; }
  | FOR IDENT IN expr DOTDOT expr header body
        { $$ = NODE(FOR, @$, $2); $$->name = @2; $$->a = $4; $$->b = $6; $$->c = $7; $$->d = $8; }
  | header_part header body       {
        $$ = NODE(SCOPE, @$, NULL); $$->c = $2; $$->d = $3;
        if ($1->a) $2->a = $1->a;
        if ($1->b) $2->b = $1->b;
    }
  | IF expr body if_rest          { $$ = NODE(IF, @$, NULL); $$->a = $2; $$->b = $3; $$->c = $4; }
  | RETURN exprs ';'              { $$ = NODE(RETURN, @$, NULL); $$->list = $2; }
  | LOSS IDENT '=' expr OVER expr flags ';'
        { $$ = NODE(LOSS, @$, $2); $$->name = @2; $$->a = $4; $$->b = $6; $$->list = $7; }
  | METRIC IDENT '=' expr OVER expr flags ';'
        { $$ = NODE(METRIC, @$, $2); $$->name = @2; $$->a = $4; $$->b = $6; $$->list = $7; }
  | OUTPUT IDENT '.' IDENT '=' expr ';'
        { $$ = NODE(OUTPUT, @$, $2); $$->name = @2; $$->b = NODE(NAME, @4, $4); $$->a = $6; }
  | error ';'                     { $$ = NULL; RECOVERED; }
;
if_rest:
    %empty                        { $$ = NULL; }
  | ELSE body                     { $$ = $2; }
  | ELSE IF expr body if_rest     { $$ = NODE(IF, @$, NULL); $$->a = $3; $$->b = $4; $$->c = $5; }
;
header:
    %empty                        { $$ = NODE(HEADER, @$, NULL); }
  | header header_part            {
        $$ = $1;
        if (($1->a && $2->a) || ($1->b && $2->b))
            mdl_report(context->d, MDL_SEVERITY_ERROR, @2, "scope and precision are given once each");
        if ($2->a) $$->a = $2->a;
        if ($2->b) $$->b = $2->b;
    }
;
header_part:
    SCOPE STRING                  { $$ = NODE(HEADER, @$, NULL); $$->a = NODE(STR, @2, $2); }
  | PRECISION '(' expr ')'        { $$ = NODE(HEADER, @$, NULL); $$->b = $3; }
;
flags:
    %empty                        { $$ = (mdl_asts){0}; }
  | flags flag                    { $$ = $1; PUSH($$, $2); }
;
flag:
    INIT expr                     { $$ = NODE(INIT, @$, "init"); $$->name = @1; $$->a = $2; }
  | TIED IDENT                    { $$ = NODE(TIED, @$, "tied"); $$->name = @1; $$->a = NODE(NAME, @2, $2); }
  | IDENT                         { $$ = NODE(FLAG, @$, $1); }
  | IDENT '(' args ')'            { $$ = NODE(FLAG, @$, $1); $$->name = @1; $$->i = 1; $$->list = $3; }
;

exprs:
    expr                          { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | exprs ',' expr                { $$ = $1; PUSH($$, $3); }
;
elements:
    %empty                        { $$ = (mdl_asts){0}; }
  | element_list                  { $$ = $1; }
;
element_list:
    element                       { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | element_list ',' element      { $$ = $1; PUSH($$, $3); }
;
element:                        /* a value of JSON; a '{' elsewhere begins a body */
    expr                          { $$ = $1; }
  | object                        { $$ = $1; }
;
expr:
    or                            { $$ = $1; }
  | or '?' expr ':' expr          { $$ = NODE(COND, @$, NULL); $$->a = $1; $$->b = $3; $$->c = $5; }
;
or:
    and                           { $$ = $1; }
  | or OR and                     { $$ = BINARY(@$, @2, "||", $1, $3); }
;
and:
    comparison                    { $$ = $1; }
  | and AND comparison            { $$ = BINARY(@$, @2, "&&", $1, $3); }
;
comparison:
    sum                           { $$ = $1; }
  | sum EQ sum                    { $$ = BINARY(@$, @2, "==", $1, $3); }
  | sum NE sum                    { $$ = BINARY(@$, @2, "!=", $1, $3); }
  | sum LE sum                    { $$ = BINARY(@$, @2, "<=", $1, $3); }
  | sum GE sum                    { $$ = BINARY(@$, @2, ">=", $1, $3); }
  | sum '<' sum                   { $$ = BINARY(@$, @2, "<", $1, $3); }
  | sum '>' sum                   { $$ = BINARY(@$, @2, ">", $1, $3); }
;
sum:
    product                       { $$ = $1; }
  | sum '+' product               { $$ = BINARY(@$, @2, "+", $1, $3); }
  | sum '-' product               { $$ = BINARY(@$, @2, "-", $1, $3); }
;
product:
    unary                         { $$ = $1; }
  | product '*' unary             { $$ = BINARY(@$, @2, "*", $1, $3); }
  | product '/' unary             { $$ = BINARY(@$, @2, "/", $1, $3); }
  | product '%' unary             { $$ = BINARY(@$, @2, "%", $1, $3); }
;
unary:
    primary                       { $$ = $1; }
  | '-' unary                     { $$ = NODE(UNARY, @$, "-"); $$->name = @1; $$->a = $2; }
  | '!' unary                     { $$ = NODE(UNARY, @$, "!"); $$->name = @1; $$->a = $2; }
;
primary:
    INT                           { $$ = NODE(INT, @$, NULL); $$->i = $1; }
  | REAL                          { $$ = NODE(REAL, @$, NULL); $$->f = $1; }
  | STRING                        { $$ = NODE(STR, @$, $1); }
  | TRUE                          { $$ = NODE(BOOL, @$, NULL); $$->i = 1; }
  | FALSE                         { $$ = NODE(BOOL, @$, NULL); }
  | NULL                          { $$ = NODE(NULL, @$, NULL); }
  | '(' expr ')'                  { $$ = $2; }
  | '[' elements ']'              { $$ = NODE(LIST, @$, NULL); $$->list = $2; }
  | IDENT                         { $$ = NODE(NAME, @$, $1); }
  | IDENT '[' bracket ']'         { $$ = NODE(INDEX, @$, $1); $$->name = @1; $$->a = $3; }
  | IDENT '(' args ')' as_part    { $$ = NODE(CALL, @$, $1); $$->name = @1; $$->list = $3; $$->b = $5; }
  | IDENT '[' bracket ']' '(' args ')' as_part
        { $$ = NODE(CALL, @$, $1); $$->name = @1; $$->a = $3; $$->list = $6; $$->b = $8; }
;
as_part:
    %empty                        { $$ = NULL; }
  | AS STRING                     { $$ = NODE(STR, @2, $2); }
;
bracket:
    exprs                         { $$ = NODE(BRACKET, @$, NULL); $$->list = $1; }
  | exprs ARROW exprs             { $$ = NODE(BRACKET, @$, NULL); $$->list = $1; $$->more = $3; $$->i = 1; }
  | IDENT '=' expr                { $$ = NODE(BRACKET, @$, $1); $$->name = @1; $$->a = $3; }
;
args:
    %empty                        { $$ = (mdl_asts){0}; }
  | arg_list                      { $$ = $1; }
;
arg_list:
    arg                           { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | arg_list ',' arg              { $$ = $1; PUSH($$, $3); }
;
arg:
    expr                          { $$ = NODE(ARG, @$, NULL); $$->a = $1; }
  | IDENT '=' expr                { $$ = NODE(ARG, @$, $1); $$->name = @1; $$->a = $3; }
;
object:
    '{' pairs '}'                 { $$ = NODE(OBJECT, @$, NULL); $$->list = $2; }
;
pairs:
    %empty                        { $$ = (mdl_asts){0}; }
  | pair_list                     { $$ = $1; }
;
pair_list:
    pair                          { $$ = (mdl_asts){0}; PUSH($$, $1); }
  | pair_list ',' pair            { $$ = $1; PUSH($$, $3); }
;
pair:
    STRING ':' element            { $$ = NODE(PAIR, @$, $1); $$->name = @1; $$->a = $3; }
;

%%

/* What to name as expected: an expression, a closing bracket, or the few tokens that would do; "" when there are many. */
static const char *expectation(mdl_parse_context *context, int n, const yysymbol_kind_t *expected) {
    enum { SHOWN = 6 };
    static const char *const telling[] = {"a number", "':'", "')'", "']'", "'..'", "'{'", "'}'"};
    for (size_t k = 0; k < sizeof telling / sizeof *telling && n > 1; k++)
        for (int i = 0; i < n; i++)
            if (!strcmp(yysymbol_name(expected[i]), telling[k]))
                return k ? mdl_printf(context->arena, ", expected %s", telling[k]) : ", expected an expression";
    mdl_text text = {.arena = context->arena};
    mdl_text_append(&text, "", 0);
    for (int i = 0; i < n && n <= SHOWN; i++)
        mdl_text_printf(&text, "%s%s", i == 0 ? ", expected " : i + 1 == n ? " or " : ", ", yysymbol_name(expected[i]));
    return text.at;
}

/* "unexpected 'x', expected a, b or c"; a missing ';' is reported where it belongs, at the end of the token before. */
static int yyreport_syntax_error(const yypcontext_t *at, void *scanner, mdl_parse_context *context) {
    enum { MOST = 80 };
    yysymbol_kind_t expected[MOST], token = yypcontext_token(at);
    int n = yypcontext_expected_tokens(at, expected, MOST);
    mdl_loc loc = *yypcontext_location(at), before = {loc.file, context->last_end, context->last_end};
    const char *got = token == YYSYMBOL_YYEMPTY ? "this" : token == YYSYMBOL_YYEOF ? "end of file" : yysymbol_name(token);
    (void)scanner;
    context->recovering = true;
    context->in_block = !strcmp(got, "'{'");
    if (context->bad_token) return context->bad_token = false, 0;
    for (int i = 0; i < n; i++)
        if (!strcmp(yysymbol_name(expected[i]), "';'")) {
            mdl_report(context->d, MDL_SEVERITY_ERROR, before, "expected ';'");
            return 0;
        }
    bool is_text = token == YYSYMBOL_IDENT || token == YYSYMBOL_INT || token == YYSYMBOL_REAL;
    if (is_text) got = mdl_printf(context->arena, "'%.*s'", loc.end - loc.begin, loc.file->text + loc.begin);
    const char *expectations = expectation(context, n, expected);
    mdl_report(context->d, MDL_SEVERITY_ERROR, token == YYSYMBOL_YYEOF ? before : loc, "unexpected %s%s", got, expectations);
    return 0;
}
