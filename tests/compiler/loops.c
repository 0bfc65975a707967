/* Loop IR, one file a scheduling decision: tests/compiler/loops/NAME.txt is a line "# OPTIONS: what it shows", a program that fuses
 * to one kernel, "----" and the kernel's loops. The loops print and parse back, verify, and give what the body gives when both are
 * interpreted. Options: row_block N, lanes N, column_tile N, keep; transposed N: result N is column-major; stride N M: rows of
 * result N lie M apart; paste N: yield N goes into a template; leaf N: argument N comes from the template; store: the pasted yield
 * is a result. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/loop.h"
#include "compiler/kernel/rows.h"
#include "compiler/op/op.h"
#include "compiler/pass/pass.h"
#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"

/* f64 rounding of sums of up to 64 terms in another order. */
static const double tolerance = 1e-12;
enum { MAX_VALUES = 16, ROWS_A_CALL = 3, ROWS_A_BLOCK = 7 };

typedef struct {
    mdl_schedule schedule;
    mdl_loop_layout results[MAX_VALUES];
    bool leaf[MAX_VALUES], pasted;
    mdl_loop_paste paste;
} options;

static options parse_options(mdl_test *t, char *text) {
    options o = {.schedule = {.row_block = 1, .lanes = 1}};
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        bool flag = !strcmp(word, "keep") || !strcmp(word, "store");
        int64_t n = flag ? 0 : atoll(strtok_r(NULL, " ", &save));
        if (!strcmp(word, "row_block"))
            o.schedule.row_block = n;
        else if (!strcmp(word, "lanes"))
            o.schedule.lanes = n;
        else if (!strcmp(word, "column_tile"))
            o.schedule.column_tile = n;
        else if (!strcmp(word, "keep"))
            o.schedule.keep = true;
        else if (!strcmp(word, "transposed"))
            o.results[n].column_major = true;
        else if (!strcmp(word, "stride"))
            o.results[n].row_stride = atoll(strtok_r(NULL, " ", &save));
        else if (!strcmp(word, "paste"))
            o.pasted = true, o.paste.yield = (int)n;
        else if (!strcmp(word, "leaf"))
            o.leaf[n] = true;
        else if (!strcmp(word, "store"))
            o.paste.store = true;
        else
            CHECK(t, false, "unknown option %s", word);
    }
    return o;
}

/* ---- the body's own answers ---- */
typedef struct {
    mdl_arena *arena;
    mdl_op *kernel;
    mdl_arrays inputs, results;
} subject;

/* The program's inputs and its first kernel, with a result for each of the kernel's. */
static bool read_subject(mdl_test *t, subject *s, const char *program) {
    const char *stored = NULL, *fused = NULL, *scheduled = NULL;
    mdl_status status = mdl_run_pass(s->arena, "store", program, &stored);
    if (!status) status = mdl_run_pass(s->arena, "fuse", stored, &fused);
    if (!status) status = mdl_run_pass(s->arena, "schedule", fused, &scheduled);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_region *in = scheduled ? mdl_test_parse(t, s->arena, scheduled) : NULL;
    mdl_pass_context c = {.arena = s->arena, .target = mdl_targets[0]};
    if (!in) return false;
    mdl_rewrite r = mdl_rewrite_begin(&c, in);
    for (int i = 0; i < in->ops.n && !s->kernel; i++) {
        mdl_op *op = mdl_keep(&r, in->ops.at[i]);
        if (op->code == MDL_OP_KERNEL) s->kernel = op;
    }
    for (int i = 0; s->kernel && i < s->kernel->n_out; i++) mdl_result(&r.b, mdl_printf(s->arena, "o%d", i), s->kernel->out[i]);
    mdl_region *region = mdl_rewrite_end(&r);
    mdl_values v = {.arena = s->arena};
    mdl_arrays states = {0};
    mdl_draw_values(&v, region);
    mdl_interpret(s->arena, region, &v.inputs, &states, &s->results);
    s->inputs = v.inputs;
    CHECK(t, s->kernel, "no kernel");
    return s->kernel;
}

