#include "tests/compiler/gradients.h"

#define A "%0 = read {state=[\"a\"]} : f32[3,4]\n"
#define B "%1 = read {state=[\"b\"]} : f32[3,4]\n"
#define POS "%0 = read {state=[\"pos\"]} : f32[3,4]\n"
#define UNARY(op, operand) operand "%1 = " op " %0 : f32[3,4]\nresult %1 {name=\"y\"}\n"
#define BINARY(op, left, right) left right "%2 = " op " %0, %1 : f32[3,4]\nresult %2 {name=\"y\"}\n"
#define POS1 "%1 = read {state=[\"pos\"]} : f32[3,4]\n"
#define DOT(left, right, axes, out)                                                                \
    "%0 = read {state=[\"a\"]} : f32" left "\n%1 = read {state=[\"b\"]} : f32" right "\n" \
    "%2 = dot %0, %1 {" axes "} : f32" out "\nresult %2 {name=\"y\"}\n"
#define ATTENTION(heads, groups, attributes)                                                                           \
    "%0 = read {state=[\"q\"]} : f32[9," heads ",3]\n%1 = read {state=[\"k\"]} : f32[9," groups ",3]\n"               \
    "%2 = read {state=[\"v\"]} : f32[9," groups ",3]\n%3 = input {name=\"seq\"} : segments[4,9]\n"                    \
    "%4, %5 = attention %0, %1, %2, %3 {" attributes "scale=0.8} : f32[9," heads ",3], f32[9," heads "]\n" \
    "result %4 {name=\"y\"}\n"

