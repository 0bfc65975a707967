/* Dtypes in IR: what each op's rule takes and gives, how the interpreter rounds; and what a plan in bf16 is made of. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"

/* ---- type rules ---- */
#define Q "%0 = input {name=\"q\"} : bf16[6,2,4]\n%1 = input {name=\"seq\"} : segments[2,6]\n"
#define ROWS(dtype) "%2 = input {name=\"lse\"} : " dtype "[6,2]\n"
#define Z "%0 = input {name=\"z\"} : bf16[6,5]\n%1 = input {name=\"labels\"} : i32[6]\n"
#define AB(dtype) "%0 = input {name=\"a\"} : " dtype "[3,4]\n%1 = input {name=\"b\"} : " dtype "[5,4]\n"
#define X(dtype) \
    "%0 = input {name=\"x\"} : " dtype "[6,4]\n%1 = input {name=\"i\"} : i32[6]\n%2 = input {name=\"seq\"} : segments[2,6]\n"

static const struct {
    const char *text, *wrong; /* NULL: accepted */
} rules[] = {
    {AB("bf16") "%2 = dot %0, %1 {left=[1], right=[1]} : bf16[3,5]", NULL},
    {AB("bf16") "%2 = dot %0, %1 {left=[1], right=[1], to=\"f32\"} : f32[3,5]", NULL},
    {AB("f32") "%2 = dot %0, %1 {left=[1], right=[1], acc=\"f64\", to=\"bf16\"} : bf16[3,5]", NULL},
    {AB("bf16") "%2 = dot %0, %1 {left=[1], right=[1]} : f32[3,5]", "result 0 of dot is bf16[3,5]"},
    {AB("bf16") "%2 = dot %0, %1 {left=[1], right=[1], to=\"f64\"} : f64[3,5]", "to is wider than acc"},
    {AB("bf16") "%2 = dot %0, %1 {left=[1], right=[1], acc=\"bf16\"} : bf16[3,5]", "acc is f32 or f64"},
    {AB("f64") "%2 = dot %0, %1 {left=[1], right=[1], acc=\"f32\"} : f32[3,5]", "acc is narrower than the operands"},
    {AB("f32") "%2 = dot %0, %1 {left=[1], right=[1], to=\"i32\"} : i32[3,5]", "to is wider than acc"},
    {AB("f32") "%2 = dot %0, %1 {left=[1], right=[1], to=\"f31\"} : f32[3,5]", "acc and to are dtypes"},
    {X("bf16") "%3 = sum %0 {axes=[0], to=\"f32\"} : f32[4]", NULL},
    {X("i32") "%3 = sum %0 {axes=[0]} : i32[4]", NULL},
    {X("i32") "%3 = sum %0 {axes=[0], acc=\"i32\"} : i32[4]", "only reals have acc and to"},
    {X("bf16") "%3 = partial_sum %0 {chunks=2, to=\"f32\"} : f32[2,4]", NULL},
    {X("bf16") "%3 = segsum %0, %2 {to=\"f32\"} : f32[2,4]", NULL},
    {X("bf16") "%3 = scatter_add %0, %1 {rows=7, to=\"f32\"} : f32[7,4]", NULL},
    {Q "%2, %3 = attention %0, %0, %0, %1 {scale=0.5} : bf16[6,2,4], f32[6,2]", NULL},
    {Q "%2, %3 = attention %0, %0, %0, %1 {scale=0.5, to=\"f32\"} : f32[6,2,4], f32[6,2]", NULL},
    {Q "%2, %3 = attention %0, %0, %0, %1 {scale=0.5} : bf16[6,2,4], bf16[6,2]", "result 1 of attention is f32[6,2]"},
    {Q ROWS("f32") "%3, %4, %5 = attention_bwd %0, %0, %0, %0, %2, %2, %1 {scale=0.5} : bf16[6,2,4], bf16[6,2,4], bf16[6,2,4]",
     NULL},
    {Q ROWS("bf16") "%3, %4, %5 = attention_bwd %0, %0, %0, %0, %2, %2, %1 {scale=0.5} : bf16[6,2,4], bf16[6,2,4], bf16[6,2,4]",
     "lse and delta are f32[T,H]"},
    {Z "%2, %3 = xent %0, %1 : f32[6], f32[6]", NULL},
    {Z "%2 = input {name=\"lse\"} : f32[6]\n%3 = xent_bwd %0, %1, %2, %2 : bf16[6,5]", NULL},
    {Z "%2 = input {name=\"lse\"} : bf16[6]\n%3 = xent_bwd %0, %1, %2, %2 : bf16[6,5]", "lse and dloss are f32[T]"},
};