static int64_t heads_of(const mdl_type *type) { return type->rank > 2 ? type->dim[1] : 1; }
static int64_t width_of(const mdl_type *type) { return mdl_span_product(type, 1, type->rank); }
static const double *input_of(const subject *s, int i) {
    return mdl_arrays_find((mdl_arrays *)&s->inputs, mdl_attr_str(s->kernel->in[i]->def, "name"))->at;
}
static const double *result_of(const subject *s, int i) {
    return mdl_arrays_find((mdl_arrays *)&s->results, mdl_printf(s->arena, "o%d", i))->at;
}

/* ---- running the loops ---- */
typedef struct {
    double *buffer[2 * MAX_VALUES];
    int64_t immediate[MAX_VALUES], size[2 * MAX_VALUES];
    int operands;
    int64_t blocks;
} memory;

static memory make_memory(const subject *s, const options *o) {
    memory m = {0};
    int64_t rows = mdl_attr_int(s->kernel, "rows"), blocks = mdl_attr_int(s->kernel, "blocks");
    m.immediate[0] = rows, m.immediate[1] = (rows + blocks - 1) / blocks, m.blocks = blocks;
    if (rows < 64)
        m.immediate[1] = ROWS_A_BLOCK, m.blocks = (rows + ROWS_A_BLOCK - 1) / ROWS_A_BLOCK; /* no partials: any will do */
    int integers = 2;
    for (int i = 0; i < s->kernel->n_in; i++) {
        if (mdl_is(s->kernel->in[i], MDL_OP_IMM))
            m.immediate[integers++] = mdl_attr_int(s->kernel->in[i]->def, "value");
        else if (!o->leaf[i])
            m.buffer[m.operands++] = (double *)input_of(s, i);
    }
    for (int i = 0; i < s->kernel->n_out; i++) {
        const mdl_type *type = &s->kernel->out[i]->type;
        int64_t stride = o->results[i].row_stride ? o->results[i].row_stride : width_of(type);
        m.size[i] = type->rank ? type->dim[0] * stride : 1;
        m.buffer[m.operands + i] = MDL_NEW_ARRAY(s->arena, double, m.size[i]);
        for (int64_t k = 0; k < m.size[i]; k++) m.buffer[m.operands + i][k] = o->pasted ? 0 : NAN;
    }
    return m;
}

static void compare(mdl_test *t, const char *what, double x, double y) {
    CHECK(t, fabs(x - y) <= tolerance * (1 + fabs(x)), "%s: %.17g by the body, %.17g by the loops", what, x, y);
}

static void compare_result(mdl_test *t, const subject *s, const options *o, const memory *m, int i) {
    const mdl_type *type = &s->kernel->out[i]->type;
    const double *want = result_of(s, i), *got = m->buffer[m->operands + i];
    int64_t width = width_of(type), rows = type->rank ? type->dim[0] : 1;
    int64_t stride = o->results[i].row_stride ? o->results[i].row_stride : width;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t c = 0; c < width; c++)
            compare(t, "result", want[row * width + c], got[o->results[i].column_major ? c * rows + row : row * stride + c]);
    for (int64_t row = 0; row < rows && stride > width; row++) /* what lies between rows is not touched */
        for (int64_t c = width; c < stride; c++) CHECK(t, isnan(got[row * stride + c]), "column %d of a gap is written", (int)c);
}

/* A tile of one head: rows of the template, `stride` apart. */
static void fill_leaf(const subject *s, const options *o, const mdl_loop_call *call) {
    for (int i = 0; i < s->kernel->n_in; i++) {
        if (!o->leaf[i]) continue;
        const mdl_type *type = &s->kernel->in[i]->type;
        int64_t width = width_of(type) / heads_of(type);
        for (int64_t row = 0; row < call->rows; row++)
            for (int64_t c = 0; c < width; c++)
                call->leaf[row * call->stride + c] =
                    input_of(s, i)[((call->first + row) * heads_of(type) + call->head) * width + c];
    }
}

