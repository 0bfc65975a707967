/* Plans: what is written is read back, byte for byte; what is wrong is refused with a message that says what. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "runtime/plan/plan.h"
#include "tests/check.h"
#include "tests/plan/fixture.h"

static mdl_arena *memory;

static const char *path_of(mdl_test *t, const char *name) { return mdl_printf(memory, "%s/%s", mdl_test_scratch(t), name); }

static char *slurp(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    mdl_text text = {.arena = memory};
    char block[4096];
    mdl_text_append(&text, "", 0);
    for (size_t n; f && (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    if (f) fclose(f);
    *size = text.n;
    return text.at;
}

static void spill(const char *path, const char *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f) return;
    fwrite(bytes, 1, size, f);
    fclose(f);
}

/* The message without the scratch folder, freed with the status. */
static const char *message(mdl_test *t, mdl_status status) {
    const char *text = mdl_strdup(memory, mdl_message(status));
    size_t n = strlen(mdl_test_scratch(t));
    mdl_status_free(status);
    return strncmp(text, mdl_test_scratch(t), n) ? text : text + n + 1;
}

static bool write_ok(mdl_test *t, mdl_plan *plan, const char *path) {
    mdl_status status = mdl_plan_write(plan, path);
    bool ok = !status;
    CHECK(t, ok, "%s", mdl_message(status));
    mdl_status_free(status);
    return ok;
}

static mdl_plan *read_ok(mdl_test *t, const char *path) {
    mdl_plan *plan = NULL;
    mdl_status status = mdl_plan_read(path, &plan);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return plan;
}

/* ---- round trip ---- */
static void check_contents(mdl_test *t, const mdl_plan *plan) {
    const mdl_plan_program *p = mdl_plan_find_program(plan, "eval");
    CHECK(t, plan->tokens == 16 && plan->segments == 4 && plan->tile == 16 && plan->arena_bytes[MDL_ARENA_CONST] == 16, "header");
    CHECK(t, plan->losses.n == 1 && plan->losses.at[0].weight == 0.1, "loss weight keeps every bit");
    CHECK(t, plan->metrics.n == 1 && !strcmp(plan->metrics.at[0], "acc"), "metrics");
    CHECK(t, plan->layouts.n == 2 && !plan->layouts.at[1].ours, "layouts");
    CHECK(t, mdl_plan_find_param(plan, "decoder.weight") == &plan->params.at[0], "a tie is found as its target");
    CHECK(t, !mdl_plan_find_param(plan, "nothing") && !mdl_plan_find_file(plan, "nothing"), "unknown names");
    CHECK(t, plan->params.at[2].carry && !plan->params.at[2].decay && plan->params.at[2].type.dim[0] == 8, "param");
    CHECK(t, mdl_plan_find_file(plan, "model.mdl")->size == 14, "file");
    CHECK(t, !strcmp(plan->kernels.at[1].source, "void k_bias(void) {}\n"), "kernel source");
    CHECK(t, p && p->launches.n == 4 && p->buffers.n == 7 && p->activation_bytes == 768 && p->live_bytes == 768, "program");
    if (!p) return;
    const mdl_plan_launch *gemm = &p->launches.at[1];
    CHECK(t, gemm->kind == MDL_LAUNCH_GEMM && gemm->gemm.trans_b && !gemm->gemm.trans_a && gemm->gemm.k == 8 && gemm->flops == 1024,
          "gemm");
    CHECK(t, p->launches.at[0].grid == 2 && p->launches.at[0].cluster == 1 && p->launches.at[0].args.at[2].value == 16,
          "kernel launch");
    CHECK(t, p->launches.at[3].waits.n == 1 && p->launches.at[3].args.at[1].access == MDL_ACCESS_WRITE, "waits and access");
}