static void test_rules(mdl_test *t) {
    mdl_case(t, "accumulate and result dtypes; statistics are f32 whatever the operands");
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        mdl_arena *arena = mdl_arena_new();
        mdl_regions programs = {0};
        const char *wrong = mdl_parse_ir(arena, mdl_printf(arena, "program p {\n%s\n}\n", rules[i].text), &programs);
        bool right = rules[i].wrong ? wrong && strstr(wrong, rules[i].wrong) : !wrong;
        CHECK(t, right, "%s\n%s, expected %s", rules[i].text, wrong ? wrong : "accepted",
              rules[i].wrong ? rules[i].wrong : "accepted");
        mdl_arena_free(arena);
    }
}

/* ---- rounding ---- */
static void check_round(mdl_test *t, mdl_dtype dtype, double x, double want) {
    double got = mdl_dtype_round(dtype, x);
    CHECK(t, got == want || (isnan(got) && isnan(want)), "%a as %s is %a, expected %a", x, mdl_dtype_name(dtype), got, want);
}

/* Non-negative numbers of a format from its bits: the fields of IEEE 754. */
static double from_bits(unsigned bits, int mantissa, int bias) {
    unsigned exponent = bits >> mantissa, fraction = bits & ((1u << mantissa) - 1);
    double one = (double)(1u << mantissa);
    return exponent ? ldexp(1 + fraction / one, (int)exponent - bias) : ldexp(fraction / one, 1 - bias);
}

/* Every number is itself; the middle of two neighbours goes to the even one, what is beside the middle to the nearer. */
static void check_format(mdl_test *t, mdl_dtype dtype, int mantissa, int bias, unsigned largest) {
    for (unsigned bits = 0; bits < largest; bits++) {
        double low = from_bits(bits, mantissa, bias), high = from_bits(bits + 1, mantissa, bias), middle = (low + high) / 2;
        check_round(t, dtype, low, low);
        check_round(t, dtype, -low, -low);
        check_round(t, dtype, middle, bits % 2 ? high : low);
        check_round(t, dtype, nextafter(middle, 0), low);
        check_round(t, dtype, -nextafter(middle, INFINITY), -high);
    }
}

static void test_formats(mdl_test *t) {
    mdl_case(t, "rounding to bf16, f16, e4m3, e5m2: every number and every middle");
    check_format(t, MDL_BF16, 7, 127, 0x7f7f);
    check_format(t, MDL_F16, 10, 15, 0x7bff);
    check_format(t, MDL_E4M3, 3, 7, 0x7e);
    check_format(t, MDL_E5M2, 2, 15, 0x7b);
    mdl_case(t, "rounding beyond the largest number, of infinity and NaN");
    check_round(t, MDL_BF16, 0x1.fefffffffp127, 0x1.fep127);
    check_round(t, MDL_BF16, 0x1.ffp127, INFINITY);
    check_round(t, MDL_E4M3, 464, 448);
    check_round(t, MDL_E4M3, -464.5, -448);
    check_round(t, MDL_E4M3, INFINITY, 448);
    check_round(t, MDL_E5M2, -61440, -57344);
    check_round(t, MDL_E5M2, -INFINITY, -57344);
    check_round(t, MDL_F32, 1e39, INFINITY);
    for (int dtype = 0; dtype <= MDL_E5M2; dtype++) check_round(t, (mdl_dtype)dtype, NAN, NAN);
    mdl_case(t, "rounding to f32 is the machine's; to i32 toward 0; to bool 0 or 1");
    for (double x = 1e-46; x < 1e38; x *= 1.37) check_round(t, MDL_F32, -x, (float)-x);
    check_round(t, MDL_I32, -2.9, -2);
    check_round(t, MDL_BOOL, 0.3, 1);
    check_round(t, MDL_F64, 0.1, 0.1);
}