static void run_pasted(mdl_test *t, const subject *s, const options *o, const mdl_loop_kernel *loops, memory *m) {
    double tile[1024];
    const mdl_type *type = &s->kernel->out[o->paste.yield]->type;
    int64_t width = width_of(type) / o->paste.heads, rows = m->immediate[0], chunk = m->immediate[1];
    for (int64_t head = 0; head < o->paste.heads; head++) {
        for (int64_t first = 0, step; first < rows; first += step) {
            int64_t end = first + ROWS_A_CALL < rows ? first + ROWS_A_CALL : rows, stop = (first / chunk + 1) * chunk;
            if (stop < end) end = stop;
            step = end - first;
            mdl_loop_call call = {first, step, head, first / chunk, tile, width + 2};
            fill_leaf(s, o, &call);
            mdl_loop_run_pasted(loops, m->buffer, m->immediate, &call);
            for (int64_t row = 0; row < step && !o->paste.store; row++)
                for (int64_t c = 0; c < width; c++)
                    compare(t, "leaf", result_of(s, o->paste.yield)[((first + row) * o->paste.heads + head) * width + c],
                            tile[row * call.stride + c]);
        }
    }
    if (o->paste.store) compare_result(t, s, o, m, o->paste.yield);
}

static void check_text(mdl_test *t, mdl_arena *arena, const mdl_loop_kernel *loops, const char *text) {
    const char *error, *wrong = mdl_loop_verify(arena, loops);
    CHECK(t, !wrong, "%s", wrong);
    const mdl_loop_kernel *again = mdl_loop_parse(arena, text, &error);
    CHECK(t, again, "%s", error);
    if (again) CHECK(t, !strcmp(mdl_loop_print(arena, again), text), "reads back as\n%s", mdl_loop_print(arena, again));
}

static void run_program(mdl_test *t, mdl_arena *arena, const char *name, char *text) {
    char *end = strstr(text, "----\n"), *colon = strchr(text, ':');
    if (end) *end = 0;
    MDL_ASSERT(!strncmp(text, "# ", 2) && colon);
    options o = parse_options(t, mdl_strndup(arena, text + 2, (size_t)(colon - text - 2)));
    subject s = {.arena = arena};
    if (!read_subject(t, &s, text)) return;
    const char *error;
    if (o.pasted) {
        o.paste.heads = heads_of(&s.kernel->body->ops.at[s.kernel->body->ops.n - 1]->in[o.paste.yield]->type);
        if (mdl_ops[s.kernel->body->ops.at[s.kernel->body->ops.n - 1]->in[o.paste.yield]->def->code].class == MDL_REDUCE)
            o.paste.heads = heads_of(&s.kernel->body->ops.at[s.kernel->body->ops.n - 1]->in[o.paste.yield]->def->in[0]->type);
        o.paste.leaf = o.leaf;
    }
    const mdl_loop_kernel *loops =
        mdl_loop_lower(arena, s.kernel, &o.schedule, NULL, o.results, o.pasted ? &o.paste : NULL, &error);
    CHECK(t, loops, "%s", error);
    if (!loops) return;
    const char *printed = mdl_loop_print(arena, loops);
    mdl_golden(t, mdl_printf(arena, "compiler/loops/%s", name), mdl_printf(arena, "%s----\n%s", text, printed));
    check_text(t, arena, loops, printed);
    memory m = make_memory(&s, &o);
    if (o.pasted) {
        run_pasted(t, &s, &o, loops, &m);
        return;
    }
    mdl_loop_run(loops, m.buffer, m.immediate, m.blocks);
    for (int i = 0; i < s.kernel->n_out; i++) compare_result(t, &s, &o, &m, i);
}

static void test_goldens(mdl_test *t) {
    glob_t files;
    char pattern[1024];
    snprintf(pattern, sizeof pattern, "%s/tests/compiler/loops/*.txt", mdl_test_source(t));
    if (glob(pattern, 0, NULL, &files)) files.gl_pathc = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *name = strrchr(files.gl_pathv[i], '/') + 1;
        mdl_arena *arena = mdl_arena_new();
        if (mdl_case(t, "%s", name))
            run_program(t, arena, name, mdl_test_read(t, arena, mdl_printf(arena, "compiler/loops/%s", name)));
        mdl_arena_free(arena);
    }
    globfree(&files);
}

