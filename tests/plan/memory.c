/* Memory over time on hand-made programs: streams and waits, views and strides; orders and overlaps against brute force. */
#include <stdlib.h>
#include <string.h>

#include "compiler/emit/emit.h"
#include "tests/check.h"
#include "tests/plan/fixture.h"

/* An empty plan with one program "p" and room in every arena. */
static mdl_plan *new_plan(void) {
    mdl_plan *plan = mdl_plan_new();
    plan->model = plan->precision = plan->compiler = "memory";
    plan->target = "cpu";
    plan->isa = "x86-64-v2";
    plan->tokens = plan->segments = plan->tile = 1;
    plan->arena_bytes[MDL_ARENA_INPUT] = plan->arena_bytes[MDL_ARENA_RESULT] = plan->arena_bytes[MDL_ARENA_ACTIVATION] = 1 << 20;
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "p"}));
    return plan;
}

/* A buffer of n rows of `columns` floats; a view when `of` is not -1. */
static int buffer(mdl_plan *plan, const char *name, int of, int64_t offset, int64_t rows, int64_t columns, int64_t stride) {
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_type type = mdl_type_make(MDL_F32, 2, (const int64_t[]){rows, columns});
    int i = mdl_fixture_buffer(plan, p, name, MDL_ARENA_ACTIVATION, offset, type);
    p->buffers.at[i].of = of;
    p->buffers.at[i].stride = stride;
    if (stride) p->buffers.at[i].bytes = 4 * ((rows - 1) * stride + columns);
    return i;
}

/* A kernel of its own, on a stream, behind the launches in `waits` ("0 2"). */
static mdl_plan_launch *launch(mdl_plan *plan, const char *args, int stream, const char *waits) {
    int n = plan->kernels.n;
    const char *symbol = mdl_printf(plan->memory, "k%d", n);
    mdl_plan_launch *l = mdl_fixture_launch(plan, &plan->programs.at[0], MDL_LAUNCH_KERNEL, symbol, args);
    l->kernel = mdl_fixture_kernel(plan, symbol, "");
    l->stream = stream;
    for (char *rest = mdl_strdup(plan->memory, waits), *word; (word = strtok_r(rest, " ", &rest));)
        MDL_PUSH(plan->memory, l->waits, atoi(word));
    return l;
}

/* Expects the verifier's message to hold `what` (NULL: to accept). Frees the plan. */
static void expect(mdl_test *t, mdl_plan *plan, const char *what) {
    mdl_fixture_finish(plan);
    mdl_status status = mdl_plan_verify(plan);
    const char *text = status ? mdl_message(status) : "accepted";
    CHECK(t, what ? strstr(text, what) != NULL : !status, "expected %s, got %s", what ? what : "it to be accepted", text);
    mdl_status_free(status);
    mdl_plan_free(plan);
}

/* ---- streams ---- */
/* Stream 0 makes x and y from it; then z, which lies where x lay. Stream 1 reads x; z's launch waits for what `waits` says. */
static mdl_plan *two_streams(const char *waits, int64_t z) {
    mdl_plan *plan = new_plan();
    int x = buffer(plan, "x", -1, 0, 4, 16, 0), y = buffer(plan, "y", -1, 256, 4, 16, 0), w = buffer(plan, "w", -1, 512, 4, 16, 0);
    int at_z = buffer(plan, "z", -1, z, 4, 16, 0);
    mdl_arena *m = plan->memory;
    launch(plan, mdl_printf(m, "w%d", x), 0, "");
    launch(plan, mdl_printf(m, "r%d w%d", x, y), 0, "");
    launch(plan, mdl_printf(m, "r%d w%d", x, w), 1, "0");
    launch(plan, mdl_printf(m, "w%d", at_z), 0, waits);
    launch(plan, mdl_printf(m, "r%d r%d r%d", at_z, y, w), 0, "2");
    return plan;
}

