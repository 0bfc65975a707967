/* The text of IR: what is printed reads back the same, after every pass of every model; what is wrong is refused with a message, by
 * the reader or by the verifier. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/ir/order.h"
#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"

/* ---- round trip ---- */
/* Every "program ... }" of a dump on its own. Returns how many there were. */
static int check_dump(mdl_test *t, char *text) {
    int n = 0;
    for (char *at = text, *next; at && *at; at = next) {
        mdl_arena *arena = mdl_arena_new();
        mdl_regions programs = {0};
        char *line = strchr(at, '\n'); /* behind "# PROGRAM after PASS" */
        next = strstr(line, "\n# ");
        if (next) *next++ = 0;
        const char *body = line + 1, *wrong = mdl_parse_ir(arena, body, &programs);
        CHECK(t, !wrong, "%.*s: %s", (int)(line - at), at, wrong);
        if (!wrong) {
            const char *again = mdl_region_text(arena, programs.at[0]);
            size_t length = strlen(body);
            bool same = !strncmp(again, body, length) && (!again[length] || !strcmp(again + length, "\n"));
            CHECK(t, same, "%.*s does not read back", (int)(line - at), at);
            wrong = mdl_verify(arena, programs.at[0]);
            CHECK(t, !wrong, "%.*s: %s", (int)(line - at), at, wrong);
        }
        mdl_arena_free(arena);
        n++;
    }
    return n;
}

static int count_passes(void) {
    int n = 0;
    while (mdl_pass_list[n].name) n++;
    return n;
}