static void test_round_trip(mdl_test *t) {
    const char *one = path_of(t, "one.plan"), *two = path_of(t, "two.plan");
    size_t n1, n2;
    mdl_case(t, "round trip, byte identical");
    mdl_plan *plan = mdl_fixture_plan();
    mdl_plan *back = write_ok(t, plan, one) ? read_ok(t, one) : NULL;
    if (back) {
        check_contents(t, back);
        CHECK(t, back->hash && plan->hash && !strcmp(back->hash, plan->hash), "the reader's hash is the writer's");
        write_ok(t, back, two);
        char *a = slurp(one, &n1), *b = slurp(two, &n2);
        CHECK(t, n1 == n2 && !memcmp(a, b, n1), "written again: %zu and %zu bytes", n1, n2);
    }
    setenv("TZ", "Asia/Tokyo", 1);
    write_ok(t, plan, two);
    unsetenv("TZ");
    char *a = slurp(one, &n1), *b = slurp(two, &n2);
    CHECK(t, n1 == n2 && !memcmp(a, b, n1), "the time zone changes the bytes");
    mdl_plan_free(plan);
    mdl_plan_free(back);
}

static void test_archive(mdl_test *t) {
    const char *output = NULL;
    mdl_case(t, "an ordinary archive, plan.json as documented");
    int status = mdl_shell(t, &output, "unzip -l '%s' | grep -c kernels/", path_of(t, "one.plan"));
    CHECK(t, status == 0 && atoi(output) == 3, "unzip -l: %s", output);
    mdl_shell(t, &output, "unzip -p '%s' plan.json", path_of(t, "one.plan"));
    mdl_golden(t, "plan/tiny.json", output);
}

/* ---- rules of the verifier: one field of the plan made wrong at a time ---- */
#define BUFFER(name) (&plan->programs.at[0].buffers.at[name])
#define LAUNCH(i) (&plan->programs.at[0].launches.at[i])
enum { IDS, W, B, X, Y, Z, LOSS };

/* A further operand of the product, before its result. */
static void add_operand(mdl_plan *plan, int buffer) {
    mdl_plan_launch *gemm = LAUNCH(1);
    mdl_plan_arg result = gemm->args.at[gemm->args.n - 1];
    gemm->args.at[gemm->args.n - 1] = (mdl_plan_arg){MDL_ARG_BUFFER, MDL_ACCESS_READ, buffer};
    MDL_PUSH(plan->memory, gemm->args, result);
}
static void gemm_start(mdl_plan *plan, int buffer) {
    LAUNCH(1)->gemm.has_c = true;
    add_operand(plan, buffer);
}
static void gemm_batch(mdl_plan *plan, int64_t stride_d) {
    LAUNCH(1)->gemm.m = 8;
    LAUNCH(1)->gemm.batch = 2;
    LAUNCH(1)->gemm.stride_d = stride_d;
}
static void gemm_bias(mdl_plan *plan, int buffer) {
    LAUNCH(1)->gemm.has_bias = true;
    add_operand(plan, buffer);
}

static void resources(mdl_plan *plan, const char *target, const char *arch, int registers) {
    mdl_plan_resources r = {.registers = registers};
    strncpy(r.arch, arch, sizeof r.arch - 1);
    plan->target = target;
    plan->isa = "sm_80,sm_90a";
    MDL_PUSH(plan->memory, plan->kernels.at[0].resources, r);
}