const mdl_gradient_case mdl_gradient_cases[] = {
    /* elementwise */
    {"add", BINARY("add", A, B)},
    {"add of a value to itself", A "%1 = add %0, %0 : f32[3,4]\nresult %1 {name=\"y\"}\n"},
    {"sub", BINARY("sub", A, B)},
    {"mul", BINARY("mul", A, B)},
    {"mul of a value by itself", A "%1 = mul %0, %0 : f32[3,4]\nresult %1 {name=\"y\"}\n"},
    {"div", BINARY("div", A, POS1)},
    {"max", BINARY("max", A, B)},
    {"min", BINARY("min", A, B)},
    {"neg", UNARY("neg", A)},
    {"abs", UNARY("abs", A)},
    {"exp", UNARY("exp", A)},
    {"ln", UNARY("ln", POS)},
    {"sqrt", UNARY("sqrt", POS)},
    {"rsqrt", UNARY("rsqrt", POS)},
    {"sin", UNARY("sin", A)},
    {"cos", UNARY("cos", A)},
    {"erf", UNARY("erf", A)},
    {"tanh", UNARY("tanh", A)},
    {"select by an input", A B "%2 = input {name=\"mask\"} : bool[3,4]\n"
                               "%3 = select %2, %0, %1 : f32[3,4]\nresult %3 {name=\"y\"}\n"},
    {"select by a comparison of the operands", A B "%2 = lt %0, %1 : bool[3,4]\n"
                                                   "%3 = select %2, %0, %1 : f32[3,4]\nresult %3 {name=\"y\"}\n"},
    {"cast to another real type and back", A "%1 = cast %0 {to=\"f64\"} : f64[3,4]\n%2 = mul %1, %1 : f64[3,4]\n"
                                             "%3 = cast %2 {to=\"f32\"} : f32[3,4]\nresult %3 {name=\"y\"}\n"},
    {"nothing flows through integers", A B "%2 = cast %0 {to=\"i32\"} : i32[3,4]\n%3 = cast %2 {to=\"f32\"} : f32[3,4]\n"
                                           "%4 = mul %3, %1 : f32[3,4]\n%5 = add %4, %0 : f32[3,4]\nresult %5 {name=\"y\"}\n"},

    /* views */
    {"reshape", A "%1 = reshape %0 : f32[2,6]\nresult %1 {name=\"y\"}\n"},
    {"reshape to rank 1 and 3", A "%1 = reshape %0 : f32[12]\n%2 = mul %1, %1 : f32[12]\n%3 = reshape %2 : f32[2,3,2]\n"
                                  "result %3 {name=\"y\"}\n"},
    {"permute of a matrix", A "%1 = permute %0 {perm=[1,0]} : f32[4,3]\nresult %1 {name=\"y\"}\n"},
    {"permute of three axes in a cycle", "%0 = read {state=[\"a\"]} : f32[2,3,4]\n"
                                         "%1 = permute %0 {perm=[2,0,1]} : f32[4,2,3]\nresult %1 {name=\"y\"}\n"},
    {"slice: zeros before and after it", A "%1 = slice %0 {axis=1, start=1, size=2} : f32[3,2]\nresult %1 {name=\"y\"}\n"},
    {"slices that tile an axis", A "%1 = slice %0 {axis=1, start=2, size=2} : f32[3,2]\n"
                                   "%2 = slice %0 {axis=1, start=0, size=2} : f32[3,2]\n"
                                   "%3 = mul %1, %2 : f32[3,2]\nresult %3 {name=\"y\"}\n"},
    {"slices that overlap", A "%1 = slice %0 {axis=1, start=1, size=3} : f32[3,3]\n%2 = slice %0 {axis=1, start=0, size=3} : f32[3,3]\n"
                              "%3 = mul %1, %2 : f32[3,3]\nresult %3 {name=\"y\"}\n"},
    {"slices with a gap between them", A "%1 = slice %0 {axis=1, start=3, size=1} : f32[3,1]\n"
                                         "%2 = slice %0 {axis=1, start=0, size=1} : f32[3,1]\n"
                                         "%3 = mul %1, %2 : f32[3,1]\nresult %3 {name=\"y\"}\n"},
    {"the same slice twice", A "%1 = slice %0 {axis=1, start=1, size=2} : f32[3,2]\n%2 = exp %1 : f32[3,2]\n"
                               "%3 = slice %0 {axis=1, start=1, size=2} : f32[3,2]\n%4 = sin %3 : f32[3,2]\n"
                               "result %2 {name=\"y\"}\nresult %4 {name=\"z\"}\n"},
    {"slices of both axes, and the whole",
     A "%1 = slice %0 {axis=1, start=1, size=2} : f32[3,2]\n%2 = slice %0 {axis=0, start=0, size=2} : f32[2,4]\n"
       "%3 = slice %0 {axis=1, start=0, size=2} : f32[3,2]\n%4 = slice %0 {axis=0, start=1, size=2} : f32[2,4]\n"
       "%5 = mul %1, %3 : f32[3,2]\n%6 = mul %2, %4 : f32[2,4]\n%7 = exp %0 : f32[3,4]\n"
       "result %5 {name=\"x\"}\nresult %6 {name=\"y\"}\nresult %7 {name=\"z\"}\n"},
    {"concat of three", A B "%2 = read {state=[\"c\"]} : f32[3,2]\n"
                            "%3 = concat %0, %2, %1 {axis=1} : f32[3,10]\nresult %3 {name=\"y\"}\n"},
    {"concat along rows, of a value with itself", A "%1 = concat %0, %0 {axis=0} : f32[6,4]\nresult %1 {name=\"y\"}\n"},
    {"concat with a part that is not trained", A "%1 = read {state=[\"frozen.b\"]} : f32[3,4]\n"
                                                 "%2 = concat %1, %0 {axis=1} : f32[3,8]\nresult %2 {name=\"y\"}\n"},
    {"broadcast of a scalar", "%0 = read {state=[\"a\"]} : f32[]\n%1 = broadcast %0 {axes=[]} : f32[3,4]\nresult %1 {name=\"y\"}\n"},
    {"broadcast of columns", "%0 = read {state=[\"a\"]} : f32[4]\n%1 = broadcast %0 {axes=[1]} : f32[3,4]\nresult %1 {name=\"y\"}\n"},
    {"broadcast of rows", "%0 = read {state=[\"a\"]} : f32[3]\n%1 = broadcast %0 {axes=[0]} : f32[3,4]\nresult %1 {name=\"y\"}\n"},
    {"broadcast into the middle", "%0 = read {state=[\"a\"]} : f32[2,3]\n"
                                  "%1 = broadcast %0 {axes=[0,2]} : f32[2,4,3]\nresult %1 {name=\"y\"}\n"},

    /* reductions */
    {"sum over columns", A "%1 = sum %0 {axes=[1]} : f32[3]\nresult %1 {name=\"y\"}\n"},
    {"sum over rows", A "%1 = sum %0 {axes=[0]} : f32[4]\nresult %1 {name=\"y\"}\n"},
    {"sum over everything", A "%1 = sum %0 {axes=[0,1]} : f32[]\nresult %1 {name=\"y\"}\n"},
    {"sum over outer and inner axes", "%0 = read {state=[\"a\"]} : f32[2,3,4]\n%1 = sum %0 {axes=[0,2]} : f32[3]\nresult %1 {name=\"y\"}\n"},
    {"sum with a start", A "%1 = read {state=[\"b\"]} : f32[4]\n%2 = sum %0, %1 {axes=[0]} : f32[4]\nresult %2 {name=\"y\"}\n"},
    {"reduce_max over columns", A "%1 = reduce_max %0 {axes=[1]} : f32[3]\nresult %1 {name=\"y\"}\n"},
    {"reduce_max over rows", A "%1 = reduce_max %0 {axes=[0]} : f32[4]\nresult %1 {name=\"y\"}\n"},

    /* indexing and segments */
    {"gather: repeated rows, and index -1", "%0 = read {state=[\"a\"]} : f32[5,3]\n%1 = input {name=\"index.5\"} : i32[9]\n"
                                            "%2 = gather %0, %1 : f32[9,3]\nresult %2 {name=\"y\"}\n"},
    {"gather of a vector", "%0 = read {state=[\"a\"]} : f32[5]\n%1 = input {name=\"index.5\"} : i32[9]\n"
                           "%2 = gather %0, %1 : f32[9]\nresult %2 {name=\"y\"}\n"},
    {"scatter_add", "%0 = read {state=[\"a\"]} : f32[9,3]\n%1 = input {name=\"index.5\"} : i32[9]\n"
                    "%2 = scatter_add %0, %1 {rows=5} : f32[5,3]\nresult %2 {name=\"y\"}\n"},
    {"scatter_add with a start", "%0 = read {state=[\"a\"]} : f32[9,3]\n%1 = input {name=\"index.5\"} : i32[9]\n%2 = read {state=[\"b\"]} : f32[5,3]\n"
                                 "%3 = scatter_add %0, %1, %2 {rows=5} : f32[5,3]\nresult %3 {name=\"y\"}\n"},
    {"segsum", "%0 = read {state=[\"a\"]} : f32[9,3]\n%1 = input {name=\"seq\"} : segments[4,9]\n"
               "%2 = segsum %0, %1 : f32[4,3]\nresult %2 {name=\"y\"}\n"},
    {"spread", "%0 = read {state=[\"a\"]} : f32[4,3]\n%1 = input {name=\"seq\"} : segments[4,9]\n"
               "%2 = spread %0, %1 : f32[9,3]\nresult %2 {name=\"y\"}\n"},

    /* contraction */
    {"dot with a weight [out, in]", DOT("[5,3]", "[4,3]", "left=[1], right=[1]", "[5,4]")},
    {"dot with a weight [in, out]", DOT("[5,3]", "[3,4]", "left=[1], right=[0]", "[5,4]")},
    {"dot over rows", DOT("[3,5]", "[3,4]", "left=[0], right=[0]", "[5,4]")},
    {"dot, both transposed", DOT("[3,5]", "[4,3]", "left=[0], right=[1]", "[5,4]")},
    {"dot of vectors", DOT("[5]", "[5]", "left=[0], right=[0]", "[]")},
    {"dot with a vector", DOT("[5,3]", "[3]", "left=[1], right=[0]", "[5]")},
    {"dot of a vector with a matrix", DOT("[3]", "[4,3]", "left=[0], right=[1]", "[4]")},
    {"dot that contracts nothing", DOT("[5]", "[4]", "left=[], right=[]", "[5,4]")},
    {"dot of 3-D with a matrix", DOT("[2,3,4]", "[5,4]", "left=[2], right=[1]", "[2,3,5]")},
    {"dot of 3-D, middle axis", DOT("[2,3,4]", "[3,5]", "left=[1], right=[0]", "[2,4,5]")},
    {"dot over two axes", DOT("[5,2,3]", "[2,3,4]", "left=[1,2], right=[0,1]", "[5,4]")},
    {"dot over two axes, crossed", DOT("[5,2,3]", "[3,4,2]", "left=[1,2], right=[2,0]", "[5,4]")},
    {"dot with a batch axis in front", DOT("[2,3,4]", "[2,5,4]", "left=[2], right=[2], left_batch=[0], right_batch=[0]", "[2,3,5]")},
    {"dot with batch axes in the middle", DOT("[3,2,4]", "[5,2,4]", "left=[2], right=[2], left_batch=[1], right_batch=[1]", "[3,2,5]")},
    {"dot with two batch axes, crossed", DOT("[2,3,4]", "[3,4,2]", "left=[2], right=[1], left_batch=[0,1], right_batch=[2,0]", "[2,3]")},
    {"dot with a start", "%0 = read {state=[\"a\"]} : f32[5,3]\n%1 = read {state=[\"b\"]} : f32[4,3]\n%2 = read {state=[\"c\"]} : f32[5,4]\n"
                         "%3 = dot %0, %1, %2 {left=[1], right=[1]} : f32[5,4]\nresult %3 {name=\"y\"}\n"},
    {"dot of a value with itself", "%0 = read {state=[\"a\"]} : f32[4,3]\n%1 = dot %0, %0 {left=[1], right=[1]} : f32[4,4]\n"
                                   "result %1 {name=\"y\"}\n"},

    /* structured */
    {"attention", ATTENTION("2", "2", "")},
    {"attention, causal", ATTENTION("2", "2", "causal=1, ")},
    {"attention, two query heads a key head", ATTENTION("4", "2", "")},
    {"attention, window", ATTENTION("2", "1", "left=1, right=2, ")},
    {"attention, causal window", ATTENTION("2", "2", "causal=1, left=1, ")},
    {"attention, softcap", ATTENTION("2", "1", "softcap=1.5, ")},
    {"attention of one value as q, k and v", "%0 = read {state=[\"a\"]} : f32[9,2,3]\n%1 = input {name=\"seq\"} : segments[4,9]\n"
                                             "%2, %3 = attention %0, %0, %0, %1 {scale=0.8} : f32[9,2,3], f32[9,2]\nresult %2 {name=\"y\"}\n"},
    {"xent with ignored labels", "%0 = read {state=[\"a\"]} : f32[9,5]\n%1 = input {name=\"labels.5\"} : i32[9]\n"
                                 "%2, %3 = xent %0, %1 : f32[9], f32[9]\nresult %2 {name=\"y\"}\n"},

    /* adjoints that meet */
    {"one value used five times", A "%1 = exp %0 : f32[3,4]\n%2 = sin %1 : f32[3,4]\n%3 = mul %1, %2 : f32[3,4]\n"
                                    "%4 = add %3, %1 : f32[3,4]\n%5 = sum %1 {axes=[1]} : f32[3]\n"
                                    "result %4 {name=\"y\"}\nresult %5 {name=\"z\"}\nresult %1 {name=\"x\"}\n"},
    {"layer norm", "%0 = read {state=[\"a\"]} : f32[3,4]\n%1 = read {state=[\"g\"]} : f32[4]\n%2 = const {value=0.25} : f32[]\n"
                   "%3 = sum %0 {axes=[1]} : f32[3]\n%4 = broadcast %2 {axes=[]} : f32[3]\n%5 = mul %3, %4 : f32[3]\n"
                   "%6 = broadcast %5 {axes=[0]} : f32[3,4]\n%7 = sub %0, %6 : f32[3,4]\n%8 = mul %7, %7 : f32[3,4]\n"
                   "%9 = sum %8 {axes=[1]} : f32[3]\n%10 = mul %9, %4 : f32[3]\n%11 = rsqrt %10 : f32[3]\n"
                   "%12 = broadcast %11 {axes=[0]} : f32[3,4]\n%13 = mul %7, %12 : f32[3,4]\n"
                   "%14 = broadcast %1 {axes=[1]} : f32[3,4]\n%15 = mul %13, %14 : f32[3,4]\nresult %15 {name=\"y\"}\n"},
    {0},
};