static void test_streams(mdl_test *t) {
    mdl_case(t, "memory that is free in sequence only is not free on two streams");
    expect(t, two_streams("", 0), "buffers x and z overlap in memory while both may be alive at launch 3 (k3)");
    mdl_case(t, "with a wait it is");
    expect(t, two_streams("2", 0), NULL);
    expect(t, two_streams("", 768), NULL);
    mdl_case(t, "the same launches on one stream");
    mdl_plan *plan = two_streams("", 0);
    plan->programs.at[0].launches.at[2].stream = 0;
    expect(t, plan, NULL);
    mdl_case(t, "a read that does not wait for the write, and a write for the read");
    plan = two_streams("2", 0);
    plan->programs.at[0].launches.at[2].waits.n = 0;
    expect(t, plan, "launch 2 (k2) uses buffer x without waiting for another stream's launch that does");
    plan = two_streams("", 768);
    launch(plan, "w0", 1, "");
    expect(t, plan, "launch 5 (k5) uses buffer x without waiting");
    mdl_case(t, "a wait through a third stream");
    plan = two_streams("5", 0);
    mdl_plan_launch hop = plan->programs.at[0].launches.at[3];
    plan->programs.at[0].launches.n = 3;
    launch(plan, mdl_printf(plan->memory, "w%d", buffer(plan, "v", -1, 1024, 1, 16, 0)), 2, "2");
    hop.waits.at[0] = 3;
    MDL_PUSH(plan->memory, plan->programs.at[0].launches, hop);
    launch(plan, "r3 r1 r2", 0, "2");
    expect(t, plan, NULL);
    mdl_case(t, "streams and waits out of range");
    plan = two_streams("2", 0);
    plan->programs.at[0].launches.at[2].stream = MDL_MAX_STREAMS;
    plan->programs.at[0].launches.n = 0;
    launch(plan, "w0", 0, "")->stream = -1;
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, status && strstr(mdl_message(status), "stream -1 of 16"), "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_plan_free(plan);
}

static void test_placement(mdl_test *t) {
    mdl_case(t, "the compiler gives what may live at once memory of its own");
    for (int wait = 0; wait < 2; wait++) {
        mdl_plan *plan = two_streams(wait ? "2" : "", 0);
        for (int i = 0; i < 4; i++) plan->programs.at[0].buffers.at[i].offset = 0;
        mdl_place_buffers(&plan->programs.at[0]);
        CHECK(t, plan->programs.at[0].activation_bytes == (wait ? 768 : 1024), "%d bytes",
              (int)plan->programs.at[0].activation_bytes);
        expect(t, plan, NULL);
    }
}

/* Launch i comes before j, by walking every path. */
static bool reaches(const mdl_plan_program *p, int i, int j) {
    const mdl_plan_launch *l = &p->launches.at[j];
    for (int k = j - 1; k >= i; k--) {
        bool direct = p->launches.at[k].stream == l->stream;
        for (int w = 0; w < l->waits.n; w++) direct |= l->waits.at[w] == k;
        if (direct && (k == i || reaches(p, i, k))) return true;
    }
    return false;
}

static void test_order(mdl_test *t) {
    mdl_case(t, "the order of 40 random programs against all paths");
    srand(4);
    for (int round = 0; round < 40; round++) {
        mdl_plan *plan = new_plan();
        const mdl_plan_program *p = &plan->programs.at[0];
        enum { N = 10 };
        int wrong = 0, first[N] = {0}, last[N] = {0};
        for (int i = 0; i < N; i++) buffer(plan, "b", -1, 0, 1, 16, 0), first[i] = -1;
        for (int i = 0; i < N; i++) {
            int b = rand() % N;
            launch(plan, mdl_printf(plan->memory, "w%d", b), rand() % 3,
                   i && rand() % 2 ? mdl_printf(plan->memory, "%d", rand() % i) : "");
            last[b] = i;
            if (first[b] < 0) first[b] = i;
        }
        mdl_plan_lives lives = mdl_plan_lifetimes(plan->memory, p);
        for (int a = 0; a < N; a++)
            for (int b = 0; b < N; b++) {
                bool before = true;
                for (int i = 0; i < N; i++)
                    for (int j = 0; j < N; j++)
                        if (p->launches.at[i].args.at[0].value == a && p->launches.at[j].args.at[0].value == b)
                            before &= i < j && reaches(p, i, j);
                if (a != b) wrong += before != mdl_plan_dies_before(&lives, a, b);
                if (first[a] >= 0) wrong += mdl_plan_first_use(&lives, a) != first[a] || mdl_plan_last_use(&lives, a) != last[a];
            }
        CHECK(t, !wrong, "%d pairs are wrong", wrong);
        mdl_plan_free(plan);
    }
}