#define MUTATIONS(M)                                                                                                       \
    M("version", plan->version = 7)                                                                                        \
    M("empty model", plan->model = "")                                                                                     \
    M("no tokens", plan->tokens = 0)                                                                                       \
    M("tile", plan->tile = 0)                                                                                              \
    M("negative arena", plan->arena_bytes[MDL_ARENA_INPUT] = -1)                                                           \
    M("huge arena", plan->arena_bytes[MDL_ARENA_INPUT] = INT64_MAX)                                                        \
    M("gradients of another size", plan->arena_bytes[MDL_ARENA_GRAD] = 128)                                                \
    M("constants of another size", plan->arena_bytes[MDL_ARENA_CONST] = 32)                                                \
    M("dims twice", MDL_PUSH(plan->memory, plan->dims, plan->dims.at[0]))                                                  \
    M("layout kind", plan->layouts.at[0].kind = "rename")                                                                  \
    M("layout without name", plan->layouts.at[0].ours = NULL)                                                              \
    M("rows outside of their group", plan->layouts.at[0].rows = 1)                                                         \
    M("param twice", plan->params.at[1].name = "w")                                                                        \
    M("param without name", plan->params.at[1].name = "")                                                                  \
    M("param in activations", plan->params.at[0].arena = MDL_ARENA_ACTIVATION)                                             \
    M("param of integers", plan->params.at[0].type.dtype = MDL_I32)                                                        \
    M("param outside", plan->params.at[1].offset = 244)                                                                    \
    M("param before its arena", plan->params.at[1].offset = -4)                                                            \
    M("param not aligned", plan->params.at[1].offset = 130)                                                                \
    M("params overlap", plan->params.at[1].offset = 124)                                                                   \
    M("param of no rows", plan->params.at[0].type.dim[0] = 0)                                                              \
    M("param that overflows", plan->params.at[0].type.dim[0] = INT64_MAX / 2)                                              \
    M("rank", plan->params.at[0].type.rank = 9)                                                                            \
    M("tie to nothing", plan->ties.at[0].target = "v")                                                                     \
    M("tie that is a param", plan->ties.at[0].name = "b")                                                                  \
    M("input source", plan->inputs.at[0].source = "telepathy")                                                             \
    M("scalar with dims", plan->inputs.at[2].type.rank = 1; plan->inputs.at[2].type.dim[0] = 1)                            \
    M("seed type", plan->inputs.at[3].type.dtype = MDL_F32)                                                                \
    M("segments type", plan->inputs.at[1].type.dtype = MDL_I32)                                                            \
    M("segments dims", plan->inputs.at[1].type.dim[0] = 3)                                                                 \
    M("inputs overlap", plan->inputs.at[1].offset = 60)                                                                    \
    M("input outside", plan->inputs.at[0].offset = 100)                                                                    \
    M("kernel symbol", plan->kernels.at[0].symbol = "9lives")                                                              \
    M("kernel twice", plan->kernels.at[0].symbol = "k_bias")                                                               \
    M("kernel source changed", plan->kernels.at[0].source = "int x;")                                                      \
    M("kernel hash", plan->kernels.at[0].hash = "00")                                                                      \
    M("resources of a cpu", resources(plan, "cpu", "sm_80", 40))                                                           \
    M("resources of another arch", resources(plan, "cuda", "sm_90", 40))                                                   \
    M("resources of a part of an arch", resources(plan, "cuda", "sm_9", 40))                                               \
    M("resources twice", resources(plan, "cuda", "sm_80", 40); resources(plan, "cuda", "sm_80", 40))                       \
    M("resources below 0", resources(plan, "cuda", "sm_80", -1))                                                           \
    M("file path up", plan->files.at[0].path = "assets/../../x")                                                           \
    M("file path absolute", plan->files.at[0].path = "/etc/x")                                                             \
    M("file path of a kernel", plan->files.at[0].path = "kernels/k_sum.c")                                                 \
    M("file twice", plan->files.at[0].path = "assets/vocab.txt")                                                           \
    M("file changed", plan->files.at[1].bytes = "<cls>\n<pod>\n")                                                          \
    M("no vocabulary", plan->vocab = "assets/words.txt")                                                                   \
    M("no export", plan->export_name = "settings.json")                                                                    \
    M("unit without a name", plan->units.at[0].name = NULL)                                                                \
    M("units overlap", plan->units.at[1].offset = 64)                                                                      \
    M("unit not at a tile", plan->units.at[1].offset = 132)                                                                \
    M("unit outside", plan->units.at[1].bytes = 256)                                                                       \
    M("empty unit", plan->units.at[1].bytes = 0)                                                                           \
    M("param in no unit", plan->units.at[0].bytes = 64)                                                                    \
    M("param in two units", plan->units.at[0].bytes = 64; plan->units.at[1].offset = 64; plan->units.at[1].bytes = 128)    \
    M("program twice", MDL_PUSH(plan->memory, plan->programs, plan->programs.at[0]))                                       \
    M("buffer outside", BUFFER(Y)->offset = 576)                                                                           \
    M("buffer too small", BUFFER(Y)->bytes = 252)                                                                          \
    M("buffer not aligned", BUFFER(Y)->offset = 480)                                                                       \
    M("value of a buffer", BUFFER(Y)->value = -1)                                                                          \
    M("buffer offset overflows", BUFFER(Y)->offset = INT64_MAX - 63)                                                       \
    M("kernel index", LAUNCH(0)->kernel = 3)                                                                               \
    M("another kernel", LAUNCH(0)->kernel = 1)                                                                             \
    M("another kernel of few arguments", LAUNCH(2)->kernel = 2)                                                            \
    M("one launch of a kernel less", plan->kernels.at[0].launches = 2)                                                     \
    M("grid", LAUNCH(0)->grid = 0)                                                                                         \
    M("grid one less", LAUNCH(0)->grid = 1)                                                                                \
    M("grid of 2147483647", LAUNCH(0)->grid = 2147483647)                                                                  \
    M("grid of 2147483647 by its rule", LAUNCH(0)->grid = plan->kernels.at[0].grid.times = INT64_MAX)                      \
    M("more rows", LAUNCH(0)->args.at[2].value = 15)                                                                       \
    M("negative rows", LAUNCH(0)->args.at[2].value = -16)                                                                  \
    M("rows a block", plan->kernels.at[0].args.at[2].times = 0)                                                            \
    M("read made written", LAUNCH(2)->args.at[1].access = MDL_ACCESS_WRITE)                                                \
    M("written made read and written", LAUNCH(2)->args.at[2].access = MDL_ACCESS_READ_WRITE)                               \
    M("another buffer", LAUNCH(2)->args.at[1].value = X)                                                                   \
    M("a buffer of another type", LAUNCH(2)->args.at[0].value = IDS)                                                       \
    M("immediate made a buffer", LAUNCH(2)->args.at[3] = LAUNCH(2)->args.at[0])                                            \
    M("grid by an immediate that is not there", plan->kernels.at[0].grid.rows = 1)                                         \
    M("grid of nothing", plan->kernels.at[0].grid.per = 0)                                                                 \
    M("signature by an immediate that is not there", plan->kernels.at[0].args.at[1].times = 1)                             \
    M("signature of nothing", plan->kernels.at[0].args.at[1].elements = 0)                                                 \
    M("vocabulary longer than the table", plan->inputs.at[0].below = 1)                                                    \
    M("negative ids", plan->inputs.at[0].below = -1)                                                                       \
    M("argument index", LAUNCH(0)->args.at[1].value = 7)                                                                   \
    M("negative argument index", LAUNCH(0)->args.at[1].value = -1)                                                         \
    M("argument kind", LAUNCH(0)->args.at[1].kind = MDL_ARG_SCALAR)                                                        \
    M("argument access", LAUNCH(0)->args.at[1].access = 0)                                                                 \
    M("input written", LAUNCH(0)->args.at[0].access = MDL_ACCESS_WRITE)                                                    \
    M("stream", LAUNCH(0)->stream = 1)                                                                                     \
    M("waits for itself", LAUNCH(3)->waits.at[0] = 3)                                                                      \
    M("negative flops", LAUNCH(3)->flops = -1)                                                                             \
    M("gemm dims", LAUNCH(1)->gemm.m = 0)                                                                                  \
    M("gemm too many rows", LAUNCH(1)->gemm.m = 17)                                                                        \
    M("gemm stride", LAUNCH(1)->gemm.lda = 7)                                                                              \
    M("gemm stride overflows", LAUNCH(1)->gemm.ldb = INT64_MAX)                                                            \
    M("gemm batch", LAUNCH(1)->gemm.batch = 0)                                                                             \
    M("gemm batch reads on", LAUNCH(1)->gemm.batch = 2; LAUNCH(1)->gemm.stride_a = 1)                                      \
    M("gemm batch stride overflows", LAUNCH(1)->gemm.batch = 3; LAUNCH(1)->gemm.stride_b = INT64_MAX)                      \
    M("gemm batch goes back", LAUNCH(1)->gemm.batch = 2; LAUNCH(1)->gemm.stride_b = -1)                                    \
    M("gemm results overlap", LAUNCH(1)->gemm.batch = 2)                                                                   \
    M("gemm results interleave", gemm_batch(plan, 31))                                                                     \
    M("gemm result rows", LAUNCH(1)->gemm.ldd = 3)                                                                         \
    M("gemm of another type", LAUNCH(1)->gemm.type_a = LAUNCH(1)->gemm.type_b = MDL_BF16)                                  \
    M("gemm of two types", LAUNCH(1)->gemm.type_b = MDL_BF16)                                                              \
    M("gemm of 8 and 32 bits", LAUNCH(1)->gemm.type_a = MDL_E4M3)                                                          \
    M("gemm to 8 bits", LAUNCH(1)->gemm.type_d = MDL_E4M3)                                                                 \
    M("gemm without its scales", LAUNCH(1)->gemm.has_scales = true)                                                        \
    M("gemm of no type", LAUNCH(1)->gemm.type_d = MDL_DTYPE_COUNT)                                                         \
    M("gemm without its start", LAUNCH(1)->gemm.has_c = true)                                                              \
    M("gemm start is too small", gemm_start(plan, B); LAUNCH(1)->gemm.ldc = 4)                                             \
    M("gemm start not in place", gemm_start(plan, Y); LAUNCH(1)->gemm.m = 8; LAUNCH(1)->gemm.ldc = 8)                      \
    M("gemm start never written", gemm_start(plan, Y); LAUNCH(1)->gemm.ldc = 4)                                            \
    M("gemm bias is too small", gemm_bias(plan, LOSS))                                                                     \
    M("gemm bias in the result", gemm_bias(plan, Y))                                                                       \
    M("gemm arguments", LAUNCH(1)->args.n = 2)                                                                             \
    M("gemm in place", LAUNCH(1)->args.at[0].value = Y; LAUNCH(1)->gemm.m = 8)                                             \
    M("gemm of integers", LAUNCH(1)->args.at[1].value = IDS)                                                               \
    M("copy of another size", LAUNCH(2)->kind = MDL_LAUNCH_COPY; LAUNCH(2)->args.at[1].value = Y;                          \
      LAUNCH(2)->args.at[1].access = MDL_ACCESS_WRITE; LAUNCH(2)->args.at[0].value = X; LAUNCH(2)->args.n = 2)             \
    M("collective", LAUNCH(0)->kind = MDL_LAUNCH_COLLECTIVE)                                                               \
    M("result index", plan->programs.at[0].results.at[0].buffer = 99)                                                      \
    M("result elsewhere", plan->programs.at[0].results.at[0].buffer = Z)                                                   \
    M("result never written", LAUNCH(3)->args.at[1].access = plan->kernels.at[2].args.at[1].access = MDL_ACCESS_READ)      \
    M("activation_bytes", plan->programs.at[0].activation_bytes = 640)                                                     \
    M("live_bytes", plan->programs.at[0].live_bytes = 512)                                                                 \
    M("read before written", LAUNCH(0)->args.at[1].access = plan->kernels.at[0].args.at[1].access = MDL_ACCESS_READ_WRITE) \
    M("live buffers overlap", BUFFER(Y)->offset = 448; plan->programs.at[0].activation_bytes = 704)                        \
    M("live buffers overlap later", BUFFER(Z)->offset = 448; plan->programs.at[0].activation_bytes = 768)