static void test_models(mdl_test *t, mdl_dtype precision) {
    for (int i = 0; i <= mdl_tiny_models_count; i++) {
        bool last = i == mdl_tiny_models_count;
        const char *name = last ? "tests/language/constructs.mdl" : mdl_tiny_models[i].name;
        if (!mdl_case(t, "%s in %s, every program after every pass", name, mdl_dtype_name(precision))) continue;
        mdl_arena *arena = mdl_arena_new();
        mdl_module *module = mdl_test_model(t, arena, name, last ? "" : mdl_tiny_models[i].sets, 12, 3);
        char *text = NULL;
        size_t size = 0;
        mdl_plan *plan = NULL;
        mdl_pipeline_options options = {
            .precision = precision, .dump = "all", .stop_after = "schedule", .out = open_memstream(&text, &size)};
        mdl_status status = module ? mdl_compile(arena, module, &options, &plan) : MDL_OK;
        fclose(options.out);
        CHECK(t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
        int n = check_dump(t, text), least = (count_passes() - 1) * 9; /* of eight standard programs and an output's at least */
        CHECK(t, last || n > least, "only %d dumps", n);
        free(text);
        mdl_arena_free(arena);
    }
}

static void test_forms(mdl_test *t) {
    static const char forms[] =
        "program a-b.c {\n"
        "  %0 = const {value=0.1} : f32[]\n"
        "  %7 = const {value=-0.0} : f32[2,3] @ models/x.mdl:14:1\n"
        "  %2 = const {value=1e-300} : f64[1,1,1,1,1,1]\n"
        "  %3 = const {value=0.30000000000000004} : f32[]\n"
        "  %4 = const {value=inf} : bf16[]\n"
        "  %5 = const {value=-inf} : e4m3[]\n"
        "  %6 = const {value=9223372036854775807, note=-9223372036854775808} : i32[]\n"
        "  %8 = input {name=\"a \\\"quoted\\\" \\\\ name, # not a comment\"} : segments[3,12]\n"
        "  %9 = read {state=\"grad\", of=[\"a\",\"b\"], empty=[], list=[1,-2,3]} : f32[4,2]\n"
        "  %10 = input {name=\"\"} : f32[5]\n"
        "  %11, %12 = kernel %9, %10 {rows=4} : f32[4], f32[2] do\n"
        "    %0 = arg {index=0} : f32[4,2]\n"
        "    %1 = sum %0 {axes=[1]} : f32[4]\n"
        "    %2 = sum %0 {axes=[0]} : f32[2]\n"
        "    yield %1, %2\n"
        "  end\n"
        "  %13 = neg %10 : f32[5] @ models/x.mdl:1:2 in \"layer.0\" as \"f32\" id 7\n"
        "  %14 = neg %13 : f32[5] in \"a \\\"quoted\\\" name\"\n"
        "  %15, %16 = kernel %9 {rows=4} : f32[4], f32[2] in \"\" as \"bf16\" id 3, 0 do\n"
        "    %0 = arg {index=0} : f32[4,2]\n"
        "    %1 = sum %0 {axes=[1]} : f32[4] id 3\n"
        "    %2 = sum %0 {axes=[0]} : f32[2] in \"layer.1\"\n"
        "    yield %1, %2 in \"layer.1\"\n"
        "  end\n"
        "  %17 = token %11, %9 : token[]\n"
        "  %18 = write %12, %17 {state=\"param\", tile=3} : token[] @ models/x.mdl:1:2\n"
        "  %19 = hold %9, %17, %18 : f32[4,2]\n"
        "}\n"
        "program b {\n"
        "}\n";
    mdl_case(t, "every form of attribute, type and region");
    mdl_arena *arena = mdl_arena_new();
    mdl_regions programs = {0};
    const char *wrong = mdl_parse_ir(arena, mdl_printf(arena, "# a comment\n\n%s", forms), &programs);
    CHECK(t, !wrong && programs.n == 2, "%s", wrong);
    mdl_text again = {.arena = arena};
    for (int i = 0; i < programs.n; i++) mdl_print_region(&again, programs.at[i], true);
    CHECK(t, !wrong && !strcmp(again.at, forms), "reads back as\n%s", again.at);
    mdl_arena_free(arena);
}

/* ---- what the reader refuses ---- */
static void test_parse_errors(mdl_test *t) {
    static const char *const bodies[] = {
        "%0 = frobnicate : f32[]",
        "%0 = const {value=1.0} : f33[]",
        "%0 = const {value=1.0} : f32[0]",
        "%0 = const {value=1.0} : f32[1,1,1,1,1,1,1]",
        "%0 = const {value=1.0} : f32[99999999999999999999]",
        "%0 = const {value=1.0} : f32[16777216,16777216,2]",
        "%0 = const {value=1.0} : f32[2",
        "%0 = const {value=} : f32[]",
        "%0 = const {value=1.0, : f32[]",
        "%0 = const {=1.0} : f32[]",
        "%0 = const : f32[]",
        "%0 = const {value=1.0}",
        "%0 = const {value=1.0} : f32[] in layer",
        "%0 = const {value=1.0} : f32[] id 1, 2",
        "%0 const {value=1.0} : f32[]",
        "%99999999999 = const {value=1.0} : f32[]",
        "%-1 = const {value=1.0} : f32[]",
        "%0 = input {name=\"open} : f32[]",
        "%0 = input {name=\"a\"} : f32[] @ nowhere",
        "%0 = input {name=\"a\"} : f32[] @ file:1",
        "%0 = neg %1 : f32[]",
        "%0 = input {name=\"a\"} : f32[2]\n%0 = neg %0 : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = neg %0 : f32[3]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = neg %0, %0 : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1, %2 = neg %0 : f32[2], f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\nneg %0",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = kernel %0 {rows=2} : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = neg %0 : f32[2] do\n yield %0\n end",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = kernel %0 {rows=2} : f32[2] do\n  %0 = arg {index=0} : f32[2]\nend",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = kernel %0 {rows=2} : f32[2] do\n  yield %0\nend",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = kernel %0 {rows=2} : f32[2] do\n  %0 = arg {index=0} : f32[2]\n  yield %0\n",
        /* type rules, one for each op that has one of its own */
        "%0 = input {name=\"a\"} : f32[2]\n%1 = input {name=\"b\"} : f32[3]\n%2 = add %0, %1 : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = input {name=\"b\"} : i32[2]\n%2 = add %0, %1 : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = select %0, %0, %0 : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = and %0, %0 : bool[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = cast %0 : i32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = cast %0 {to=\"segments\"} : i32[2]",
        "%0 = iota {axis=1} : i32[2]",
        "%0 = iota {axis=0} : f32[2]",
        "%0 = input {name=\"a\"} : i32[2]\n%1 = imm {value=1} : i32[]\n%2 = random %0, %1 {dist=\"cauchy\"} : f32[2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = reshape %0 : f32[5]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = permute %0 {perm=[0,0]} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = permute %0 {perm=[0]} : f32[2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = slice %0 {axis=1, start=2, size=2} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = slice %0 {axis=2, start=0, size=1} : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = input {name=\"b\"} : f32[3,3]\n%2 = concat %0, %1 {axis=1} : f32[2,6]",
        "%0 = input {name=\"a\"} : f32[3]\n%1 = broadcast %0 {axes=[0]} : f32[4,3]",
        "%0 = input {name=\"a\"} : f32[3,3]\n%1 = broadcast %0 {axes=[1,0]} : f32[3,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = sum %0 {axes=[]} : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = sum %0 {axes=[1,0]} : f32[]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = sum %0, %0 {axes=[1]} : f32[2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = argmax %0 {axis=2} : i32[2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = partial_sum %0 {chunks=0} : f32[1,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = gather %0, %0 : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = input {name=\"i\"} : i32[4]\n%2 = scatter_add %0, %1 {rows=2} : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = segsum %0, %0 : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = input {name=\"s\"} : segments[2,5]\n%2 = segsum %0, %1 : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = dot %0, %0 : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = dot %0, %0 {left=[1], right=[0]} : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = dot %0, %0 {left=[1], right=[]} : f32[2,3]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = dot %0, %0 {left=[2], right=[1]} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,2]\n%1 = dot %0, %0, %0 {left=[1], right=[1]} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,2]\n%1 = dot %0, %0 {left=[1], right=[1], init=1} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = dot %0, %0, %0 {left=[1], right=[1], init=1} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,3]\n%1 = input {name=\"b\"} : f32[3]\n"
        "%2 = dot %0, %0, %1 {left=[1], right=[1], bias=1} : f32[2,2]",
        "%0 = input {name=\"a\"} : f32[2,2]\n%1 = dot %0, %0, %0 {left=[1], right=[1], bias=1} : f32[2,2]",
        "%0 = input {name=\"q\"} : f32[6,3,4]\n%1 = input {name=\"k\"} : f32[6,2,4]\n%2 = input {name=\"s\"} : segments[2,6]\n"
        "%3, %4 = attention %0, %1, %1, %2 {scale=1.0} : f32[6,3,4], f32[6,3]",
        "%0 = input {name=\"q\"} : f32[6,2,4]\n%1 = input {name=\"s\"} : segments[2,6]\n%2, %3 = attention %0, %0, %0, %1 : "
        "f32[6,2,4], f32[6,2]",
        "%0 = input {name=\"q\"} : f32[6,2,4]\n%1 = input {name=\"s\"} : segments[2,7]\n"
        "%2, %3 = attention %0, %0, %0, %1 {scale=1.0} : f32[6,2,4], f32[6,2]",
        "%0 = input {name=\"q\"} : f32[6,2,4]\n%1 = input {name=\"s\"} : segments[2,6]\n"
        "%2, %3 = attention %0, %0, %0, %1 {scale=1.0, right=-2} : f32[6,2,4], f32[6,2]",
        "%0 = input {name=\"z\"} : f32[6,5]\n%1 = input {name=\"l\"} : i32[5]\n%2, %3 = xent %0, %1 : f32[6], f32[6]",
        "%0 = input {name=\"a\"} : f32[2]\nloss %0, %0 {name=\"l\", weight=1.0}",
        "%0 = input {name=\"a\"} : f32[2]\nresult %0",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = write %0 {of=[\"a\"]} : token[]",
        "%0 = read {state=\"velocity\"} : f32[1,1024]",
        "%0 = read {state=\"grad\", of=[]} : f32[2]",
        "%0 = read {state=\"grad\", of=[\"a\"], tile=1} : f32[2]",
        "%0 = read {state=\"grad\", tile=-1} : f32[1,1024]",
        "%0 = read {state=\"grad\"} : f32[]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = read %0 {state=\"grad\", of=[\"a\"]} : f32[2]",
        "%0 = input {name=\"a\"} : f32[2]\n%1 = hold %0, %0 : f32[2]",
        "%0 = token : token[]",
    };
    static const char *const wholes[] = {"prog a {}",   "program {\n}",      "program a {",
                                         "program a }", "program a {\n}\n}", "%0 = const {value=1.0} : f32[]"};
    mdl_case(t, "each malformed text has its message");
    mdl_arena *arena = mdl_arena_new();
    mdl_text all = {.arena = arena};
    size_t n = sizeof bodies / sizeof *bodies, m = sizeof wholes / sizeof *wholes;
    for (size_t i = 0; i < n + m; i++) {
        mdl_regions programs = {0};
        const char *text = i < n ? mdl_printf(arena, "program p {\n%s\n}\n", bodies[i]) : wholes[i - n];
        const char *wrong = mdl_parse_ir(arena, text, &programs);
        CHECK(t, wrong, "accepted:\n%s", text);
        mdl_text_printf(&all, "%s\n    %s\n\n", i < n ? bodies[i] : text, wrong);
    }
    mdl_golden(t, "compiler/ir_errors.txt", all.at);
    mdl_arena_free(arena);
}

static const char sample[] =
    "program p {\n"
    "  %0 = input {name=\"a\"} : f32[4,2]\n"
    "  %1 = input {name=\"b\"} : f32[2]\n"
    "  %2 = broadcast %1 {axes=[1]} : f32[4,2]\n"
    "  %3 = add %0, %2 : f32[4,2]\n"
    "  %4, %5 = kernel %3, %1 {rows=4} : f32[4], f32[4,2] do\n"
    "    %0 = arg {index=0} : f32[4,2]\n"
    "    %1 = sum %0 {axes=[1]} : f32[4]\n"
    "    yield %1, %0\n"
    "  end\n"
    "  result %4 {name=\"y\"}\n"
    "}\n";

static void test_truncated(mdl_test *t) {
    mdl_case(t, "a text cut short anywhere is refused");
    for (size_t n = 1; n + 3 < sizeof sample; n++) {
        mdl_arena *arena = mdl_arena_new();
        mdl_regions programs = {0};
        CHECK(t, mdl_parse_ir(arena, mdl_strndup(arena, sample, n), &programs), "cut at %d: accepted", (int)n);
        mdl_arena_free(arena);
    }
}

/* ---- what the verifier refuses ---- */
typedef struct {
    mdl_arena *arena;
    mdl_region *r;
    mdl_op *broadcast, *add, *kernel;
    mdl_region *body;
} breakable;

static void use_before_definition(breakable *b) { b->r->ops.at[2] = b->add, b->r->ops.at[3] = b->broadcast; }
static void drop_a_definition(breakable *b) {
    for (int i = 2; i + 1 < b->r->ops.n; i++) b->r->ops.at[i] = b->r->ops.at[i + 1];
    b->r->ops.n--;
}
static void drop_an_operand(breakable *b) { b->add->n_in = 1; }
static void drop_a_result(breakable *b) { b->add->n_out = 0; }
static void change_a_type(breakable *b) { b->add->out[0]->type.dim[1] = 3; }
static void change_a_dtype(breakable *b) { b->add->out[0]->type.dtype = MDL_BF16; }
static void change_an_attribute(breakable *b) {
    b->broadcast->attr = mdl_copy(b->arena, &(mdl_attr){.key = "axes"}, sizeof(mdl_attr));
}
static void share_a_result(breakable *b) { b->add->out[0] = b->broadcast->out[0]; }
static void empty_the_body(breakable *b) { b->body->ops.n = 0; }
static void drop_the_body(breakable *b) { b->kernel->body = NULL; }
static void drop_the_yield(breakable *b) { b->body->ops.n--; }
static void yield_less(breakable *b) { b->body->ops.at[2]->n_in = 1; }
static void yield_another_type(breakable *b) { b->body->ops.at[2]->in[1] = b->body->ops.at[2]->in[0]; }
static void yield_from_outside(breakable *b) { b->body->ops.at[2]->in[1] = b->add->out[0]; }
static void yield_outside_a_body(breakable *b) { MDL_PUSH(b->arena, b->r->ops, b->body->ops.at[2]); }
static void yield_twice(breakable *b) { MDL_PUSH(b->arena, b->body->ops, b->body->ops.at[2]); }
static void leave_the_operands(breakable *b) { b->kernel->n_in = 0; }
static void take_another_operand(breakable *b) { b->kernel->in[0] = b->kernel->in[1]; }
static void add_a_token(breakable *b) {
    b->add->in[1] = mdl_token(&(mdl_builder){.arena = b->arena, .region = b->r}, 1, b->add->in);
    for (int i = b->r->ops.n - 1; i > 3; i--) b->r->ops.at[i] = b->r->ops.at[i - 1];
    b->r->ops.at[3] = b->add->in[1]->def;
}
static void sum_other_chunks(breakable *b) {
    mdl_op *sum = b->body->ops.at[1];
    mdl_attr chunks = mdl_int("chunks", 2);
    sum->code = MDL_OP_PARTIAL_SUM;
    sum->attr = mdl_copy(b->arena, &chunks, sizeof chunks);
    mdl_add_attr(b->arena, b->kernel, mdl_int("blocks", 4));
}
static void nothing(breakable *b) { (void)b; }

static void test_verifier(mdl_test *t) {
    static const struct {
        const char *name;
        void (*spoil)(breakable *b);
    } table[] = {{"nothing", nothing},
                 {"an op before its operand", use_before_definition},
                 {"an operand that no op defines", drop_a_definition},
                 {"an operand less", drop_an_operand},
                 {"a result less", drop_a_result},
                 {"another shape", change_a_type},
                 {"another dtype", change_a_dtype},
                 {"another attribute", change_an_attribute},
                 {"a result of another op", share_a_result},
                 {"a body without ops", empty_the_body},
                 {"a kernel without a body", drop_the_body},
                 {"a body without yield", drop_the_yield},
                 {"a yield of less", yield_less},
                 {"a yield of another type", yield_another_type},
                 {"a body that uses a value from outside", yield_from_outside},
                 {"a yield outside a body", yield_outside_a_body},
                 {"two yields", yield_twice},
                 {"an arg without an operand", leave_the_operands},
                 {"an arg of another type", take_another_operand},
                 {"a token as an operand", add_a_token},
                 {"partial sums of other rows than the blocks'", sum_other_chunks}};
    mdl_arena *arena = mdl_arena_new();
    mdl_text all = {.arena = arena};
    mdl_case(t, "the verifier says what is wrong with a region");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        mdl_region *r = mdl_test_parse(t, arena, sample);
        breakable b = {arena, r, r->ops.at[2], r->ops.at[3], r->ops.at[4], r->ops.at[4]->body};
        table[i].spoil(&b);
        const char *wrong = mdl_verify(arena, r);
        CHECK(t, (wrong != NULL) == (i != 0), "%s: %s", table[i].name, wrong ? wrong : "accepted");
        mdl_text_printf(&all, "%s\n    %s\n", table[i].name, wrong ? wrong : "valid");
    }
    mdl_golden(t, "compiler/verifier.txt", all.at);
    mdl_arena_free(arena);
}

/* ---- the order of accesses ---- */
/* Each pair: what is refused, and how it is made right. The layout: a and b side by side in the first tile, c in the second. */
static void test_order(mdl_test *t) {
#define A "{state=\"grad\", of=[\"a\"]}"
#define X "%0 = input {name=\"x\"} : f32[4]\n"
    static const struct {
        const char *name, *body;
        bool wrong;
    } table[] = {
        {"two writes", X "%1 = write %0 " A " : token[]\n%2 = write %0 " A " : token[]", true},
        {"two writes in order", X "%1 = write %0 " A " : token[]\n%2 = write %0, %1 " A " : token[]", false},
        {"a read behind a write", X "%1 = write %0 " A " : token[]\n%2 = read " A " : f32[4]", true},
        {"a read with the token", X "%1 = write %0 " A " : token[]\n%2 = read %1 " A " : f32[4]", false},
        {"a write behind a read", X "%1 = read " A " : f32[4]\n%2 = exp %1 : f32[4]\n%3 = write %0 " A " : token[]", true},
        {"a write of what was made of the read",
         X "%1 = read " A " : f32[4]\n%2 = add %0, %1 : f32[4]\n%3 = write %2 " A " : token[]", false},
        {"a write behind the token of a value made of the read",
         X "%1 = read " A " : f32[4]\n%2 = exp %1 : f32[4]\n%3 = token %2 : token[]\n%4 = write %0, %3 " A " : token[]", false},
        {"another kind", X "%1 = write %0 " A " : token[]\n%2 = read {state=\"param\", of=[\"a\"]} : f32[4]", false},
        {"one of two parameters", X "%1 = write %0 " A " : token[]\n%2 = read {state=\"grad\", of=[\"b\", \"a\"]} : f32[8]", true},
        {"the whole arena", X "%1 = write %0 " A " : token[]\n%2 = read {state=\"grad\"} : f32[2,1024]", true},
        {"another tile", X "%1 = write %0 " A " : token[]\n%2 = read {state=\"grad\", tile=1} : f32[1,1024]", false},
        {"its own tile", X "%1 = write %0 " A " : token[]\n%2 = read {state=\"grad\", tile=0} : f32[1,1024]", true},
        {"a parameter that is not trained",
         X "%1 = write %0 {state=\"param\", of=[\"frozen\"]} : token[]\n%2 = read {state=\"param\"} : f32[2,1024]", false},
        {"a token through another state",
         X "%1 = write %0 " A " : token[]\n%2 = write %0, %1 {state=\"grad\", of=[\"b\"]} : token[]\n%3 = read %2 " A " : f32[4]",
         false},
        {"flat ranges that overlap",
         "%0 = input {name=\"x\"} : f32[2,1024]\n%1 = write %0 {state=\"param\"} : token[]\n"
         "%2 = read {state=\"param\", tile=1} : f32[1,1024]",
         true},
    };
#undef A
#undef X
    mdl_arena *arena = mdl_arena_new();
    mdl_type four = {.dtype = MDL_F32, .rank = 1, .dim = {4}};
    mdl_placed_param params[] = {{"a", four, 0, true}, {"b", four, 4, true}, {"c", four, MDL_TILE, true}};
    const mdl_placed_param *sorted[] = {&params[0], &params[1], &params[2]};
    mdl_layout layout = {.trained = {params, 3, 3}, .by_name = sorted, .tiles = 2};
    mdl_text all = {.arena = arena};
    mdl_case(t, "accesses of one memory are ordered by tokens or values");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        mdl_region *r = mdl_test_parse(t, arena, mdl_printf(arena, "program p {\n%s\n}\n", table[i].body));
        const char *wrong = r ? mdl_verify_order(arena, r, &layout) : NULL;
        CHECK(t, (wrong != NULL) == table[i].wrong, "%s: %s", table[i].name, wrong ? wrong : "accepted");
        mdl_text_printf(&all, "%s\n    %s\n", table[i].name, wrong ? wrong : "valid\n");
    }
    mdl_golden(t, "compiler/order.txt", all.at);
    mdl_arena_free(arena);
}

void suite_ir(mdl_test *t) {
    test_models(t, MDL_F32);
    test_models(t, MDL_BF16);
    test_forms(t);
    test_parse_errors(t);
    test_truncated(t);
    test_verifier(t);
    test_order(t);
}