/* ---- views ---- */
/* Rows of 24 in three parts of 8, of which the launches in `parts` write some; then all is read. */
static mdl_plan *parts_of_rows(const char *parts, const char *reads) {
    mdl_plan *plan = new_plan();
    int all = buffer(plan, "qkv", -1, 0, 6, 24, 0);
    for (int i = 0; i < 3; i++) buffer(plan, "part", all, 32 * i, 6, 8, 24); /* buffers 1 to 3 */
    buffer(plan, "top", all, 0, 2, 24, 0);                                   /* 4: the first two rows, 5: the others */
    buffer(plan, "rest", all, 192, 4, 24, 0);
    buffer(plan, "out", -1, 640, 6, 24, 0); /* 6 */
    for (char *rest = mdl_strdup(plan->memory, parts), *word; (word = strtok_r(rest, " ", &rest));) launch(plan, word, 0, "");
    launch(plan, mdl_printf(plan->memory, "%s w6", reads), 0, "");
    return plan;
}

static void test_parts(mdl_test *t) {
    mdl_case(t, "parts of rows that several launches write");
    expect(t, parts_of_rows("w1 w2 w3", "r0"), NULL);
    expect(t, parts_of_rows("w3 w1 w2", "r4"), NULL);
    expect(t, parts_of_rows("w1", "r1"), NULL);
    expect(t, parts_of_rows("w0", "r2"), NULL);
    expect(t, parts_of_rows("w4 w5", "r2"), NULL);
    expect(t, parts_of_rows("w1 w3", "r0"), "reads buffer qkv before anything has written it");
    expect(t, parts_of_rows("w1 w3", "r2"), "reads buffer part before anything has written it");
    expect(t, parts_of_rows("w4", "r5"), "reads buffer rest before anything has written it");
    expect(t, parts_of_rows("w4", "r0"), "reads buffer qkv before anything has written it");
    expect(t, parts_of_rows("w1 w2 u3", "r0"), "reads buffer part before anything has written it");
    mdl_case(t, "a view lives as long as its base");
    mdl_plan *plan = parts_of_rows("w1 w2 w3", "r2");
    plan->programs.at[0].buffers.at[6].offset = 512; /* reaches into qkv, whose other parts nobody needs any more */
    expect(t, plan, "buffers qkv and out overlap in memory while both are alive at launch 3 (k3)");
}

static void test_view_rules(mdl_test *t) {
    static const struct {
        const char *name, *message;
        int of;
        int64_t offset, bytes, stride;
    } cases[] = {
        {"of a later buffer", "it is a view of buffer 6, which is not earlier", 6, 0, 512, 24},
        {"of a view", "it is a view of buffer 1, which is a view", 1, 0, 512, 24},
        {"of no buffer", "it is a view of buffer -2", -2, 0, 512, 24},
        {"before its base", "do not fit the 576 bytes of qkv", 0, -4, 512, 24},
        {"behind its base", "do not fit the 576 bytes of qkv", 0, 68, 512, 24},
        {"at part of an element", "do not fit the 576 bytes of qkv", 0, 30, 512, 24},
        {"smaller than its rows", "480 bytes, its type needs 512", 0, 32, 480, 24},
        {"of rows that overlap", "stride 7 is less than a row, or too large", 0, 32, 512, 7},
        {"of a huge stride", "the size of the type overflows", 0, 32, 512, INT64_C(1) << 60},
        {"of a stride beyond numbers", "stride 9223372036854775807 is less than a row, or too large", 0, 32, 512, INT64_MAX},
        {"of a negative stride", "stride -24 is less than a row, or too large", 0, 32, 512, -24}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mdl_case(t, "a view %s", cases[i].name);
        mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
        mdl_fixture_finish(plan);
        mdl_plan_buffer *b = &plan->programs.at[0].buffers.at[2];
        b->of = cases[i].of, b->offset = cases[i].offset, b->bytes = cases[i].bytes, b->stride = cases[i].stride;
        mdl_status status = mdl_plan_verify(plan);
        CHECK(t, status && strstr(mdl_message(status), cases[i].message), "%s", mdl_message(status));
        mdl_status_free(status);
        mdl_plan_free(plan);
    }
    mdl_case(t, "a kernel's stride is part of its signature");
    mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
    mdl_fixture_finish(plan);
    plan->programs.at[0].buffers.at[2].stride = 23;
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, status && strstr(mdl_message(status), "part has stride 23, the kernel takes 24"), "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_plan_free(plan);
}