static const char *verdict(mdl_plan *plan) {
    mdl_status status = mdl_plan_verify(plan);
    const char *text = mdl_strdup(memory, status ? mdl_message(status) : "accepted");
    mdl_status_free(status);
    mdl_plan_free(plan);
    return text;
}

static void test_rules(mdl_test *t) {
    mdl_text all = {.arena = memory};
    mdl_case(t, "the plan itself is accepted");
    CHECK(t, !strcmp(verdict(mdl_fixture_plan()), "accepted"), "refused");
    mdl_case(t, "each wrong field has its message");
#define M(name, ...)                                                \
    {                                                               \
        mdl_plan *plan = mdl_fixture_plan();                        \
        __VA_ARGS__;                                                \
        const char *text = verdict(plan);                           \
        CHECK(t, strcmp(text, "accepted"), "%s is accepted", name); \
        mdl_text_printf(&all, "%s: %s\n", name, text);              \
    }
    MUTATIONS(M)
#undef M
    mdl_golden(t, "plan/rules.txt", all.at);
}

/* ---- the file ---- */
/* A copy of the archive with plan.json's first `from` replaced by `to`; or, when from is NULL, with plan.json being `to`. */
static const char *edit(mdl_test *t, const char *from, const char *to) {
    const char *source = path_of(t, "one.plan"), *path = path_of(t, "edited.plan");
    size_t size;
    char *bytes = slurp(source, &size);
    spill(path, bytes, size);
    const char *json = NULL;
    mdl_shell(t, &json, "unzip -p '%s' plan.json", source);
    const char *at = from ? strstr(json, from) : json;
    CHECK(t, at, "plan.json has no %s", from ? from : "text");
    if (!at) return path;
    const char *edited =
        from ? mdl_printf(memory, "%.*s%s%s", (int)(at - json), json, to, at + strlen(from)) : mdl_strdup(memory, to);
    zip_t *zip = zip_open(path, 0, NULL);
    zip_source_t *data = zip_source_buffer(zip, edited, strlen(edited), 0);
    zip_int64_t index = zip_file_add(zip, "plan.json", data, ZIP_FL_OVERWRITE);
    zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0);
    CHECK(t, zip_close(zip) == 0, "the edited archive cannot be written");
    return path;
}