static void test_holds(mdl_test *t) {
    static const struct {
        mdl_dtype wide, narrow;
        bool holds;
    } pairs[] = {{MDL_F32, MDL_BF16, true},   {MDL_BF16, MDL_F32, false},  {MDL_BF16, MDL_E4M3, true}, {MDL_BF16, MDL_E5M2, true},
                 {MDL_E4M3, MDL_E5M2, false}, {MDL_E5M2, MDL_E4M3, false}, {MDL_F64, MDL_I32, true},   {MDL_F32, MDL_I32, false},
                 {MDL_E4M3, MDL_BOOL, true},  {MDL_I32, MDL_BOOL, true},   {MDL_I32, MDL_F32, false},  {MDL_F32, MDL_F32, true}};
    mdl_case(t, "which dtype holds all values of which");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        CHECK(t, mdl_dtype_holds(pairs[i].wide, pairs[i].narrow) == pairs[i].holds, "%s in %s", mdl_dtype_name(pairs[i].narrow),
              mdl_dtype_name(pairs[i].wide));
}

/* ---- the interpreter ---- */
/* x[i] is 1 + i/512, w[i] is 1 - i/512: with 8 bits a number near 1 is a multiple of 1/128 (1/256 below 1). */
static double interpreted(mdl_test *t, const char *text, bool round_f32) {
    mdl_arena *arena = mdl_arena_new();
    mdl_region *r = mdl_test_parse(t, arena, mdl_printf(arena, "program p {\n%s}\n", text));
    mdl_arrays inputs = {0}, states = {0}, results = {0};
    mdl_type type = {.dtype = MDL_F32, .rank = 1, .dim = {4}}, index = {.dtype = MDL_I32, .rank = 1, .dim = {4}},
             seq = {.dtype = MDL_SEG, .rank = 2, .dim = {1, 4}};
    double *x = mdl_arrays_set(arena, &inputs, "x", type, NULL), *w = mdl_arrays_set(arena, &states, "w", type, NULL);
    mdl_arrays_set(arena, &inputs, "zeros", index, NULL);
    mdl_arrays_set(arena, &inputs, "seq", seq, NULL)[1] = 4;
    for (int i = 0; i < 4; i++) x[i] = 1 + i / 512.0, w[i] = 1 - i / 512.0;
    if (r) (round_f32 ? mdl_interpret_rounded : mdl_interpret)(arena, r, &inputs, &states, &results);
    double y = r ? mdl_arrays_find(&results, "y")->at[0] : NAN;
    mdl_arena_free(arena);
    return y;
}