/* Texts that are refused, and why: a row is a statement inside a kernel of one operand and one result. */
static const struct {
    const char *statements, *message;
} wrong[] = {
    {"store o1[row, 0], %0", "%0 is used before it is made, or out of its loop"},
    {"for i2 < 8 {\n%0 = load a0[row, i2] : f32\n}\nstore o1[row, 0], %0", "%0 is used before it is made, or out of its loop"},
    {"%0 = load a0[row, i2] : f32", "i2 is used outside its loop"},
    {"for i2 < 9 {\n%0 = load a0[row, i2] : f32\n}", "column runs from 0 to 8 in an array of 8"},
    {"%0 = load a0[row, 0] : i32", "%0 is i32, array 0 is f32"},
    {"%0 = const 1 : i32\nstore o1[row, 0], %0", "%0 is i32, it goes to array 1 of f32"},
    {"%0 = const 1 : f32\nstore a0[row, 0], %0", "operand a0 is written"},
    {"for i2 < 0 {\n}", "a loop of no iterations"},
    {"for i2 < 2 {\nfor i2 < 2 {\n}\n}", "loop variable i2 is taken"},
};

static void test_verifier(mdl_test *t) {
    mdl_case(t, "the verifier names what is wrong");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mdl_arena *arena = mdl_arena_new();
        const char *error, *found = NULL;
        const mdl_loop_kernel *k = mdl_loop_parse(
            arena,
            mdl_printf(arena, "kernel row_block 1 lanes 1 {\na0 = operand 0 f32[8]\no1 = result 1 f32[8]\nphase {\n%s\n}\n}\n",
                       wrong[i].statements),
            &error);
        CHECK(t, k, "%s", error);
        if (k) found = mdl_loop_verify(arena, k);
        CHECK(t, found && !strcmp(found, wrong[i].message), "'%s' for\n%s", found ? found : "", wrong[i].statements);
        mdl_arena_free(arena);
    }
}

static void test_numbers(mdl_test *t) {
    mdl_case(t, "a number too large for an index is refused");
    static const char *const texts[] = {
        "kernel row_block 1 lanes 1 {\na0 = operand 0 f32[8]\nphase {\nfor i2 < 2147483648 {\n}\n}\n}\n",
        "kernel row_block 1 lanes 1 {\na0 = operand 0 f32[99999999999999999999]\nphase {\n}\n}\n",
        "kernel row_block 1 lanes 1 {\na0 = operand 0 f32[8]\nphase {\n%0 = load a0[row, -2147483648*row] : f32\n}\n}\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mdl_arena *arena = mdl_arena_new();
        const char *error = NULL;
        CHECK(t, !mdl_loop_parse(arena, texts[i], &error) && error && strstr(error, "beyond 2^30"), "%s", error ? error : texts[i]);
        mdl_arena_free(arena);
    }
}

static void test_parser(mdl_test *t) {
    static const char *const texts[][2] = {
        {"kernel row_block 1 lanes 1 {\nphase {\n%0 = tangle %1 : f32\n}\n}\n",
         "line 3: expected a statement, at 'tangle %1 : f32'"},
        {"kernel row_block 1 lanes 1 {\na1 = operand 0 f32[8]\n}\n",
         "line 2: arrays are numbered in order, at ' = operand 0 f32[8]'"},
        {"kernel row_block 1 lanes 1 {\na0 = result 0 f32[8]\n}\n",
         "line 2: expected a memory space that fits the array's letter, at 'result 0 f32[8]'"},
        {"kernel row_block 1 lanes 1 {\n} more", "line 2: text after the kernel, at 'more'"},
    };
    mdl_case(t, "the parser names the line");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mdl_arena *arena = mdl_arena_new();
        const char *error = NULL;
        CHECK(t, !mdl_loop_parse(arena, texts[i][0], &error) && error && !strcmp(error, texts[i][1]), "%s",
              error ? error : "no error");
        mdl_arena_free(arena);
    }
}

void suite_loops(mdl_test *t);
void suite_loops(mdl_test *t) {
    test_goldens(t);
    test_verifier(t);
    test_numbers(t);
    test_parser(t);
}