static void test_json(mdl_test *t) {
    static const struct {
        const char *from, *to;
    } edits[] = {
        {"\"version\":3", "\"version\":1"},
        {"\"version\":3", "\"version\":4"},
        {"\"version\":3", "\"version\":\"3\""},
        {"mdl-plan", "tar"},
        {"\"tokens\":16,", ""},
        {"\"tokens\":16", "\"tokens\":16.5"},
        {"\"tokens\":16", "\"tokens\":99999999999999999999"},
        {"\"tokens\":16", "\"tokens\":16,\"tokens\":16"},
        {"\"tokens\":16", "\"tokens\":16,\"tokans\":16"},
        {"\"segments\":4", "\"segments\":null"},
        {"\"grad\":256", "\"grads\":256"},
        {"\"grad\":256", "\"grad\":true"},
        {"\"metrics\":[\"acc\"]", "\"metrics\":[1]"},
        {"\"losses\":[", "\"losses\":7,\"x\":["},
        {"f32[4,8]", "f32[4,8"},
        {"f32[4,8]", "f32[4,,8]"},
        {"f32[4,8]", "f31[4,8]"},
        {"f32[4,8]", "f32[1,1,1,1,1,1,1]"},
        {"f32[4,8]", "f32[99999999999999999999]"},
        {"\"arena\":\"param\"", "\"arena\":\"heap\""},
        {"\"decay\":true", "\"decay\":1"},
        {"\"launches\":1}", "\"launches\":1,\"resources\":[\"sm_80:40:0:0\"]}"},
        {"\"launches\":1}", "\"launches\":1,\"resources\":[\"sm_80:40:0:0:0:0\"]}"},
        {"\"launches\":1}", "\"launches\":1,\"resources\":[\":40:0:0:0\"]}"},
        {"\"launches\":1}", "\"launches\":1,\"resources\":[\"sm_80:40:0:0:0\"]}"},
        {"\"group\":\"\"", "\"group\":[]"},
        {"0.10000000000000001", "\"0.1\""},
        {"\"programs\":", "\"programmes\":"},
        {"\"programs\":[", "\"programs\":[3,"},
        {"\"kind\":\"gemm\"", "\"kind\":\"gem\""},
        {"\"kind\":\"gemm\",", ""},
        {"\"kind\":\"gemm\"", "\"kind\":\"kernel\""},
        {"\"ldd\":4,", "\"ldd\":4,\"type_d\":\"f31\","},
        {"\"ldd\":4,", "\"ldd\":4,\"has_c\":1,"},
        {"\"lda\":8,", ""},
        {"\"lda\":8", "\"lda\":8,\"grid\":1"},
        {"\"kernel\":0", "\"kernel\":4294967296"},
        {"\"r3\"", "\"x3\""},
        {"\"r3\"", "\"r\""},
        {"\"r3\"", "\"r3 \""},
        {"\"r3\"", "\"r-3\""},
        {"\"r3\"", "\"\""},
        {"\"r3\"", "3"},
        {"\"waits\":[0]", "\"waits\":[-1]"},
        {"\"waits\":[0]", "\"waits\":{}"},
        {"\"waits\":[0]", "\"stream\":\"1\""},
        {"\"waits\":[0]", "\"threads\":1.5"},
        {"\"waits\":[0]", "\"workspace\":\"r1\""},
        {"\"type\":\"f32[16,8]\"", "\"type\":\"f32[16,8]\",\"stride\":null"},
        {"\"type\":\"f32[16,8]\"", "\"type\":\"f32[16,8]\",\"value\":1.5"},
        {"\"type\":\"f32[16,8]\"", "\"type\":\"f32[16,8]\",\"view\":1"},
        {"\"wf32:8*i0\"", "\"wf32:8*i0@\""},
        {"\"label\":\"linear\"", "\"label\":\"line\\u0000ar\""},
        {"\"buffers\":[", "\"buffers\":[[],"},
        {"\"k_sum\"", "\"k_sun\""},
        {"\"size\":14", "\"size\":15"},
        {"model.mdl", "modal.mdl"},
        {"\"rf32:", "\"rf31:"},
        {"\"rf32:4\"", "\"rf32\""},
        {"\"wf32:8*i0\"", "\"wf32:8*i\""},
        {"\"wf32:8*i0\"", "\"wf32:8*h\""},
        {"\"wf32:8*i0\"", "\"wf32:8*g \""},
        {"\"i\"", "\"i0/h\""},
        {"\"grid_per\":8,", "\"grid_pro\":8,"},
        {"\"launches\":1", "\"launches\":1.5"},
        {NULL, ""},
        {NULL, "[]"},
        {NULL, "{"},
        {NULL, "{}"},
        {NULL, "nonsense"},
    };
    mdl_text all = {.arena = memory};
    mdl_case(t, "each malformed plan.json has its message");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        mdl_plan *plan = NULL;
        mdl_status status = mdl_plan_read(edit(t, edits[i].from, edits[i].to), &plan);
        CHECK(t, status && !plan, "%s is accepted", edits[i].to);
        mdl_text_printf(&all, "%s -> %s\n    %s\n", edits[i].from ? edits[i].from : "all", edits[i].to, message(t, status));
        mdl_plan_free(plan);
    }
    mdl_golden(t, "plan/json.txt", all.at);
}