static const struct {
    const char *what, *text;
    double exact, rounded; /* rounded: of f32 too */
} evaluations[] = {
    {"an input of bf16 is rounded: 1 + 3/512 is nearest to 1 + 1/128",
     "%0 = input {name=\"x\"} : bf16[4]\n%1 = slice %0 {axis=0, start=3, size=1} : bf16[1]\nresult %1 {name=\"y\"}\n",
     1 + 1 / 128.0, 1 + 1 / 128.0},
    {"a state of bf16, too: 1 - 3/512 lies between two and goes to the even one",
     "%0 = read {state=\"param\", of=[\"w\"]} : bf16[4]\n%1 = slice %0 {axis=0, start=3, size=1} : bf16[1]\nresult %1 "
     "{name=\"y\"}\n",
     1 - 2 / 256.0, 1 - 2 / 256.0},
    {"each op of bf16 rounds: 171/512 * 3 is 1",
     "%0 = const {value=3.0} : bf16[1]\n%1 = const {value=1.0} : bf16[1]\n%2 = div %1, %0 : bf16[1]\n"
     "%3 = mul %2, %0 : bf16[1]\nresult %3 {name=\"y\"}\n",
     1.0, 1.0},
    {"each op of bf16 rounds: 1/3 is 171/512",
     "%0 = const {value=3.0} : bf16[1]\n%1 = const {value=1.0} : bf16[1]\n%2 = div %1, %0 : bf16[1]\nresult %2 {name=\"y\"}\n",
     171 / 512.0, 171 / 512.0},
    {"f32 is exact unless it is asked to round",
     "%0 = const {value=3.0} : f32[1]\n%1 = const {value=1.0} : f32[1]\n%2 = div %1, %0 : f32[1]\nresult %2 {name=\"y\"}\n",
     1 / 3.0, 1.0f / 3.0f},
    {"a cast to bf16 and back rounds",
     "%0 = const {value=0.1} : f32[1]\n%1 = cast %0 {to=\"bf16\"} : bf16[1]\n%2 = cast %1 {to=\"f32\"} : f32[1]\n"
     "result %2 {name=\"y\"}\n",
     205 / 2048.0, 205 / 2048.0},
    {"a sum of bf16 accumulates in f32: 256 + 1 + 1 is 258",
     "%0 = const {value=256.0} : bf16[1]\n%1 = const {value=1.0} : bf16[2]\n%2 = concat %0, %1 {axis=0} : bf16[3]\n"
     "%3 = sum %2 {axes=[0]} : bf16[]\nresult %3 {name=\"y\"}\n",
     258, 258},
    {"... and is rounded at its end: 256 + 1 is 256",
     "%0 = const {value=256.0} : bf16[1]\n%1 = const {value=1.0} : bf16[1]\n%2 = concat %0, %1 {axis=0} : bf16[2]\n"
     "%3 = sum %2 {axes=[0]} : bf16[]\nresult %3 {name=\"y\"}\n",
     256, 256},
    {"... or not, with an f32 result",
     "%0 = const {value=256.0} : bf16[1]\n%1 = const {value=1.0} : bf16[1]\n%2 = concat %0, %1 {axis=0} : bf16[2]\n"
     "%3 = sum %2 {axes=[0], to=\"f32\"} : f32[]\nresult %3 {name=\"y\"}\n",
     257, 257},
    {"f32 accumulation is f32's where f32 rounds: 2^24 + 1 + 1",
     "%0 = const {value=16777216.0} : f32[1]\n%1 = const {value=1.0} : f32[2]\n%2 = concat %0, %1 {axis=0} : f32[3]\n"
     "%3 = sum %2 {axes=[0]} : f32[]\nresult %3 {name=\"y\"}\n",
     16777218, 16777216},
    {"... and f64's where the op says so",
     "%0 = const {value=16777216.0} : f32[1]\n%1 = const {value=1.0} : f32[2]\n%2 = concat %0, %1 {axis=0} : f32[3]\n"
     "%3 = sum %2 {axes=[0], acc=\"f64\"} : f32[]\nresult %3 {name=\"y\"}\n",
     16777218, 16777218},
    {"a dot of bf16 with an f32 result",
     "%0 = input {name=\"x\"} : bf16[4]\n%1 = dot %0, %0 {left=[0], right=[0], to=\"f32\"} : f32[]\nresult %1 {name=\"y\"}\n",
     3 + (1 + 1 / 128.0) * (1 + 1 / 128.0), 3 + (1 + 1 / 128.0) * (1 + 1 / 128.0)},
    {"scatter_add of bf16 with an f32 result",
     "%0 = input {name=\"x\"} : bf16[4]\n%1 = input {name=\"zeros\"} : i32[4]\n"
     "%2 = scatter_add %0, %1 {rows=2, to=\"f32\"} : f32[2]\nresult %2 {name=\"y\"}\n",
     4 + 1 / 128.0, 4 + 1 / 128.0},
    {"a dot accumulates in f32: 2^24 + 1 + 1 + 1",
     "%0 = const {value=16777216.0} : f32[1]\n%1 = const {value=1.0} : f32[3]\n%2 = concat %0, %1 {axis=0} : f32[4]\n"
     "%3 = const {value=1.0} : f32[4]\n%4 = dot %2, %3 {left=[0], right=[0]} : f32[]\nresult %4 {name=\"y\"}\n",
     16777219, 16777216},
    {"scatter_add, too",
     "%0 = const {value=16777216.0} : f32[1]\n%1 = const {value=1.0} : f32[3]\n%2 = concat %0, %1 {axis=0} : f32[4]\n"
     "%3 = input {name=\"zeros\"} : i32[4]\n%4 = scatter_add %2, %3 {rows=1} : f32[1]\nresult %4 {name=\"y\"}\n",
     16777219, 16777216},
    {"and partial_sum",
     "%0 = const {value=16777216.0} : f32[1]\n%1 = const {value=1.0} : f32[3]\n%2 = concat %0, %1 {axis=0} : f32[4]\n"
     "%3 = partial_sum %2 {chunks=1} : f32[1]\nresult %3 {name=\"y\"}\n",
     16777219, 16777216},
    {"segsum of bf16",
     "%0 = input {name=\"x\"} : bf16[4]\n%1 = input {name=\"seq\"} : segments[1,4]\n%2 = segsum %0, %1 : bf16[1]\n"
     "result %2 {name=\"y\"}\n",
     4, 4},
};