const mdl_no_gradient mdl_no_gradients[] = {
    {MDL_OP_EQ, "a bool"},
    {MDL_OP_NE, "a bool"},
    {MDL_OP_LT, "a bool"},
    {MDL_OP_LE, "a bool"},
    {MDL_OP_AND, "a bool"},
    {MDL_OP_OR, "a bool"},
    {MDL_OP_NOT, "a bool"},
    {MDL_OP_CONST, "depends on nothing"},
    {MDL_OP_IMM, "depends on nothing"},
    {MDL_OP_IOTA, "depends on nothing"},
    {MDL_OP_INPUT, "depends on nothing"},
    {MDL_OP_RANDOM, "depends on integers"},
    {MDL_OP_ARG, "made after autodiff"},
    {MDL_OP_READ, "where a gradient ends: every case has one"},
    {MDL_OP_ARGMAX, "an integer"},
    {MDL_OP_MEAN, "decomposed before autodiff"},
    {MDL_OP_PARTIAL_SUM, "made after autodiff"},
    {MDL_OP_SEGMENT_ID, "an integer"},
    {MDL_OP_POSITION, "an integer"},
    {MDL_OP_SEGLEN, "an integer"},
    {MDL_OP_FIRST, "an integer"},
    {MDL_OP_ATTENTION_BWD, "no second derivatives"},
    {MDL_OP_XENT_BWD, "no second derivatives"},
    {MDL_OP_WRITE, "has no result"},
    {MDL_OP_RESULT, "has no result"},
    {MDL_OP_LOSS, "where a gradient begins: every case has one"},
    {MDL_OP_METRIC, "has no result"},
    {MDL_OP_OUTPUT, "has no result"},
    {MDL_OP_YIELD, "has no result"},
    {MDL_OP_KERNEL, "made after autodiff"},
    {MDL_OP_FINISH, "made after autodiff"},
};
const int mdl_no_gradients_count = sizeof mdl_no_gradients / sizeof *mdl_no_gradients;