static const char *read_message(mdl_test *t, const char *path) {
    mdl_plan *plan = NULL;
    mdl_status status = mdl_plan_read(path, &plan);
    CHECK(t, status, "%s is accepted", path);
    mdl_plan_free(plan);
    return message(t, status);
}

static void drop_json(zip_t *zip) { zip_delete(zip, 0); }
static void drop_last(zip_t *zip) { zip_delete(zip, (zip_uint64_t)zip_get_num_entries(zip, 0) - 1); }
static void compress(zip_t *zip) { zip_set_file_compression(zip, 0, ZIP_CM_DEFLATE, 9); }
static void add_entry(zip_t *zip) { zip_file_add(zip, "more", zip_source_buffer(zip, "x", 1, 0), 0); }

static void test_archives(mdl_test *t) {
    const char *path = path_of(t, "bad.plan");
    mdl_text all = {.arena = memory};
    mdl_case(t, "each wrong archive has its message");
    mdl_text_printf(&all, "%s\n", read_message(t, path_of(t, "absent.plan")));
    mdl_text_printf(&all, "%s\n", read_message(t, mdl_printf(memory, "%s/", mdl_test_scratch(t))));
    spill(path, "", 0);
    mdl_text_printf(&all, "%s\n", read_message(t, path));
    spill(path, "hello", 5);
    mdl_text_printf(&all, "%s\n", read_message(t, path));
    static const struct {
        const char *name;
        void (*change)(zip_t *zip);
    } changes[] = {{"without plan.json", drop_json},
                   {"compressed", compress},
                   {"with one entry more", add_entry},
                   {"with one less", drop_last}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        size_t size;
        char *bytes = slurp(path_of(t, "one.plan"), &size);
        spill(path, bytes, size);
        zip_t *zip = zip_open(path, 0, NULL);
        changes[i].change(zip);
        CHECK(t, zip_close(zip) == 0, "%s: the archive cannot be written", changes[i].name);
        mdl_text_printf(&all, "%s: %s\n", changes[i].name, read_message(t, path));
    }
    mdl_golden(t, "plan/archives.txt", all.at);
}

