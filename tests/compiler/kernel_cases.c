#include "tests/compiler/kernels.h"

#define X "%0 = input {name=\"x\"} : f32[$T,$C]\n"
#define Y "%1 = input {name=\"y\"} : f32[$T,$C]\n"
#define RESULT(value, name) "result " value " {name=\"" name "\"}\n"
#define UNARY(id, op) "%" id " = " op " %0 : f32[$T,$C]\n" RESULT("%" id, op)
#define UNARY_POS(id, op) "%" id " = " op " %1 : f32[$T,$C]\n" RESULT("%" id, op)
#define BINARY(id, op) "%" id " = " op " %0, %1 : f32[$T,$C]\n" RESULT("%" id, op)
#define COMPARE(id, op) "%" id " = " op " %0, %1 : bool[$T,$C]\n" RESULT("%" id, op)

const mdl_kernel_case mdl_kernel_cases[] = {
    {"every function of one operand",
     X "%1 = input {name=\"pos\"} : f32[$T,$C]\n" UNARY("2", "neg") UNARY("3", "abs") UNARY("4", "exp") UNARY("5", "sin") UNARY("6", "cos")
         UNARY("7", "erf") UNARY("8", "tanh") UNARY_POS("9", "ln") UNARY_POS("10", "sqrt") UNARY_POS("11", "rsqrt")},
    {"every function of two operands", X Y BINARY("2", "add") BINARY("3", "sub") BINARY("4", "mul") BINARY("5", "max") BINARY("6", "min")
                                           "%7 = input {name=\"pos\"} : f32[$T,$C]\n%8 = div %0, %7 : f32[$T,$C]\n" RESULT("%8", "div")},
    {"comparisons and logic", "%0 = input {name=\"index.3\"} : i32[$T,$C]\n%1 = input {name=\"index.4\"} : i32[$T,$C]\n" COMPARE("2", "eq") COMPARE("3", "ne")
                                  COMPARE("4", "lt") COMPARE("5", "le") "%6 = and %2, %5 : bool[$T,$C]\n%7 = or %2, %4 : bool[$T,$C]\n"
                                                                        "%8 = not %6 : bool[$T,$C]\n" RESULT("%6", "and") RESULT("%7", "or") RESULT("%8", "not")
                                                                            "%9 = select %8, %0, %1 : i32[$T,$C]\n" RESULT("%9", "select")},
    {"casts", "%0 = input {name=\"x\"} : f32[$T,$C]\n%1 = cast %0 {to=\"i32\"} : i32[$T,$C]\n%2 = cast %1 {to=\"f32\"} : f32[$T,$C]\n"
              "%3 = lt %0, %2 : bool[$T,$C]\n%4 = cast %3 {to=\"f32\"} : f32[$T,$C]\n%5 = cast %1 {to=\"bool\"} : bool[$T,$C]\n"
              "%6 = cast %5 {to=\"i32\"} : i32[$T,$C]\n" RESULT("%1", "i32") RESULT("%2", "f32") RESULT("%4", "from-bool") RESULT("%5", "bool") RESULT("%6", "back")},
    {"whole numbers", "%0 = input {name=\"index.9\"} : i32[$T,$C]\n%1 = iota {axis=0} : i32[$T,$C]\n%2 = iota {axis=1} : i32[$T,$C]\n%3 = mul %0, %1 : i32[$T,$C]\n"
                      "%4 = sub %3, %2 : i32[$T,$C]\n%5 = reduce_max %4 {axes=[1]} : i32[$T]\n%6 = sum %4 {axes=[1]} : i32[$T]\n" RESULT("%4", "y")
                          RESULT("%5", "max") RESULT("%6", "sum")},
    {"constants and broadcasts", X "%1 = const {value=0.1} : f32[]\n%2 = broadcast %1 {axes=[]} : f32[$T,$C]\n%3 = mul %0, %2 : f32[$T,$C]\n"
                                   "%4 = read {state=[\"scalar\"]} : f32[]\n%5 = broadcast %4 {axes=[]} : f32[$T,$C]\n%6 = add %3, %5 : f32[$T,$C]\n"
                                   "%7 = read {state=[\"columns\"]} : f32[$C]\n%8 = broadcast %7 {axes=[1]} : f32[$T,$C]\n%9 = mul %6, %8 : f32[$T,$C]\n"
                                   "%10 = input {name=\"rows\"} : f32[$T]\n%11 = broadcast %10 {axes=[0]} : f32[$T,$C]\n%12 = sub %9, %11 : f32[$T,$C]\n"
                                   "%13 = broadcast %12 {axes=[0,2]} : f32[$T,3,$C]\n" RESULT("%12", "y") RESULT("%13", "copies")},
    {"one value per row, and one in all", "%0 = input {name=\"x\"} : f32[$T]\n%1 = exp %0 : f32[$T]\n%2 = sum %1 {axes=[0]} : f32[]\n%3 = ln %2 : f32[]\n"
                                          "%4 = broadcast %3 {axes=[]} : f32[$T]\n%5 = sub %0, %4 : f32[$T]\n" RESULT("%3", "lse") RESULT("%5", "log-softmax")},
    {"layer norm", X "%1 = const {value=0.01} : f32[]\n%2 = broadcast %1 {axes=[]} : f32[$T]\n%3 = mean %0 {axes=[1]} : f32[$T]\n%4 = broadcast %3 {axes=[0]} : f32[$T,$C]\n"
                     "%5 = sub %0, %4 : f32[$T,$C]\n%6 = mul %5, %5 : f32[$T,$C]\n%7 = mean %6 {axes=[1]} : f32[$T]\n%8 = add %7, %2 : f32[$T]\n%9 = rsqrt %8 : f32[$T]\n"
                     "%10 = broadcast %9 {axes=[0]} : f32[$T,$C]\n%11 = mul %5, %10 : f32[$T,$C]\n%12 = read {state=[\"gamma\"]} : f32[$C]\n"
                     "%13 = broadcast %12 {axes=[1]} : f32[$T,$C]\n%14 = mul %11, %13 : f32[$T,$C]\n%15 = read {state=[\"beta\"]} : f32[$C]\n"
                     "%16 = broadcast %15 {axes=[1]} : f32[$T,$C]\n%17 = add %14, %16 : f32[$T,$C]\n" RESULT("%17", "y")},
    {"softmax", X "%1 = reduce_max %0 {axes=[1]} : f32[$T]\n%2 = broadcast %1 {axes=[0]} : f32[$T,$C]\n%3 = sub %0, %2 : f32[$T,$C]\n%4 = exp %3 : f32[$T,$C]\n"
                  "%5 = sum %4 {axes=[1]} : f32[$T]\n%6 = broadcast %5 {axes=[0]} : f32[$T,$C]\n%7 = div %4, %6 : f32[$T,$C]\n" RESULT("%7", "y")},
    {"norm backward: a row reduction of what column sums use", X Y
     "%2 = mul %0, %1 : f32[$T,$C]\n%3 = sum %2 {axes=[1]} : f32[$T]\n%4 = broadcast %3 {axes=[0]} : f32[$T,$C]\n%5 = mul %4, %0 : f32[$T,$C]\n"
     "%6 = sub %1, %5 : f32[$T,$C]\n%7 = sum %6 {axes=[0]} : f32[$C]\n%8 = sum %2 {axes=[0]} : f32[$C]\n" RESULT("%6", "dx") RESULT("%7", "a") RESULT("%8", "b")},
    {"a column sum with a start that stays", X "%1 = sum %0 {axes=[0]} : f32[$C]\n%2 = read {state=[\"start\"]} : f32[$C]\n%3 = add %2, %1 : f32[$C]\n" RESULT("%3", "y")},
    {"reductions of three dims", "%0 = input {name=\"x\"} : f32[$T,3,$C]\n%1 = sum %0 {axes=[1]} : f32[$T,$C]\n%2 = reduce_max %0 {axes=[2]} : f32[$T,3]\n"
                                 "%3 = sum %0 {axes=[1,2]} : f32[$T]\n%4 = sum %0 {axes=[0]} : f32[3,$C]\n%5 = sum %0 {axes=[0,1,2]} : f32[]\n"
                                 "%6 = broadcast %2 {axes=[0,1]} : f32[$T,3,$C]\n%7 = sub %0, %6 : f32[$T,3,$C]\n" RESULT("%1", "a") RESULT("%2", "b")
                                     RESULT("%3", "c") RESULT("%4", "d") RESULT("%5", "e") RESULT("%7", "f")},
    {"rotary, halves", "%0 = input {name=\"x\"} : f32[$T,2,$D]\n%1 = input {name=\"a\"} : f32[$T,$C]\n%2 = cos %1 : f32[$T,$C]\n%3 = broadcast %2 {axes=[0,2]} : f32[$T,2,$C]\n"
                       "%4 = sin %1 : f32[$T,$C]\n%5 = broadcast %4 {axes=[0,2]} : f32[$T,2,$C]\n%6 = slice %0 {axis=2, start=0, size=$C} : f32[$T,2,$C]\n"
                       "%7 = slice %0 {axis=2, start=$C, size=$C} : f32[$T,2,$C]\n%8 = mul %6, %3 : f32[$T,2,$C]\n%9 = mul %7, %5 : f32[$T,2,$C]\n"
                       "%10 = sub %8, %9 : f32[$T,2,$C]\n%11 = mul %7, %3 : f32[$T,2,$C]\n%12 = mul %6, %5 : f32[$T,2,$C]\n%13 = add %11, %12 : f32[$T,2,$C]\n"
                       "%14 = concat %10, %13 {axis=2} : f32[$T,2,$D]\n" RESULT("%14", "y")},
    {"rotary, pairs", "%0 = input {name=\"x\"} : f32[$T,$D]\n%1 = reshape %0 : f32[$T,$C,2]\n%2 = slice %1 {axis=2, start=0, size=1} : f32[$T,$C,1]\n"
                      "%3 = slice %1 {axis=2, start=1, size=1} : f32[$T,$C,1]\n%4 = neg %3 : f32[$T,$C,1]\n%5 = concat %4, %2 {axis=2} : f32[$T,$C,2]\n"
                      "%6 = reshape %5 : f32[$T,$D]\n" RESULT("%6", "y")},
    {"concat and slices that cut it", X "%1 = input {name=\"y\"} : f32[$T,5]\n%2 = concat %0, %1 {axis=1} : f32[$T,$E]\n%3 = slice %2 {axis=1, start=1, size=$C} : f32[$T,$C]\n"
                                        "%4 = concat %3, %2, %0 {axis=1} : f32[$T,$E+$D]\n%5 = exp %4 : f32[$T,$E+$D]\n%6 = sum %5 {axes=[1]} : f32[$T]\n" RESULT("%5", "y")
                                            RESULT("%6", "sum")},
    {"heads and columns change places", "%0 = input {name=\"x\"} : f32[$T,3,$C]\n%1 = permute %0 {perm=[0,2,1]} : f32[$T,$C,3]\n%2 = exp %1 : f32[$T,$C,3]\n"
                                        "%3 = reshape %2 : f32[$T,3*$C]\n" RESULT("%3", "y")},
    {"rows and columns change places", X "%1 = exp %0 : f32[$T,$C]\n%2 = permute %1 {perm=[1,0]} : f32[$C,$T]\n%3 = neg %2 : f32[$C,$T]\n" RESULT("%3", "y")},
    {"everything in one dim", X "%1 = reshape %0 : f32[$T*$C]\n%2 = sin %1 : f32[$T*$C]\n" RESULT("%2", "y")},
    {"a slice of rows", "%0 = read {state=[\"w\"]} : f32[$T+5,$C]\n%1 = slice %0 {axis=0, start=3, size=$T} : f32[$T,$C]\n%2 = exp %1 : f32[$T,$C]\n" RESULT("%2", "y")},
    {"whole numbers: gather", "%0 = input {name=\"index.9\"} : i32[7,$C]\n%1 = input {name=\"index.7\"} : i32[$T]\n%2 = gather %0, %1 : i32[$T,$C]\n" RESULT("%2", "y")},
    {"gather, scatter and segment sums of vectors",
     "%0 = input {name=\"x\"} : f32[$T]\n%1 = input {name=\"index.7\"} : i32[$T]\n%2 = scatter_add %0, %1 {rows=7} : f32[7]\n%3 = gather %2, %1 : f32[$T]\n"
     "%4 = input {name=\"seq\"} : segments[3,$T]\n%5 = segsum %0, %4 : f32[3]\n%6 = spread %5, %4 : f32[$T]\n" RESULT("%2", "scatter") RESULT("%3", "gather")
         RESULT("%5", "segsum") RESULT("%6", "spread")},
    {"gather, with rows of -1", "%0 = read {state=[\"table\"]} : f32[7,$C]\n%1 = input {name=\"index.7\"} : i32[$T]\n%2 = gather %0, %1 : f32[$T,$C]\n"
                                "%3 = exp %2 : f32[$T,$C]\n" RESULT("%3", "y")},
    {"gather from what was computed", "%0 = read {state=[\"table\"]} : f32[7,$C]\n%1 = sin %0 : f32[7,$C]\n%2 = input {name=\"index.7\"} : i32[$T]\n"
                                      "%3 = gather %1, %2 : f32[$T,$C]\n%4 = mul %3, %3 : f32[$T,$C]\n" RESULT("%4", "y")},
    {"scatter", X "%1 = input {name=\"index.7\"} : i32[$T]\n%2 = scatter_add %0, %1 {rows=7} : f32[7,$C]\n" RESULT("%2", "y")},
    {"scatter onto a sum", X "%1 = input {name=\"index.7\"} : i32[$T]\n%2 = scatter_add %0, %1 {rows=7} : f32[7,$C]\n%3 = scatter_add %0, %1 {rows=7} : f32[7,$C]\n"
                             "%4 = read {state=[\"start\"]} : f32[7,$C]\n%5 = add %4, %2 : f32[7,$C]\n" RESULT("%5", "y") RESULT("%3", "z")},
    {"segments", "%0 = input {name=\"seq\"} : segments[3,$T]\n%1 = segment_id %0 : i32[$T]\n%2 = position %0 : i32[$T]\n%3 = seglen %0 : i32[3]\n%4 = first %0 : i32[3]\n"
                 "%5 = input {name=\"x\"} : f32[$T,$C]\n%6 = segsum %5, %0 : f32[3,$C]\n%7 = abs %6 : f32[3,$C]\n%8 = spread %7, %0 : f32[$T,$C]\n" RESULT("%1", "id")
                     RESULT("%2", "position") RESULT("%3", "length") RESULT("%4", "first") RESULT("%6", "sum") RESULT("%8", "spread")},
    {"cross-entropy and argmax", "%0 = input {name=\"z\"} : f32[$T,$E]\n%1 = input {name=\"labels.6\"} : i32[$T]\n%2, %3 = xent %0, %1 : f32[$T], f32[$T]\n"
                                 "%4 = input {name=\"d\"} : f32[$T]\n%5 = xent_bwd %0, %1, %3, %4 : f32[$T,$E]\n%6 = argmax %0 {axis=1} : i32[$T]\n" RESULT("%2", "loss")
                                     RESULT("%5", "dz") RESULT("%6", "argmax")},
    {"products, all four ways", X "%1 = read {state=[\"w\"]} : f32[$C,4]\n%2 = dot %0, %1 {left=[1], right=[0]} : f32[$T,4]\n%3 = read {state=[\"wt\"]} : f32[4,$C]\n"
                                  "%4 = dot %0, %3 {left=[1], right=[1]} : f32[$T,4]\n%5 = dot %0, %2 {left=[0], right=[0]} : f32[$C,4]\n"
                                  "%6 = dot %1, %0 {left=[0], right=[1]} : f32[4,$T]\n" RESULT("%2", "a") RESULT("%4", "b") RESULT("%5", "c") RESULT("%6", "d")},
    {"products of three dims and of vectors", "%0 = input {name=\"x\"} : f32[$T,2,$C]\n%1 = read {state=[\"w\"]} : f32[4,$C]\n%2 = dot %0, %1 {left=[2], right=[1]} : f32[$T,2,4]\n"
                                              "%3 = read {state=[\"u\"]} : f32[2,$C,3]\n%4 = dot %0, %3 {left=[1,2], right=[0,1]} : f32[$T,3]\n"
                                              "%5 = dot %2, %0 {left=[0,1], right=[0,1]} : f32[4,$C]\n%6 = read {state=[\"v\"]} : f32[$C]\n"
                                              "%7 = dot %0, %6 {left=[2], right=[0]} : f32[$T,2]\n%8 = dot %6, %1 {left=[0], right=[1]} : f32[4]\n"
                                              "%9 = dot %6, %6 {left=[0], right=[0]} : f32[]\n%10 = dot %8, %6 {left=[], right=[]} : f32[4,$C]\n" RESULT("%2", "a")
                                                  RESULT("%4", "b") RESULT("%5", "c") RESULT("%7", "d") RESULT("%8", "e") RESULT("%9", "f") RESULT("%10", "g")},
    {"a sum of products, and one that starts from a parameter",
     X "%1 = read {state=[\"w\"]} : f32[4,$C]\n%2 = read {state=[\"u\"]} : f32[4,$C]\n%3 = dot %0, %1 {left=[1], right=[1]} : f32[$T,4]\n"
       "%4 = dot %0, %2 {left=[1], right=[1]} : f32[$T,4]\n%5 = add %3, %4 : f32[$T,4]\n%6 = read {state=[\"start\"]} : f32[4,4]\n"
       "%7 = dot %5, %3 {left=[0], right=[0]} : f32[4,4]\n%8 = add %6, %7 : f32[4,4]\n" RESULT("%5", "y") RESULT("%8", "z")},
    {"attention", "%0 = input {name=\"q\"} : f32[$T,4,6]\n%1 = input {name=\"k\"} : f32[$T,2,6]\n%2 = input {name=\"v\"} : f32[$T,2,6]\n%3 = input {name=\"seq\"} : segments[3,$T]\n"
                  "%4, %5 = attention %0, %1, %2, %3 {scale=0.4} : f32[$T,4,6], f32[$T,4]\n%6, %7 = attention %0, %1, %2, %3 {causal=1, scale=0.4} : f32[$T,4,6], f32[$T,4]\n"
                  "%8 = mul %4, %6 : f32[$T,4,6]\n" RESULT("%4", "a") RESULT("%5", "lse") RESULT("%6", "b") RESULT("%8", "c")},
    {"random numbers", "%0 = input {name=\"index.900\"} : i32[2]\n%1 = imm {value=3} : i32[]\n%2 = random %0, %1 {dist=\"uniform\"} : f32[$T,$C]\n"
                       "%3 = random %0, %1 {dist=\"normal\"} : f32[$T,$C]\n" RESULT("%2", "uniform") RESULT("%3", "normal")},
    {"an input and a parameter as results", X "%1 = read {state=[\"w\"]} : f32[$C]\n" RESULT("%0", "x") RESULT("%1", "w")},
    {"one value as two results, and a view of it", X "%1 = exp %0 : f32[$T,$C]\n%2 = reshape %1 : f32[$T*$C]\n" RESULT("%1", "a") RESULT("%1", "b") RESULT("%2", "c")},
    {0},
};