static void test_interpreter(mdl_test *t) {
    mdl_case(t, "the interpreter rounds as the dtype says");
    for (size_t i = 0; i < sizeof evaluations / sizeof *evaluations; i++) {
        double exact = interpreted(t, evaluations[i].text, false), rounded = interpreted(t, evaluations[i].text, true);
        CHECK(t, exact == evaluations[i].exact, "%s: %a, expected %a", evaluations[i].what, exact, evaluations[i].exact);
        CHECK(t, rounded == evaluations[i].rounded, "%s, f32 rounded: %a, expected %a", evaluations[i].what, rounded,
              evaluations[i].rounded);
    }
}

/* ---- whole models ---- */
enum { TOKENS = 24 };

/* Every program of a model after a pass, by name. */
static mdl_regions dumped(mdl_test *t, mdl_arena *arena, const mdl_tiny_model *model, mdl_dtype precision, const char *pass) {
    mdl_module *module = mdl_test_model(t, arena, model->name, model->sets, TOKENS, 3);
    char *text = NULL;
    size_t size = 0;
    mdl_plan *plan = NULL;
    mdl_regions programs = {0};
    mdl_pipeline_options options = {.precision = precision, .dump = pass, .stop_after = pass, .out = open_memstream(&text, &size)};
    mdl_status status = module ? mdl_compile(arena, module, &options, &plan) : MDL_OK;
    fclose(options.out);
    const char *wrong = status ? mdl_message(status) : mdl_parse_ir(arena, text, &programs);
    CHECK(t, !wrong, "%s", wrong);
    mdl_status_free(status);
    free(text);
    return programs;
}

static bool writes(const mdl_region *r, mdl_state_kind kind) {
    for (int i = 0; i < r->ops.n; i++)
        if (r->ops.at[i]->code == MDL_OP_WRITE && mdl_is_state(r->ops.at[i], kind)) return true;
    return false;
}

static const mdl_region *find_program(const mdl_regions *programs, const char *name) {
    for (int i = 0; i < programs->n; i++)
        if (!strcmp(programs->at[i]->name, name)) return programs->at[i];
    return NULL;
}

static void test_copies(mdl_test *t) {
    static const char *const writers[] = {"init", "refresh", "train_only", "train_last", "update"};
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "programs that write parameters write their copies; in f32 there are none");
    mdl_regions narrow = dumped(t, arena, &mdl_tiny_models[0], MDL_BF16, "precision");
    mdl_regions wide = dumped(t, arena, &mdl_tiny_models[0], MDL_F32, "precision");
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        const mdl_region *r = find_program(&narrow, writers[i]);
        CHECK(t, r && writes(r, MDL_STATE_COMPUTE), "%s does not", writers[i]);
    }
    for (int i = 0; i < narrow.n; i++)
        CHECK(t, !writes(narrow.at[i], MDL_STATE_PARAM) || writes(narrow.at[i], MDL_STATE_COMPUTE), "%s does not",
              narrow.at[i]->name);
    for (int i = 0; i < wide.n; i++) CHECK(t, !writes(wide.at[i], MDL_STATE_COMPUTE), "%s does in f32", wide.at[i]->name);
    CHECK(t, !find_program(&wide, "refresh") && wide.n + 1 == narrow.n, "%d programs in f32, %d in bf16", wide.n, narrow.n);
    mdl_arena_free(arena);
}