/* Cut short anywhere, or any byte flipped: refused, or (a byte of the archive that means nothing) read as the same plan. */
static void test_damage(mdl_test *t) {
    const char *path = path_of(t, "damaged.plan");
    size_t size;
    char *bytes = slurp(path_of(t, "one.plan"), &size);
    mdl_plan *original = read_ok(t, path_of(t, "one.plan"));
    mdl_case(t, "truncated anywhere");
    for (size_t n = 0; n < size; n += 1 + size / 150) {
        spill(path, bytes, n);
        read_message(t, path);
    }
    mdl_case(t, "any byte damaged");
    for (size_t i = 0; original && i < size; i += 1 + size / 700) {
        mdl_plan *plan = NULL;
        bytes[i] = (char)(bytes[i] ^ 0x41);
        spill(path, bytes, size);
        mdl_status status = mdl_plan_read(path, &plan);
        CHECK(t, status || !strcmp(plan->hash, original->hash), "byte %zu: another plan is accepted", i);
        mdl_status_free(status);
        mdl_plan_free(plan);
        bytes[i] = (char)(bytes[i] ^ 0x41);
    }
    mdl_plan_free(original);
}

static void test_atomic(mdl_test *t) {
    mdl_case(t, "a plan that is wrong or has no place is not written");
    mdl_plan *plan = mdl_fixture_plan();
    mdl_status status = mdl_plan_write(plan, path_of(t, "no/such/folder.plan"));
    CHECK(t, status && strstr(mdl_message(status), "No such file"), "%s", mdl_message(status));
    mdl_status_free(status);
    plan->programs.at[0].live_bytes++;
    status = mdl_plan_write(plan, path_of(t, "wrong.plan"));
    CHECK(t, status && access(path_of(t, "wrong.plan"), F_OK), "a wrong plan was written");
    mdl_status_free(status);
    plan->programs.at[0].live_bytes--;
    plan->programs.at[0].launches.at[0].label = "\xff";
    status = mdl_plan_write(plan, path_of(t, "wrong.plan"));
    CHECK(t, status && strstr(mdl_message(status), "UTF-8"), "%s", mdl_message(status));
    mdl_status_free(status);
    const char *output;
    mdl_shell(t, &output, "ls '%s' | grep -c tmp", mdl_test_scratch(t));
    CHECK(t, atoi(output) == 0, "temporary files are left: %s", output);
    mdl_plan_free(plan);
}