/* A product that reads one part of a row and writes another. */
static void test_products(mdl_test *t) {
    mdl_case(t, "a product from one part of a row into another; not into its own");
    for (int other = 0; other < 2; other++) {
        mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
        buffer(plan, "weight", -1, 2048, 8, 8, 0); /* 7 */
        launch(plan, "w7", 0, "");
        mdl_plan_launch *l =
            mdl_fixture_launch(plan, &plan->programs.at[0], MDL_LAUNCH_GEMM, "product", other ? "r1 r7 w2" : "r1 r7 w1");
        l->gemm = (mdl_gemm){.m = 6, .n = 8, .k = 8, .batch = 1, .lda = 24, .ldb = 8, .ldd = 24};
        expect(t, plan, other ? NULL : "its result part overlaps its operand part");
    }
    mdl_case(t, "a copy of a strided view, and a result that is one");
    mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
    mdl_fixture_launch(plan, &plan->programs.at[0], MDL_LAUNCH_COPY, "copy", "r1 w2");
    expect(t, plan, "a copy takes dense buffers");
    plan = parts_of_rows("w1 w2 w3", "r0");
    MDL_PUSH(plan->memory, plan->programs.at[0].results, ((mdl_plan_result){"r", 2}));
    expect(t, plan, "result r is a view or strided");
}

/* Bytes that two buffers touch, one by one. */
static bool touches(const mdl_plan_program *p, int b, int64_t at) {
    mdl_plan_touch t = mdl_plan_touched(p, b);
    for (int64_t r = 0; r < t.rows; r++)
        if (at >= t.offset + r * t.pitch && at < t.offset + r * t.pitch + t.row_bytes) return true;
    return false;
}

static void test_overlaps(mdl_test *t) {
    mdl_plan *plan = new_plan();
    mdl_plan_program *p = &plan->programs.at[0];
    int wrong = 0, apart = 0;
    mdl_case(t, "overlaps of 3000 random pairs against bytes");
    srand(9);
    for (int i = 0; i < 3000; i++) {
        p->buffers.n = 0;
        int64_t pitch = 6 + rand() % 6;
        for (int k = 0; k < 2; k++) {
            bool strided = rand() % 3;
            buffer(plan, "b", -1, 4 * (rand() % 40), 1 + rand() % 4, 1 + rand() % 6, strided ? pitch + (rand() % 8 == 0) : 0);
        }
        bool any = false;
        for (int64_t at = 0; at < 512; at++) any |= touches(p, 0, at) && touches(p, 1, at);
        bool said = mdl_plan_overlap(p, 0, 1);
        mdl_plan_touch x = mdl_plan_touched(p, 0), y = mdl_plan_touched(p, 1);
        bool exact = x.rows == 1 || y.rows == 1 || x.pitch == y.pitch;
        wrong += exact ? said != any : any && !said;
        apart += !said;
    }
    CHECK(t, !wrong, "%d answers are wrong", wrong);
    CHECK(t, apart > 1000 && apart < 2500, "%d are apart", apart);
    mdl_plan_free(plan);
}