/* What kernels leave in memory with a row for each token. */
typedef struct {
    int count;
    int64_t narrow, wide; /* elements */
} kept;

static kept count_kept(const mdl_region *r) {
    kept k = {0};
    for (int i = 0; i < r->ops.n; i++)
        for (int n = 0; n < r->ops.at[i]->n_out && r->ops.at[i]->code == MDL_OP_KERNEL; n++) {
            const mdl_type *type = &r->ops.at[i]->out[n]->type;
            if (type->rank < 2 || type->dim[0] != TOKENS || !mdl_dtype_is_real(type->dtype)) continue;
            k.count++;
            *(mdl_dtype_is_narrow(type->dtype) ? &k.narrow : &k.wide) += mdl_type_count(type);
        }
    return k;
}

/* ESM-2's head, a layernorm of a GELU, keeps three f32 values more (fuse.c: heavy and spread), so it is not among these. Of the
 * two, rotary tables and delta stay f32. */
static void test_kept(mdl_test *t) {
    mdl_case(t, "a bf16 program keeps what the f32 one does, in bf16");
    for (int m = 1; m < 3; m++) {
        mdl_arena *arena = mdl_arena_new();
        mdl_regions narrow = dumped(t, arena, &mdl_tiny_models[m], MDL_BF16, "fuse");
        mdl_regions wide = dumped(t, arena, &mdl_tiny_models[m], MDL_F32, "fuse");
        for (int i = 0; i < wide.n; i++) {
            if (strncmp(wide.at[i]->name, "train", 5)) continue; /* what the host reads is f32 */
            const mdl_region *r = find_program(&narrow, wide.at[i]->name);
            kept a = count_kept(wide.at[i]), b = r ? count_kept(r) : (kept){0};
            CHECK(t, a.count == b.count && a.wide == b.wide + b.narrow, "%s %s: %d values, %d in f32", mdl_tiny_models[m].name,
                  wide.at[i]->name, b.count, a.count);
            CHECK(t, b.wide * 8 <= a.wide, "%s %s: %d elements of %d are f32", mdl_tiny_models[m].name, wide.at[i]->name,
                  (int)b.wide, (int)a.wide);
        }
        mdl_arena_free(arena);
    }
}

static void test_compiles(mdl_test *t) {
    for (int i = 0; i < mdl_tiny_models_count; i++) {
        mdl_arena *arena = mdl_arena_new();
        mdl_case(t, "%s compiles in bf16, and the plan says so", mdl_tiny_models[i].name);
        mdl_module *module = mdl_test_model(t, arena, mdl_tiny_models[i].name, mdl_tiny_models[i].sets, TOKENS, 3);
        mdl_plan *plan = NULL;
        mdl_pipeline_options options = {.precision = MDL_BF16, .out = stdout};
        mdl_status status = module ? mdl_compile(arena, module, &options, &plan) : MDL_OK;
        CHECK(t, !status && plan && !strcmp(plan->precision, "bf16"), "%s", mdl_message(status));
        CHECK(t, !plan || plan->arena_bytes[MDL_ARENA_COMPUTE] * 2 == plan->arena_bytes[MDL_ARENA_PARAM], "no copies");
        mdl_status_free(status);
        mdl_plan_free(plan);
        mdl_arena_free(arena);
    }
}

void suite_precision(mdl_test *t) {
    test_rules(t);
    test_formats(t);
    test_holds(t);
    test_interpreter(t);
    test_copies(t);
    test_kept(t);
    test_compiles(t);
}