/* ---- size: a deep model's plan stays quick to verify ---- */
static void test_large(mdl_test *t) {
    enum { N = 20000 };
    mdl_case(t, "a chain of %d launches", N);
    mdl_plan *plan = mdl_fixture_plan();
    mdl_plan_program *p = &plan->programs.at[0];
    plan->arena_bytes[MDL_ARENA_ACTIVATION] = (int64_t)(N + 16) * 64;
    mdl_type type = mdl_type_make(MDL_F32, 1, (const int64_t[]){16});
    p->buffers.n = LOSS + 1;
    int begin = mdl_fixture_kernel(plan, "k_begin", "void k_begin(void) {}\n");
    int link = mdl_fixture_kernel(plan, "k_link", "void k_link(void) {}\n");
    int unlink = mdl_fixture_kernel(plan, "k_unlink", "void k_unlink(void) {}\n");
    for (int i = 0; i < N; i++) {
        mdl_fixture_buffer(plan, p, "chain", MDL_ARENA_ACTIVATION, (int64_t)(i + 12) * 64, type);
        const char *args = i ? mdl_printf(memory, "r%d w%d", LOSS + i, LOSS + 1 + i) : mdl_printf(memory, "w%d", LOSS + 1);
        mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "link", args)->kernel = i ? link : begin;
    }
    /* Everything stays alive to the end: the worst case of the sweep. */
    for (int i = N - 1; i >= 0; i--)
        mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "unlink", mdl_printf(memory, "r%d", LOSS + 1 + i))->kernel = unlink;
    mdl_fixture_finish(plan);
    CHECK(t, p->live_bytes == (int64_t)N * 64, "live bytes %" PRId64, p->live_bytes);
    if (write_ok(t, plan, path_of(t, "large.plan"))) {
        mdl_plan *back = read_ok(t, path_of(t, "large.plan"));
        CHECK(t, back && back->programs.at[0].launches.n == 4 + 2 * N, "launches");
        mdl_plan_free(back);
    }
    p->buffers.at[LOSS + 1 + N / 2].offset += 64;
    const char *text = verdict(plan);
    CHECK(t, strstr(text, "overlap in memory while both are alive"), "%s", text);
}

void mdl_test_inspect(mdl_test *t); /* inspect.c */
void mdl_test_memory(mdl_test *t);  /* memory.c */

void suite_plan(mdl_test *t) {
    memory = mdl_arena_new();
    test_round_trip(t);
    test_archive(t);
    test_rules(t);
    test_json(t);
    test_archives(t);
    test_damage(t);
    test_atomic(t);
    test_large(t);
    mdl_test_inspect(t);
    mdl_test_memory(t);
    mdl_arena_free(memory);
}