/* ---- the rest of a launch ---- */
static void test_launch_fields(mdl_test *t) {
    mdl_case(t, "threads, shared memory, clusters and a workspace are for other targets");
    for (int i = 0; i < 4; i++) {
        mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
        mdl_plan_launch *l = &plan->programs.at[0].launches.at[0];
        if (i == 0) l->threads = 128;
        if (i == 1) l->shared_bytes = 64;
        if (i == 2) l->cluster = 2;
        if (i == 3) l->workspace = 6;
        expect(t, plan,
               i < 2 ? "this target has no threads or shared memory of a launch"
                     : "this target has no clusters or workspace of a launch");
    }
    mdl_case(t, "blocks of target cuda");
    static const struct {
        int threads;
        int64_t shared_bytes;
        const char *expected;
    } blocks[] = {{1024, 227 << 10, NULL},
                  {0, 0, "0 threads with 0 bytes of shared memory"},
                  {1025, 0, "1025 threads with 0 bytes of shared memory"},
                  {32, -1, "32 threads with -1 bytes of shared memory"},
                  {32, (227 << 10) + 1, "32 threads with 232449 bytes of shared memory"}};
    for (int i = 0; i < 5; i++) {
        mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
        mdl_plan_launch *l = &plan->programs.at[0].launches.at[0];
        plan->target = "cuda";
        l->threads = blocks[i].threads, l->shared_bytes = blocks[i].shared_bytes;
        expect(t, plan, blocks[i].expected);
    }
    mdl_case(t, "a workspace lives while its launch does");
    mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0");
    int workspace = buffer(plan, "workspace", -1, 4096, 1, 16, 0);
    plan->programs.at[0].launches.at[1].workspace = workspace;
    mdl_plan_lives lives = mdl_plan_lifetimes(plan->memory, &plan->programs.at[0]);
    CHECK(t, mdl_plan_first_use(&lives, workspace) == 1 && mdl_plan_last_use(&lives, workspace) == 1, "it does not");
    CHECK(t, lives.activation_bytes == 4096 + 64, "%d bytes", (int)lives.activation_bytes);
    mdl_plan_free(plan);
    mdl_case(t, "results of two programs in one place");
    plan = parts_of_rows("w1 w2 w3", "r0");
    plan->programs.at[0].buffers.at[6].arena = MDL_ARENA_RESULT;
    MDL_PUSH(plan->memory, plan->programs.at[0].results, ((mdl_plan_result){"r", 6}));
    MDL_PUSH(plan->memory, plan->programs, plan->programs.at[0]);
    plan->programs.at[1].name = "q";
    expect(t, plan, "results r of p and r of q overlap in memory");
}

static void test_file(mdl_test *t) {
    mdl_case(t, "views, strides, streams and waits in a file");
    mdl_plan *plan = parts_of_rows("w1 w2 w3", "r0"), *back = NULL;
    const char *path = mdl_printf(plan->memory, "%s/views.plan", mdl_test_scratch(t));
    mdl_plan_program *p = &plan->programs.at[0];
    p->launches.at[1].stream = 3;
    MDL_PUSH(plan->memory, p->launches.at[1].waits, 0);
    MDL_PUSH(plan->memory, p->launches.at[2].waits, 1);
    mdl_fixture_finish(plan);
    mdl_status status = mdl_plan_write(plan, path);
    if (!status) status = mdl_plan_read(path, &back);
    CHECK(t, !status && back, "%s", mdl_message(status));
    mdl_status_free(status);
    const mdl_plan_program *q = back ? &back->programs.at[0] : NULL;
    for (int i = 0; q && i < p->buffers.n; i++)
        CHECK(t, q->buffers.at[i].of == p->buffers.at[i].of && q->buffers.at[i].stride == p->buffers.at[i].stride, "buffer %d", i);
    for (int i = 0; q && i < p->launches.n; i++) {
        const mdl_plan_launch *a = &p->launches.at[i], *b = &q->launches.at[i];
        CHECK(t, a->stream == b->stream && a->waits.n == b->waits.n && (!a->waits.n || a->waits.at[0] == b->waits.at[0]),
              "launch %d", i);
        CHECK(t, b->threads == 1 && b->workspace == -1 && b->cluster == 1, "launch %d: what was left out", i);
        CHECK(t, back->kernels.at[i].args.at[0].stride == plan->kernels.at[i].args.at[0].stride, "kernel %d", i);
    }
    CHECK(t, plan->kernels.at[0].args.at[0].stride == 24, "nothing is strided");
    mdl_plan_free(back);
    mdl_plan_free(plan);
}

void mdl_test_memory(mdl_test *t) {
    test_file(t);
    test_streams(t);
    test_placement(t);
    test_order(t);
    test_parts(t);
    test_view_rules(t);
    test_products(t);
    test_overlaps(t);
    test_launch_fields(t);
}