const mdl_kernel_case mdl_refused_cases[] = {
    {"a maximum over rows", X "%1 = reduce_max %0 {axes=[0]} : f32[$C]\n" RESULT("%1", "y")},
    {"a concat of rows", X Y "%2 = exp %1 : f32[$T,$C]\n%3 = concat %0, %2 {axis=0} : f32[2*$T,$C]\n" RESULT("%3", "y")},
    {"a concat that a view divides elsewhere",
     "%0 = input {name=\"x\"} : f32[$T,5]\n%1 = input {name=\"y\"} : f32[$T,4]\n%2 = concat %0, %1 {axis=1} : f32[$T,9]\n"
     "%3 = reshape %2 : f32[$T,3,3]\n%4 = exp %3 : f32[$T,3,3]\n" RESULT("%4", "y")},
    {"whole numbers summed over rows", "%0 = input {name=\"index.9\"} : i32[$T,$C]\n%1 = sum %0 {axes=[0]} : i32[$C]\n" RESULT("%1", "y")},
    {"whole numbers scattered", "%0 = input {name=\"index.9\"} : i32[$T,$C]\n%1 = input {name=\"index.7\"} : i32[$T]\n"
                                "%2 = scatter_add %0, %1 {rows=7} : i32[7,$C]\n" RESULT("%2", "y")},
    {"whole numbers summed over segments", "%0 = input {name=\"index.9\"} : i32[$T,$C]\n%1 = input {name=\"seq\"} : segments[3,$T]\n"
                                           "%2 = segsum %0, %1 : i32[3,$C]\n" RESULT("%2", "y")},
    {"a product with a batch axis", "%0 = input {name=\"x\"} : f32[2,$T,$C]\n%1 = dot %0, %0 {left=[2], right=[2], left_batch=[0], right_batch=[0]} : f32[2,$T,$T]\n"
         RESULT("%1", "y")},
    {"a product over a middle axis", "%0 = input {name=\"x\"} : f32[$T,2,$C]\n%1 = read {state=[\"w\"]} : f32[2,5]\n"
                                     "%2 = dot %0, %1 {left=[1], right=[0]} : f32[$T,$C,5]\n" RESULT("%2", "y")},
    {"a product over two axes, crossed", "%0 = input {name=\"x\"} : f32[$T,2,3]\n%1 = read {state=[\"w\"]} : f32[3,2,5]\n"
                                         "%2 = dot %0, %1 {left=[1,2], right=[1,0]} : f32[$T,5]\n" RESULT("%2", "y")},
    {"attention with a window", "%0 = input {name=\"q\"} : f32[$T,2,4]\n%1 = input {name=\"seq\"} : segments[3,$T]\n"
                                "%2, %3 = attention %0, %0, %0, %1 {left=2, scale=1.0} : f32[$T,2,4], f32[$T,2]\n" RESULT("%2", "y")},
    {"attention with softcap", "%0 = input {name=\"q\"} : f32[$T,2,4]\n%1 = input {name=\"seq\"} : segments[3,$T]\n"
                               "%2, %3 = attention %0, %0, %0, %1 {softcap=30.0, scale=1.0} : f32[$T,2,4], f32[$T,2]\n" RESULT("%2", "y")},
    {0},
};
